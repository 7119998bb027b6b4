"""Compiles again with an exported mapping and reads back what the compiler made of it.

Two witnesses of what a mapping gains: the compiler's own estimated cycles, which know nothing of
this project's latency model, and the simulated latency of what the compiler did.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mallocgame.jsonfile import InputError
from mallocgame.judge import simulate, verify
from mallocgame.mapping import Mapping
from mallocgame.program import Program
from mallocgame.xla.chips import KIB, Chip
from mallocgame.xla.compiler import DEFAULT_TIMEOUT_S, compile_to
from mallocgame.xla.export import compiler_options
from mallocgame.xla.importer import import_dump

STABLEHLO = "lowered.mlir"
Compiler = Callable[..., None]


@dataclass(frozen=True)
class RoundTrip:
    """What became of a mapping in the compiler.

    Attributes:
      mapping: what the compiler did, as a mapping of the program.
      followed: share of the wanted bytes x slots in fast memory that the compiler put there too.
      beyond: share of the compiler's bytes x slots in fast memory that the mapping does not have.
      cycles_production, cycles: the compiler's estimate, without waiting for copies, under its own
        mapping and now.
      saved_production, saved_wanted, saved: simulated shares of the all-slow latency.
      violations: rules that what the compiler did breaks, by the judge.
    """

    mapping: Mapping
    followed: float
    beyond: float
    cycles_production: int
    cycles: int
    saved_production: float
    saved_wanted: float
    saved: float
    violations: int

    @property
    def gain(self) -> float:
        """Cycles that the compiler itself estimates to be saved against its own mapping."""
        return self.cycles_production / self.cycles - 1 if self.cycles else 0.0


def round_trip(
    program: Program,
    mapping: Mapping,
    production: Mapping,
    work: Path,
    chip: Chip,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    compiler: Compiler = compile_to,
) -> RoundTrip:
    """Compiles `program` with `mapping` exported.

    Args:
      production: the compiler's own mapping of the program.
      work: folder of the program's compiles, as ``import --work`` leaves it.
      compiler: stands in for `compile_to` in tests.

    Raises:
      InputError: the folder is of another program, or the compile fails.
    """
    _check(program, work)
    capacity = program.machine.fast_capacity_bytes
    options = compiler_options(program, mapping, chip)
    with tempfile.TemporaryDirectory(prefix="mallocgame-roundtrip-") as name:
        folder = Path(name) / program.name
        shutil.copytree(work, folder)
        place = folder
        if capacity != chip.machine.fast_capacity_bytes:
            place = folder / f"capacity_{capacity // KIB}_kib"
        flags = chip.capacity_flags(capacity)
        compiler(work / STABLEHLO, chip, options, flags, place, timeout_s)
        imported = import_dump(folder, chip.machine, program.name)
    made = next(
        item for item in imported.items if item.program.machine.fast_capacity_bytes == capacity
    )
    done = dataclasses.replace(made.mapping, fingerprint=program.fingerprint)
    wanted, got = resident_bytes(program, mapping), resident_bytes(program, done)
    shared = sum(size for place, size in wanted.items() if place in got)
    return RoundTrip(
        mapping=done,
        followed=shared / max(sum(wanted.values()), 1),
        beyond=1 - shared / max(sum(got.values()), 1),
        cycles_production=int(program.provenance["production"]["estimated_cycles"]),
        cycles=made.cycles,
        saved_production=simulate(program, production).saved_fraction,
        saved_wanted=simulate(program, mapping).saved_fraction,
        saved=simulate(program, done).saved_fraction,
        violations=len(verify(program, done)),
    )


def resident_bytes(program: Program, mapping: Mapping) -> dict[tuple[int, int], int]:
    """Bytes in fast memory by (value, slot)."""
    return {
        (residency.value, slot): program.values[residency.value].size_bytes
        for residency in mapping.residencies
        for slot in range(residency.start, residency.end)
    }


def _check(program: Program, work: Path) -> None:
    path = work / STABLEHLO
    if not path.is_file():
        raise InputError(f"{path}: no such file; `import --work` and `build-suite --work` keep it")
    wanted = program.provenance.get("stablehlo_sha256")
    if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
        raise InputError(f"{path}: is not what {program.name} was compiled from")
    if "production" not in program.provenance:
        raise InputError(f"{program.name}: provenance.production: is missing")
