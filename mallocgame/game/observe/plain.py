"""What the agent sees of a state: a fixed number of features, whatever the program.

Static knowledge of a stop (its size, what it can save, how far the next read is) is worked out on
the host, a row a stop.  The observation joins the row of the stop in question and those of the
next stops with what is known of the memory, the copy supply and the bus.  Quantities are shares of
the capacity or of the program's latency, compressed by `log1p` where they span decades.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from gamekit.observation import plain as one_part
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
from mallocgame.game.tables import EventRow, SlotRow, Tables
from mallocgame.program.latency import elapsed_time

if TYPE_CHECKING:
    from mallocgame.game.environment import Game

WINDOW = 12
AHEAD = (0, 1, 2, 4, 8, 16, 32, 64)
BACK = (1, 4, 16, 64)
NUM_KINDS = 5
STATIC = NUM_KINDS + 15
UPCOMING = 6
DYNAMIC = 4 + 5 + len(AHEAD) + 1 + len(BACK) + 3 + 5
SPEC = one_part(STATIC + DYNAMIC + WINDOW * (UPCOMING + 2))


def compress(x: np.ndarray, scale: float) -> np.ndarray:
    return np.log1p(np.maximum(x, 0) * scale) / np.log1p(scale)


def stop_features(tables: Tables) -> np.ndarray:
    """Float32 [E, STATIC]: what is known of each stop before the game.

    The first `UPCOMING` columns are the ones shown of the stops to come.
    """
    events = EventRow(*tables.events.T.astype(np.float64))
    num_slots = max(len(tables.slots), 1)
    count = max(len(tables.events), 1)
    slots = tables.slots[tables.events[:, 0]] if len(tables.events) else tables.slots[:0]
    here, after = tables.savings[:, 0] - tables.savings[:, 1], tables.savings[:, 1]
    following = tables.following
    distance = np.where(events.ask_end > 0, events.ask_end - 1 - events.slot, 0)
    size = events.size / tables.capacity
    capacity_ticks = max(tables.capacity_ticks, 1.0)
    values = [tables.program.values[int(v)] for v in events.value]
    density = following / np.maximum(size * np.maximum(distance, 1), 1e-6)
    columns = [
        compress(size, 100.0),
        compress(here * count, 10.0),
        compress(after * count, 10.0),
        compress(distance / num_slots, 100.0),
        (events.ask_end > 0).astype(float),
        (events.write > 0).astype(float),
        compress(following * count, 10.0),
        compress(density, 100.0),
        compress(here / np.maximum(size, 1e-6), 100.0),
        compress(events.demand / capacity_ticks, 100.0),
        compress(size * distance / num_slots, 100.0),
        events.writeback,
        np.array([v.is_input for v in values], float),
        np.array([v.is_output for v in values], float),
        compress(slots[:, SlotRow._fields.index("weight")] - 1.0, 1.0) if count else size,
    ]
    kinds = (events.kind[:, None] == np.arange(NUM_KINDS)).astype(float)
    return np.concatenate([np.stack(columns, axis=1), kinds], axis=1).astype(np.float32)


def observe(game: Game, state: State) -> Array:
    """Float32 [..., F]."""
    return jnp.concatenate([observe_question(game, state), _upcoming(game, state)], axis=-1)


def observe_question(game: Game, state: State) -> Array:
    """Float32 [..., STATIC + DYNAMIC]: the stop in question, the memory, the supply, the bus."""
    row = EventRow(*gather(game.events, state.program, state.event))
    here = SlotRow(*gather(game.slots, state.program, state.slot))
    table, t = state.table, state.slot
    capacity = game.capacity[state.program].astype(jnp.float32)
    total = game.total_ticks[state.program].astype(jnp.float32)
    whole_copy = jnp.maximum(game.capacity_ticks[state.program], 1.0)
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
        log_scaled((t - state.begin) / game.config.prefetch_window, 10.0),
        dirty.astype(jnp.float32),
        log_scaled(since / game.num_slots[state.program], 100.0),
        *[u.astype(jnp.float32) for u in used],
        _largest_gap(state, capacity),
        *[log_scaled(b, 10.0) for b in back],
        log_scaled(queue / whole_copy, 10.0),
        log_scaled(row.demand / jnp.maximum(supply[-1], 1), 1.0),
        log_scaled(1000.0 * jnp.where(state.question == ASK_READ, state.late, 0) / total, 10.0),
        t / game.num_slots[state.program],
        state.saved / total,
        here.slow_elapsed * here.weight / total * 100.0,
        log_scaled((here.slow_elapsed - here.compute) / jnp.maximum(here.slow_elapsed, 1), 1.0),
        # Where there is no place it is NEVER, which half precision does not hold.
        jnp.minimum(state.place / capacity, 1.0),
    ]
    dynamic = jnp.stack([jnp.asarray(s, jnp.float32) for s in scalars], axis=-1)
    static = game.features.at[state.program, state.event].get(mode="clip")
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


def _upcoming(game: Game, state: State) -> Array:
    """The next stops: what they are, how far, and whether their values are in fast memory."""
    rows = []
    last = game.events.shape[1] - 1
    table = state.table
    for ahead in range(1, WINDOW + 1):
        index = jnp.minimum(state.cursor + ahead - (state.question == 2), last)
        slot = game.events[state.program, index, 0]
        value = game.events[state.program, index, 2]
        there = (table["value"] == value) & (table["end"] > state.slot)
        resident = jnp.any(there & (table["start"] <= state.slot), axis=0)
        features = game.features[state.program, index, :UPCOMING]
        distance = jnp.where(index < last, slot - state.slot, 64)
        extra = jnp.stack(
            [log_scaled(distance / 64.0, 10.0), resident.astype(jnp.float32)], axis=-1
        )
        rows += [features, extra]
    return jnp.concatenate(rows, axis=-1)
