"""What a new run may begin with: the networks of another run, and games of other solvers."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from agent.config import Config
from agent.learning.state import TrainState
from agent.networks import ValueScale
from agent.run.hosts import from_first
from agent.run.shipped import load_either
from agent.selfplay.guidance import or_another
from gamekit.checked import checked
from gamekit.domain import Instance
from gamekit.environment import Environment, GuidingEnvironment, Spec, State
from gamekit.errors import InputError
from gamekit.files import read_bytes, write_bytes
from gamekit.processes import cores, in_processes
from gamekit.registry import load_domain
from gamekit.text import say


def start_from(config: Config, spec: Spec, state: TrainState) -> TrainState:
    """A fresh state with the networks of the run, or shipped checkpoint, `train.start_from`.

    Its typical advantage comes along, and the mean of its scale until games of the new run have
    ended. Optimiser, replay and best games begin anew.

    Raises:
      InputError: there is no such run, or its networks or their observations are others.
    """
    source = Path(config.train.start_from)
    try:
        agent, other, learned = load_either(source)
    except InputError as error:
        raise InputError(f"train.start_from: {error}") from None
    ours, theirs = (
        {f"network.{key}": value for key, value in dataclasses.asdict(c.network).items()}
        | {"actions": s.action_names, "observation": s.observation}
        for c, s in ((config, spec), (other, learned))
    )
    if keys := [key for key in ours if ours[key] != theirs[key]]:
        key = keys[0]
        raise InputError(
            f"train.start_from: {source}: {key} must be as in that run, {theirs[key]!r}, got "
            f"{ours[key]!r}"
        )
    ones = jnp.ones_like(state.scale.baseline)
    scale = ValueScale(jnp.mean(agent.scale.baseline) * ones, jnp.mean(agent.scale.spread) * ones)
    target = None if state.target is None else jax.tree.map(jnp.copy, agent.params)
    new = (agent.params, target, scale, agent.typical_advantage)
    old = (state.params, state.target, state.scale, state.typical_advantage)
    params, target, scale, typical = jax.tree.map(
        lambda x, like: jax.device_put(np.asarray(x), like.sharding), new, old
    )
    return dataclasses.replace(
        state, params=params, target=target, scale=scale, typical_advantage=typical
    )


def lessons_of(config: Config, instance: Instance) -> np.ndarray:
    """What the configured solvers answer to an instance's questions, int8 [K, Q]."""
    domain, options = load_domain(config.game.name), config.game.options
    names, seconds = config.demonstrations, config.demonstration_seconds
    found = domain.lessons(instance, options, names, seconds, config.seed)
    return np.array(found, np.int8) if found else np.zeros((0, 0), np.int8)


def all_lessons(config: Config, instances: Sequence[Instance], folder: Path) -> list[np.ndarray]:
    """The lessons [K, Q] of every instance, a process a core; kept in a folder, and found there
    again.

    Raises:
      InputError: a solver is unknown, the game cannot imitate, or a kept file is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = {i: _kept(folder, instance) for i, instance in enumerate(instances)}
    found = {i: lessons for i, lessons in kept.items() if lessons is not None}
    missing = [i for i in kept if i not in found]

    def take(number: int, lessons: np.ndarray) -> None:
        i = missing[number]
        found[i] = lessons
        file = io.BytesIO()
        np.save(file, lessons)
        write_bytes(folder / f"{instances[i].fingerprint}.npy", file.getvalue())
        say(f"demonstrations: {len(found)} of {len(instances)}", error=True)

    tasks = [(config, instances[i]) for i in missing]
    if min(cores(), len(tasks)) > 1:
        in_processes(lessons_of, tasks, cores(), take)
    else:
        for number, task in enumerate(tasks):
            take(number, lessons_of(*task))
    return [found[i] for i in range(len(instances))]


def _kept(folder: Path, instance: Instance) -> np.ndarray | None:
    path = folder / f"{instance.fingerprint}.npy"
    if not path.exists():
        return None
    raw = read_bytes(path)
    try:
        lessons = np.load(io.BytesIO(raw), allow_pickle=False)
    except Exception:  # whatever a damaged file makes numpy raise
        lessons = None
    if lessons is None or lessons.ndim != 2 or lessons.dtype != np.int8:
        raise InputError(f"{path}: damaged; remove it") from None
    return lessons


def taught(
    environment: Environment[State], state: TrainState[State], lessons: Sequence[np.ndarray]
) -> TrainState[State]:
    """The state with the best game that each instance's lessons [K, Q] lead to, and its lesson."""
    game = checked(environment)
    count = max((len(each) for each in lessons), default=0)
    for k in range(count):
        lesson = np.full(state.lessons.shape, -1, np.int8)
        for i, each in enumerate(lessons):
            if k < len(each):
                lesson[i, : each.shape[1]] = each[k]
        ended, answers = _played(game, jnp.asarray(lesson))
        state = _with_better(game, state, ended, np.asarray(answers), from_first(lesson))
    return state


@jax.jit
def _played(game: GuidingEnvironment[State], lessons: jax.Array) -> tuple[State, jax.Array]:
    """One game of every instance by its lesson [P, Q]: ended states, and answers [P, Q]."""
    games = jnp.arange(len(lessons))

    def move(carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
        state, answers = carry
        legal, number = game.legal_actions(state), game.question(state).number
        answer = or_another(game.spec, legal, lessons[games, number].astype(jnp.int32))
        otherwise = jnp.argmax(legal, axis=1) if game.spec.decline is None else game.spec.decline
        action = jnp.where(answer >= 0, answer, otherwise).astype(jnp.int32)
        playing = ~game.done(state)
        number = jnp.where(playing, number, answers.shape[1])
        answers = answers.at[games, number].set(action, mode="drop")
        return game.step(state, action)[0], answers

    start = game.init(games), jnp.full(lessons.shape, -1, jnp.int32)
    return jax.lax.while_loop(lambda carry: ~jnp.all(game.done(carry[0])), move, start)


def _with_better(
    game: GuidingEnvironment[State],
    state: TrainState[State],
    ended: State,
    answers: np.ndarray,
    lessons: np.ndarray,
) -> TrainState[State]:
    """The best games and lessons, with those that are better; arrays stay where they lie."""
    history, best = game.history(ended), state.best
    new = {
        "score": np.asarray(game.score(ended)),
        "moves": np.asarray(history.moves),
        "length": np.asarray(history.length),
        "answers": answers,
    }
    new = from_first(new)
    better = new["score"] > np.asarray(best.score)

    def chosen(new: np.ndarray, old: jax.Array) -> jax.Array:
        where = better.reshape(-1, *(1,) * (old.ndim - 1))
        return jax.device_put(np.where(where, new, np.asarray(old)), old.sharding)

    best = dataclasses.replace(best, **{k: chosen(x, getattr(best, k)) for k, x in new.items()})
    return dataclasses.replace(state, best=best, lessons=chosen(lessons, state.lessons))
