"""What a new run may begin with: the networks of another run, and games of other solvers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agent.config import Config
from agent.learning.state import TrainState
from agent.networks import ValueScale
from agent.run.hosts import from_first
from agent.run.shipped import load_either
from agent.selfplay.best import Best
from gamekit.checked import checked
from gamekit.environment import Environment, Spec, State
from gamekit.errors import InputError


class Demonstration(NamedTuple):
    """A game to begin with: its moves int32 [n], its answers by the number of the question int32
    [Q] (-1 without), and its score."""

    moves: np.ndarray
    answers: np.ndarray
    score: float


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


def best_demonstration(
    environment: Environment[State], candidates: Sequence[np.ndarray]
) -> Demonstration | None:
    """The best of some finished games of the only instance, by their moves; None without any."""
    played = [_replayed(environment, moves) for moves in candidates]
    return max(played, key=lambda demonstration: demonstration.score, default=None)


def _replayed(environment: Environment[State], moves: np.ndarray) -> Demonstration:
    game = checked(environment)
    answers = np.full(game.spec.num_questions, -1, np.int32)
    step, question = jax.jit(game.step), jax.jit(game.question)
    state = jax.jit(game.init)(jnp.int32(0))
    for move in moves:
        answers[int(question(state).number)] = move
        state, _ = step(state, jnp.int32(move))
    return Demonstration(np.asarray(moves, np.int32), answers, float(game.score(state)))


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
