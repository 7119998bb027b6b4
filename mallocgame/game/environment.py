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
import numpy as np
from flax import struct
from jax import Array, lax

from gamekit.environment import History, Question, Spec, Step
from mallocgame.game.observe import plain, rich
from mallocgame.game.observe.plain import stop_features
from mallocgame.game.observe.rich import slot_prospects, stop_columns
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
from mallocgame.game.tables import ENTRY, NEVER, EventRow, SlotRow, Tables, compile_program, pad
from mallocgame.program import Program

ACTION_NAMES = ("copy", "no_copy", "drop")
# One in so many games of a batch may lag behind (`rules.advance`).
STRAGGLERS = 16
# The least stops and residencies that a game is padded to.
SHORTEST, FEWEST = 64, 32


@struct.dataclass
class Game:
    """P programs ready to be played; arrays are padded to a length that others share.

    events: int32 [P, E, columns of EventRow]; slots: int32 [P, T, columns of SlotRow].
    num_slots, capacity, total_ticks, floor_ticks: int32 [P].
    bound: float32 [P, T + 1]; fraction of the latency that slots t, t + 1, ... save at most.
    capacity_ticks: float32 [P]; ticks that a copy of the whole fast memory takes.
    features: float32 [P, E, K]; what the observation knows about each stop.
    prospects, stops: what the rich observation knows about each slot, float32 [P, T, K'], and slot,
        value and alias group of each stop, int32 [P, E', 3]; E' has room for a window behind the
        last stop. Without columns in a game that does not show them.
    """

    events: Array
    slots: Array
    num_slots: Array
    capacity: Array
    total_ticks: Array
    floor_ticks: Array
    bound: Array
    capacity_ticks: Array
    features: Array
    prospects: Array
    stops: Array
    config: GameConfig = struct.field(pytree_node=False)
    table_size: int = struct.field(pytree_node=False)
    has_groups: bool = struct.field(pytree_node=False)
    has_reserved: bool = struct.field(pytree_node=False)

    @property
    def num_programs(self) -> int:
        return self.events.shape[0]

    @property
    def max_decisions(self) -> int:
        """M: no game has more moves, as no stop asks more than three times."""
        return 3 * self.events.shape[1]

    @property
    def can_backup(self) -> bool:
        """Whether an infeasible state is possible at all."""
        return self.has_groups or self.has_reserved or self.config.late_eviction == "backup"

    def init(self, index: Array) -> State:
        """Starts games: `index` int32 [...] says which program each plays."""
        return advance(self, start(self, jnp.asarray(index, jnp.int32)))

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
            num_questions=2 * self.events.shape[1],
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
        legal = jnp.where(action == _yes(state), state.can, False)
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

    def reset(self, state: State, mask: Array, index: Array) -> State:
        """Starts new games where `mask` bool [...] holds; the others go on."""

        def restart(state: State) -> State:
            fresh = start(self, jnp.asarray(index, jnp.int32))
            return advance(self, select(mask, fresh, state))

        return lax.cond(jnp.any(mask), restart, lambda state: state, state)

    def legal_actions(self, state: State) -> Array:
        """Bool [..., 3]; all true for finished games."""
        copy = state.can & (state.question == ASK_READ)
        hold = state.can & (state.question != ASK_READ)
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
        arrives = jnp.where(reads, t + 1, jnp.maximum(row.ask_end, t + 1))
        holds = (state.question == ASK_DEPART) | (row.kind == ENTRY)
        return Question(
            number=2 * state.event + (state.question == ASK_DEPART),
            topic=row.value,
            begin=jnp.where(reads, state.begin, t),
            end=jnp.where(holds, row.hold_end, arrives),
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
        """Int32 [...]; ticks saved so far, -total where the game failed."""
        return jnp.where(state.failed, -self.total_ticks[state.program], state.saved)

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
        score = state.proxy if self.config.reward == "proxy" else state.saved
        return jnp.where(state.failed, -self.total_ticks[state.program], score)


def build_game(programs: Sequence[Program], config: GameConfig) -> Game:
    """Compiles programs and stacks them, padded as `stack` does.

    Raises:
      InputError: a program does not fit into 32-bit ticks.
    """
    return stack([compile_program(program, config) for program in programs], config)


def stack(tables: Sequence[Tables], config: GameConfig) -> Game:
    """Stacks compiled programs into one game, padded to a power of two above the longest.

    What is compiled for a game serves every game of the same shape: a suite of 62 programs has 16
    shapes.
    """
    length = _rounded_up(max(max(1 + len(t.events), len(t.slots)) for t in tables), SHORTEST)
    events = pad([t.events for t in tables], length, NEVER)
    slots = pad([t.slots for t in tables], length, 0)
    residencies = _rounded_up(max(t.residency_bound for t in tables), FEWEST)
    promised = events[..., EventRow._fields.index("promise_slot")]
    features = [stop_features(t) for t in tables]
    is_rich = config.observation == "rich"
    prospects = [slot_prospects(t) if is_rich else np.zeros((len(t.slots), 0)) for t in tables]
    columns = [stop_columns(t) if is_rich else np.zeros((len(t.events), 0), int) for t in tables]
    behind = rich.WINDOW if is_rich else 0
    return Game(
        events=jnp.asarray(events),
        slots=jnp.asarray(slots),
        num_slots=jnp.array([len(t.slots) for t in tables], jnp.int32),
        capacity=jnp.array([t.capacity for t in tables], jnp.int32),
        total_ticks=jnp.array([max(t.total_ticks, 1) for t in tables], jnp.int32),
        floor_ticks=jnp.array([t.floor_ticks for t in tables], jnp.int32),
        bound=jnp.asarray(
            pad([t.bound[:, None] for t in tables], 1 + slots.shape[1], 0)[..., 0], jnp.float32
        ),
        capacity_ticks=jnp.array([t.capacity_ticks for t in tables], jnp.float32),
        features=jnp.asarray(pad(features, events.shape[1] + behind, 0)),
        prospects=jnp.asarray(pad(prospects, slots.shape[1], 0), jnp.float32),
        stops=jnp.asarray(pad(columns, events.shape[1] + behind, NEVER), jnp.int32),
        config=config,
        table_size=min(config.max_residencies, residencies),
        has_groups=bool(((promised >= 0) & (promised < NEVER)).any()),
        has_reserved=bool((slots[..., SlotRow._fields.index("reserved")] > 0).any()),
    )


def _rounded_up(count: int, least: int) -> int:
    """The power of two from `count` on, at least `least`."""
    return max(least, 1 << (count - 1).bit_length())


def _stragglers(state: State) -> int:
    return state.slot.shape[0] // STRAGGLERS if state.slot.ndim == 1 else 0


def _yes(state: State) -> Array:
    """The action beside DROP that the question allows."""
    return jnp.where(state.question == ASK_READ, COPY, NO_COPY)
