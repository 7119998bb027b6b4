"""Plans: an answer to every question that a program's game may ask.

A plan is played in the game, which decides what is possible; many plans of one program are played
at once.
"""

from __future__ import annotations

import dataclasses
import enum

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from mallocgame.game.environment import COPY, DROP, NO_COPY, Game
from mallocgame.game.finish import finish_game
from mallocgame.game.state import State
from mallocgame.judge import simulate
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping

PROMISING = 3  # games that are packed for what they may gain when their copies are retimed


class Answer(enum.IntEnum):
    """What a plan answers.

    NO is DROP. YES is COPY where a copy is asked for, else NO_COPY. IN_TIME is the same where
    nobody has to wait for it. OWN_SLOT copies in the reader's own slot, or else as YES does.  What
    is not legal is DROP.
    """

    NO = 0
    YES = 1
    IN_TIME = 2
    OWN_SLOT = 3


@dataclasses.dataclass(frozen=True)
class PlayedPlan:
    """The best of some games of one program, packed."""

    mapping: Mapping
    saved_fraction: float
    decisions: int
    drop_backups: int


@jax.jit
def _play(game: Game, plans: Array) -> State:
    lanes = jnp.arange(plans.shape[0])

    def move(state: State) -> State:
        answer = plans[lanes, state.asked]
        wants = answer != Answer.NO
        stall = jnp.where(state.may_copy, state.copy_stall, state.hold_stall)
        wants &= (answer != Answer.IN_TIME) | (stall == 0)
        own = (answer == Answer.OWN_SLOT) & state.may_hold
        yes = jnp.where(state.may_copy & ~own, COPY, NO_COPY)
        return game.step(state, jnp.where(wants, yes, DROP))[0]

    return lax.while_loop(
        lambda state: ~jnp.all(state.done), move, game.init(jnp.zeros_like(lanes))
    )


def finish_plans(game: Game, plans: np.ndarray) -> State:
    """Plays plans, `Answer` by question [K, Q], of the program that `game` was built from, to the
    end: states of [K] games."""
    padding = game.questions.shape[1] - plans.shape[1]
    return _play(game, jnp.asarray(np.pad(plans, ((0, 0), (0, padding))), jnp.int8))


def score_plans(game: Game, plans: np.ndarray) -> np.ndarray:
    """The saved fraction of each plan by the game's account: float32 [K]."""
    return np.asarray(game.score(finish_plans(game, plans)))


def play_plans(game: Game, program: Program, plans: np.ndarray) -> PlayedPlan:
    """Plays all plans of the program that `game` was built from, and packs some: the best one by
    the game's account, and those that promise most (`Game.estimate`).  The judge's best counts."""
    state = finish_plans(game, plans)
    score, estimate = np.asarray(game.score(state)), np.asarray(game.estimate(state))
    history = game.history(state)
    picks = np.argsort(-score, stable=True)[:1], np.argsort(-estimate, stable=True)[:PROMISING]
    logged, length = np.asarray(history.moves), np.asarray(history.length)
    moves = [logged[k, : length[k]] for k in np.concatenate(picks).tolist()]
    games = {one.tobytes(): one for one in moves}  # many plans may be one game
    finished = [finish_game(game, program, one) for one in games.values()]
    made = max(finished, key=lambda one: simulate(program, one.mapping).saved_fraction)
    return PlayedPlan(made.mapping, made.saved_fraction, len(made.moves), made.backups)
