"""A mapping as the judge reads it: the usable parts, and reports about the rest."""

from __future__ import annotations

import bisect
import dataclasses
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from mallocgame.program import Program
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Transfer

# Takes a violation's kind, message, values and times.
Report = Callable[[str, str, Sequence[int], Sequence[int]], None]


@dataclasses.dataclass(frozen=True)
class JudgedStay:
    """A residency of a known value whose interval lies in the schedule.

    size: bytes rounded up to the alignment.
    ready: the first slot whose accesses fast memory serves: a prefetch's `end`, else `start`.
    defined: it arrives by a defining write.
    sound: a defining write or a prefetch explains its arrival.
    """

    value: int
    offset: int
    size: int
    start: int
    end: int
    ready: int
    defined: bool
    sound: bool


def takes_over(first: JudgedStay, second: JudgedStay, results: set[tuple[int, int]]) -> bool:
    """Whether one is a group's parameter and the other its result, defined by the last reader."""
    for parameter, result in ((first, second), (second, first)):
        if (parameter.value, result.value) in results:
            return (
                parameter.offset == result.offset
                and result.defined
                and parameter.end == result.start + 1
            )
    return False


def _ignore(kind: str, message: str, values: Sequence[int], times: Sequence[int]) -> None:
    """Discards what is reported, for callers that only read a mapping."""


class Reading:
    """A mapping's usable parts; what is wrong with the rest is reported.

    stays: residencies of known values in the schedule.
    fetches: prefetches, each with the index of the stay that it begins.
    evictions: evictions of known values in the schedule.
    """

    def __init__(self, program: Program, mapping: Mapping, report: Report = _ignore):
        self.program, self.report = program, report
        self.defining = {(a.value, a.instruction) for a in program.accesses if a.defines}
        prefetches: dict[tuple[int, int], list[Transfer]] = {}
        # Every prefetch completes before an instruction, every eviction follows one.
        last = len(program.instructions) - 1
        for transfer in self._transfers(mapping.prefetches, "prefetch", 0, last):
            prefetches.setdefault((transfer.value, transfer.start), []).append(transfer)
        for row in prefetches.values():
            row.sort(key=lambda transfer: -transfer.end)
        self.evictions = self._transfers(mapping.evictions, "eviction", 1, last + 1)
        self.stays: list[JudgedStay] = []
        self.fetches: list[tuple[Transfer, int]] = []
        for value, start, end, offset, arrival in self._residencies(mapping):
            self._add_stay(value, start, end, offset, arrival, prefetches)
        for (value, _), row in prefetches.items():
            for transfer in row:
                self.report(
                    "source",
                    f"{self._name(value)}: prefetch [{transfer.start}, {transfer.end}) begins "
                    "no copied residency",
                    (value,),
                    (transfer.start,),
                )

    def served_fast(self) -> np.ndarray:
        """Which of the program's accesses fast memory serves: bool [A]."""
        spans: dict[int, list[tuple[int, int]]] = {}
        for stay in self.stays:
            spans.setdefault(stay.value, []).append((stay.ready, stay.end))
        defined = {(s.value, s.start) for s in self.stays if s.defined}
        merged = {value: _union(row) for value, row in spans.items()}
        served = np.zeros(len(self.program.accesses), dtype=bool)
        for i, access in enumerate(self.program.accesses):
            if access.defines:
                served[i] = (access.value, access.instruction) in defined
            elif access.value in merged:
                row = merged[access.value]
                k = bisect.bisect_right(row, (access.instruction, math.inf)) - 1
                served[i] = k >= 0 and access.instruction < row[k][1]
        return served

    def _name(self, value: int) -> str:
        return repr(self.program.values[value].name)

    def _known(self, value: Any, what: str, number: int) -> int | None:
        index = _integer(value)
        if index is not None and 0 <= index < len(self.program.values):
            return index
        many = len(self.program.values)
        values = () if index is None else (index,)
        self.report(
            "unknown_value",
            f"{what} {number}: must name one of {many} values, got {value!r:.60}",
            values,
            (),
        )
        return None

    def _transfers(
        self, transfers: Iterable[Transfer], what: str, first: int, last: int
    ) -> list[Transfer]:
        usable = []
        for i, transfer in enumerate(transfers):
            value = self._known(transfer.value, what, i)
            start, end = _integer(transfer.start), _integer(transfer.end)
            if value is None:
                continue
            if start is not None and end is not None and first <= start <= end <= last:
                usable.append(Transfer(value, start, end))
                continue
            self.report(
                "interval",
                f"{self._name(value)}: {what} [{transfer.start!r:.40}, {transfer.end!r:.40}) "
                f"must lie in [{first}, {last}]",
                (value,),
                tuple(t for t in (start, end) if t is not None),
            )
        return usable

    def _residencies(self, mapping: Mapping) -> list[tuple[Any, ...]]:
        usable: list[tuple[Any, ...]] = []
        total = len(self.program.instructions)
        for i, residency in enumerate(mapping.residencies):
            value = self._known(residency.value, "residency", i)
            if value is None:
                continue
            start, end = _integer(residency.start), _integer(residency.end)
            offset = _integer(residency.offset)
            times = tuple(t for t in (start, end) if t is not None)
            lies = start is not None and end is not None and 0 <= start < end <= total
            if not lies:
                self.report(
                    "interval",
                    f"{self._name(value)}: residency [{residency.start!r:.40}, "
                    f"{residency.end!r:.40}) must be an interval of the schedule [0, {total})",
                    (value,),
                    times,
                )
            if offset is None:
                self.report(
                    "capacity",
                    f"{self._name(value)}: offset must be an integer, got {residency.offset!r:.40}",
                    (value,),
                    times,
                )
            if lies:
                usable.append((value, start, end, offset, residency.arrival))
        return sorted(usable, key=lambda item: item[:3])

    def _add_stay(
        self,
        value: int,
        start: int,
        end: int,
        offset: int | None,
        arrival: Any,
        prefetches: dict[tuple[int, int], list[Transfer]],
    ) -> None:
        ready, fault = start, ""
        if arrival == DEFINED:
            if (value, start) not in self.defining:
                fault = f"arrives as defined, but instruction {start} does not define it"
        elif arrival == COPIED:
            row = prefetches.get((value, start))
            transfer = row.pop() if row else None
            if transfer is None:
                fault = f"arrives as copied, but no prefetch begins at {start}"
            else:
                ready = transfer.end
                self.fetches.append((transfer, len(self.stays)))
                if transfer.end >= end:
                    self.report(
                        "source",
                        f"{self._name(value)}: residency [{start}, {end}) is given up before an "
                        f"instruction could use its prefetch [{start}, {transfer.end})",
                        (value,),
                        (end, transfer.end),
                    )
        else:
            fault = f"must arrive as {DEFINED!r} or {COPIED!r}, got {arrival!r:.40}"
        if fault:
            message = f"{self._name(value)}: residency [{start}, {end}) {fault}"
            self.report("source", message, (value,), (start,))
        size = self.program.machine.align(self.program.values[value].size_bytes)
        if offset is None:
            offset = size = 0  # already reported; without a place it cannot overlap others
        defined = arrival == DEFINED and not fault
        self.stays.append(JudgedStay(value, offset, size, start, end, ready, defined, not fault))


def _union(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Intervals [start, end) merged where they meet, sorted."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _integer(number: Any) -> int | None:
    """The integer, NumPy's included; None for anything else, also for True and False."""
    if type(number) is int:
        return number
    if isinstance(number, bool):
        return None
    try:
        return operator.index(number)
    except TypeError:
        return None
