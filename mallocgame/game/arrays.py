"""The compiled programs of a game, stacked: what the rules and the observations read.

Nothing in them changes during a game.  Batch axes of games come last in every array of the state;
these are looked up by the number of the program that each game plays.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from mallocgame.game.observe.static import WINDOW, slot_prospects, stop_columns, stop_features
from mallocgame.game.options import GameConfig
from mallocgame.game.tables import NEVER, EventRow, SlotRow, Tables, pad

# The least stops and residencies that a game is padded to.
SHORTEST, FEWEST = 64, 32


@struct.dataclass
class GameArrays:
    """P programs in one set of arrays, padded to a length that others share.

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

    @property
    def num_questions(self) -> int:
        """Q: no game is asked more different questions."""
        return 2 * self.events.shape[1]


def stack_tables(tables: Sequence[Tables], config: GameConfig) -> GameArrays:
    """Stacks compiled programs, padded to a power of two above the longest.

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
    behind = WINDOW if is_rich else 0
    return GameArrays(
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
