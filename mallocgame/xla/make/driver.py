"""From a function to a program: compiles, imports, and chooses the capacity."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from gamekit.errors import InputError
from mallocgame.program.machine import MIB
from mallocgame.xla.compile.workfolder import Workfolder
from mallocgame.xla.latency.calibrate import Calibration
from mallocgame.xla.make.capacity import Contest, contest, halves, pressure
from mallocgame.xla.make.importer import Import, Imported, import_dump
from mallocgame.xla.read.chips import Options
from mallocgame.xla.read.dump import Compile, read_compile
from mallocgame.xla.read.hlo import HloModule, leaves
from mallocgame.xla.steer.export import ORDER, position_text

MOST_CAPACITIES = 3
# Seeds of the probes' orders, and the part that each leaves of the memory that production uses.
PROBES = ((1, 2), (2, 4))


@dataclass(frozen=True)
class Made:
    """A program at its capacity.

    item: the program and production's mapping.
    contest: how contested its memory is; reason: why it has this capacity.
    calibration: how well the latency model fits.
    module: the StableHLO that it was compiled from.
    """

    item: Imported
    contest: Contest
    reason: str
    calibration: Calibration
    module: str


def make_program(work: Workfolder, name: str, capacity_bytes: int | None) -> Made:
    """Compiles and imports a program.

    Args:
      name: the program's name.
      capacity_bytes: fast memory, a multiple of 1 MiB; None chooses it.

    Raises:
      InputError: a compile fails, or its dump cannot be imported.
    """
    full = work.chip.largest_bytes
    if capacity_bytes is not None and not (
        MIB <= capacity_bytes <= full and capacity_bytes % MIB == 0
    ):
        raise InputError(
            f"capacity: must be 1 to {full // MIB} whole MiB, got {capacity_bytes} bytes"
        )
    if work.chip.has_one_capacity and capacity_bytes not in (None, full):
        raise InputError(
            f"capacity: must be {full // MIB} MiB on {work.chip.name}, got {capacity_bytes // MIB} "
            "MiB: with less memory the compiler makes other kernels"
        )
    work.compile_off()
    work.compile_full()
    compiled = read_compile(work.folder, None)
    placed = placed_arrays(compiled.module, work.chip.fast_space)
    # With one array there, all placements are known: that of the compile, and all slow.
    for seed, divisor in PROBES if placed > 1 else ():
        order: Options = {ORDER: random_order(compiled, seed)}
        size = full if work.chip.has_one_capacity else part_of_used(compiled, divisor)
        work.compile_probe(f"random_{seed}", order, size)
    if capacity_bytes is not None:
        if capacity_bytes != full:
            work.compile_capacity(capacity_bytes)
        imported = _imported(work, name)
        item = _item(imported, capacity_bytes)
        found = contest(item.program, item.mapping)
        reason = f"given; {found.reason(capacity_bytes)}"
    else:
        imported, item, found = _contested(work, name)
        reason = found.reason(item.program.machine.fast_capacity_bytes)
    module = work.lowered.stablehlo.read_text()
    return Made(_with_reason(item, reason), found, reason, imported.calibration, module)


def placed_arrays(module: HloModule, fast_space: int) -> int:
    """How many arrays a compile has in fast memory, each as often as it is produced there."""
    return sum(
        array.memory_space == fast_space
        for computation in module.computations.values()
        for hlo in computation.instructions.values()
        for _, array in leaves(hlo.shape)
    )


def random_order(compiled: Compile, seed: int) -> str:
    """The option that gives all values their turn in a random order."""
    scoped = {b.instruction for b in compiled.buffers.values() if b.is_scoped}
    names = dict.fromkeys(b.instruction for b in compiled.buffers.values())
    free = [name for name in names if name not in scoped]
    turns = np.random.default_rng(seed).permutation(len(free)) - len(free)
    return " ".join(
        f"overrides {{ {position_text(name, ())} override_options {{ assign_value: {turn} }} }}"
        for name, turn in zip(free, turns, strict=True)
    )


def part_of_used(compiled: Compile, divisor: int) -> int:
    """The fast memory that a compile uses over the divisor, in whole MiB but at least one, in
    bytes."""
    used = max((a.offset + a.size_bytes for a in compiled.allocations), default=0)
    return max(used // divisor // MIB, 1) * MIB


def _contested(work: Workfolder, name: str) -> tuple[Import, Imported, Contest]:
    """Tries capacities from the largest down, skipping those at which all useful values fit.

    On a chip of one capacity that is the only one.
    """
    imported = _imported(work, name)
    first, *smaller_ones = halves(work.chip.largest_bytes)
    item = _item(imported, first)
    tried = [(item, contest(item.program, item.mapping))]
    for size in () if work.chip.has_one_capacity else smaller_ones:
        if tried[-1][1].is_contested or len(tried) > MOST_CAPACITIES:
            break
        machine = item.program.machine.with_capacity(size)
        if pressure(item.program.with_machine(machine)) <= 1:
            continue
        work.compile_capacity(size)
        imported = _imported(work, name)
        smaller = _item(imported, size)
        tried.append((smaller, contest(smaller.program, smaller.mapping)))
    chosen, found = tried[-1]
    if not found.is_contested:
        chosen, found = max(tried, key=lambda pair: pair[1].bound - pair[1].saved)
    # The fit of the last import has seen every compile.
    return imported, _item(imported, chosen.program.machine.fast_capacity_bytes), found


def _imported(work: Workfolder, name: str) -> Import:
    work.write_provenance()
    return import_dump(work.folder, work.chip.machine, name)


def _item(imported: Import, capacity_bytes: int) -> Imported:
    return next(
        item
        for item in imported.items
        if item.program.machine.fast_capacity_bytes == capacity_bytes
    )


def _with_reason(item: Imported, reason: str) -> Imported:
    provenance = {**item.program.provenance, "capacity": reason}
    return dataclasses.replace(
        item, program=dataclasses.replace(item.program, provenance=provenance)
    )
