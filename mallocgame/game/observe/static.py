"""What the observation knows of a program before the game: worked out on the host, once.

Quantities are shares of the capacity or of the program's latency, compressed by `log1p` where they
span decades.
"""

from __future__ import annotations

import numpy as np

from mallocgame.game.tables import (
    ASK_DEFINE,
    ASK_DEPART,
    ASK_READ,
    INERT,
    KEEP,
    LATER,
    QuestionRow,
    SlotRow,
    Tables,
)
from mallocgame.program.latency import elapsed_time, supply_time
from mallocgame.relaxation.prices import NOTHING

# Slots ahead at which the pressure is shown.
TIMES = (0, 1, 2, 4, 8, 16, 32, 64)
# Questions that are shown: the one that is asked, and the next ones in the list.
AHEAD = 12
# What is known of each question; of the coming ones the first of them are shown.
COMING_FEATURES = (
    "size", "saving", "saving_of_hold", "density_of_hold", "distance_to_read", "departs",
    "worth", "planned",
)  # fmt: skip
STATIC_FEATURES = (
    *COMING_FEATURES,
    "saving_after", "has_later_read", "density_of_access", "copy_time", "area_of_hold",
    "must_be_kept", "is_input", "is_output", "weight", "enters_loop", "asks_read", "asks_define",
    "alive_over_hold", "rivals_over_hold", "worth_dirty", "rent_of_hold",
)  # fmt: skip
RIVALS = tuple(f"rivals_in_{ahead}" for ahead in TIMES)
# What is known of each slot, for each time ahead of it.
SLOT_FEATURES = ("alive", "supply", "memory_price", "due_price", "released_price", "planned_use")


def compress(x: np.ndarray, scale: float) -> np.ndarray:
    """From nothing to 0, from 1 to 1; what is small stands out with the scale."""
    return np.log1p(np.maximum(x, 0) * scale) / np.log1p(scale)


def compress_signed(x: np.ndarray, scale: float) -> np.ndarray:
    """`compress` of the size, with the sign."""
    return np.sign(x) * compress(np.abs(x), scale)


def densities(tables: Tables) -> tuple[np.ndarray, np.ndarray]:
    """What saying yes saves at every question for the room it takes: float64 [Q] each.

    The first is that of the access in the slot, over the share of the capacity; the second that of
    the hold to the next read or over the loop, over share times slots.
    """
    rows = QuestionRow(*tables.questions.T.astype(np.float64))
    size = np.maximum(rows.size / tables.capacity, 1e-9)
    slots = np.maximum(rows.hold_end - 1 - rows.slot, 1)
    return tables.own / size, tables.following / (size * slots)


def question_features(tables: Tables) -> np.ndarray:
    """Float32 [Q, STATIC_FEATURES and RIVALS]: what is known of each question before the game."""
    rows = QuestionRow(*tables.questions.T.astype(np.float64))
    flags = tables.questions[:, QuestionRow._fields.index("flags")]
    count = max(len(tables.questions), 1)
    num_slots = max(len(tables.slots), 1)
    size = rows.size / tables.capacity
    values = [tables.program.values[int(v)] for v in rows.value]
    distance = np.where(flags & LATER, rows.hold_end - 1 - rows.slot, 0)
    access, hold = densities(tables)
    alive, rivals, rivals_in = _competition(tables, hold)
    prices, worth = tables.prices, worths_of_yes(tables)
    rent = np.append(0.0, np.cumsum(prices.memory))
    held = QuestionRow(*tables.questions.T)
    columns = {
        "size": compress(size, 100.0),
        "saving": compress(tables.own * count, 10.0),
        "saving_of_hold": compress(tables.following * count, 10.0),
        "density_of_hold": compress(hold, 100.0),
        "distance_to_read": compress(distance / num_slots, 100.0),
        "departs": rows.kind == ASK_DEPART,
        "saving_after": compress(tables.ahead * count, 10.0),
        "has_later_read": (flags & LATER) > 0,
        "density_of_access": compress(access, 100.0),
        "copy_time": compress(rows.demand / max(tables.capacity_ticks, 1.0), 100.0),
        "area_of_hold": compress(size * distance / num_slots, 100.0),
        "must_be_kept": (flags & KEEP) > 0,
        "is_input": np.array([v.is_input for v in values], bool),
        "is_output": np.array([v.is_output for v in values], bool),
        "weight": compress(rows.weight - 1.0, 1.0),
        "enters_loop": rows.entry,
        "asks_read": rows.kind == ASK_READ,
        "asks_define": rows.kind == ASK_DEFINE,
        "alive_over_hold": compress(alive, 1.0),
        "rivals_over_hold": compress(rivals, 1.0),
        "worth": compress_signed(worth[:, 0] * count, 10.0),
        "worth_dirty": compress_signed(worth[:, 1] * count, 10.0),
        "planned": worth[:, 2],
        "rent_of_hold": compress(size * (rent[held.hold_end] - rent[held.slot]) * count, 10.0),
    }
    named = [columns[name].astype(float) for name in STATIC_FEATURES]
    found = np.concatenate([np.stack(named, axis=1), compress(rivals_in, 1.0)], axis=1)
    return found.astype(np.float32)


