"""Writes imported dumps as suite files, with the table of what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mallocgame.machine import Machine
from mallocgame.mapping import save_mapping
from mallocgame.program import Program, save_program
from mallocgame.xla.importer import Import, import_dump

PROGRAM_SUFFIX = ".program.json.gz"
PRODUCTION_SUFFIX = ".production.mapping.json.gz"


def write_import(imported: Import, out: Path) -> list[Path]:
    """Writes every program and production's mapping of it; the bytes are reproducible."""
    paths = []
    for item in imported.items:
        program = out / f"{item.program.name}{PROGRAM_SUFFIX}"
        mapping = out / f"{item.program.name}{PRODUCTION_SUFFIX}"
        save_program(item.program, program)
        save_mapping(item.mapping, mapping)
        paths += [program, mapping]
    return paths


def dump_folders(folder: Path) -> list[Path]:
    """Dump folders inside a folder, by name."""
    return sorted(p.parent for p in folder.glob("*/msa_off.hlo.gz"))


def build_suite(dumps: Path, out: Path, machine: Machine) -> list[Import]:
    """Imports every dump folder in ``dumps`` and writes the suite."""
    imports = []
    for folder in dump_folders(dumps):
        imports.append(import_dump(folder, machine))
        write_import(imports[-1], out)
    return imports


def fit_lines(imported: Import) -> list[str]:
    """How well the latency form reproduces the compiler's estimates, one line a placement."""
    calibration = imported.calibration
    first = imported.items[0].program
    lines = [
        f"{first.provenance['source']}: per instruction median error "
        f"{calibration.median_error:.2%}, 95th percentile {calibration.p95_error:.2%}; "
        f"compute floor identified for {calibration.identified_share:.0%} of the cycles",
        f"  assignment off: {first.provenance['all_slow_cycles']:,} cycles, "
        f"fit {calibration.total_errors[0]:+.3%}",
    ]
    for item, error in zip(imported.items, calibration.total_errors[1:], strict=True):
        lines.append(
            f"  {item.program.name}: {item.cycles:,} cycles, fit {error:+.3%}, "
            f"{len(item.mapping.residencies)} stays, {len(item.mapping.prefetches)} prefetches, "
            f"{len(item.mapping.evictions)} evictions"
        )
    return lines


def traffic_bytes(program: Program) -> int:
    """Bytes of all accesses of one execution, loops counted."""
    return sum(a.bytes * program.weights[a.instruction] for a in program.accesses)


def suite_programs(paths: Sequence[Path]) -> list[Path]:
    """Program files among paths."""
    return [p for p in paths if p.name.endswith(PROGRAM_SUFFIX)]
