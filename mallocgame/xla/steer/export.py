"""A mapping as options of the TPU compiler: what its interface lets a user say about placement.

Public levers (field names as in openxla's ``memory_space_assignment.proto``):

- for every value that is ever in fast memory, its position in the order in which values are placed;
  the others come last;
- an instruction after which a prefetch preferably starts.

Beyond them, on request, an option without public documentation:

- ``keep_in_default_memory`` for every value that the mapping never has in fast memory;
- the same for every single operand that is read in slow memory although its value is in fast memory
  at other times.

Offsets, ends of copies and evictions cannot be expressed, nor that a value that is fetched later is
written in slow memory.  Values are placed by offset, lowest first: a packing is rebuilt by putting
down its boxes in this order, each as low as it goes.  A value that leaves and comes back waits for
those that are in its place meanwhile.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gamekit.errors import InputError
from gamekit.jsonfile import short
from mallocgame.judge.reading import Reading
from mallocgame.program import Program
from mallocgame.program.levels import Levels
from mallocgame.program.mapping import COPIED, Mapping, Residency
from mallocgame.xla.read.chips import Chip, Options

ORDER = "xla_tpu_msa_sort_order_overrides"
TENSORS = "xla_tpu_msa_tensor_overrides"
PREFETCHES = "xla_tpu_preferred_prefetch_overrides"
_POSITION = re.compile(r"(?P<instruction>[^{}]+)(?:\{(?P<index>[\d,]*)\})?")
EXIT = ":exit"  # after the name of a loop's ``while``: its exit marker
_KEEP = "keep_in_default_memory { }"
LEVERS = ("public", "all")


@dataclass(frozen=True)
class Wishes:
    """What the compiler is asked for.

    Attributes:
      order: values in the order in which they are placed; the others follow in the compiler's
        order.
      values_out: values never in fast memory.
      reads_out: (slot, operand) of reads from slow memory.
      prefetches: (slot, operand, start): the copy for this read preferably starts in slot `start`.
    """

    order: tuple[int, ...] = ()
    values_out: frozenset[int] = frozenset()
    reads_out: frozenset[tuple[int, int]] = frozenset()
    prefetches: tuple[tuple[int, int, int], ...] = ()


def compiler_options(
    program: Program, mapping: Mapping, chip: Chip, levers: str = "public"
) -> Options:
    """Options for ``jax.jit(...).lower(...).compile(compiler_options=...)``.

    They also close the program as it was played: its capacity, and no prefetches across runs of the
    program or in slices.

    Args:
      mapping: of `program`, from any mapper.
      chip: what the program was compiled for.
      levers: as for `options_of`.
    """
    return options_of(program, wishes_of(program, mapping), chip, levers)


def check_levers(levers: Any) -> str:
    """The name of a set of levers.

    Raises:
      InputError: there is no such set.
    """
    if levers not in LEVERS:
        raise InputError(f"levers: must be one of {', '.join(LEVERS)}, got {short(levers)}")
    return levers


def options_of(program: Program, wishes: Wishes, chip: Chip, levers: str = "public") -> Options:
    """Compiler options that express the wishes and close the program as it was played.

    Args:
      levers: "public" for options that openxla documents, "all" for one more,
        ``xla_tpu_msa_tensor_overrides``, which has no public documentation and may change or go
        with any version of the compiler.
    """
    says_all = check_levers(levers) == "all"
    tensors = [
        f"overrides {{ {_position(program, v)} {_KEEP} }}" for v in sorted(wishes.values_out)
    ]
    tensors += [
        f"overrides {{ {_use(program, *use)} {_KEEP} }}" for use in sorted(wishes.reads_out)
    ]
    last = [] if says_all else sorted(wishes.values_out)
    order = [
        f"overrides {{ {_position(program, v)} "
        f"override_options {{ assign_value: {turn - len(wishes.order)} }} }}"
        for turn, v in enumerate(wishes.order)
    ]
    order += [
        f"overrides {{ {_position(program, v)} override_options {{ assign_last: true }} }}"
        for v in last
    ]
    prefetches = [
        f"overrides {{ {_use(program, slot, operand)} "
        f"override_options {{ {_start(program, start)} }} }}"
        for slot, operand, start in wishes.prefetches
    ]
    options: Options = {
        **chip.closed,
        TENSORS: " ".join(tensors) if says_all else "",
        ORDER: " ".join(order),
        PREFETCHES: " ".join(prefetches),
    }
    options |= chip.capacity_options(program.machine.fast_capacity_bytes)
    return {name: value for name, value in options.items() if value != ""}


def wishes_of(program: Program, mapping: Mapping) -> Wishes:
    """What to ask for so that the compiler does what a mapping says, as far as possible."""
    resident = _resident(program, mapping)
    return Wishes(
        order=turns(program, mapping),
        values_out=frozenset(
            v for v in range(len(program.values)) if program.fits(v) and v not in resident
        ),
        reads_out=_slow_reads(program, mapping, resident),
        prefetches=_prefetches(program, mapping),
    )


def _resident(program: Program, mapping: Mapping) -> set[int]:
    """Values that are ever in fast memory, and those that loops carry into or out of them.

    These are one buffer to the compiler, and can only be kept out together.
    """
    resident = {r.value for r in mapping.residencies}
    for group in program.carried:
        if {group.parameter, group.result} & resident:
            resident |= {group.parameter, group.result}
    return resident


def turns(program: Program, mapping: Mapping) -> tuple[int, ...]:
    """Values in fast memory, in the order in which they are placed.

    They are ordered by lowest offset, but a value that leaves and comes back waits for those that
    are in
    its place meanwhile: without them the compiler would not let it leave.  If values wait for each
        other,
    the one that waits for the least goes first.
    """
    waits = _waits(program, mapping)
    lowest: dict[int, tuple[int, int]] = {}
    for stay in mapping.residencies:
        place = (stay.offset, stay.start)
        lowest[stay.value] = min(lowest.get(stay.value, place), place)
    left, order = set(lowest), []
    while left:
        value = min(
            left, key=lambda v: (sum(waits[v][u] for u in waits[v] if u in left), lowest[v], v)
        )
        order.append(value)
        left.remove(value)
    return tuple(order)


def _waits(program: Program, mapping: Mapping) -> dict[int, dict[int, float]]:
    """For each value, those in its place while it is away, and the share of its size they take."""
    stays: dict[int, list[Residency]] = defaultdict(list)
    for stay in sorted(mapping.residencies, key=lambda r: r.start):
        stays[stay.value].append(stay)
    waits: dict[int, dict[int, float]] = {value: {} for value in stays}
    for value, own in stays.items():
        size = program.values[value].size_bytes
        for before, after in itertools.pairwise(own):
            for other in mapping.residencies:
                meanwhile = before.end < after.start and (
                    other.start < after.start and other.end > before.end
                )
                if other.value == value or not meanwhile:
                    continue
                end = other.offset + program.values[other.value].size_bytes
                if any(other.offset < r.offset + size and end > r.offset for r in (before, after)):
                    share = min(program.values[other.value].size_bytes / max(size, 1), 1.0)
                    known = waits[value].get(other.value, 0.0)
                    waits[value][other.value] = known + share
    return waits


def _slow_reads(
    program: Program, mapping: Mapping, resident: set[int]
) -> frozenset[tuple[int, int]]:
    """Operands outside of loops that are read in slow memory although their value is a resident.

    Without these the compiler keeps a value from its first read on, in the place of others.  Values
    that
    are written in fast memory are left out: if the compiler finds no time to evict such a value
        before
    its slow read, it leaves the whole value out.
    """
    body_of = Levels(program).body_of
    in_fast = Reading(program, mapping).served_fast()
    dirty = {
        access.value
        for access, is_fast in zip(program.accesses, in_fast, strict=True)
        if access.kind == "write" and is_fast
    }
    return frozenset(
        (access.instruction, operand)
        for access, is_fast in zip(program.accesses, in_fast, strict=True)
        if access.kind == "read" and access.value in resident - dirty and not is_fast
        if body_of[access.instruction] < 0
        for operand in access.operands
    )


def _prefetches(program: Program, mapping: Mapping) -> tuple[tuple[int, int, int], ...]:
    """For each copied residency, its first read and the slot in which its copy starts."""
    starts = {(t.value, t.end): t.start for t in mapping.prefetches}
    found = []
    for residency in mapping.residencies:
        read = _first_read(program, residency)
        if residency.arrival == COPIED and read is not None:
            slot, operand = read
            found.append((slot, operand, starts.get((residency.value, slot), residency.start)))
    return tuple(found)


def _first_read(program: Program, residency: Residency) -> tuple[int, int] | None:
    """The slot and operand number of the first read inside a residency."""
    for access in program.accesses:
        inside = residency.start <= access.instruction < residency.end
        if access.value == residency.value and access.kind == "read" and inside:
            return access.instruction, access.operands[0] if access.operands else 0
    return None


def _start(program: Program, start: int) -> str:
    """The text of ``PreferredPrefetchOverrideOptions`` for a copy that starts in a slot."""
    before = program.instructions[start - 1] if start else None
    if before is None or (before.opcode == "loop" and not before.name.endswith(EXIT)):
        return "prefetch_eagerness: 1.0"
    # The compiler has no markers; a loop's exit is its ``while``.
    return f"after_instruction {{ {_name_regex(before.name.removesuffix(EXIT))} }}"


def _use(program: Program, slot: int, operand: int) -> str:
    """The text of an ``hlo_operand_filter`` for one operand of an instruction."""
    name = _name_regex(program.instructions[slot].name)
    return f"hlo_operand_filter {{ {name} operand_number: {operand} }}"


def _position(program: Program, value: int) -> str:
    """The text of an ``hlo_position_matcher`` for a value, named by XLA's position."""
    position = program.values[value].name
    found = _POSITION.fullmatch(position)
    name, index = (found["instruction"], found["index"]) if found else (position, None)
    return position_text(name, [int(i) for i in (index or "").split(",") if i])


def position_text(name: str, index: Sequence[int]) -> str:
    """The text of an ``hlo_position_matcher`` for a part of what an instruction defines."""
    path = "".join(f" index: {i}" for i in index)
    tuple_index = f" tuple_index {{{path} }}" if path else ""
    return f"hlo_position_matcher {{ {_name_regex(name)}{tuple_index} }}"


def _name_regex(name: str) -> str:
    """A field that matches exactly this instruction's name (RE2, whole name)."""
    escaped = re.escape(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'instruction_name_regex: "{escaped}"'
