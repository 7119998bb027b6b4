"""What the agent sees of a state: a fixed number of features, whatever the program.

The observation joins what was known before of the stop in question and of the next ones
(`static.stop_features`) with what is known now of the memory, the copy supply and the bus.
Quantities are shares of the capacity or of the program's latency, compressed by `log1p` where they
span decades.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from gamekit.observation import plain as one_part
from mallocgame.game.arrays import GameArrays
from mallocgame.game.observe.static import COMING_FEATURES, STOP_FEATURES
from mallocgame.game.placement import at_row, gather
from mallocgame.game.state import (
    ASK_DEFINE,
    ASK_DEPART,
    ASK_READ,
    Flag,
    State,
    departure_order,
    has,
)
from mallocgame.game.tables import EventRow, SlotRow
from mallocgame.program.latency import elapsed_time

# Coming stops that are shown.
UPCOMING = 12
# Slots ahead at which the memory in use is shown, and slots back over which the supply is summed.
AHEAD = (0, 1, 2, 4, 8, 16, 32, 64)
BACK = (1, 4, 16, 64)
USED = tuple(f"used_in_{ahead}" for ahead in AHEAD)
SUPPLIED = tuple(f"supply_of_{back}" for back in BACK)
# What is known of the question now, beside `STOP_FEATURES`.
QUESTION_FEATURES = (
    "asks_read", "asks_define", "asks_depart", "may_accept",
    "saving_now", "idle_share", "copy_slots", "is_dirty", "resident_since",
    *USED, "largest_gap", *SUPPLIED,
    "eviction_queue", "demand_over_supply", "stall",
    "progress", "saved", "slot_time", "slot_excess", "place",
)  # fmt: skip
# What is known now of each coming stop, beside `COMING_FEATURES`.
COMING_NOW = ("distance", "is_resident")


def feature_names() -> tuple[str, ...]:
    """The names of the F features, in order."""
    coming = [
        f"next_{ahead}.{name}"
        for ahead in range(1, UPCOMING + 1)
        for name in (*COMING_FEATURES, *COMING_NOW)
    ]
    return (*question_names(), *coming)


def question_names() -> tuple[str, ...]:
    """The names of what `observe_question` returns, in order."""
    stop = [f"stop.{name}" for name in STOP_FEATURES]
    return (*stop, *(f"question.{name}" for name in QUESTION_FEATURES))


SPEC = one_part(len(feature_names()))


def observe(arrays: GameArrays, state: State) -> Array:
    """Float32 [..., F], by `feature_names`."""
    return jnp.concatenate([observe_question(arrays, state), _upcoming(arrays, state)], axis=-1)


def observe_question(arrays: GameArrays, state: State) -> Array:
    """The stop in question, the memory, the supply, the bus: float32 [..., `question_names`]."""
    row = EventRow(*gather(arrays.events, state.program, state.event))
    here = SlotRow(*gather(arrays.slots, state.program, state.slot))
    table, t = state.table, state.slot
    capacity = arrays.capacity[state.program].astype(jnp.float32)
    total = arrays.total_ticks[state.program].astype(jnp.float32)
    whole_copy = jnp.maximum(arrays.capacity_ticks[state.program], 1.0)
    held = jnp.where(has(table["flags"], Flag.PROMISED), 0, table["size"])

    used = [
        jnp.sum(jnp.where((table["start"] <= t + a) & (table["end"] > t + a), held, 0), axis=0)
        / capacity
        for a in AHEAD
    ]
    supply = jnp.cumsum(state.supply, axis=0)
    back = [supply[min(b, supply.shape[0]) - 1] / whole_copy for b in BACK]
    queue = jnp.max(jnp.where(has(table["flags"], Flag.EVICTING), table["ticket"], 0), axis=0)
    now = elapsed_time(here.compute, here.read - state.read, here.write - state.write, jnp)
    then = elapsed_time(
        here.compute, here.read - state.read - row.read, here.write - state.write - row.write, jnp
    )
    saving_now = 1000.0 * (here.weight * (now - then)) / total
    asking = has(table["flags"], Flag.UP) & (departure_order(table) == state.departure_key)
    departs = state.question == ASK_DEPART
    dirty = departs & jnp.any(asking & has(table["flags"], Flag.DIRTY), axis=0)
    since = jnp.where(departs, t - at_row(table["start"], asking), 0)
    features = {
        "asks_read": state.question == ASK_READ,
        "asks_define": state.question == ASK_DEFINE,
        "asks_depart": departs,
        "may_accept": state.may_accept,
        "saving_now": log_scaled(saving_now, 10.0),
        "idle_share": log_scaled((now - here.bus + state.bus) / jnp.maximum(now, 1), 1.0),
        "copy_slots": log_scaled((t - state.begin) / arrays.config.prefetch_window, 10.0),
        "is_dirty": dirty,
        "resident_since": log_scaled(since / arrays.num_slots[state.program], 100.0),
        **dict(zip(USED, used, strict=True)),
        "largest_gap": _largest_gap(state, capacity),
        **{name: log_scaled(x, 10.0) for name, x in zip(SUPPLIED, back, strict=True)},
        "eviction_queue": log_scaled(queue / whole_copy, 10.0),
        "demand_over_supply": log_scaled(row.demand / jnp.maximum(supply[-1], 1), 1.0),
        "stall": log_scaled(
            1000.0 * jnp.where(state.question == ASK_READ, state.stall, 0) / total, 10.0
        ),
        "progress": t / arrays.num_slots[state.program],
        "saved": state.saved / total,
        "slot_time": here.slow_elapsed * here.weight / total * 100.0,
        "slot_excess": log_scaled(
            (here.slow_elapsed - here.compute) / jnp.maximum(here.slow_elapsed, 1), 1.0
        ),
        # Where there is no place it is NEVER, which half precision does not hold.
        "place": jnp.minimum(state.place / capacity, 1.0),
    }
    dynamic = stack_features(features, QUESTION_FEATURES)
    static = arrays.features.at[state.program, state.event].get(mode="clip")
    return jnp.concatenate([static, dynamic], axis=-1)


def stack_features(features: dict[str, Array], names: Sequence[str]) -> Array:
    """Float32 [..., names]: features [...] in the order of their names."""
    return jnp.stack([jnp.asarray(features[name], jnp.float32) for name in names], axis=-1)


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
    for ahead in range(1, UPCOMING + 1):
        index = jnp.minimum(state.cursor + ahead - (state.question == ASK_DEPART), last)
        slot = arrays.events[state.program, index, EventRow._fields.index("slot")]
        value = arrays.events[state.program, index, EventRow._fields.index("value")]
        there = (table["value"] == value) & (table["end"] > state.slot)
        resident = jnp.any(there & (table["start"] <= state.slot), axis=0)
        features = arrays.features[state.program, index, : len(COMING_FEATURES)]
        distance = jnp.where(index < last, slot - state.slot, 64)
        extra = {"distance": log_scaled(distance / 64.0, 10.0), "is_resident": resident}
        rows += [features, stack_features(extra, COMING_NOW)]
    return jnp.concatenate(rows, axis=-1)
