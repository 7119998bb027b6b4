"""The mallocGame in pure JAX: init, step, legal actions, observation (docs/game.md).

A `Game` is a pytree of stacked program tables; its methods are pure functions of a `State` and may
be jitted, vmapped and scanned.  The state has a few words a slot and a value, and a log of the
moves.  Batch axes come last in every array, so that one code serves a single game (no batch axis)
and a batch [B], in which the lanes of the processor run over games.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from gamekit.environment import History, Question, Spec, Step
from mallocgame.game.arrays import GameArrays, gather, stack_tables
from mallocgame.game.compile_program import compile_program
from mallocgame.game.observe.observation import SPEC, observe
from mallocgame.game.options import GAME_VERSION, GameConfig
from mallocgame.game.rules import advance, question_number, question_row
from mallocgame.game.state import COPY, DROP, NO_COPY, State, fresh_state, select, write_log
from mallocgame.game.tables import ASK_DEPART, ASK_READ, SlotRow, StopRow, Tables
from mallocgame.program import Program
from mallocgame.program.latency import elapsed_time

ACTION_NAMES = ("copy", "no_copy", "drop")
# The share of its stalls that a finished game is expected to lose when its copies are retimed.  Of
# 0 to 1 in tenths, it was the least with which the best of hundreds of games was the first one on
# Llama's decode step.  On MuZero's network at batch 64 0 to 0.2 were better, which is why games
# with high scores are judged too; on two more programs it made no difference.
RETIMED = 0.4


@struct.dataclass
class Game(GameArrays):
    """P programs ready to be played; adds the moves to their arrays."""

    def init(self, instance: Array) -> State:
        """Starts games of the programs with these numbers, int32 [...]."""
        return fresh_state(self, jnp.asarray(instance, jnp.int32))

    @property
    def spec(self) -> Spec:
        """The fixed facts; see `gamekit.environment`."""
        return Spec(
            name="mallocgame",
            version=GAME_VERSION,
            num_instances=self.num_programs,
            action_names=ACTION_NAMES,
            decline=DROP,
            max_moves=self.max_decisions,
            num_questions=2 * self.stops.shape[1],
            observation=SPEC,
            guides=True,
        )

    def step(self, state: State, action: Array) -> tuple[State, Step]:
        """Plays one move in every game and goes on to the next question.

        Args:
          action: int32 [...]; an illegal action is played as DROP, finished games ignore it.

        Returns:
          The next state, and what the move led to. The reward is the change of the saved fraction.
        """
        playing = state.waiting & ~state.done
        legal = ((action == COPY) & state.may_copy) | ((action == NO_COPY) & state.may_hold)
        action = jnp.where(legal, action, DROP).astype(jnp.int32)
        length = state.length + playing
        after = advance(
            self,
            state.replace(
                log=write_log(state.log, state.length, action, playing),
                length=length,
                pending=jnp.where(playing, action, -1),
                waiting=state.waiting & ~playing,
            ),
        )
        reward = (after.saved - state.saved) / self.total_ticks[state.program]
        return after, Step(reward.astype(jnp.float32), after.done, length)

    def reset(self, state: State, where: Array, instance: Array) -> State:
        """Starts new games where bool [...] holds; the others go on."""

        def restart(state: State) -> State:
            fresh = fresh_state(self, jnp.asarray(instance, jnp.int32))
            return select(where, fresh, state)

        return lax.cond(jnp.any(where), restart, lambda state: state, state)

    def legal_actions(self, state: State) -> Array:
        """Bool [..., 3]; all true for finished games."""
        legal = jnp.stack([state.may_copy, state.may_hold, jnp.ones_like(state.done)], axis=-1)
        return legal | state.done[..., None]

    def asked(self, state: State) -> tuple[Array, Array, Array]:
        """Kind (ASK_READ, ASK_DEFINE, ASK_DEPART), value and slot of the question, int32 [...]."""
        row = question_row(self, state, state.asked)
        return row.kind, row.value, row.slot

    def question(self, state: State) -> Question:
        """The question, about a value, and the slots for which an answer other than DROP would have
        the value in fast memory; for one that is there already, from now on."""
        row = question_row(self, state, state.asked)
        begin = jnp.where(row.kind == ASK_READ, state.begin, row.slot)
        return Question(question_number(row), row.value, begin, row.stay_end)

    def question_of(self, instance: Array, number: Array) -> Question:
        """Questions by their numbers: the value, and as `begin` the slot of the stop."""
        stop = StopRow(*gather(self.stops, instance, number // 2))
        return Question(number, stop.value, stop.slot, stop.slot + 1)

    def takes_room(self, number: Array) -> Array:
        """Bool [...]; whether questions, by their numbers, are about values that may arrive."""
        return number % 2 == 0

    def observe(self, state: State) -> Array:
        """Float32 [..., F]: what the agent sees (`mallocgame.game.observe`)."""
        return observe(self, state)

    def instance(self, state: State) -> Array:
        """Int32 [...]; the program that each game plays."""
        return state.program

    def done(self, state: State) -> Array:
        """Bool [...]."""
        return state.done

    def score(self, state: State) -> Array:
        """Float32 [...]; fraction of the all-slow latency saved so far."""
        return (state.saved / self.total_ticks[state.program]).astype(jnp.float32)

    def headroom(self, state: State) -> Array:
        """Float32 [...]; fraction of the latency that what is not decided yet saves at most: what
        is left of the relaxation's limit, and no more than the slots ahead can save."""
        row = question_row(self, state, state.asked)
        first = row.slot + (row.kind == ASK_DEPART)
        ahead = self.bound.at[state.program, first].get(mode="clip")
        left = jnp.minimum(ahead, self.limit[state.program] - self.score(state))
        return jnp.where(state.done, 0.0, jnp.maximum(left, 0.0)).astype(jnp.float32)

    def estimate(self, state: State) -> Array:
        """Float32 [...]; the saved fraction of a finished game if a part of its stalls went away,
        as it does when copies get the time that places leave them (`mallocgame.game.retime`)."""
        slots = SlotRow(*jnp.moveaxis(self.slots[:, state.program], -1, 1))
        elapsed = elapsed_time(slots.compute, state.read, state.write, jnp)
        total = self.total_ticks[state.program]
        without_stalls = total - jnp.sum(slots.weight * elapsed, axis=0)
        score, most = self.score(state), (without_stalls / total).astype(jnp.float32)
        return score + RETIMED * jnp.maximum(most - score, 0.0)

    def history(self, state: State) -> History:
        """The moves so far."""
        moves = jnp.moveaxis(state.log, 0, -1).astype(jnp.int32)
        return History(moves, state.length, jnp.zeros_like(state.length))


def build_game(programs: Sequence[Program], config: GameConfig) -> Game:
    """Compiles programs and stacks them into one game, padded as `stack_tables` does.

    Raises:
      InputError: a program does not fit into 32-bit ticks.
    """
    tables = [compile_program(program, config) for program in programs]
    return Game(**vars(stack_tables(tables, config)))


def unobserved_game(tables: Tables, config: GameConfig) -> Game:
    """The game of one compiled program, for players that do not look at its observations: their
    contents are undefined, and nothing is worked out for them."""
    return Game(**vars(stack_tables([tables], config, observed=False)))
