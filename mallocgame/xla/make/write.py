"""Writes imported dumps as files of a suite, and says how well they fit."""

from __future__ import annotations

from pathlib import Path

from gamekit.text import file_name
from mallocgame.judge import simulate, verify
from mallocgame.program import save_program
from mallocgame.program.mapping import save_mapping
from mallocgame.xla.make.importer import Import

PROGRAM_SUFFIX = ".program.json.gz"
PRODUCTION_SUFFIX = ".production.mapping.json.gz"


def write_import(imported: Import, out: Path) -> list[Path]:
    """Writes every program and production's mapping; the bytes are reproducible."""
    paths = []
    for item in imported.items:
        stem = file_name(item.program.name)
        program = out / f"{stem}{PROGRAM_SUFFIX}"
        mapping = out / f"{stem}{PRODUCTION_SUFFIX}"
        save_program(item.program, program)
        save_mapping(item.mapping, mapping)
        paths += [program, mapping]
    return paths


def fit_lines(imported: Import) -> list[str]:
    """Lines that say how well the latency model reproduces the estimates, one per placement."""
    calibration = imported.calibration
    first = imported.items[0].program
    lines = [
        f"{first.provenance['source']}: per instruction median error "
        f"{calibration.median_error:.2%}, 95th percentile {calibration.p95_error:.2%}",
        f"  assignment off: {first.provenance['all_slow_cycles']:,} cycles, "
        f"fit {calibration.total_errors[0]:+.3%}",
    ]
    errors = zip(calibration.total_errors[1:], calibration.held_out, strict=True)
    for item, (error, held_out) in zip(imported.items, errors, strict=False):
        unseen = "no other placement" if held_out is None else f"{held_out.total:+.2%} unseen"
        simulation = simulate(item.program, item.mapping)
        lines.append(
            f"  {item.program.name}: {item.cycles:,} cycles, fit {error:+.3%} ({unseen}); "
            f"production saves {simulation.saved_fraction:.2%}, "
            f"{len(verify(item.program, item.mapping))} violations, {len(item.notes)} notes"
        )
    return lines
