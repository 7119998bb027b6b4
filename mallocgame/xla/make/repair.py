"""Three things that the compiler does and the rules do not know, expressed within the rules."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

from mallocgame.program import Program
from mallocgame.program.mapping import COPIED, DEFINED, Residency, Transfer


def single_copies(
    program: Program,
    residencies: Sequence[Residency],
    prefetches: Sequence[Transfer],
    notes: list[str],
) -> tuple[list[Residency], list[Transfer]]:
    """Joins two copies that the compiler holds of a value at the same time.

    It may prefetch a value for each of two reads in a row.  The later copy, completed for the first
    read, serves both.
    """
    kept = sorted(residencies, key=lambda r: (r.value, r.start))
    copies = {(t.value, t.start): t for t in prefetches}
    for old, new in itertools.pairwise(list(kept)):
        first, second = (copies.get((r.value, r.start)) for r in (old, new))
        if old.value != new.value or new.start >= old.end or not first or not second:
            continue
        if new.start < first.end:
            kept.remove(old)
            del copies[old.value, old.start]
            copies[new.value, new.start] = Transfer(new.value, new.start, first.end)
            name = program.values[new.value].name
            notes.append(f"{name}: copied twice for slots {first.end} and {second.end}; once here")
    return kept, list(copies.values())


def defined_by_copies(
    program: Program,
    residencies: Sequence[Residency],
    prefetches: Sequence[Transfer],
    notes: list[str],
) -> tuple[list[Residency], list[Transfer], dict[int, int]]:
    """Stays that begin with a copy instruction which the compiler made a prefetch of its operand.

    Its result is in place when the copy ends, without a prefetch of its own.  Here the instruction
    itself defines it in fast memory, and the operand is not copied.

    Returns:
      The residencies and prefetches, and operand -> result of each such copy: to the compiled
      program both are one value.
    """
    results: dict[int, int] = {}
    copies = {(t.value, t.start): t for t in prefetches}
    kept = list(residencies)
    for stay in residencies:
        slot = _defining_copy(program, stay)
        if stay.arrival != COPIED or (stay.value, stay.start) in copies or slot is None:
            continue
        sources = {a.value for a in program.accesses_at[slot] if a.kind == "read"}
        before = [
            r for r in kept
            if r.value in sources and r.offset == stay.offset and slot <= r.end <= stay.start
        ]  # fmt: skip
        others = [r for r in kept if r is not stay and r not in before]
        whole = dataclasses.replace(stay, start=slot, arrival=DEFINED)
        if any(_collide(program, whole, other) for other in others):
            continue
        for source in before:
            copies.pop((source.value, source.start), None)
        kept = [*others, whole]
        results.update(dict.fromkeys(sources, stay.value))
        name = program.values[stay.value].name
        notes.append(f"{name}: copied from its operand by a prefetch; by its instruction here")
    return kept, list(copies.values()), results


def _defining_copy(program: Program, stay: Residency) -> int | None:
    """The slot before a stay at which a copy instruction defines its value; None if none does."""
    for access in program.accesses:
        if access.value == stay.value and access.defines and access.instruction < stay.start:
            is_copy = program.instructions[access.instruction].opcode == "copy"
            return access.instruction if is_copy else None
    return None


def whole_places(
    program: Program,
    residencies: Sequence[Residency],
    prefetches: Sequence[Transfer],
    notes: list[str],
) -> tuple[list[Residency], list[Transfer]]:
    """Gives every prefetch a place that is entirely free when it begins.

    The compiler slices large prefetches and starts with the parts whose bytes are already free; the
    rules know one place for each stay.  Such a stay moves to another place.  If there is none, all
    stays get new places, largest first; if that fails too, the prefetch begins once the whole place
    is free.
    """
    stays, copies, moves = _moved(program, residencies, prefetches)
    if any(copy not in prefetches for copy in copies) and not program.carried:
        packed = _packed(program, residencies)
        if packed:
            notes.append("all offsets are new, to give sliced copies a place as a whole")
            return packed, list(prefetches)
    notes.extend(moves)
    return stays, copies


def _moved(
    program: Program, residencies: Sequence[Residency], prefetches: Sequence[Transfer]
) -> tuple[list[Residency], list[Transfer], list[str]]:
    """The stays and copies, with sliced copies moved or delayed one by one, and notes on them."""
    notes: list[str] = []
    copies = {(t.value, t.start): t for t in prefetches}
    tied = {v for g in program.carried for v in (g.parameter, g.result)}
    stays = sorted(residencies, key=lambda r: (r.start, r.arrival == COPIED))
    for number, stay in enumerate(stays):
        copy = copies.get((stay.value, stay.start)) if stay.arrival == COPIED else None
        others = [o for i, o in enumerate(stays) if i != number]
        free = max(
            (o.end for o in others if copy and o.end < copy.end and _collide(program, o, stay)),
            default=0,
        )
        if copy is None or free <= stay.start:
            continue
        name = program.values[stay.value].name
        offset = None if stay.value in tied else _free_offset(program, stay, others)
        if offset is not None:
            notes.append(f"{name}: its sliced copy at {stay.start} goes to {offset}, as a whole")
            stays[number] = dataclasses.replace(stay, offset=offset)
            continue
        notes.append(f"{name}: its sliced copy starts at {free}, not {stay.start}, as a whole")
        stays[number] = dataclasses.replace(stay, start=free)
        del copies[stay.value, stay.start]
        copies[stay.value, free] = dataclasses.replace(copy, start=free)
    return stays, list(copies.values()), notes


def _packed(program: Program, residencies: Sequence[Residency]) -> list[Residency] | None:
    """The same stays at new offsets; None if greedy packing finds no room."""
    placed: list[Residency] = []
    for stay in sorted(residencies, key=lambda r: (-program.values[r.value].size_bytes, r.start)):
        offset = _free_offset(program, stay, placed)
        if offset is None:
            return None
        placed.append(dataclasses.replace(stay, offset=offset))
    return placed


def _free_offset(program: Program, stay: Residency, others: Iterable[Residency]) -> int | None:
    """The lowest aligned offset that is free over a whole stay; None if there is none."""
    size = program.values[stay.value].size_bytes
    reserved = max(i.reserved_bytes for i in program.instructions[stay.start : stay.end])
    candidate = program.machine.align(reserved)
    during = (o for o in others if o.start < stay.end and stay.start < o.end)
    for other in sorted(during, key=lambda o: o.offset):
        if other.offset >= candidate + size:
            break
        end = other.offset + program.values[other.value].size_bytes
        candidate = max(candidate, program.machine.align(end))
    return candidate if candidate + size <= program.machine.fast_capacity_bytes else None


def _collide(program: Program, a: Residency, b: Residency) -> bool:
    """Whether two stays share bytes at any time."""
    return (
        a.start < b.end
        and b.start < a.end
        and a.offset < b.offset + program.values[b.value].size_bytes
        and b.offset < a.offset + program.values[a.value].size_bytes
    )
