"""How far every mapper is from the proven optimum, on programs small enough to have one.

    python benchmarks/small_optima.py [--programs 8] [--budget 5] [--seed 0] [--mappers all]

Draws programs that resemble real ones (`sized_program`, with 16 MiB of fast memory) and keeps those
whose optimum the exact model proves within the budget.  Prints one JSON object per program, with
each mapper's excess over the optimal latency, and one with the means.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

import numpy as np

from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.mappers.registry import LEARNED, MAPPERS
from mallocgame.program.machine import MIB
from mallocgame.program.mapping import all_slow
from mallocgame.synthetic.random_programs import sized_program

CAPACITY_MIB = 16


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--programs", type=int, default=8)
    parser.add_argument("--budget", type=float, default=5.0, help="seconds for those that search")
    parser.add_argument("--accesses", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    alone = [name for name in MAPPERS if name not in LEARNED]
    parser.add_argument("--mappers", default=",".join(alone), help="comma-separated")
    options = parser.parse_args()
    config, mappers = GameConfig(), options.mappers.split(",")
    rows = []
    seed = options.seed
    while len(rows) < options.programs:
        rng = np.random.default_rng([31, seed])
        seed += 1
        program = sized_program(rng, accesses=options.accesses, name=f"small{seed - 1}")
        program = program.with_machine(program.machine.with_capacity(CAPACITY_MIB * MIB))
        exact = MAPPERS["milp"](program, config, options.budget, 0)
        slow = simulate(program, all_slow(program)).latency_s
        best = simulate(program, exact.mapping).latency_s
        if not exact.info["proven"] or best > 0.999 * slow:
            continue
        row = {"program": program.name, "saved": 1 - best / slow}
        for name in mappers:
            mapping = MAPPERS[name](program, config, options.budget, 0).mapping
            assert not verify(program, mapping), name
            row[name] = simulate(program, mapping).latency_s / best - 1
        rows.append(row)
        print(json.dumps(row), flush=True)
    means = {name: statistics.fmean(row[name] for row in rows) for name in mappers}
    print(json.dumps({"program": "mean", **means}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
