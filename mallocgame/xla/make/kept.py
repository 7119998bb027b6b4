"""What a program keeps of a compiled module: the slots, values and accesses that matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gamekit.errors import InputError
from mallocgame.program import Access
from mallocgame.xla.read.dump import Dump
from mallocgame.xla.read.hlo import leaves
from mallocgame.xla.read.schedule import has_wrapped
from mallocgame.xla.read.values import Graph, GraphStep

MOST_LEFT_OUT = 0.02  # share of a dump's bytes that may belong to no value


@dataclass(frozen=True)
class KeptGraph:
    """The part of a graph that becomes a program.

    steps: the steps that are kept, in the order of their slots.
    values: numbers of the values of `graph` that are kept.
    slot_of_step: number of a step in `graph` -> its slot.
    value_of: number of a value in `graph` -> its number in the program.
    """

    graph: Graph
    steps: tuple[GraphStep, ...]
    values: tuple[int, ...]
    slot_of_step: dict[int, int]
    value_of: dict[int, int]


def select(graph: Graph) -> KeptGraph:
    """Keeps the arrays in slow memory that are accessed, and the steps that access them.

    Steps that cost time and loop markers are kept as well.
    """
    kept: dict[int, None] = {}
    for step in graph.steps:
        for access in (*step.reads, *step.writes):
            value = graph.find(access.value)
            shape = graph.values[value].shape
            if shape.dims and shape.memory_space == 0 and shape.size_bytes:
                kept[value] = None
    steps, slot_of_step = [], {}
    for number, step in enumerate(graph.steps):
        touches = any(graph.find(a.value) in kept for a in (*step.reads, *step.writes))
        if step.is_marker or touches or step.hlo.estimated_cycles:
            slot_of_step[number] = len(steps)
            steps.append(step)
    values = tuple(sorted(kept))
    return KeptGraph(
        graph, tuple(steps), values, slot_of_step, {v: i for i, v in enumerate(values)}
    )


def accesses_at(kept: KeptGraph) -> list[list[Access]]:
    """The accesses of each slot, without times; all operands of one value are one access."""
    graph, result = kept.graph, []
    for slot, step in enumerate(kept.steps):
        merged: dict[tuple[int, str], Access] = {}
        numbers = {index: i for i, (index, _) in enumerate(leaves(step.hlo.shape))}
        found = [(r.value, "read", r.operand, r.bytes, False) for r in step.reads]
        found += [(w.value, "write", numbers[w.index], w.bytes, w.defines) for w in step.writes]
        for raw, kind, number, size, defines in found:
            value = kept.value_of.get(graph.find(raw))
            if value is None:
                continue
            old = merged.get((value, kind), Access(slot, value, kind))
            merged[value, kind] = Access(
                slot, value, kind, (*old.operands, number), old.bytes + size,
                defines=old.defines or defines,
            )  # fmt: skip
        result.append(list(merged.values()))
    return result


def padded_sizes(dump: Dump, kept: KeptGraph) -> dict[int, int]:
    """Bytes of values whose layout is printed without its tiles: the dump has padded sizes."""
    sizes = {}
    for compiled in dump.compiles:
        for buffer in compiled.buffers.values():
            raw = kept.graph.positions.get(buffer.instruction, {}).get(buffer.index)
            value = None if raw is None else kept.value_of.get(kept.graph.find(raw))
            if value is not None and raw is not None:
                shape = kept.graph.values[raw].shape
                if not shape.tiles and buffer.size_bytes > shape.size_bytes:
                    sizes[value] = buffer.size_bytes
    return sizes


def left_out_buffers(dump: Dump, kept: KeptGraph, source: str) -> list[dict[str, Any]]:
    """Buffers of the dump that belong to no value of the program, each with the reason.

    Raises:
      InputError: sizes differ, or more than `MOST_LEFT_OUT` of the bytes are left out.
    """
    graph, left_out, total, missing = kept.graph, [], 0, 0
    seen: set[tuple[str, tuple[int, ...]]] = set()
    # Instructions that run beside others have parts of their own, which the module does not show.
    hidden = has_wrapped(dump.base)
    for compiled in dump.compiles:
        for buffer in compiled.buffers.values():
            position = (buffer.instruction, buffer.index)
            if position in seen or buffer.is_scoped:
                continue
            seen.add(position)
            total += buffer.size_bytes
            value = graph.positions.get(buffer.instruction, {}).get(buffer.index)
            if value is not None:
                shape = graph.values[value].shape
                size = shape.size_bytes
                if size != buffer.size_bytes and (shape.tiles or size > buffer.size_bytes):
                    raise InputError(
                        f"{compiled.folder / 'bufferinfo.csv'}: size: of {buffer.instruction} must "
                        f"be {size}, its size in {source}, got {buffer.size_bytes}"
                    )
            if value is None or graph.find(value) not in kept.value_of:
                is_part = hidden and buffer.instruction not in graph.positions
                missing += 0 if is_part else buffer.size_bytes
                reason = "not in the module without assignment" if value is None else "not used"
                left_out.append(
                    {"buffer": buffer.instruction, "bytes": buffer.size_bytes, "reason": reason}
                )
    if missing > MOST_LEFT_OUT * total:
        raise InputError(
            f"{dump.folder}: buffer_name: must name values of the program; {missing} of {total} "
            f"bytes belong to none, the first are {left_out[0]['buffer']!r}"
        )
    return left_out
