"""Games to begin with: what other mappers choose, imitated in the game.

The imitated game becomes the program's best game so far, which guided games follow
(`rollout.guided_fraction`), and the agent's own games replace it as soon as one is better.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agent.run.hosts import from_first
from agent.selfplay.rollout import Best
from gamekit.errors import InputError
from mallocgame.game.compile_program import compile_program
from mallocgame.game.environment import Game, stack
from mallocgame.game.options import GameConfig
from mallocgame.mappers.in_game import simple as rules
from mallocgame.mappers.in_game.plans import finish_plans
from mallocgame.mappers.registry import MAPPERS
from mallocgame.program import Program
from mallocgame.suites import load_production

PRODUCTION = "production"


class Demonstration(NamedTuple):
    """A game to begin with: its moves, int8 [n], its answers by the number of the question, int8
    [Q], and the fraction it saves."""

    actions: np.ndarray
    answers: np.ndarray
    saved: float


def check_names(names: Sequence[str]) -> None:
    """Raises InputError if a demonstrator is unknown."""
    for name in names:
        if name != PRODUCTION and name not in MAPPERS:
            raise InputError(
                f"demonstrations: {name!r} is none of {', '.join((PRODUCTION, *MAPPERS))}"
            )


def demonstrate(
    program: Program,
    path: Path,
    config: GameConfig,
    names: Sequence[str],
    seconds: float,
    seed: int,
) -> Demonstration | None:
    """The best imitated game.

    names: mappers, or "production" for the mapping beside the program's file `path`, which counts
        only where there is one. None if there is nothing to imitate.
    seconds: budget of each mapper that searches.
    """
    tables = compile_program(program, config)
    game = stack([tables], config)
    saved, actions = -1.0, None
    for name in names:
        if name == PRODUCTION:
            mapping = load_production(path, program)
        else:
            mapping = MAPPERS[name](program, config, seconds, seed).mapping
        if mapping is None:
            continue
        state = finish_plans(game, rules.imitate(tables, mapping))
        if game.saved_fraction(state)[0] > saved:
            saved = float(game.saved_fraction(state)[0])
            length = int(game.decision_index(state)[0])
            actions = np.asarray(game.action_log(state))[0, :length]
    return None if actions is None else Demonstration(actions, _answers(game, actions), saved)


def with_games(best: Best, games: Sequence[Demonstration | None]) -> Best:
    """The best games [P] with the given ones, where they are better; arrays stay where they lie."""
    arrays = (best.saved, best.log, best.length, best.answers)
    saved, log, length, answers = (np.array(x) for x in arrays)
    for program, found in enumerate(games):
        if found is None or found.saved <= saved[program]:
            continue
        saved[program], length[program] = found.saved, len(found.actions)
        log[program, : len(found.actions)] = found.actions
        answers[program] = -1
        answers[program, : len(found.answers)] = found.answers
    new = from_first((saved, log, length, answers))
    saved, log, length, answers = (
        jax.device_put(x, old.sharding) for x, old in zip(new, arrays, strict=True)
    )
    return dataclasses.replace(best, saved=saved, log=log, length=length, answers=answers)


def _answers(game: Game, actions: np.ndarray) -> np.ndarray:
    """Int8 [Q]: the answers of a game's final branch by the number of the question, -1 without."""
    answers = np.full(game.num_questions, -1, np.int8)
    step, state = jax.jit(Game.step), jax.jit(Game.init)(game, jnp.int32(0))
    for action in actions:
        answers[int(game.question_index(state))] = action
        state, _ = step(game, state, jnp.int32(action))
    return answers
