"""Joins a dump folder into one program per capacity and the production compiler's mapping of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gamekit.errors import InputError
from mallocgame.program import (
    Access,
    CarriedGroup,
    Instruction,
    Loop,
    Program,
    Value,
    validate,
)
from mallocgame.program.machine import Machine
from mallocgame.program.mapping import Mapping
from mallocgame.xla.latency.calibrate import Calibration, calibrate
from mallocgame.xla.latency.fit import Fit, Sample
from mallocgame.xla.make.production import production_mapping
from mallocgame.xla.read.dump import Compile, Dump, read_dump
from mallocgame.xla.read.graph import Graph, Step, build_graph
from mallocgame.xla.read.hlo import HloComputation, HloInstruction, HloModule, leaves
from mallocgame.xla.read.schedule import check_schedule, copy_windows, slot_clock

# Number of the fast memory in layouts, S(n): CMEM on TPU v4, VMEM later.
CMEM = 3
FAST_SPACES = {"tpu_v4": CMEM, "tpu_v4i": CMEM}
LATER_FAST_SPACE = 1
MOST_LEFT_OUT = 0.02


@dataclass(frozen=True)
class Imported:
    """One compile: the program at its capacity and production's mapping, with notes on the join."""

    program: Program
    mapping: Mapping
    notes: tuple[str, ...]
    cycles: int


@dataclass(frozen=True)
class Import:
    """A dump folder: one item per compile, and how well the latency form fits."""

    items: tuple[Imported, ...]
    calibration: Calibration


@dataclass(frozen=True)
class _KeptGraph:
    """What is kept: steps in slot order and values, with old to new numbers."""

    graph: Graph
    steps: tuple[Step, ...]
    values: tuple[int, ...]
    slot_of_step: dict[int, int]
    value_of: dict[int, int]


def import_dump(folder: Path, machine: Machine, name: str | None = None) -> Import:
    """Programs and production's mappings out of a dump folder.

    Args:
      machine: what the compiles without a capacity of their own are for.
      name: of the programs; without one it is the folder's with the capacity behind it.

    Raises:
      InputError: one line that names the file, the field and the offending value.
    """
    dump = read_dump(folder)
    source = str(folder / "msa_off.hlo.gz")
    graph = build_graph(dump.base, source)
    for compiled in dump.compiles:
        check_schedule(dump.base, compiled.schedule, str(compiled.folder / "scheduleinfo.csv"))
    kept = _select(graph)
    fast_space = FAST_SPACES.get(machine.name, LATER_FAST_SPACE)
    samples = _samples(dump, kept, fast_space)
    calibration = calibrate(samples)
    left_out = _left_out(dump, kept, source)
    items = []
    for compiled in dump.compiles:
        capacity = compiled.capacity_bytes or machine.fast_capacity_bytes
        program = _program(
            name or f"{folder.name}_{capacity >> 20}mib",
            machine.with_capacity(capacity),
            dump,
            kept,
            calibration,
            left_out,
            compiled.scratch if fast_space == LATER_FAST_SPACE else None,
        )
        validate(program, str(compiled.folder))
        mapping, notes = _mapping(program, dump, compiled, kept, fast_space)
        cycles = _estimated_cycles(compiled, kept)
        made = {"production": {"estimated_cycles": cycles, "notes": list(notes)}}
        program = dataclasses.replace(program, provenance={**program.provenance, **made})
        items.append(Imported(program, mapping, notes, cycles))
    return Import(tuple(items), calibration)


def _select(graph: Graph) -> _KeptGraph:
    """Steps with a cost, a marker or a kept access; arrays in slow memory that are accessed."""
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
    return _KeptGraph(
        graph, tuple(steps), values, slot_of_step, {v: i for i, v in enumerate(values)}
    )


def _accesses(kept: _KeptGraph) -> list[list[Access]]:
    """Accesses per slot, without times; operands of one value are one access."""
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


