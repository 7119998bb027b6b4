"""Whether a probe that public levers can say may take the place of the one that is compiled now.

    python benchmarks/promise_probes.py --work DIR --probes DIR --programs NAME,NAME

The DIR of ``--work`` is that of `benchmarks/promises.py`, the DIR of ``--probes`` keeps the new
compiles.  There are two kinds of probe.  *Half* keeps a random half of all arrays in slow memory,
by an option without public documentation, and was compiled for all programs before 2026-11-30.
*Order* is a random order of all values in half of the memory that production uses, which public
levers can say.  Prints for each program a line of JSON with the errors of summed cycles by fits to
all slow, production's compiles, and no probe or one of either kind.  They are predicted under
placements that no fit has seen: one of either kind, of another seed, and production's compile with
the least memory, which is then left out of the fits.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from gamekit.errors import InputError
from gamekit.jsonfile import read_object
from mallocgame.xla.compile.compiler import compile_to
from mallocgame.xla.latency.calibrate import calibrate
from mallocgame.xla.make.driver import part_of_used, random_order
from mallocgame.xla.make.kept import select
from mallocgame.xla.make.samples import latency_samples
from mallocgame.xla.read.chips import Chip, Options, chip_by_name
from mallocgame.xla.read.dump import Dump, read_dump, read_hlo
from mallocgame.xla.read.graph import build_graph
from mallocgame.xla.read.hlo import HloModule
from mallocgame.xla.steer.export import ORDER, TENSORS
from mallocgame.xla.steer.roundtrip import STABLEHLO

FITTED, UNSEEN = 1, 2
KINDS = ("half", "order")


def main() -> int:
    """Compiles the missing probes and prints a line for each program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--probes", type=Path, required=True)
    parser.add_argument("--programs", required=True, help="names, separated by commas")
    options = parser.parse_args()
    for name in options.programs.split(","):
        try:
            print(json.dumps({"program": name, **_row(options.work / name, options.probes / name)}))
        except InputError as error:
            print(f"promise_probes.py: {name}: {error}", file=sys.stderr)
        sys.stdout.flush()
    return 0


def _row(work: Path, probes: Path) -> dict[str, float | None]:
    """Errors by what is predicted and the kind of the probe that the fit saw."""
    dump = read_dump(work)
    chip = chip_by_name(read_object(work / "provenance.json")["chip"])
    made = {
        (kind, seed): _module(dump, work, chip, probes, kind, seed)
        for seed in (FITTED, UNSEEN) for kind in KINDS
    }  # fmt: skip
    compiles, smallest = dump.compiles, dump.compiles[-1].module
    row: dict[str, float | None] = {}
    for kind in ("none", *KINDS):
        seen = [made[kind, FITTED]] if kind in KINDS else []
        for unseen in KINDS:
            row[f"{unseen} by {kind}"] = _error(dump, chip, compiles, seen, made[unseen, UNSEEN])
        row[f"production by {kind}"] = _error(dump, chip, compiles[:-1], seen, smallest)
    return row


def _error(
    dump: Dump, chip: Chip, compiles: tuple, seen: list[HloModule], unseen: HloModule
) -> float | None:
    """Error of the summed cycles of a module that the fit does not see; None without one to see."""
    machine = chip.machine
    rate = (machine.clock_hz or 1.0) / machine.slow_bandwidth
    kept = select(build_graph(dump.base, str(dump.folder)))
    given = dataclasses.replace(dump, compiles=compiles, probes=(*seen, unseen))
    found = calibrate(latency_samples(given, kept, chip.fast_space), rate).held_out[-1]
    return None if found is None else round(found.total, 5)


def _module(dump: Dump, work: Path, chip: Chip, probes: Path, kind: str, seed: int) -> HloModule:
    """A probe, compiled unless it is there."""
    out = probes / f"{kind}_{seed}"
    if not (out / "msa_on.hlo.gz").exists():
        capacity, options = chip.largest_bytes, random_half(seed)
        if kind == "order":
            first = dump.compiles[0]
            capacity, options = part_of_used(first, 2), {ORDER: random_order(first, seed)}
        options = {**chip.closed, **options, **chip.capacity_options(capacity)}
        compile_to(work / STABLEHLO, chip, options, chip.capacity_flags(capacity), out)
    return read_hlo(out / "msa_on.hlo.gz")


def random_half(seed: int) -> Options:
    """Options that keep a random half of all arrays in slow memory."""
    override = (
        "overrides { hlo_position_matcher { hlo_random_filter { "
        f"seed: {seed} selection_range_begin: 0.0 selection_range_end: 0.5 }} }} "
        "keep_in_default_memory { } }"
    )
    return {TENSORS: override}


if __name__ == "__main__":
    sys.exit(main())
