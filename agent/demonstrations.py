"""Games to begin with: what other mappers choose, imitated in the game.

The imitated game becomes the program's best game so far, which guided games follow
(`rollout.guided_fraction`), and the agent's own games replace it as soon as one is better.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from agent.hosts import from_first
from agent.rollout import Best
from mallocgame.config import GameConfig
from mallocgame.game import stack
from mallocgame.jsonfile import InputError
from mallocgame.mappers import rules
from mallocgame.mappers.plans import finish_plans
from mallocgame.mappers.registry import MAPPERS
from mallocgame.program import Program
from mallocgame.suites import load_production
from mallocgame.tables import compile_program

PRODUCTION = "production"


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
) -> tuple[np.ndarray, float] | None:
    """The moves of the best imitated game, int8 [n], and the fraction they save.

    names: mappers, or "production" for the mapping beside the program's file `path`, which counts
        only where there is one. None if there is nothing to imitate.
    seconds: budget of each mapper that searches.
    """
    tables = compile_program(program, config)
    game = stack([tables], config)
    best: tuple[np.ndarray, float] | None = None
    for name in names:
        if name == PRODUCTION:
            mapping = load_production(path, program)
        else:
            mapping = MAPPERS[name](program, config, seconds, seed).mapping
        if mapping is None:
            continue
        state = finish_plans(game, rules.imitate(tables, mapping))
        saved = float(game.saved_fraction(state)[0])
        # A failed game (-1, only without Drop-backup) shows nothing.
        if saved > max(-1.0, best[1] if best else -jnp.inf):
            length = int(game.decision_index(state)[0])
            best = np.asarray(game.action_log(state))[0, :length], saved
    return best


def with_games(best: Best, games: Sequence[tuple[np.ndarray, float] | None]) -> Best:
    """The best games [P] with the given ones, where they are better; arrays stay where they lie."""
    saved, log, length = (np.array(x) for x in (best.saved, best.log, best.length))
    for program, found in enumerate(games):
        if found is None or found[1] <= saved[program]:
            continue
        actions, saved[program] = found
        log[program, : len(actions)] = actions
        length[program] = len(actions)
    saved, log, length = from_first((saved, log, length))
    return dataclasses.replace(
        best,
        saved=jax.device_put(saved, best.saved.sharding),
        log=jax.device_put(log, best.log.sharding),
        length=jax.device_put(length, best.length.sharding),
    )
