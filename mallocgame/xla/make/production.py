"""The production compiler's decisions as a mapping: its allocations joined with its copies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mallocgame.program import Program
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer
from mallocgame.xla.make.boundaries import within_loops
from mallocgame.xla.make.repair import defined_by_copies, single_copies, whole_places
from mallocgame.xla.read.dump import AllocationRow, Compile
from mallocgame.xla.read.schedule import CopyWindow, SlotClock

REPLACED_SLOTS = 2
Positions = dict[tuple[str, tuple[int, ...]], int]
Places = dict[tuple[int, int], bool]


def production_mapping(
    program: Program,
    compiled: Compile,
    clock: SlotClock,
    windows: Sequence[CopyWindow],
    value_at: Positions,
    is_slow: Places,
) -> tuple[Mapping, tuple[str, ...]]:
    """Production's mapping, and notes on everything that could not be carried over as it is.

    Args:
      clock: translates the compile's schedule times to slots.
      windows: the copies that the compiler issued.
      value_at: XLA position (instruction, tuple index) -> value of the program.
      is_slow: (slot, value) -> whether the compiled program accesses the value in slow memory.
    """
    notes: list[str] = []
    stays = _stays(program, compiled, clock, value_at, notes)
    prefetches = _by_value(windows, True, value_at, notes)
    residencies, used = _residencies(program, stays, prefetches, is_slow, notes)
    residencies, used, results = defined_by_copies(program, residencies, used, notes)
    residencies, used = single_copies(program, residencies, used, notes)
    residencies, used = whole_places(program, residencies, used, notes)
    evictions = [
        _eviction(program, left, w, residencies, notes)
        for value, found in _by_value(windows, False, value_at, notes).items()
        for w in found
        for left in (value, results.get(value, value))[: 1 + (value in results)]
        if _is_left(left, w, residencies)
    ]
    mapping = Mapping(
        program.name,
        program.fingerprint,
        tuple(sorted(residencies, key=lambda r: (r.start, r.offset, r.value))),
        tuple(sorted(used, key=lambda t: (t.end, t.value))),
        tuple(sorted(evictions, key=lambda t: (t.end, t.value))),
    )
    mapping, changed = within_loops(program, mapping)
    return mapping, (*notes, *changed)


def _stays(
    program: Program, compiled: Compile, clock: SlotClock, value_at: Positions, notes: list[str]
) -> dict[int, list[tuple[int, int, int]]]:
    """The allocation rows as (start, end, offset) of each value, in slots and bytes."""
    groups = _groups(program)
    stays: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for row in compiled.allocations:
        buffer = compiled.buffers[row.buffer_id]
        value = value_at.get((buffer.instruction, buffer.index))
        if value is None:
            notes.append(f"{buffer.instruction}: no value; its allocation is left out")
            continue
        if row.size_bytes < buffer.size_bytes:
            notes.append(f"{buffer.instruction}: a slice alone is copied at {row.start_time}")
            continue
        start, end = _slots(program, clock, row)
        if start >= end:
            notes.append(f"{buffer.instruction}: holds no instruction [{row.start_time}, "
                         f"{row.end_time}]; left out")  # fmt: skip
            continue
        member = _member(program, groups.get(value, (value,)), start)
        stays[member].append((start, end, row.offset))
    return stays


def _residencies(
    program: Program,
    stays: dict[int, list[tuple[int, int, int]]],
    prefetches: dict[int, list[CopyWindow]],
    is_slow: Places,
    notes: list[str],
) -> tuple[list[Residency], list[Transfer]]:
    """The residencies that the stays become, and the prefetches that begin them."""
    residencies: list[Residency] = []
    used: list[Transfer] = []
    for value in sorted(stays):
        copied = {w.start for w in prefetches[value]}
        for start, end, offset in _joined(stays[value], copied):
            arrival, copy = _arrival(program, value, start, end, prefetches[value])
            if arrival == COPIED and copy is None and _is_updated(program, value, start):
                name = program.values[value].name
                notes.append(f"{name}: updated out of place at {start}; in slow memory here")
                continue
            here = copy.end if copy else start
            end = _until_slow(program, value, here, end, is_slow, notes)
            residencies.append(Residency(value, offset, start, end, arrival))
            used += [copy] if copy else []
    return residencies, used


def _groups(program: Program) -> dict[int, tuple[int, ...]]:
    """Values that loops tie together; the compiler's dump has one buffer for each such group."""
    groups: dict[int, tuple[int, ...]] = {}
    for carry in program.carried:
        old, new = (groups.get(v, (v,)) for v in (carry.parameter, carry.result))
        joined = tuple(sorted({*old, *new}))
        groups.update({v: joined for v in joined})
    return groups


