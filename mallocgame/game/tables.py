"""The arrays of one compiled program: rows for stops, questions and slots, which the game reads."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mallocgame.program import Program
from mallocgame.relaxation.prices import Prices, prices_of

# Kinds of stops.
READ, DEFINE, UPDATE, ENTRY, EXIT = range(5)
# Kinds of questions: a read finds its value in slow memory; a value is produced; a hold has ended.
ASK_READ, ASK_DEFINE, ASK_DEPART = range(3)
# Flags of questions. LATER: the value has a later read, or a loop to be held over. INERT: too small
# to be asked. ALONE: holding is illegal, as the group's result is not in play. KEEP: a dirty value
# without later read must be written back.
LATER, INERT, ALONE, KEEP = 1, 2, 4, 8
# A slot or a row that no program reaches.
NEVER = 1 << 30


class StopRow(NamedTuple):
    """Columns of the list of stops, int32 [E], in the order in which the game meets them.

    slot, kind, value: where, READ to EXIT, and whose.
    read, write: ticks that the access in fast memory takes off the instruction's reads and writes.
    bus: the same of its time on the slow bus.
    next: the value's next stop, NEVER without one.
    """

    slot: Any
    kind: Any
    value: Any
    read: Any
    write: Any
    bus: Any
    next: Any


class Brief(NamedTuple):
    """What decides whether a question is worth a look: the first columns of `QuestionRow`."""

    slot: Any
    kind: Any
    value: Any
    size: Any
    flags: Any


class QuestionRow(NamedTuple):
    """Columns of the list of questions, int32 [Q], in the order in which the game comes to them.

    slot, kind, value: where, ASK_READ to ASK_DEPART, and about whom.
    size: aligned bytes of the value.
    flags: LATER, INERT, ALONE, KEEP.
    stop: the stop that asks: of a departure the value's last one in the slot.
    first: the first stop that a hold from here would serve.
    demand: ticks of a copy of the value.
    slow_from: first slot at which slow memory may hold the value after its last write there.
    segment: first slot of this slot's segment.
    limit: the slot before which a write-back from here must be done, for its segment and next stop.
    counted: end of the slots in which a hold takes room.
    stay_end: end of the residency that results.
    worth: weighted ticks that a move may stall for must be below this.
    weight: of the slot.
    result, result_first: the held group's result and its first stop, -1 without a group.
    result_start, result_end: the residency of the result.
    entry: 1 at the entry marker of a loop that the value may be held over.
    hold_end: where a hold to the next read, or over the loop, ends; the next slot without one.
    """

    slot: Any
    kind: Any
    value: Any
    size: Any
    flags: Any
    stop: Any
    first: Any
    demand: Any
    slow_from: Any
    segment: Any
    limit: Any
    counted: Any
    stay_end: Any
    worth: Any
    weight: Any
    result: Any
    result_first: Any
    result_start: Any
    result_end: Any
    entry: Any
    hold_end: Any


class SlotRow(NamedTuple):
    """Columns of the list of slots, int32 [T]: all-slow ticks, weight, aligned reserved bytes."""

    compute: Any
    read: Any
    write: Any
    bus: Any
    weight: Any
    reserved: Any


@dataclasses.dataclass(frozen=True)
class Tables:
    """One program in ticks.

    stops [E, columns of StopRow], questions [Q, columns of QuestionRow], slots [T, columns of
        SlotRow]: int32.
    own, ahead [Q]: float64, share of all-slow latency that the value's accesses in the question's
        slot save at most, and those after the slot.
    following [Q]: the same of the accesses that a hold from here would serve, without this slot's.
    bound [T + 1]: float64, share of all-slow latency that slots t, t + 1, ... save at most.
    total_ticks: all-slow latency; tick_s: seconds a tick.
    floor_ticks: weighted latency with everything that fits in fast memory, at no cost.
    """

    program: Program
    stops: np.ndarray
    questions: np.ndarray
    slots: np.ndarray
    own: np.ndarray
    ahead: np.ndarray
    following: np.ndarray
    bound: np.ndarray
    total_ticks: int
    floor_ticks: int
    tick_s: float

    @functools.cached_property
    def prices(self) -> Prices:
        """The relaxation's, which is solved when they are first asked for."""
        return prices_of(self.program)

    @property
    def capacity(self) -> int:
        """Bytes of fast memory."""
        return self.program.machine.fast_capacity_bytes

    @property
    def capacity_ticks(self) -> float:
        """Ticks that a copy of the whole fast memory takes."""
        return self.capacity / self.program.machine.slow_bandwidth / self.tick_s


def pad(rows: Sequence[np.ndarray], length: int, fill: int) -> np.ndarray:
    """Stacks [n_i, C] arrays into [P, length, C], filling up with `fill`."""
    out = np.full((len(rows), length, *rows[0].shape[1:]), fill, rows[0].dtype)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out
