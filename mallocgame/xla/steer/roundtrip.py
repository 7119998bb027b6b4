"""Compiles again with an exported mapping and reads back what the compiler made of it.

Three witnesses say what a mapping gains: the compiler's own estimated cycles, which know nothing of
this project's latency model; the simulated latency of what the compiler did; and the benefit in
seconds by which memory space assignment itself orders its buffers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gamekit.errors import InputError
from mallocgame.judge import simulate, verify
from mallocgame.judge.reading import Reading
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping
from mallocgame.xla.compile.compiler import DEFAULT_TIMEOUT_S, compile_to
from mallocgame.xla.make.importer import import_dump
from mallocgame.xla.read.chips import KIB, Chip, Options
from mallocgame.xla.read.dump import read_hlo
from mallocgame.xla.steer.bufferinfo import benefit_s, buffer_benefits
from mallocgame.xla.steer.export import compiler_options
from mallocgame.xla.steer.followed import Placement, placement_of

STABLEHLO = "lowered.mlir"
Compiler = Callable[..., None]


@dataclass(frozen=True)
class CompilerBench:
    """A program and all that compiles of it with other options need.

    Attributes:
      work: folder of the program's compiles, as ``import --work`` leaves it.
      compiler: a stand-in for `compile_to` in tests.
    """

    program: Program
    work: Path
    chip: Chip
    timeout_s: float = DEFAULT_TIMEOUT_S
    compiler: Compiler = compile_to

    def check(self) -> None:
        """Raises InputError if the folder is not of the program."""
        path = self.work / STABLEHLO
        if not path.is_file():
            raise InputError(
                f"{path}: no such file; `import --work` and `build-suite --work` keep it"
            )
        wanted = self.program.provenance.get("stablehlo_sha256")
        if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            raise InputError(
                f"{path}: must be what {self.program.name} was compiled from, got another module"
            )

    def account(self, work: Path | None = None) -> Path:
        """The folder of the compile at the program's capacity."""
        capacity = self.program.machine.fast_capacity_bytes
        folder = work or self.work
        if capacity == self.chip.machine.fast_capacity_bytes:
            return folder
        return folder / f"capacity_{capacity // KIB}_kib"

    def compile(self, options: Options, out: Path) -> int:
        """Compiles with options into a folder and returns the estimated cycles.

        Raises:
          InputError: the compile fails; the line quotes the compiler.
        """
        flags = self.chip.capacity_flags(self.program.machine.fast_capacity_bytes)
        self.compiler(self.work / STABLEHLO, self.chip, options, flags, out, self.timeout_s)
        return self.cycles(out)

    def cycles(self, folder: Path) -> int:
        """The compiler's estimate of a compile, without waiting for copies.

        Instructions in a loop count as often as they are executed.
        """
        weight = {
            instruction.name: times
            for instruction, times in zip(
                self.program.instructions, self.program.weights, strict=True
            )
        }
        module = read_hlo(folder / "msa_on.hlo.gz")
        shares = module.shares()
        return round(
            sum(
                weight.get(hlo.name, 0) * shares.get(name, 0.0) * (hlo.estimated_cycles or 0)
                for name, computation in module.computations.items()
                for hlo in computation.instructions.values()
            )
        )

    def placement(self, folder: Path) -> Placement:
        """Where a compile has the program's accesses."""
        module = read_hlo(folder / "msa_on.hlo.gz")
        return placement_of(self.program, module, self.chip.fast_space)


@dataclass(frozen=True)
class Figures:
    """What the three witnesses say of one mapping.

    Attributes:
      cycles: the compiler's estimate, loops included, without waiting for copies; None for a
        mapping that was not compiled.
      latency_s: simulated seconds; stall_s: those of them that wait for copies.
      saved: share of the all-slow latency that is saved.
      benefit_s: seconds of benefit of what is in fast memory, by the compiler's account.
    """

    cycles: int | None
    latency_s: float
    stall_s: float
    saved: float
    benefit_s: float


