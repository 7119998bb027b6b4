"""Turns a dump folder into a program for each capacity, with the production compiler's mapping."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from mallocgame.xla.latency.assumed import assumed_cycles, needs_assumption
from mallocgame.xla.latency.calibrate import Calibration, calibrate
from mallocgame.xla.latency.times import (
    access_times,
    instruction_times,
    remembered,
    rounded,
)
from mallocgame.xla.make.kept import KeptGraph, accesses_at, left_out_buffers, padded_sizes, select
from mallocgame.xla.make.production import production_mapping
from mallocgame.xla.make.samples import instructions_by_name, is_fast, latency_samples
from mallocgame.xla.read.dump import Compile, Dump, read_dump
from mallocgame.xla.read.graph import build_graph
from mallocgame.xla.read.schedule import check_schedule, copy_windows, slot_clock
from mallocgame.xla.read.trips import ASSUMED_TRIPS
from mallocgame.xla.read.values import GraphStep

# Numbers of the fast memory in layouts, S(n): CMEM on TPU v4, VMEM on later chips.
CMEM = 3
FAST_SPACES = {"tpu_v4": CMEM, "tpu_v4i": CMEM}
LATER_FAST_SPACE = 1


@dataclass(frozen=True)
class Imported:
    """One compile as a program and production's mapping of it.

    notes: what could not be carried over as it was.
    cycles: the compiler's estimate, each loop body counted once.
    """

    program: Program
    mapping: Mapping
    notes: tuple[str, ...]
    cycles: int


@dataclass(frozen=True)
class Import:
    """A dump folder: one item for each compile, and how well the latency model fits."""

    items: tuple[Imported, ...]
    calibration: Calibration


def import_dump(folder: Path, machine: Machine, name: str | None = None) -> Import:
    """Reads the programs and production's mappings from a dump folder.

    Args:
      folder: as `mallocgame.xla.read.dump` describes it.
      machine: the machine of the compiles that have no capacity of their own.
      name: of the programs; by default the folder's name, followed by the capacity.

    Raises:
      InputError: one line that names the file, the field and the offending value.
    """
    dump = read_dump(folder)
    source = str(folder / "msa_off.hlo.gz")
    trips = int(dump.provenance.get("trip_count", ASSUMED_TRIPS))
    graph = build_graph(dump.base, source, trips)
    for compiled in dump.compiles:
        check_schedule(dump.base, compiled.schedule, str(compiled.folder / "scheduleinfo.csv"))
    kept = select(graph)
    fast_space = FAST_SPACES.get(machine.name, LATER_FAST_SPACE)
    _check_values(kept, source)
    samples = latency_samples(dump, kept, fast_space)
    calibration = calibrate(samples, 1 / _bytes_per_cycle(machine))
    left_out = left_out_buffers(dump, kept, source)
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
        made = {"production": {"estimated_cycles": cycles, "notes": list(notes),
                               **_compared(compiled, kept, program)}}  # fmt: skip
        program = dataclasses.replace(program, provenance={**program.provenance, **made})
        items.append(Imported(program, mapping, notes, cycles))
    return Import(tuple(items), calibration)


def _program(
    name: str,
    machine: Machine,
    dump: Dump,
    kept: KeptGraph,
    calibration: Calibration,
    left_out: list[dict[str, Any]],
    scratch: dict[str, int] | None,
) -> Program:
    """A compile's program.

    scratch: fast memory that each instruction reserves, by name; None if the instructions
        themselves say how much CMEM they reserve.
    """
    instructions, accesses = _instructions(machine, kept, calibration, scratch)
    assumed = dict(sorted(kept.graph.assumed.items()))
    shares = {str(t): step.share for t, step in enumerate(kept.steps) if step.share < 1}
    loops, carried = _loops(kept)
    return Program(
        name=name,
        machine=machine,
        instructions=instructions,
        values=_values(dump, kept),
        accesses=accesses,
        loops=loops,
        carried=carried,
        provenance={
            "source": f"compiler dump {dump.folder.name}",
            **dump.provenance,
            "all_slow_cycles": round(
                sum(s.share * (s.hlo.estimated_cycles or 0) for s in kept.steps)
            ),
            "calibration": {
                **calibration.summary(),
                **remembered(calibration.seen, len(kept.steps)),
            },
            "left_out": left_out,
            **({"assumed_trip_counts": assumed} if assumed else {}),
            **({"branches": shares} if shares else {}),
        },
    )


def _instructions(
    machine: Machine, kept: KeptGraph, calibration: Calibration, scratch: dict[str, int] | None
) -> tuple[tuple[Instruction, ...], tuple[Access, ...]]:
    """The instructions and their accesses, with the times that the calibration gives them.

    Those without an estimate have `assumed_cycles`, and accesses without times.  In a branch times
    are those of its share of the executions.
    """
    instructions, accesses = [], []
    for slot, (step, found) in enumerate(zip(kept.steps, accesses_at(kept), strict=True)):
        fit = calibration.fits.get(slot)
        second = step.share / (machine.clock_hz or 1.0)
        is_assumed = fit is None and not step.is_marker and needs_assumption(step.hlo)
        compute = assumed_cycles(step.hlo, machine.name) if is_assumed else 0.0
        bare = Instruction(
            name=step.name,
            opcode="loop" if step.is_marker else step.hlo.opcode,
            compute_s=rounded(compute * second),
            reserved_bytes=_reserved_bytes(step, scratch),
        )
        timed = bare if is_assumed else instruction_times(bare, fit, second)
        instructions.append(timed)
        accesses.extend(found if is_assumed else access_times(found, fit, second))
    return tuple(instructions), tuple(accesses)


def _values(dump: Dump, kept: KeptGraph) -> tuple[Value, ...]:
    padded = padded_sizes(dump, kept)
    raw = [kept.graph.values[v] for v in kept.values]
    return tuple(
        Value(
            name=value.name,
            size_bytes=padded.get(number, value.shape.size_bytes),
            is_input=value.is_input,
            is_output=value.is_output,
        )
        for number, value in enumerate(raw)
    )


def _loops(kept: KeptGraph) -> tuple[tuple[Loop, ...], tuple[CarriedGroup, ...]]:
    """The loops, and the groups of values that they carry, as far as both values are kept."""
    loops, carried = [], []
    for number, loop in enumerate(kept.graph.loops):
        loops.append(
            Loop(kept.slot_of_step[loop.entry], kept.slot_of_step[loop.exit], loop.trip_count)
        )
        for parameter, result in loop.carries:
            old, new = (kept.value_of.get(kept.graph.find(v)) for v in (parameter, result))
            if old is not None and new is not None and old != new:
                carried.append(CarriedGroup(number, old, new))
    return tuple(loops), tuple(carried)


def _reserved_bytes(step: GraphStep, scratch: dict[str, int] | None) -> int:
    """Fast memory that an instruction reserves within the memory that the assignment uses."""
    if step.is_marker:
        return 0
    return step.hlo.scoped_bytes(CMEM) if scratch is None else scratch.get(step.name, 0)


def _mapping(
    program: Program, dump: Dump, compiled: Compile, kept: KeptGraph, fast_space: int
) -> tuple[Mapping, tuple[str, ...]]:
    graph = kept.graph
    slot_of = {step.name: slot for slot, step in enumerate(kept.steps)}
    source = str(compiled.folder / "msa_on.hlo.gz")
    on_graph = build_graph(compiled.module, source, graph.trips_if_unknown)
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
    program: Program, compiled: Compile, kept: KeptGraph, fast_space: int
) -> dict[tuple[int, int], bool]:
    """For every (slot, value) that is accessed, whether the compile accesses it in slow memory."""
    found = instructions_by_name(compiled.module)
    places = {}
    for access in program.accesses:
        step = kept.steps[access.instruction]
        if step.name in found:
            fast = is_fast(access, *found[step.name], fast_space)
            key = (access.instruction, access.value)
            places[key] = not fast and places.get(key, True)
    return places


def _estimated_cycles(compiled: Compile, kept: KeptGraph) -> int:
    """The sum of the compiler's estimates in a compile, each loop body counted once."""
    found = instructions_by_name(compiled.module)
    steps = [s for s in kept.steps if not s.is_marker and s.name in found]
    return round(sum(s.share * (found[s.name][1].estimated_cycles or 0) for s in steps))


def _compared(compiled: Compile, kept: KeptGraph, program: Program) -> dict[str, Any]:
    """What the compile says beside its cycles.

    executed_cycles: each loop body as often as it runs.
    missing: slots whose instructions the compile does not have: copies that it made prefetches of.
    """
    found = instructions_by_name(compiled.module)
    missing = [t for t, s in enumerate(kept.steps) if not s.is_marker and s.name not in found]
    executed = sum(
        weight * step.share * (found[step.name][1].estimated_cycles or 0)
        for weight, step in zip(program.weights, kept.steps, strict=True)
        if not step.is_marker and step.name in found
    )
    return {"executed_cycles": round(executed), **({"missing": missing} if missing else {})}


def _bytes_per_cycle(machine: Machine) -> float:
    return machine.slow_bandwidth / (machine.clock_hz or 1.0)


def _check_values(kept: KeptGraph, source: str) -> None:
    if not kept.values:
        raise InputError(f"{source}: nothing to map: no array is read or written")