def _samples(dump: Dump, kept: _KeptGraph, fast_space: int) -> dict[int, Sample]:
    """Per slot with an estimate: its accesses and its cycles under every placement."""
    accesses = _accesses(kept)
    samples = {}
    modules = [*(compiled.module for compiled in dump.compiles), *dump.probes]
    places = [_instructions(module) for module in modules]
    for slot, step in enumerate(kept.steps):
        if not step.hlo.estimated_cycles or step.is_marker:
            continue
        reads = [a for a in accesses[slot] if a.kind == "read"]
        writes = [a for a in accesses[slot] if a.kind == "write"]
        rows: list[tuple[list[bool], list[bool], float]] = [
            ([False] * len(reads), [False] * len(writes), step.hlo.estimated_cycles)
        ]
        for place in places:
            computation, hlo = place.get(step.name, (None, None))
            if computation is None or hlo is None or len(hlo.operands) != len(step.hlo.operands):
                rows.append(([False] * len(reads), [False] * len(writes), math.nan))
                continue
            rows.append(
                (
                    [_access_is_fast(a, computation, hlo, fast_space) for a in reads],
                    [_access_is_fast(a, computation, hlo, fast_space) for a in writes],
                    hlo.estimated_cycles or math.nan,
                )
            )
        read_bytes = np.array([a.bytes for a in reads], float)
        write_bytes = np.array([a.bytes for a in writes], float)
        samples[slot] = Sample(
            key=(
                step.hlo.opcode,
                step.hlo.estimated_cycles,
                *map(tuple, (read_bytes, write_bytes)),
            ),
            reads=read_bytes,
            writes=write_bytes,
            read_fast=np.array([r[0] for r in rows], bool).reshape(len(rows), len(reads)),
            write_fast=np.array([r[1] for r in rows], bool).reshape(len(rows), len(writes)),
            cycles=np.array([r[2] for r in rows], float),
        )
    return samples


def _instructions(module: HloModule) -> dict[str, tuple[HloComputation, HloInstruction]]:
    """Instructions of a module with their computations; names are unique in a module."""
    return {
        hlo.name: (computation, hlo)
        for computation in module.computations.values()
        for hlo in computation.instructions.values()
    }


def _access_is_fast(
    access: Access, computation: HloComputation, hlo: HloInstruction, fast_space: int
) -> bool:
    """Whether all arrays of an access lie in fast memory in a compiled module."""
    if access.kind == "read":
        shapes = [computation.instructions[hlo.operands[i]].shape for i in access.operands]
        arrays = [array for shape in shapes for _, array in leaves(shape)]
    else:
        outputs = [array for _, array in leaves(hlo.shape)]
        arrays = [outputs[i] for i in access.operands]
    return bool(arrays) and all(array.memory_space == fast_space for array in arrays)


def _padded_sizes(dump: Dump, kept: _KeptGraph) -> dict[int, int]:
    """Bytes of values whose layout is printed without its tiles: the dump knows them padded."""
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


def _left_out(dump: Dump, kept: _KeptGraph, source: str) -> list[dict[str, Any]]:
    """Buffers of the dump that are no value, each with the reason.

    Raises:
      InputError: sizes differ, or more than 2 % of the bytes are left out.
    """
    graph, left_out, total, missing = kept.graph, [], 0, 0
    seen: set[tuple[str, tuple[int, ...]]] = set()
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
                        f"{compiled.folder / 'bufferinfo.csv'}: size: {buffer.instruction} has "
                        f"{buffer.size_bytes}, its shape in {source} has {size}"
                    )
            if value is None or graph.find(value) not in kept.value_of:
                missing += buffer.size_bytes
                reason = "not in the module without assignment" if value is None else "not used"
                left_out.append(
                    {"buffer": buffer.instruction, "bytes": buffer.size_bytes, "reason": reason}
                )
    if missing > MOST_LEFT_OUT * total:
        raise InputError(
            f"{dump.folder}: buffer_name: {missing} of {total} bytes belong to no value, "
            f"first {left_out[0]['buffer']!r}"
        )
    return left_out