@dataclass(frozen=True)
class RoundTrip:
    """What the compiler made of a mapping.

    Attributes:
      mapping: what the compiler did, as a mapping of the program.
      followed: share of the wanted bytes x slots in fast memory that the compiler has there too.
      followed_reads: share of the bytes to be read or written in fast memory that are.
      beyond: share of the compiler's bytes x slots in fast memory that are not the mapping's.
      production, wanted, done: figures of the compiler's own mapping, of the exported one and of
        what the compiler did.
      violations: number of rules that what the compiler did breaks, by the judge.
    """

    program: str
    mapping: Mapping
    followed: float
    followed_reads: float
    beyond: float
    production: Figures
    wanted: Figures
    done: Figures
    violations: int

    @property
    def gain(self) -> float:
        """Speed-up over production by the compiler's own estimate."""
        return _ratio(self.production.cycles or 0, self.done.cycles or 0)

    @property
    def simulated_gain(self) -> float:
        """Speed-up over production of what the compiler did, simulated."""
        return _ratio(self.production.latency_s, self.done.latency_s)

    def record(self) -> dict[str, Any]:
        """Everything but the mapping, for JSON."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del fields["mapping"]
        for name in ("production", "wanted", "done"):
            fields[name] = dataclasses.asdict(fields[name])
        return {**fields, "gain": self.gain, "simulated_gain": self.simulated_gain}


def round_trip(
    bench: CompilerBench, mapping: Mapping, production: Mapping, levers: str = "public"
) -> RoundTrip:
    """Compiles a program with an exported mapping.

    Args:
      mapping: of the program, from any mapper.
      production: the compiler's own mapping of the program.
      levers: what may be said, see `options_of`.

    Raises:
      InputError: the folder is of another program, or the compile fails.
    """
    options = compiler_options(bench.program, mapping, bench.chip, levers)
    return read_back(bench, options, mapping, production)


def read_back(
    bench: CompilerBench, options: Options, mapping: Mapping, production: Mapping
) -> RoundTrip:
    """Compiles with options and compares the result with the mapping that they express.

    Raises:
      InputError: the folder is of another program, or the compile fails.
    """
    bench.check()
    program = bench.program
    with tempfile.TemporaryDirectory(prefix="mallocgame-roundtrip-") as name:
        folder = Path(name) / program.name
        shutil.copytree(bench.work, folder)
        cycles = bench.compile(options, bench.account(folder))
        imported = import_dump(folder, bench.chip.machine, program.name)
    capacity = program.machine.fast_capacity_bytes
    made = next(
        item for item in imported.items if item.program.machine.fast_capacity_bytes == capacity
    )
    done = dataclasses.replace(made.mapping, fingerprint=program.fingerprint)
    benefits = buffer_benefits(program, bench.account(), bench.work)

    def figures(of: Mapping, cycles: int | None) -> Figures:
        simulation = simulate(program, of)
        return Figures(
            cycles=cycles,
            latency_s=simulation.latency_s,
            stall_s=float(np.dot(program.weights, simulation.stall_s)),
            saved=simulation.saved_fraction,
            benefit_s=benefit_s(program, of, benefits),
        )

    wanted, got = resident_bytes(program, mapping), resident_bytes(program, done)
    shared = sum(size for place, size in wanted.items() if place in got)
    return RoundTrip(
        program=program.name,
        mapping=done,
        followed=shared / max(sum(wanted.values()), 1),
        followed_reads=_served_alike(program, mapping, done),
        beyond=1 - shared / max(sum(got.values()), 1),
        production=figures(production, bench.cycles(bench.account())),
        wanted=figures(mapping, None),
        done=figures(done, cycles),
        violations=len(verify(program, done)),
    )


def resident_bytes(program: Program, mapping: Mapping) -> dict[tuple[int, int], int]:
    """Bytes in fast memory by (value, slot)."""
    return {
        (residency.value, slot): program.values[residency.value].size_bytes
        for residency in mapping.residencies
        for slot in range(residency.start, residency.end)
    }


def _served_alike(program: Program, wanted: Mapping, done: Mapping) -> float:
    """Share of the bytes accessed in fast memory under `wanted` that are under `done` too."""
    before, after = (Reading(program, mapping).served_fast() for mapping in (wanted, done))
    total = alike = 0
    for access, was, now in zip(program.accesses, before, after, strict=True):
        size = access.bytes * program.weights[access.instruction]
        total += size if was else 0
        alike += size if was and now else 0
    return alike / max(total, 1)


def _ratio(before: float, after: float) -> float:
    return before / after - 1 if after else 0.0