def worths_of_yes(tables: Tables) -> np.ndarray:
    """Float64 [Q, fields of `Worth`]: what the relaxation says about a yes to each question."""
    prices, found = tables.prices, []
    for row in map(QuestionRow._make, tables.questions.tolist()):
        known = prices.stays if row.kind == ASK_DEPART else prices.arrivals
        found.append(known.get((row.value, row.slot), NOTHING))
    return np.array(found, np.float64).reshape(len(found), len(NOTHING))


def _competition(tables: Tables, density: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What wants to be in fast memory at the same time, as shares of the capacity.

    A hold that is worth a question wants to be there from its question's slot to its end.

    Returns:
      alive [Q]: all of them, averaged over the slots of the question's hold. rivals [Q]: those that
      save more for their room than it does. rivals_in [Q, TIMES]: these, so many slots ahead.
    """
    rows = QuestionRow(*tables.questions.T)
    count = len(tables.slots)
    load = np.zeros(count)
    rivals, rivals_in = np.zeros(len(density)), np.zeros((len(density), len(TIMES)))
    wants = (rows.kind == ASK_DEPART) & ((rows.flags & LATER) > 0) & ((rows.flags & INERT) == 0)
    for i in np.argsort(-density, kind="stable"):
        start, end = int(rows.slot[i]), int(rows.hold_end[i])
        rivals[i] = load[start:end].mean()
        then = start + np.array(TIMES)
        rivals_in[i] = np.where(then < count, load[np.minimum(then, count - 1)], 0.0)
        if wants[i]:
            load[start:end] += rows.size[i] / tables.capacity
    alive = np.array([load[a:b].mean() for a, b in zip(rows.slot, rows.hold_end, strict=True)])
    return alive, rivals, rivals_in


def slot_features(tables: Tables) -> np.ndarray:
    """Float32 [T, TIMES * SLOT_FEATURES]: what no decision changes about the time ahead of a slot.

    alive: bytes of holds that are worth a question, over the capacity. supply: copies of the whole
    fast memory that the slots until then have idle time for, with everything in slow memory.
    """
    slots = SlotRow(*tables.slots.T.astype(np.float64))
    rows = QuestionRow(*tables.questions.T)
    count = len(tables.slots)
    change = np.zeros(count + 1)
    wants = (rows.kind == ASK_DEPART) & ((rows.flags & LATER) > 0) & ((rows.flags & INERT) == 0)
    np.add.at(change, rows.slot[wants], rows.size[wants])
    np.add.at(change, rows.hold_end[wants], -rows.size[wants].astype(float))
    alive = np.cumsum(change)[:-1] / tables.capacity
    elapsed = elapsed_time(slots.compute, slots.read, slots.write)
    idle = np.append(0.0, np.cumsum(supply_time(elapsed, slots.bus)))
    now = np.arange(count)[:, None]
    then = now + np.array(TIMES)
    supply = idle[np.minimum(then, count)] - idle[now]
    columns = {
        "alive": np.where(then < count, compress(alive, 1.0)[np.minimum(then, count - 1)], 0.0),
        "supply": compress(supply / max(tables.capacity_ticks, 1.0), 10.0),
    }
    prices, weight = tables.prices, np.maximum(slots.weight, 1)
    columns |= {
        name: np.where(then < count, known[np.minimum(then, count - 1)], 0.0)
        for name, known in {
            "memory_price": compress(prices.memory * count, 10.0),
            "due_price": compress(prices.due / weight, 1.0),
            "released_price": compress(prices.released / weight, 1.0),
            "planned_use": prices.used,
        }.items()
    }
    named = [columns[name] for name in SLOT_FEATURES]
    return np.stack(named, axis=2).reshape(count, -1).astype(np.float32)
