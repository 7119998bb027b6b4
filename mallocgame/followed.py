"""What of a mapping the TPU compiler can be brought to follow, by options that order its choices.

Production, the compiler's own mapping, tells it (docs/results/promises.md).

- *It has placed all that it can.* A value that would fit beside all that production has in fast
  memory, and is not there, is not wanted there; another order brings it no further.
- It keeps what it has in fast memory where there is room, even where slow memory would be faster.
- It makes no copy that takes longer than the instructions which it could hide behind.
- It writes a result in fast memory only to be read there, and not to copy it away.

What is left is a matter of order: who has the room that is short.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from gamekit.errors import InputError
from mallocgame.judge import simulate
from mallocgame.judge.reading import JudgedStay, Reading
from mallocgame.program import Program
from mallocgame.program.latency import copy_seconds
from mallocgame.program.machine import machine_by_name
from mallocgame.program.mapping import Mapping

# Why a stay is refused.
ROOM, AWAY = "there was room", "a result, copied away"


class Follower:
    """Production's mapping, as a measure of what else the compiler would do.

    served: bool [A], the accesses that production has in fast memory.
    """

    def __init__(self, program: Program, production: Mapping):
        self.program = program
        reading = Reading(program, production)
        self.served = reading.served_fast()
        self._known = {
            (a.value, a.instruction)
            for a, is_fast in zip(program.accesses, self.served, strict=True)
            if is_fast
        }
        self._evicted = {t.value for t in reading.evictions}
        self._in_use = np.array([i.reserved_bytes for i in program.instructions], np.int64)
        self._stays: dict[int, list[JudgedStay]] = {}
        for stay in reading.stays:
            self._in_use[stay.start : stay.end] += stay.size
            self._stays.setdefault(stay.value, []).append(stay)

    def why_refused(
        self, value: int, start: int, end: int, slots: Sequence[int], *, leaves: bool
    ) -> str:
        """Why a value would not stay in fast memory over [start, end); empty if it would.

        slots: those of its accesses meanwhile, all of which are served there. leaves: whether it is
        defined there, and copied to slow memory afterwards.
        """
        if all((value, slot) in self._known for slot in slots):
            return ""
        in_use = self._in_use[start:end]
        for own in self._stays.get(value, ()):
            in_use = in_use.copy()
            in_use[max(own.start - start, 0) : max(own.end - start, 0)] -= own.size
        size = self.program.machine.align(self.program.values[value].size_bytes)
        if in_use.max(initial=0) + size <= self.program.machine.fast_capacity_bytes:
            return ROOM
        return AWAY if leaves and value not in self._evicted else ""

    def looks(self, mapping: Mapping) -> Iterator[tuple[JudgedStay, list[int], str]]:
        """A mapping's stays, the numbers of the accesses that each serves, why it is refused."""
        reading = Reading(self.program, mapping)
        by_value: dict[int, list[tuple[int, int]]] = {}
        for number in np.flatnonzero(reading.served_fast()).tolist():
            access = self.program.accesses[number]
            by_value.setdefault(access.value, []).append((access.instruction, number))
        copied: dict[int, list[int]] = {}
        for copy in reading.evictions:
            copied.setdefault(copy.value, []).append(copy.start)
        for stay in reading.stays:
            during = [x for x in by_value.get(stay.value, ()) if stay.start <= x[0] < stay.end]
            leaves = any(stay.start < t <= stay.end for t in copied.get(stay.value, ()))
            why = self.why_refused(
                stay.value, stay.start, stay.end, [slot for slot, _ in during],
                leaves=stay.defined and leaves,
            )  # fmt: skip
            yield stay, [number for _, number in during], why

    def follows(self, mapping: Mapping) -> tuple[Mapping, np.ndarray]:
        """What comes of a mapping: the mapping without the stays that are refused, and the accesses
        that fast memory then serves, bool [A].

        A refused stay leaves its accesses where production has them.
        """
        served = Reading(self.program, mapping).served_fast()
        refused = []
        for stay, numbers, why in self.looks(mapping):
            if why:
                refused.append((stay.value, stay.start, stay.end))
                served[numbers] = self.served[numbers]
        return _without(mapping, refused), served


def late_stays(program: Program, production: Mapping, mapping: Mapping) -> set[tuple[int, int]]:
    """The stays (value, start) whose copy takes longer than all instructions meanwhile, but for
    copies that production makes too: there are other ways to them."""
    own = {(t.value, t.end) for t in production.prefetches}
    return {(v, start) for v, start, end in late_copies(program, mapping) if (v, end) not in own}


def without_late_copies(program: Program, production: Mapping, mapping: Mapping) -> Mapping:
    """A mapping without its late stays.

    The program would wait for their copies, and the compiler does not make them.
    """
    late = late_stays(program, production, mapping)
    gone = [r for r in mapping.residencies if (r.value, r.start) in late]
    return _without(mapping, [(r.value, r.start, r.end) for r in gone])


def _without(mapping: Mapping, stays: Sequence[tuple[int, int, int]]) -> Mapping:
    """A mapping without the stays (value, start, end) and their copies."""
    if not stays:
        return mapping
    gone, begun = set(stays), {(value, start) for value, start, _ in stays}
    return dataclasses.replace(
        mapping,
        residencies=tuple(
            r for r in mapping.residencies if (r.value, r.start, r.end) not in gone
        ),
        prefetches=tuple(t for t in mapping.prefetches if (t.value, t.start) not in begun),
        evictions=tuple(
            t for t in mapping.evictions
            if not any(v == t.value and start < t.start <= end for v, start, end in stays)
        ),
    )  # fmt: skip


def late_copies(program: Program, mapping: Mapping) -> set[tuple[int, int, int]]:
    """The prefetches (value, start, end) that take longer than all instructions meanwhile.

    Copies take their bytes over the published bandwidth here, as in the compiler's own rule.
    """
    elapsed = np.concatenate([[0.0], np.cumsum(simulate(program, mapping).elapsed_s)])
    demand = copy_seconds(program) * _copy_speed(program)
    return {
        (t.value, t.start, t.end)
        for t in mapping.prefetches
        if elapsed[t.end] - elapsed[t.start] < demand[t.value]
    }


def _copy_speed(program: Program) -> float:
    """The machine's bandwidth over the published one, by which the compiler times its copies."""
    try:
        return min(
            program.machine.slow_bandwidth / machine_by_name(program.machine.name).slow_bandwidth,
            1.0,
        )
    except InputError:  # a machine of one's own
        return 1.0
