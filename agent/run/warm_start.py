"""What a new run may begin with: the networks of another run, and games of other solvers."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import sys
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agent.config import Config
from agent.learning.state import TrainState
from agent.networks import ValueScale
from agent.run.checkpoint import load_agent
from agent.run.hosts import from_first
from agent.selfplay.best import Best
from gamekit.checked import checked
from gamekit.domain import Instance, Shown
from gamekit.environment import Environment, Spec, State
from gamekit.errors import InputError
from gamekit.registry import load_domain


class Demonstration(NamedTuple):
    """A game to begin with.

    moves: int32 [n]. answers: int32 [Q], given in the game, by the number of the question, -1 where
    it was not asked. score: of the game. lesson: int8 [Q], answers to questions that it was not
    asked, too.
    """

    moves: np.ndarray
    answers: np.ndarray
    score: float
    lesson: np.ndarray


def start_from(config: Config, spec: Spec, state: TrainState) -> TrainState:
    """A fresh state with the networks of the run `train.start_from`.

    Its typical advantage comes along, and the mean of its scale until games of the new run have
    ended. Optimiser, replay and best games begin anew.

    Raises:
      InputError: there is no such run, or its networks or their observations are others.
    """
    source = Path(config.train.start_from)
    try:
        agent, other, learned = load_agent(source)
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


def demonstrate(config: Config, instance: Instance) -> Demonstration | None:
    """The best game that the configured solvers show for an instance; None without any."""
    domain, options = load_domain(config.game.name), config.game.options
    names, seconds = config.demonstrations, config.demonstration_seconds
    shown = domain.demonstrations(instance, options, names, seconds, config.seed)
    return best_demonstration(domain.build([instance], options), shown) if shown else None


def demonstrate_all(
    config: Config, instances: Sequence[Instance], folder: Path
) -> list[Demonstration | None]:
    """Demonstrations of all instances, a process a core; kept in a folder, and found there again.

    Raises:
      InputError: a name is unknown, or the game cannot imitate.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {i: _kept(folder, instance) for i, instance in enumerate(instances)}
    missing = [i for i, known in found.items() if known is None]
    workers = min(os.cpu_count() or 1, len(missing))
    if workers < 2:
        made = ((i, demonstrate(config, instances[i])) for i in missing)
        return _collected(found, made, folder, instances)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin) as pool:
        waiting = {pool.submit(demonstrate, config, instances[i]): i for i in missing}
        made = ((waiting[done], done.result()) for done in as_completed(waiting))
        try:
            return _collected(found, made, folder, instances)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _begin() -> None:
    """A worker takes no accelerator."""
    jax.config.update("jax_platforms", "cpu")


def _collected(
    found: dict[int, Demonstration | None],
    made: Iterable[tuple[int, Demonstration | None]],
    folder: Path,
    instances: Sequence[Instance],
) -> list[Demonstration | None]:
    for i, demonstration in made:
        found[i] = demonstration
        _keep(folder, instances[i], demonstration)
        known = sum(x is not None for x in found.values())
        print(f"demonstrations: {known} of {len(instances)}", file=sys.stderr)
    return [found[i] for i in range(len(instances))]


def _kept(folder: Path, instance: Instance) -> Demonstration | None:
    path = folder / f"{instance.fingerprint}.npz"
    if not path.exists():
        return None
    try:
        with np.load(path) as stored:
            return Demonstration(
                stored["moves"], stored["answers"], float(stored["score"]), stored["lesson"]
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise InputError(f"{path}: damaged; remove it") from None


def _keep(folder: Path, instance: Instance, demonstration: Demonstration | None) -> None:
    if demonstration is None:
        return
    path = folder / f"{instance.fingerprint}.npz"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.npz")
    np.savez_compressed(temporary, **demonstration._asdict())
    temporary.replace(path)


def best_demonstration(
    environment: Environment[State], shown: Sequence[Shown]
) -> Demonstration | None:
    """The best of some finished games of the only instance; None without any."""
    played = [_replayed(environment, game) for game in shown]
    return max(played, key=lambda demonstration: demonstration.score, default=None)


def _replayed(environment: Environment[State], shown: Shown) -> Demonstration:
    moves = shown.moves
    game = checked(environment)
    answers = np.full(game.spec.num_questions, -1, np.int32)
    step, question = jax.jit(game.step), jax.jit(game.question)
    state = jax.jit(game.init)(jnp.int32(0))
    for move in moves:
        answers[int(question(state).number)] = move
        state, _ = step(state, jnp.int32(move))
    score = float(game.score(state))
    return Demonstration(np.asarray(moves, np.int32), answers, score, shown.answers)


def with_games(best: Best, games: Sequence[Demonstration | None]) -> Best:
    """The best games [P] with the given ones, where they are better; arrays stay where they lie."""
    arrays = (best.score, best.moves, best.length, best.answers)
    score, moves, length, answers = (np.array(x) for x in arrays)
    for number, found in enumerate(games):
        if found is None or found.score <= score[number]:
            continue
        score[number], length[number] = found.score, len(found.moves)
        moves[number, : len(found.moves)] = found.moves
        answers[number] = -1
        answers[number, : len(found.answers)] = found.answers
    new = from_first((score, moves, length, answers))
    score, moves, length, answers = (
        jax.device_put(x, old.sharding) for x, old in zip(new, arrays, strict=True)
    )
    return dataclasses.replace(best, score=score, moves=moves, length=length, answers=answers)


def with_lessons(lessons: jax.Array, games: Sequence[Demonstration | None]) -> jax.Array:
    """The lessons [P, Q] of demonstrations; the array stays where it lies."""
    new = np.array(lessons)
    for number, found in enumerate(games):
        if found is not None:
            new[number, : len(found.lesson)] = found.lesson
    return jax.device_put(from_first(new), lessons.sharding)
