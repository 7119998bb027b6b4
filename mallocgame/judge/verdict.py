"""Which rules a mapping breaks.

`verify` reads any mapping, including a compiler's own, in plain Python and NumPy.  It shares
nothing with the game.  Rules: docs/game.md, section 8.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence

import numpy as np

from mallocgame.judge.contents import follow
from mallocgame.judge.reading import JudgedStay, Reading, Report, takes_over
from mallocgame.program import Program
from mallocgame.program.levels import Levels
from mallocgame.program.mapping import Mapping

KINDS = (
    "unknown_value",
    "pinned",
    "capacity",
    "alignment",
    "overlap",
    "reserved",
    "interval",
    "source",
    "late_eviction",
    "lost",
    "carried",
    "boundary",
)
# Layers of overlapping residencies that are compared pairwise; beyond them some pairs are missed.
MAX_LAYERS = 8


@dataclasses.dataclass(frozen=True)
class Violation:
    """One broken rule.

    kind: one of `KINDS`.
    message: one line with names, places and times.
    values: indices of the values involved, as the mapping gives them.
    times: the slots involved, the most relevant first.
    """

    kind: str
    message: str
    values: tuple[int, ...]
    times: tuple[int, ...]


def verify(program: Program, mapping: Mapping) -> list[Violation]:
    """Finds every rule of docs/game.md that a mapping breaks; a valid mapping gives an empty list.

    Copies that the supply cannot feed in time are not violations: they stall, see `simulate`.  If
    more than eight residencies overlap, not every pair is listed.  Never raises, whatever numbers
    the mapping holds; `program` must be valid.
    """
    found: dict[Violation, None] = {}

    def report(kind: str, message: str, values: Sequence[int], times: Sequence[int]) -> None:
        found.setdefault(Violation(kind, message, tuple(values), tuple(times)))

    reading = Reading(program, mapping, report)
    levels = Levels(program)
    _check_places(program, reading.stays, report)
    _check_overlaps(program, reading.stays, report)
    _check_loops(program, levels, reading.stays, report)
    _check_boundaries(program, levels, reading, report)
    follow(program, levels, reading.stays, reading.fetches, reading.evictions, report)
    return list(found)


def _check_places(program: Program, stays: Sequence[JudgedStay], report: Report) -> None:
    capacity = program.machine.fast_capacity_bytes
    alignment = program.machine.alignment_bytes
    reserved = np.array([i.reserved_bytes for i in program.instructions], dtype=np.int64)
    most = int(reserved.max(initial=0))
    for stay in stays:
        value, times = program.values[stay.value], (stay.start, stay.end)
        found: list[tuple[str, str, tuple[int, ...]]] = []
        if value.is_pinned:
            found.append(("pinned", "the value is pinned to slow memory", times))
        if stay.offset < 0 or stay.offset + stay.size > capacity:
            what = f"its {stay.size:,} bytes are not inside [0, {capacity:,})"
            found.append(("capacity", what, times))
        if stay.offset % alignment:
            found.append(
                ("alignment", f"must be a multiple of the alignment, {alignment:,}", times)
            )
        if stay.size and most > max(stay.offset, 0):
            slots = np.flatnonzero(reserved[stay.start : stay.end] > max(stay.offset, 0))
            if len(slots):
                slot = stay.start + int(slots[0])
                what = f"instruction {slot} needs [0, {reserved[slot]:,}) for itself"
                found.append(("reserved", what, (slot,)))
        for kind, what, at in found:
            place = f"residency [{stay.start}, {stay.end}) at offset {stay.offset:,}"
            report(kind, f"{value.name!r}: {place}: {what}", (stay.value,), at)


def _check_overlaps(program: Program, stays: Sequence[JudgedStay], report: Report) -> None:
    """Sweeps over time.  A layer holds disjoint places, sorted, so only neighbours can overlap."""
    results = {(g.parameter, g.result) for g in program.carried}
    events = []
    for i, stay in enumerate(stays):
        if stay.size:
            events += [(stay.start, 1, i), (stay.end, 0, i)]
    layers: list[list[tuple[int, int]]] = [[]]  # sorted (offset, stay)
    layer_of: dict[int, int] = {}
    for _, begins, i in sorted(events):
        stay = stays[i]
        if not begins:
            if i in layer_of:
                layer = layers[layer_of.pop(i)]
                layer.pop(bisect.bisect_left(layer, (stay.offset, i)))
            continue
        partners: list[int] = []
        home = -1
        for number, layer in enumerate(layers):
            position = bisect.bisect_left(layer, (stay.offset + stay.size, -1))
            hits = 0
            while position - hits > 0:
                j = layer[position - hits - 1][1]
                if stays[j].offset + stays[j].size <= stay.offset:
                    break
                partners.append(j)
                hits += 1
            if not hits and home < 0:
                home = number
        if home < 0 and len(layers) < MAX_LAYERS:
            layers.append([])
            home = len(layers) - 1
        if home >= 0:
            bisect.insort(layers[home], (stay.offset, i))
            layer_of[i] = home
        for j in partners:
            if not takes_over(stays[j], stay, results):
                _report_overlap(program, stays[j], stay, report)


def _report_overlap(
    program: Program, first: JudgedStay, second: JudgedStay, report: Report
) -> None:
    low = max(first.offset, second.offset)
    high = min(first.offset + first.size, second.offset + second.size)
    start, end = max(first.start, second.start), min(first.end, second.end)
    names = " and ".join(
        f"{program.values[s.value].name!r} [{s.start}, {s.end})" for s in (first, second)
    )
    report(
        "overlap",
        f"{names}: both occupy bytes [{low:,}, {high:,}) over [{start}, {end})",
        (first.value, second.value),
        (start, end),
    )


def _check_loops(
    program: Program, levels: Levels, stays: Sequence[JudgedStay], report: Report
) -> None:
    """What is in fast memory at a body's end must be there at its start, and vice versa.

    docs/game.md, section 7.
    """
    parameters = {(g.loop, g.parameter) for g in program.carried}
    results = {(g.loop, g.result) for g in program.carried}
    accessed: dict[int, list[int]] = {}
    for access in program.accesses:
        accessed.setdefault(access.value, []).append(access.instruction)
    for stay in stays:
        first, last = levels.body_of[stay.start], levels.body_of[stay.end - 1]
        if first == last:
            continue
        entered = [i for i in levels.around(stay.end - 1) if not levels.inside(stay.start, i)]
        left = [i for i in levels.around(stay.start) if not levels.inside(stay.end - 1, i)]
        for loops, allowed, end in ((entered, parameters, "entry"), (left, results, "exit")):
            for i in loops:
                if (i, stay.value) in allowed:
                    continue  # checked with its group
                slots = accessed.get(stay.value, ())
                crosses = _crosses(program, levels, stay.value, i, slots)
                marker = program.loops[i].entry if end == "entry" else program.loops[i].exit
                report(
                    "carried" if crosses else "interval",
                    f"{program.values[stay.value].name!r}: residency [{stay.start}, {stay.end}) "
                    f"crosses the {end} of loop {i} at {marker}, but not its other end",
                    (stay.value,),
                    (marker, stay.start, stay.end),
                )
    of_value: dict[int, list[JudgedStay]] = {}
    for stay in stays:
        of_value.setdefault(stay.value, []).append(stay)
    for number, group in enumerate(program.carried):
        loop = program.loops[group.loop]
        entering = [s for s in of_value.get(group.parameter, []) if _covers(s, loop.entry)]
        leaving = [s for s in of_value.get(group.result, []) if _covers(s, loop.exit - 1)]
        used = any(levels.inside(t, group.loop) for t in accessed.get(group.parameter, ()))
        p, r = (repr(program.values[v].name) for v in (group.parameter, group.result))
        for stay in entering:
            if stay.offset not in {s.offset for s in leaving}:
                report(
                    "carried",
                    f"group {number} of loop {group.loop}: parameter {p} enters at offset "
                    f"{stay.offset:,}, but result {r} does not leave the body there",
                    (group.parameter, group.result),
                    (loop.entry, loop.exit),
                )
        for stay in leaving if used else ():
            if stay.offset not in {s.offset for s in entering}:
                report(
                    "carried",
                    f"group {number} of loop {group.loop}: result {r} leaves the body at offset "
                    f"{stay.offset:,}, but parameter {p} does not enter there",
                    (group.result, group.parameter),
                    (loop.exit, loop.entry),
                )


def _covers(stay: JudgedStay, slot: int) -> bool:
    """Whether the stay covers the slot and the next one."""
    return stay.start <= slot and stay.end > slot + 1


def _crosses(
    program: Program, levels: Levels, value: int, loop: int, accessed: Sequence[int]
) -> bool:
    """Whether a value crosses a loop as docs/game.md, section 1, defines it, without groups."""
    inside = [levels.inside(t, loop) for t in accessed]
    v = program.values[value]
    return any(inside) and (v.is_input or v.is_output or not all(inside))


def _check_boundaries(program: Program, levels: Levels, reading: Reading, report: Report) -> None:
    """A copy's window and the instruction it serves must lie in one segment."""
    prefetches = [("prefetch", t, t.start, t.end) for t, _ in reading.fetches]
    evictions = [("eviction", t, t.start - 1, max(t.start, t.end) - 1) for t in reading.evictions]
    for what, transfer, first, last in prefetches + evictions:
        if levels.segment[first] != levels.segment[last]:
            report(
                "boundary",
                f"{program.values[transfer.value].name!r}: {what} [{transfer.start}, "
                f"{transfer.end}) crosses a loop's boundary at {levels.segment[last]}",
                (transfer.value,),
                (levels.segment[last], transfer.start, transfer.end),
            )
