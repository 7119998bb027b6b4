"""What the observations know of a program before the game: worked out on the host, once.

Static knowledge of a stop (its size, what it can save, how far the next read is) is a row a stop,
what lies ahead of a slot whatever is decided a row a slot.  Quantities are shares of the capacity
or of the program's latency, compressed by `log1p` where they span decades.
"""

from __future__ import annotations

import numpy as np

from mallocgame.game.tables import EventRow, SlotRow, Tables

NUM_KINDS = 5
STATIC = NUM_KINDS + 15
UPCOMING = 6
# Slots ahead at which the rich observation shows the memory; what it shows of each; coming stops.
TIMES = (0, 1, 2, 3, 5, 8, 12, 20, 32, 52, 84, 136)
PROSPECTS = 3
WINDOW = 16


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


def slot_prospects(tables: Tables) -> np.ndarray:
    """Float32 [T, PROSPECTS * TIMES]: what no decision changes about the time ahead of each slot.

    For each time ahead: bytes of useful values alive then, over the capacity (a value is alive from
    a stop to its next read if it may save enough to be asked about); copies of the whole fast
    memory that the slots until then have idle time for, with everything in slow memory; share of
    the memory that is reserved then.
    """
    slots = SlotRow(*tables.slots.T.astype(np.float64))
    count = len(tables.slots)
    alive = np.zeros(count)
    events = EventRow(*tables.events.T)
    useful = (events.ask_end > 0) & (events.inert_arrival == 0)
    for value in np.unique(events.value[useful]):
        there = np.zeros(count + 1)
        mine = useful & (events.value == value)
        np.add.at(there, events.slot[mine], 1)
        np.add.at(there, events.ask_end[mine], -1)
        alive += (np.cumsum(there[:-1]) > 0) * float(events.size[mine][0])
    idle = np.append(0.0, np.cumsum(np.maximum(slots.slow_elapsed - slots.bus, 0)))
    now = np.arange(count)[:, None]
    then = now + np.array(TIMES)
    inside = then < count
    at = np.minimum(then, max(count - 1, 0))
    supply = idle[np.minimum(then, count)] - idle[now]
    return np.concatenate(
        [
            np.where(inside, compress(alive / tables.capacity, 1.0)[at], 0.0),
            compress(supply / max(tables.capacity_ticks, 1.0), 10.0),
            np.where(inside, (slots.reserved / tables.capacity)[at], 0.0),
        ],
        axis=1,
    ).astype(np.float32)


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
