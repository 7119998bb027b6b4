"""What the observations know of a program before the game: worked out on the host, once.

Static knowledge of a stop (its size, what it can save, how far the next read is) is a row a stop,
what lies ahead of a slot whatever is decided a row a slot.  Quantities are shares of the capacity
or of the program's latency, compressed by `log1p` where they span decades.
"""

from __future__ import annotations

import numpy as np

from mallocgame.game.tables import DEFINE, ENTRY, EXIT, READ, UPDATE, EventRow, SlotRow, Tables

# What is known of each stop; the plain observation shows the first of them of the coming stops too.
COMING_FEATURES = (
    "size", "saving", "saving_after", "distance_to_read", "has_later_read", "writes",
)  # fmt: skip
STOP_FEATURES = (
    *COMING_FEATURES,
    "saving_of_hold", "density_of_hold", "density_of_access", "copy_time", "area_of_hold",
    "writeback", "is_input", "is_output", "weight",
    "reads", "defines", "updates", "enters", "exits",
)  # fmt: skip
STATIC = len(STOP_FEATURES)
# Slots ahead at which the rich observation shows the memory, and what it shows of each.
TIMES = (0, 1, 2, 3, 5, 8, 12, 20, 32, 52, 84, 136)
PROSPECT_FEATURES = ("alive", "supply", "reserved")
PROSPECTS = len(PROSPECT_FEATURES)
# Coming stops that the rich observation shows.
WINDOW = 16


def compress(x: np.ndarray, scale: float) -> np.ndarray:
    """From nothing to 0, from 1 to 1; what is small stands out with the scale."""
    return np.log1p(np.maximum(x, 0) * scale) / np.log1p(scale)


def stop_features(tables: Tables) -> np.ndarray:
    """Float32 [E, STATIC]: what is known of each stop before the game, by `STOP_FEATURES`."""
    events = EventRow(*tables.events.T.astype(np.float64))
    num_slots = max(len(tables.slots), 1)
    count = max(len(tables.events), 1)
    slots = tables.slots[tables.events[:, 0]] if len(tables.events) else tables.slots[:0]
    here, after = tables.savings[:, 0] - tables.savings[:, 1], tables.savings[:, 1]
    following = tables.following
    distance = np.where(events.hold_until > 0, events.hold_until - 1 - events.slot, 0)
    size = events.size / tables.capacity
    capacity_ticks = max(tables.capacity_ticks, 1.0)
    values = [tables.program.values[int(v)] for v in events.value]
    density = following / np.maximum(size * np.maximum(distance, 1), 1e-6)
    columns = {
        "size": compress(size, 100.0),
        "saving": compress(here * count, 10.0),
        "saving_after": compress(after * count, 10.0),
        "distance_to_read": compress(distance / num_slots, 100.0),
        "has_later_read": events.hold_until > 0,
        "writes": events.write > 0,
        "saving_of_hold": compress(following * count, 10.0),
        "density_of_hold": compress(density, 100.0),
        "density_of_access": compress(here / np.maximum(size, 1e-6), 100.0),
        "copy_time": compress(events.demand / capacity_ticks, 100.0),
        "area_of_hold": compress(size * distance / num_slots, 100.0),
        "writeback": events.writeback,
        "is_input": np.array([v.is_input for v in values], bool),
        "is_output": np.array([v.is_output for v in values], bool),
        "weight": compress(slots[:, SlotRow._fields.index("weight")] - 1.0, 1.0),
        "reads": events.kind == READ,
        "defines": events.kind == DEFINE,
        "updates": events.kind == UPDATE,
        "enters": events.kind == ENTRY,
        "exits": events.kind == EXIT,
    }
    named = [columns[name].astype(float) for name in STOP_FEATURES]
    return np.stack(named, axis=1).astype(np.float32)


def slot_prospects(tables: Tables) -> np.ndarray:
    """Float32 [T, TIMES * PROSPECTS]: what no decision changes about the time ahead of each slot.

    For each time ahead, by `PROSPECT_FEATURES`: bytes of useful values alive then, over the
    capacity (a value is alive from a stop to its next read if it may save enough to be asked
    about); copies of the whole fast memory that the slots until then have idle time for, with
    everything in slow memory; share of the memory that is reserved then.
    """
    slots = SlotRow(*tables.slots.T.astype(np.float64))
    count = len(tables.slots)
    alive = np.zeros(count)
    events = EventRow(*tables.events.T)
    useful = (events.hold_until > 0) & (events.inert_arrival == 0)
    for value in np.unique(events.value[useful]):
        there = np.zeros(count + 1)
        mine = useful & (events.value == value)
        np.add.at(there, events.slot[mine], 1)
        np.add.at(there, events.hold_until[mine], -1)
        alive += (np.cumsum(there[:-1]) > 0) * float(events.size[mine][0])
    idle = np.append(0.0, np.cumsum(np.maximum(slots.slow_elapsed - slots.bus, 0)))
    now = np.arange(count)[:, None]
    then = now + np.array(TIMES)
    inside = then < count
    at = np.minimum(then, max(count - 1, 0))
    supply = idle[np.minimum(then, count)] - idle[now]
    columns = {
        "alive": np.where(inside, compress(alive / tables.capacity, 1.0)[at], 0.0),
        "supply": compress(supply / max(tables.capacity_ticks, 1.0), 10.0),
        "reserved": np.where(inside, (slots.reserved / tables.capacity)[at], 0.0),
    }
    named = [columns[name] for name in PROSPECT_FEATURES]
    return np.stack(named, axis=2).reshape(count, len(TIMES) * PROSPECTS).astype(np.float32)


def stop_columns(tables: Tables) -> np.ndarray:
    """Int32 [E, 3]: slot, value and alias group of each stop.

    The group is -1 without one: values that share one memory at the boundary of a loop, and those
    that share it with them elsewhere.
    """
    group = np.arange(len(tables.program.values))
    for carried in tables.program.carried:
        group[group == group[carried.result]] = group[carried.parameter]
    sizes = np.bincount(group, minlength=len(group))
    events = EventRow(*tables.events.T)
    shared = np.where(sizes[group] > 1, group, -1)[events.value]
    return np.stack([events.slot, events.value, shared], axis=1).astype(np.int32)
