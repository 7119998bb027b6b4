"""Whether variants look like the real programs that they are made from.

    python benchmarks/variants.py [--suite tpu_v4:train] [--count 100] [--seed 0]

Prints one JSON object for each quantity: its 10, 50 and 90 % quantiles over the programs of the
suite and over the variants.  At the end come the shares of programs with loops and of those on
which MSA saves less than 0.1 %, and how long a variant takes to make.

    instructions, values, accesses, loops
                   how many
    peak_pressure  the most bytes alive in a slot, over the capacity
    mean_pressure  the mean over the slots
    density        bytes that a slot accesses, over the capacity; the mean over the slots
    supply         the bus's idle time with everything in slow memory, over the time of a copy of
                   as many bytes as fast memory has
    floor_saved    what is saved with everything that fits in fast memory at no cost
    msa_saved      what production's algorithm saves, by the judge

`mallocgame.synthetic.variants.bytes_alive` says what is alive.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

import numpy as np

from gamekit.errors import InputError
from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate
from mallocgame.mappers.registry import MAPPERS
from mallocgame.program import Program
from mallocgame.program.latency import supply_time
from mallocgame.program.mapping import all_slow
from mallocgame.suites import load_programs
from mallocgame.synthetic.variants import bytes_alive, variants

QUANTILES = (10, 50, 90)
NOTHING = 0.001  # a smaller saved share than this counts as none


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--suite", default="tpu_v4:train")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        originals = load_programs([options.suite])
        started = time.perf_counter()
        made = variants(originals, options.count, options.seed)
    except InputError as error:
        print(f"variants.py: {error}", file=sys.stderr)
        return 2
    seconds = time.perf_counter() - started
    compare([figures(program) for program in originals], [figures(program) for program in made])
    print(json.dumps({"ms_per_variant": round(1000 * seconds / max(len(made), 1), 1)}))
    return 0


def compare(originals: Sequence[dict[str, float]], made: Sequence[dict[str, float]]) -> None:
    """Prints the quantiles of every figure."""
    rows = {"originals": originals, "variants": made}
    for name in originals[0]:
        quantiles = {
            which: [float(f"{q:.3g}") for q in np.percentile([f[name] for f in of], QUANTILES)]
            for which, of in rows.items()
        }
        print(json.dumps({"quantity": name, **quantiles}), flush=True)
    for share, holds in (
        ("with_loops", lambda f: f["loops"] > 0),
        ("msa_saves_nothing", lambda f: f["msa_saved"] < NOTHING),
    ):
        shares = {which: round(sum(map(holds, of)) / len(of), 3) for which, of in rows.items()}
        print(json.dumps({"share": share, **shares}))


def figures(program: Program) -> dict[str, float]:
    """The quantities of one program, by name."""
    machine = program.machine
    capacity, slots = machine.fast_capacity_bytes, len(program.instructions)
    pressure = bytes_alive(program) / capacity
    slow = simulate(program, all_slow(program))
    weights = np.array(program.weights, np.float64)
    idle_s = float(weights @ supply_time(slow.elapsed_s, slow.bus_busy_s))
    mapped = MAPPERS["msa"](program, GameConfig(), 0.0, 0)
    return {
        "instructions": slots,
        "values": len(program.values),
        "accesses": len(program.accesses),
        "loops": len(program.loops),
        "peak_pressure": float(pressure.max()),
        "mean_pressure": float(pressure.mean()),
        "density": sum(a.bytes for a in program.accesses) / capacity / slots,
        "supply": idle_s / (capacity / machine.slow_bandwidth),
        "floor_saved": 1 - slow.floor_latency_s / slow.all_slow_latency_s,
        "msa_saved": simulate(program, mapped.mapping).saved_fraction,
    }


if __name__ == "__main__":
    sys.exit(main())
