"""Whether a probe that public levers can say may take the place of the one that is compiled now.

    python benchmarks/promise_probes.py --work DIR --probes DIR --programs NAME,NAME

The DIR of ``--work`` is that of `benchmarks/promises.py`, the DIR of ``--probes`` keeps the new
ones: a random order of all values in half of the memory that production uses.  Prints for each
program the error of production's summed cycles when the fit has seen all slow and one of the
probes: the present one, and the new one.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np

from gamekit.errors import InputError
from gamekit.jsonfile import read_object
from mallocgame.program.machine import MIB
from mallocgame.xla.compile.compiler import compile_to
from mallocgame.xla.latency.calibrate import calibrate
from mallocgame.xla.make.kept import select
from mallocgame.xla.make.samples import latency_samples
from mallocgame.xla.read.chips import Chip, chip_by_name
from mallocgame.xla.read.dump import Dump, read_dump, read_hlo
from mallocgame.xla.read.graph import build_graph
from mallocgame.xla.steer.export import ORDER, position_text
from mallocgame.xla.steer.roundtrip import STABLEHLO

SEED = 1


def main() -> int:
    """Compiles the missing probes and prints a line for each program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--probes", type=Path, required=True)
    parser.add_argument("--programs", required=True, help="names, separated by commas")
    options = parser.parse_args()
    try:
        for name in options.programs.split(","):
            work, probe = options.work / name, options.probes / name
            dump = read_dump(work)
            chip = chip_by_name(read_object(work / "provenance.json")["chip"])
            if not (probe / "msa_on.hlo.gz").exists():
                _compile(dump, work, chip, probe)
            new = dataclasses.replace(dump, probes=(read_hlo(probe / "msa_on.hlo.gz"),))
            errors = [held_out(each, chip) for each in (dump, new)]
            told = ("-" if error is None else f"{error:+.2%}" for error in errors)
            print(name, *told, sep="\t", flush=True)
    except InputError as error:
        print(f"promise_probes.py: {error}", file=sys.stderr)
        return 2
    return 0


def _compile(dump: Dump, work: Path, chip: Chip, out: Path) -> None:
    """The new probe: a random order of all values, in half of the memory that production uses."""
    compiled = dump.compiles[-1]
    used = max((a.offset + a.size_bytes for a in compiled.allocations), default=0)
    capacity = max(used // 2 // MIB, 1) * MIB
    found = [b.instruction for b in compiled.buffers.values() if not b.is_scoped]
    names = list(dict.fromkeys(found))
    turns = np.random.default_rng(SEED).permutation(len(names)) - len(names)
    order = " ".join(
        f"overrides {{ {position_text(name, ())} override_options {{ assign_value: {turn} }} }}"
        for name, turn in zip(names, turns, strict=True)
    )
    options = {**chip.closed, ORDER: order, **chip.capacity_options(capacity)}
    flags = chip.capacity_flags(capacity)
    compile_to(work / STABLEHLO, chip, options, flags, out)


def held_out(dump: Dump, chip: Chip) -> float | None:
    """Error of production's summed cycles by a fit to all slow and the probe."""
    kept = select(build_graph(dump.base, str(dump.folder)))
    alone = dataclasses.replace(dump, compiles=dump.compiles[-1:])
    samples = latency_samples(alone, kept, chip.fast_space)
    machine = chip.machine
    rate = (machine.clock_hz or 1.0) / machine.slow_bandwidth
    (found, *_) = calibrate(samples, rate).held_out
    return None if found is None else found.total


if __name__ == "__main__":
    sys.exit(main())