def _member(program: Program, group: Sequence[int], start: int) -> int:
    """The member of a group that is alive at a slot: the one defined last; inputs come first."""

    def defined(value: int) -> int:
        return next((a.instruction for a in program.accesses if a.value == value and a.defines), -1)

    alive = [v for v in group if defined(v) <= start]
    return max(alive or group, key=lambda v: (defined(v) <= start, defined(v), -v))


def _slots(program: Program, clock: SlotClock, row: AllocationRow) -> tuple[int, int]:
    """The half-open slots of a row's inclusive times.

    A row that ends with a loop body's last instruction covers the loop's exit too: the schedule
    lists that instruction, the body's root, right before the ``while``.
    """
    end = clock.end_after(row.end_time)
    if any(loop.exit == end and clock.times[end] == row.end_time + 1 for loop in program.loops):
        end += 1
    return clock.first_at_or_after(row.start_time), end


def _joined(stays: list[tuple[int, int, int]], copied: set[int]) -> list[tuple[int, int, int]]:
    """The stays of one value, with adjacent ones at one offset joined.

    The dump has one row for each segment.  A stay that starts with a prefetch, at a slot in
    ``copied``, is not joined to the one before.
    """
    joined: list[tuple[int, int, int]] = []
    for start, end, offset in sorted(stays):
        last = joined[-1] if joined else (-1, -1, -1)
        is_new = start in copied and start > last[0]
        if last[2] == offset and start <= last[1] and not is_new:
            joined[-1] = (last[0], max(end, last[1]), offset)
        else:
            joined.append((start, end, offset))
    return joined


def _by_value(
    windows: Sequence[CopyWindow], is_prefetch: bool, value_at: Positions, notes: list[str]
) -> dict[int, list[CopyWindow]]:
    found: dict[int, list[CopyWindow]] = defaultdict(list)
    for window in windows:
        if window.is_prefetch != is_prefetch:
            continue
        name, _, rest = window.position.partition("{")
        index = tuple(int(i) for i in rest.rstrip("}").split(",") if i)
        value = value_at.get((name, index))
        if value is None:
            notes.append(f"{window.position}: copied but no value; the copy is left out")
        else:
            found[value].append(window)
    return found


def _arrival(
    program: Program, value: int, start: int, end: int, prefetches: Sequence[CopyWindow]
) -> tuple[str, Transfer | None]:
    """How a stay begins: with a defining write, or with the prefetch that completes inside it.

    If the compiler has replaced instructions before the copy by copies, the copy seems to start a
    few slots before the stay.
    """
    if any(a.value == value and a.defines for a in program.accesses_at[start]):
        return DEFINED, None
    inside = [w for w in prefetches if start - REPLACED_SLOTS <= w.start and start <= w.end < end]
    if not inside:
        return COPIED, None
    return COPIED, Transfer(value, start, min(inside, key=lambda w: w.start).end)


def _until_slow(
    program: Program, value: int, start: int, end: int, is_slow: Places, notes: list[str]
) -> int:
    """The end of a stay: before the first access that the compiled program makes in slow memory.

    The dump's end is inclusive; after an eviction it may be an instruction that already reads slow
    memory.  ``start`` is the first slot at which the value is in fast memory.
    """
    for slot in range(start + 1, end):
        if is_slow.get((slot, value)):
            if any(is_slow.get((later, value)) is False for later in range(slot + 1, end)):
                name = program.values[value].name
                notes.append(f"{name}: read in slow memory at {slot} inside its stay")
            else:
                return slot
    return end


def _is_updated(program: Program, value: int, slot: int) -> bool:
    return any(a.value == value and a.kind == "write" for a in program.accesses_at[slot])


def _is_left(value: int, window: CopyWindow, residencies: Sequence[Residency]) -> bool:
    """Whether an eviction ends a stay; it does not if the stay's update is in slow memory here."""
    return any(r.value == value and r.start <= window.start <= r.end for r in residencies)


def _eviction(
    program: Program,
    value: int,
    window: CopyWindow,
    residencies: Sequence[Residency],
    notes: list[str],
) -> Transfer:
    """An eviction as a transfer.

    One that the compiler starts and awaits before the same instruction may use that instruction's
    slot, as long as the value stays.
    """
    stays = any(r.value == value and r.start <= window.start < r.end for r in residencies)
    if window.start == window.end and stays:
        notes.append(f"{program.values[value].name}: eviction awaited at once at {window.start}")
        return Transfer(value, window.start, window.end + 1)
    return Transfer(value, window.start, window.end)
