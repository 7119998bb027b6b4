"""An evolutionary strategy over plans, played in the game: separable natural evolution (SNES).

A plan is a vector with two numbers per question: whether to say yes, and whether even where
somebody has to wait.  Each is a yes where positive.  The search distribution starts around the
density rule: what is far above or below its best threshold is nearly certain, the rest open.
Source of the strategy: Schaul, Glasmachers and Schmidhuber 2011, "High Dimensions and Heavy Tails
for Natural Evolution Strategies", through evosax.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamekit.errors import InputError
from mallocgame.game.compile_program import compile_program
from mallocgame.game.environment import Game, unobserved_game
from mallocgame.game.options import GameConfig
from mallocgame.game.tables import Tables
from mallocgame.mappers.base import Clock, Mapped
from mallocgame.mappers.in_game.plans import Answer, PlayedPlan, play_plans, score_plans
from mallocgame.mappers.in_game.simple import THRESHOLDS, greedy, levels_of, worths
from mallocgame.program import Program

CERTAIN = 3.0  # standard deviations: the farthest that a decision is from open at first


def evolution(program: Program, config: GameConfig, budget_s: float, seed: int) -> Mapped:
    """Evolves plans until time is up; the best game counts, the density rule's included.

    The budget includes compilation; two generations are played however small it is.

    Raises:
      InputError: evosax is not installed (extra `mappers`).
    """
    clock = Clock(budget_s)
    tables = compile_program(program, config)
    game = unobserved_game(tables, config)
    first = greedy(tables)
    first = first[np.arange(THRESHOLDS) % len(first)]
    scores = score_plans(game, first)
    best, best_score = first[int(np.argmax(scores))], float(scores.max())
    generations, generation_s = 0, 0.0
    played = _play(game, program, best)
    if len(tables.questions):
        mean = _around(tables, int(np.argmax(scores)))
        strategy = _strategy(mean)
        params = strategy.default_params
        key, start = jax.random.split(jax.random.key(seed))
        state = strategy.init(start, mean, params)
        while generations < 2 or clock.expects(2 * generation_s):
            before = clock.seconds
            ask, tell = jax.random.split(jax.random.fold_in(key, generations))
            population, state = strategy.ask(ask, state, params)
            plans = _plans(np.asarray(population))
            saved = score_plans(game, plans)
            state, _ = strategy.tell(tell, population, -jnp.asarray(saved), state, params)
            winner = int(np.argmax(saved))
            if saved[winner] > best_score:
                best, best_score = plans[winner], float(saved[winner])
            generations += 1
            generation_s = clock.seconds - before
        played = _play(game, program, best)
    info = {"games": float(THRESHOLDS * (generations + 1)), "generations": float(generations)}
    return Mapped(played.mapping, clock.seconds, played.decisions, played.drop_backups, info)


def _play(game: Game, program: Program, plan: np.ndarray) -> PlayedPlan:
    """One plan [Q], in a batch of the usual size, so that nothing is compiled for it."""
    return play_plans(game, program, np.repeat(plan[None], THRESHOLDS, 0))


def _around(tables: Tables, threshold: int) -> jax.Array:
    """The mean of the first population, around plan number `threshold` of `greedy`: [2 Q]."""
    known = worths(tables)
    levels = levels_of(known)
    level = levels[threshold % len(levels)] or np.min(known[known > 0], initial=1.0) / 2
    ratio = np.log2(np.maximum(known, 1e-30) / level)
    late = np.full(len(known), 1.0 if threshold // len(levels) % 2 else -1.0)
    return jnp.asarray(np.append(np.clip(ratio, -CERTAIN, CERTAIN), late), jnp.float32)


def _strategy(mean: jax.Array) -> Any:
    try:
        from evosax.algorithms import SNES
    except ImportError as error:
        raise InputError(
            "mapper 'evolution': evosax is missing; pip install 'mallocgame[mappers]'"
        ) from error
    return SNES(population_size=THRESHOLDS, solution=mean)


def _plans(population: np.ndarray) -> np.ndarray:
    """Plans [K, Q] from numbers [K, 2 Q]."""
    yes, late = np.split(population > 0, 2, axis=1)
    return np.where(yes, np.where(late, Answer.YES, Answer.IN_TIME), Answer.NO).astype(np.int8)
