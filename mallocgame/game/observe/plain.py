"""What the agent sees of a state: a fixed number of features, whatever the program.

The observation joins what was known before of the stop in question and of the next ones
(`static.stop_features`) with what is known now of the memory, the copy supply and the bus.
Quantities are shares of the capacity or of the program's latency, compressed by `log1p` where they
span decades.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from mallocgame.game.arrays import GameArrays
from mallocgame.game.observe.static import STATIC, UPCOMING
from mallocgame.game.placement import at_row, gather
from mallocgame.game.state import (
    ASK_READ,
    DIRTY,
    EVICTING,
    PROMISED,
    UP,
    State,
    departure_order,
    has,
)
from mallocgame.game.tables import EventRow, SlotRow
from mallocgame.program.latency import elapsed_time

UPCOMING_STOPS = 12
AHEAD = (0, 1, 2, 4, 8, 16, 32, 64)
BACK = (1, 4, 16, 64)
DYNAMIC = 4 + 5 + len(AHEAD) + 1 + len(BACK) + 3 + 5


def observation_size(arrays: GameArrays) -> int:
    """Number of features F."""
    return STATIC + DYNAMIC + UPCOMING_STOPS * (UPCOMING + 2)


def observe(arrays: GameArrays, state: State) -> Array:
    """Float32 [..., F]."""
    return jnp.concatenate([observe_question(arrays, state), _upcoming(arrays, state)], axis=-1)


def observe_question(arrays: GameArrays, state: State) -> Array:
    """Float32 [..., STATIC + DYNAMIC]: the stop in question, the memory, the supply, the bus."""
    row = EventRow(*gather(arrays.events, state.program, state.event))
    here = SlotRow(*gather(arrays.slots, state.program, state.slot))
    table, t = state.table, state.slot
    capacity = arrays.capacity[state.program].astype(jnp.float32)
    total = arrays.total_ticks[state.program].astype(jnp.float32)
    whole_copy = jnp.maximum(arrays.capacity_ticks[state.program], 1.0)
    held = jnp.where(has(table["flags"], PROMISED), 0, table["size"])

    used = [
        jnp.sum(jnp.where((table["start"] <= t + a) & (table["end"] > t + a), held, 0), axis=0)
        / capacity
        for a in AHEAD
    ]
    supply = jnp.cumsum(state.supply, axis=0)
    back = [supply[min(b, supply.shape[0]) - 1] / whole_copy for b in BACK]
    queue = jnp.max(jnp.where(has(table["flags"], EVICTING), table["ticket"], 0), axis=0)
    now = elapsed_time(here.compute, here.read - state.read, here.write - state.write, jnp)
    then = elapsed_time(
        here.compute, here.read - state.read - row.read, here.write - state.write - row.write, jnp
    )
    decisions = 1000.0 * (here.weight * (now - then)) / total
    asking = has(table["flags"], UP) & (departure_order(table) == state.key)
    departs = state.question == 2
    dirty = departs & jnp.any(asking & has(table["flags"], DIRTY), axis=0)
    since = jnp.where(departs, t - at_row(table["start"], asking), 0)
    scalars = [
        *[(state.question == q).astype(jnp.float32) for q in range(3)],
        state.can.astype(jnp.float32),
        log_scaled(decisions, 10.0),
        log_scaled((now - here.bus + state.bus) / jnp.maximum(now, 1), 1.0),
        log_scaled((t - state.begin) / arrays.config.prefetch_window, 10.0),
        dirty.astype(jnp.float32),
        log_scaled(since / arrays.num_slots[state.program], 100.0),
        *[u.astype(jnp.float32) for u in used],
        _largest_gap(state, capacity),
        *[log_scaled(b, 10.0) for b in back],
        log_scaled(queue / whole_copy, 10.0),
        log_scaled(row.demand / jnp.maximum(supply[-1], 1), 1.0),
        log_scaled(1000.0 * jnp.where(state.question == ASK_READ, state.late, 0) / total, 10.0),
        t / arrays.num_slots[state.program],
        state.saved / total,
        here.slow_elapsed * here.weight / total * 100.0,
        log_scaled((here.slow_elapsed - here.compute) / jnp.maximum(here.slow_elapsed, 1), 1.0),
        # Where there is no place it is NEVER, which half precision does not hold.
        jnp.minimum(state.place / capacity, 1.0),
    ]
    dynamic = jnp.stack([jnp.asarray(s, jnp.float32) for s in scalars], axis=-1)
    static = arrays.features.at[state.program, state.event].get(mode="clip")
    return jnp.concatenate([static, dynamic], axis=-1)


def log_scaled(x: Array, scale: float) -> Array:
    return jnp.log1p(jnp.maximum(x, 0) * scale) / np.log1p(scale)


def _largest_gap(state: State, capacity: Array) -> Array:
    """Share of fast memory in the largest gap between what is resident now."""
    table, t = state.table, state.slot
    there = (table["start"] <= t) & (table["end"] > t)

    def visit(carry: tuple[Array, Array], residency: tuple) -> tuple[tuple[Array, Array], None]:
        begin, largest = carry
        start, size, there = residency
        largest = jnp.maximum(largest, jnp.where(there, start - begin, 0))
        return (jnp.where(there, jnp.maximum(begin, start + size), begin), largest), None

    zero = jnp.zeros_like(t)
    (begin, largest), _ = lax.scan(visit, (zero, zero), (table["offset"], table["size"], there))
    return jnp.maximum(largest, capacity - begin) / capacity


def _upcoming(arrays: GameArrays, state: State) -> Array:
    """The next stops: what they are, how far, and whether their values are in fast memory."""
    rows = []
    last = arrays.events.shape[1] - 1
    table = state.table
    for ahead in range(1, UPCOMING_STOPS + 1):
        index = jnp.minimum(state.cursor + ahead - (state.question == 2), last)
        slot = arrays.events[state.program, index, 0]
        value = arrays.events[state.program, index, 2]
        there = (table["value"] == value) & (table["end"] > state.slot)
        resident = jnp.any(there & (table["start"] <= state.slot), axis=0)
        features = arrays.features[state.program, index, :UPCOMING]
        distance = jnp.where(index < last, slot - state.slot, 64)
        extra = jnp.stack(
            [log_scaled(distance / 64.0, 10.0), resident.astype(jnp.float32)], axis=-1
        )
        rows += [features, extra]
    return jnp.concatenate(rows, axis=-1)
