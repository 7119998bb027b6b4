"""The arrays of one compiled program: rows for stops and slots, what the game in JAX walks over."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mallocgame.program import Program

# Kinds of stops.
READ, DEFINE, UPDATE, ENTRY, EXIT = range(5)
# A slot that no program reaches.
NEVER = 1 << 30


class EventRow(NamedTuple):
    """Columns of the event list; each field is int32, of any batch shape.

    slot: when the game meets the stop.
    kind: READ, DEFINE, UPDATE, ENTRY or EXIT.
    value: whose stop it is.
    size: aligned bytes of the value.
    demand: ticks of a copy of the value.
    slow_from: first slot at which slow memory may hold the value after its last write.
    hold_until: end of the interval that a hold asks for, 0 where the value has no later read.
    stay_end: end of the residency that results (a group's parameter gives up the rest).
    reserved: largest reservation, aligned, that a hold meets.
    read: ticks that the access in fast memory takes off the instruction's reads.
    write: the same of its writes.
    bus: the same of its time on the slow bus.
    saving_if_alone: ticks that the access in fast memory saves if it is the only one there.
    worth: weighted ticks that the value's accesses from here to the end of the next hold save at
        most; a copy must not stall for longer.
    writeback: 1 where a dirty value without later read must be evicted.
    inert_arrival: 1 where an arrival is answered DROP by rule, for too small a saving or because
        the group's result may not be in fast memory.
    inert_departure: the same of a departure.
    promise_slot: where a held group's result is defined, -1 without a group.
    promise_value: that result, -1 without a group.
    last: 1 for the slot's last event.
    """

    slot: Any
    kind: Any
    value: Any
    size: Any
    demand: Any
    slow_from: Any
    hold_until: Any
    stay_end: Any
    reserved: Any
    read: Any
    write: Any
    bus: Any
    saving_if_alone: Any
    worth: Any
    writeback: Any
    inert_arrival: Any
    inert_departure: Any
    promise_slot: Any
    promise_value: Any
    last: Any


class SlotRow(NamedTuple):
    """Columns of the slot list, int32: all-slow ticks of slot t and its place in the loops."""

    compute: Any
    read: Any
    write: Any
    bus: Any
    slow_elapsed: Any
    weight: Any
    reserved: Any
    segment_start: Any
    segment_end: Any


@dataclasses.dataclass(frozen=True)
class Tables:
    """One program in ticks.

    events [E, columns of EventRow], slots [T, columns of SlotRow]: int32.
    following [E]: float64, share that the read at the end of a hold can save; for a held loop, all
        reads in its body.
    residency_bound: residencies that the game can have to remember at once.
    total_ticks: all-slow latency; tick_s: seconds a tick.
    floor_ticks: weighted latency with everything that fits in fast memory, at no cost.
    bound [T + 1]: float64, share of all-slow latency that slots t, t + 1, ... save at most.
    savings [E, 2]: float64, share of all-slow latency that the accesses from the stop on, and those
        after it, can save.
    """

    program: Program
    events: np.ndarray
    slots: np.ndarray
    savings: np.ndarray
    following: np.ndarray
    bound: np.ndarray
    residency_bound: int
    total_ticks: int
    floor_ticks: int
    tick_s: float

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