def _program(
    name: str,
    machine: Machine,
    dump: Dump,
    kept: _KeptGraph,
    calibration: Calibration,
    left_out: list[dict[str, Any]],
    scratch: dict[str, int] | None,
) -> Program:
    """A compile's program; without ``scratch`` instructions say themselves what CMEM they take."""
    graph = kept.graph
    second = 1.0 / (machine.clock_hz or 1.0)
    instructions, accesses = [], []
    for slot, (step, found) in enumerate(zip(kept.steps, _accesses(kept), strict=True)):
        fit = calibration.fits.get(slot)
        instructions.append(
            Instruction(
                name=step.name,
                opcode="loop" if step.is_marker else step.hlo.opcode,
                compute_s=_seconds(fit.compute, second) if fit else 0.0,
                fixed_read_s=_seconds(fit.fixed_read, second) if fit else 0.0,
                fixed_write_s=_seconds(fit.fixed_write, second) if fit else 0.0,
                reserved_bytes=_reserved_bytes(step, scratch),
            )
        )
        accesses.extend(_timed(found, fit, second))
    padded = _padded_sizes(dump, kept)
    values = tuple(
        Value(
            name=graph.values[v].name,
            size_bytes=padded.get(number, graph.values[v].shape.size_bytes),
            is_input=graph.values[v].is_input,
            is_output=graph.values[v].is_output,
        )
        for number, v in enumerate(kept.values)
    )
    loops, carried = [], []
    for number, loop in enumerate(graph.loops):
        loops.append(
            Loop(kept.slot_of_step[loop.entry], kept.slot_of_step[loop.exit], loop.trip_count)
        )
        for parameter, result in loop.carries:
            old, new = (kept.value_of.get(graph.find(v)) for v in (parameter, result))
            if old is not None and new is not None:
                carried.append(CarriedGroup(number, old, new))
    return Program(
        name=name,
        machine=machine,
        instructions=tuple(instructions),
        values=values,
        accesses=tuple(accesses),
        loops=tuple(loops),
        carried=tuple(carried),
        provenance={
            "source": f"compiler dump {dump.folder.name}",
            **dump.provenance,
            "all_slow_cycles": sum(s.hlo.estimated_cycles or 0 for s in kept.steps),
            "calibration": calibration.summary(),
            "left_out": left_out,
        },
    )


def _reserved_bytes(step: Step, scratch: dict[str, int] | None) -> int:
    """Fast memory that an instruction takes for itself, where that shares the assignment's part."""
    if step.is_marker:
        return 0
    return step.hlo.scoped_bytes(CMEM) if scratch is None else scratch.get(step.name, 0)


def _seconds(cycles: float, second: float) -> float:
    """Seconds with ten significant digits: stable bytes in committed files."""
    return float(f"{cycles * second:.10g}")


def _timed(found: Sequence[Access], fit: Fit | None, second: float) -> list[Access]:
    """Accesses with what they add in slow memory; nothing where the compiler gives no estimate.

    What they take in fast memory too is part of the instruction's fixed times.
    """
    counters = {"read": 0, "write": 0}
    timed = []
    for access in found:
        number = counters[access.kind]
        counters[access.kind] += 1
        added = 0.0
        if fit:
            added = (fit.read_added if access.kind == "read" else fit.write_added)[number]
        timed.append(
            Access(
                access.instruction, access.value, access.kind, access.operands, access.bytes,
                _seconds(added, second), 0.0, access.defines,
            )
        )  # fmt: skip
    return timed


def _mapping(
    program: Program, dump: Dump, compiled: Compile, kept: _KeptGraph, fast_space: int
) -> tuple[Mapping, tuple[str, ...]]:
    graph = kept.graph
    slot_of = {step.name: slot for slot, step in enumerate(kept.steps)}
    on_graph = build_graph(compiled.module, str(compiled.folder / "msa_on.hlo.gz"))
    windows = copy_windows(compiled.module, on_graph, slot_of, fast_space)
    value_at = {
        (name, index): kept.value_of[graph.find(value)]
        for name, tree in graph.positions.items()
        for index, value in tree.items()
        if graph.find(value) in kept.value_of
    }
    clock = slot_clock(dump.base, kept.steps, compiled.schedule)
    places = _slow_places(program, compiled, kept, fast_space)
    return production_mapping(program, compiled, clock, windows, value_at, places)


def _slow_places(
    program: Program, compiled: Compile, kept: _KeptGraph, fast_space: int
) -> dict[tuple[int, int], bool]:
    """For every (slot, value) read or written: whether the compile does so in slow memory."""
    found = _instructions(compiled.module)
    places = {}
    for access in program.accesses:
        step = kept.steps[access.instruction]
        if step.name in found:
            is_fast = _access_is_fast(access, *found[step.name], fast_space)
            key = (access.instruction, access.value)
            places[key] = not is_fast and places.get(key, True)
    return places


def _estimated_cycles(compiled: Compile, kept: _KeptGraph) -> int:
    """Sum of the compiler's estimates in a compile, each loop body once."""
    found = _instructions(compiled.module)
    names = [s.name for s in kept.steps if not s.is_marker and s.name in found]
    return sum(found[name][1].estimated_cycles or 0 for name in names)
