"""A mapping as options of the TPU compiler: what its interface lets a user say of placement.

Three levers (field names as in openxla's ``memory_space_assignment.proto``):

- ``keep_in_default_memory`` for every value that the mapping never has in fast memory;
- a place in the order in which values get their turn for every other;
- an instruction behind which a prefetch prefers to start.

Offsets, ends of copies, evictions, and reads from slow memory of a value that is in fast memory at
other times cannot be said.  Values get their turn by offset, lowest first: a packing is rebuilt by
putting its boxes down in this order, each as low as it goes.
"""

from __future__ import annotations

import re

from mallocgame.mapping import COPIED, Mapping, Residency
from mallocgame.program import Program
from mallocgame.xla.chips import CLOSED, Chip, Options

ORDER = "xla_tpu_msa_sort_order_overrides"
TENSORS = "xla_tpu_msa_tensor_overrides"
PREFETCHES = "xla_tpu_preferred_prefetch_overrides"
_POSITION = re.compile(r"(?P<instruction>[^{}]+)(?:\{(?P<index>[\d,]*)\})?")


def compiler_options(program: Program, mapping: Mapping, chip: Chip) -> Options:
    """Options for ``jax.jit(...).lower(...).compile(compiler_options=...)``.

    Args:
      mapping: of `program`, from any mapper.
      chip: what the program was compiled for.

    Returns:
      Also what makes the program the closed one that was played: its capacity, no prefetches across
      runs of the program, none in slices.
    """
    options: Options = {
        **CLOSED,
        TENSORS: keep_in_slow_memory(program, mapping),
        ORDER: sort_order(program, mapping),
        PREFETCHES: prefetch_starts(program, mapping),
    }
    options |= chip.capacity_options(program.machine.fast_capacity_bytes)
    return {name: value for name, value in options.items() if value != ""}


def keep_in_slow_memory(program: Program, mapping: Mapping) -> str:
    """Text of ``MsaTensorOverrides``: values that could be in fast memory and never are.

    Values that a loop carries into one another are one buffer to the compiler; they are kept out
    only together.
    """
    resident = {r.value for r in mapping.residencies}
    for group in program.carried:
        if {group.parameter, group.result} & resident:
            resident |= {group.parameter, group.result}
    kept = [v for v in range(len(program.values)) if program.fits(v) and v not in resident]
    return " ".join(
        f"overrides {{ {_matcher(program.values[v].name)} keep_in_default_memory {{ }} }}"
        for v in kept
    )


def sort_order(program: Program, mapping: Mapping) -> str:
    """Text of ``MsaSortOrderOverrides``: values in fast memory, by their lowest offset."""
    lowest: dict[int, tuple[int, int]] = {}
    for r in mapping.residencies:
        lowest[r.value] = min(lowest.get(r.value, (r.offset, r.start)), (r.offset, r.start))
    order = sorted(lowest, key=lambda v: (*lowest[v], v))
    return " ".join(
        f"overrides {{ {_matcher(program.values[v].name)} "
        f"override_options {{ assign_value: {turn - len(order)} }} }}"
        for turn, v in enumerate(order)
    )


def prefetch_starts(program: Program, mapping: Mapping) -> str:
    """Text of ``PreferredPrefetchOverrides``: the instruction behind which each prefetch begins."""
    starts = {(t.value, t.end): t.start for t in mapping.prefetches}
    lines = []
    for residency in mapping.residencies:
        found = _first_read(program, residency)
        if residency.arrival != COPIED or found is None:
            continue
        slot, operand = found
        start = starts.get((residency.value, slot), residency.start)
        consumer = program.instructions[slot].name
        if start > 0:
            before = program.instructions[start - 1].name
            when = f"after_instruction {{ {_name_regex(before)} }}"
        else:
            when = "prefetch_eagerness: 1.0"
        lines.append(
            f"overrides {{ hlo_operand_filter {{ {_name_regex(consumer)} "
            f"operand_number: {operand} }} override_options {{ {when} }} }}"
        )
    return " ".join(lines)


def _first_read(program: Program, residency: Residency) -> tuple[int, int] | None:
    """Slot and operand number of the first read inside a residency."""
    for access in program.accesses:
        inside = residency.start <= access.instruction < residency.end
        if access.value == residency.value and access.kind == "read" and inside:
            return access.instruction, access.operands[0] if access.operands else 0
    return None


def _matcher(position: str) -> str:
    """Text of an ``hlo_position_matcher`` for a position as XLA writes it, ``name{index}``."""
    found = _POSITION.fullmatch(position)
    name, index = (found["instruction"], found["index"]) if found else (position, None)
    path = "".join(f" index: {i}" for i in (index or "").split(",") if i)
    tuple_index = f" tuple_index {{{path} }}" if path else ""
    return f"hlo_position_matcher {{ {_name_regex(name)}{tuple_index} }}"


def _name_regex(name: str) -> str:
    """A field that matches exactly this instruction's name (RE2, whole name)."""
    escaped = re.escape(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'instruction_name_regex: "{escaped}"'
