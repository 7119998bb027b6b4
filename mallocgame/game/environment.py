"""The mallocGame in pure JAX: init, step, legal actions, observation (docs/game.md).

A `Game` is a pytree of stacked program tables; its methods are pure functions of a `State` and may
be jitted, vmapped and scanned.  The state is small and of fixed size whatever the program: a table
of recent residencies sorted by offset, the supply left in the last slots and a log of the moves.
Batch axes come last in every array, so that one code serves a single game (no batch axis) and a
batch [B], in which the lanes of the processor run over games.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from gamekit.environment import History, Question, Spec, Step
from mallocgame.game.arrays import GameArrays, stack_tables
from mallocgame.game.compile_program import compile_program
from mallocgame.game.observe import plain, rich
from mallocgame.game.options import GAME_VERSION, GameConfig
from mallocgame.game.placement import gather
from mallocgame.game.rules import advance, start
from mallocgame.game.state import (
    ASK_DEPART,
    ASK_READ,
    COPY,
    DROP,
    NO_COPY,
    State,
    select,
    write_log,
)
from mallocgame.game.tables import ENTRY, EventRow, Tables
from mallocgame.program import Program

ACTION_NAMES = ("copy", "no_copy", "drop")
# One in so many games of a batch may lag behind (`rules.advance`).
STRAGGLERS = 16


@struct.dataclass
class Game(GameArrays):
    """P programs ready to be played; adds the moves to their arrays."""

    def init(self, instance: Array) -> State:
        """Starts games of the programs with these numbers, int32 [...]."""
        return advance(self, start(self, jnp.asarray(instance, jnp.int32)))

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
            num_questions=self.num_questions,
            observation=rich.SPEC if self.config.observation == "rich" else plain.SPEC,
            guides=True,
        )

    def step(self, state: State, action: Array) -> tuple[State, Step]:
        """Plays one move in every game and goes on to the next question.

        Args:
          action: int32 [...]; an illegal action is played as DROP, finished games ignore it.

        Returns:
          The next state, and what the move led to. The reward is the change of the saved fraction
          (with the option `reward = "proxy"` of the proxy's).
        """
        before = self._paid(state)
        playing = state.waiting & ~state.done
        legal = jnp.where(action == _yes(state), state.may_accept, False)
        action = jnp.where(legal, action, DROP).astype(jnp.int32)
        length = state.length + playing
        after = advance(
            self,
            state.replace(
                log=write_log(state.log, state.length, action, playing),
                length=length,
                replay_until=length,
                kept=length,
                pending=jnp.where(playing, action, -1),
                waiting=state.waiting & ~playing,
            ),
            _stragglers(state),
        )
        reward = (self._paid(after) - before) / self.total_ticks[state.program]
        return after, Step(reward.astype(jnp.float32), after.done, after.kept)

    def reset(self, state: State, where: Array, instance: Array) -> State:
        """Starts new games where bool [...] holds; the others go on."""

        def restart(state: State) -> State:
            fresh = start(self, jnp.asarray(instance, jnp.int32))
            return advance(self, select(where, fresh, state))

        return lax.cond(jnp.any(where), restart, lambda state: state, state)

    def legal_actions(self, state: State) -> Array:
        """Bool [..., 3]; all true for finished games."""
        copy = state.may_accept & (state.question == ASK_READ)
        hold = state.may_accept & (state.question != ASK_READ)
        legal = jnp.stack([copy, hold, jnp.ones_like(copy)], axis=-1)
        return legal | state.done[..., None]

    def asked(self, state: State) -> tuple[Array, Array, Array]:
        """Kind (ASK_READ, ASK_DEFINE, ASK_DEPART), value and slot of the question, int32 [...]."""
        row = EventRow(*gather(self.events, state.program, state.event))
        return state.question, row.value, state.slot

    def question(self, state: State) -> Question:
        """The question, about a value, and the slots for which an answer other than DROP would have
        the value in fast memory; for one that is there already, from now on."""
        row = EventRow(*gather(self.events, state.program, state.event))
        t, reads = state.slot, state.question == ASK_READ
        arrives = jnp.where(reads, t + 1, jnp.maximum(row.hold_until, t + 1))
        holds = (state.question == ASK_DEPART) | (row.kind == ENTRY)
        return Question(
            number=2 * state.event + (state.question == ASK_DEPART),
            topic=row.value,
            begin=jnp.where(reads, state.begin, t),
            end=jnp.where(holds, row.stay_end, arrives),
        )

    def question_of(self, instance: Array, number: Array) -> Question:
        """Questions by their numbers: the value, and as `begin` the slot of the stop."""
        row = EventRow(*gather(self.events, instance, number // 2))
        return Question(number, row.value, row.slot, row.slot + 1)

    def takes_room(self, number: Array) -> Array:
        """Bool [...]; whether questions, by their numbers, are about values that may arrive."""
        return number % 2 == 0

    def observe(self, state: State) -> Array:
        """Float32 [..., F]: what the agent sees (`mallocgame.game.observe`)."""
        return (rich if self.config.observation == "rich" else plain).observe(self, state)

    def instance(self, state: State) -> Array:
        """Int32 [...]; the program that each game plays."""
        return state.program

    def done(self, state: State) -> Array:
        """Bool [...]."""
        return state.done

    def saved_ticks(self, state: State) -> Array:
        """Int32 [...]; ticks saved so far."""
        return state.saved

    def score(self, state: State) -> Array:
        """Float32 [...]; fraction of the all-slow latency saved so far."""
        return (self.saved_ticks(state) / self.total_ticks[state.program]).astype(jnp.float32)

    def headroom(self, state: State) -> Array:
        """Float32 [...]; fraction of the latency that what is not played yet saves at most."""
        slot = state.slot + (state.question == ASK_DEPART)
        bound = self.bound.at[state.program, slot].get(mode="fill", fill_value=0.0)
        return jnp.where(state.done, 0.0, bound)

    def history(self, state: State) -> History:
        """The moves of the current branch, those forced by Drop-backup included."""
        moves = jnp.moveaxis(state.log, 0, -1).astype(jnp.int32)
        return History(moves, state.length, state.backups)

    def _paid(self, state: State) -> Array:
        return state.proxy if self.config.reward == "proxy" else state.saved


def build_game(programs: Sequence[Program], config: GameConfig) -> Game:
    """Compiles programs and stacks them, padded as `stack_tables` does.

    Raises:
      InputError: a program does not fit into 32-bit ticks.
    """
    return stack([compile_program(program, config) for program in programs], config)


def stack(tables: Sequence[Tables], config: GameConfig) -> Game:
    """Stacks compiled programs into one game, padded as `stack_tables` does."""
    return Game(**vars(stack_tables(tables, config)))


def _stragglers(state: State) -> int:
    return state.slot.shape[0] // STRAGGLERS if state.slot.ndim == 1 else 0


def _yes(state: State) -> Array:
    """The action beside DROP that the question allows."""
    return jnp.where(state.question == ASK_READ, COPY, NO_COPY)
