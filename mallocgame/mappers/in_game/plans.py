"""Plans: for every stop of a program, whether to bring the value, even late, and to hold it on.

A plan is played in the game, which decides what is possible and where things lie; many plans of
one program are played at once.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from mallocgame.game.environment import COPY, DROP, NO_COPY, Game
from mallocgame.game.state import ASK_DEPART, ASK_READ, State
from mallocgame.game.transcript import replay_game
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping


class Plans(NamedTuple):
    """K plans, bool [K, E] each, by stop (row of `Tables.events`): whether to bring the value,
    whether to hold it on, and whether to bring it even where the reader has to wait."""

    arrive: np.ndarray
    hold: np.ndarray
    late: np.ndarray


class PlayedPlans(NamedTuple):
    """The best of K games of one program."""

    mapping: Mapping
    saved_fraction: float
    decisions: int
    drop_backups: int


@jax.jit
def _play(game: Game, arrive: Array, hold: Array, late: Array) -> State:
    lanes = jnp.arange(arrive.shape[0])

    def move(state: State) -> State:
        event = state.event
        brings = arrive[lanes, event] & (late[lanes, event] | (state.stall == 0))
        wants = jnp.where(state.question == ASK_DEPART, hold[lanes, event], brings)
        yes = jnp.where(state.question == ASK_READ, COPY, NO_COPY)
        return game.step(state, jnp.where(wants, yes, DROP))[0]

    return lax.while_loop(
        lambda state: ~jnp.all(state.done), move, game.init(jnp.zeros_like(lanes))
    )


def finish_plans(game: Game, plans: Plans) -> State:
    """Plays all plans of the program that `game` was built from to the end: states of [K] games."""
    padding = game.events.shape[1] - plans.arrive.shape[1]
    return _play(game, *(jnp.asarray(np.pad(p, ((0, 0), (0, padding)))) for p in plans))


def score_plans(game: Game, plans: Plans) -> np.ndarray:
    """The saved fraction of each plan: float32 [K]."""
    return np.asarray(game.score(finish_plans(game, plans)))


def play_plans(game: Game, program: Program, plans: Plans) -> PlayedPlans:
    """Plays all plans of the program that `game` was built from and keeps the best."""
    state = finish_plans(game, plans)
    best = int(np.argmax(np.asarray(game.score(state))))
    length = int(state.length[best])
    moves = np.asarray(game.history(state).moves)[best, :length]
    mapping, saved = replay_game(game, program, moves)
    return PlayedPlans(mapping, saved, length, int(state.backups[best]))
