"""The device packer beside the host packer, on problems whose answer is known.

    python benchmarks/packers.py [--pieces 60] [--problems 32] [--budget 5]

Prints one JSON object for each slack: the part of the problems that each packer solves, the mean
part of the items that it leaves unplaced, and its seconds for each problem, compilation apart.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import jax
import numpy as np

from mallocgame.packing.device import pack_batch
from mallocgame.packing.generator import cut_problem
from mallocgame.packing.host import compile_kernels, pack
from mallocgame.packing.problem import PackingProblem


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pieces", type=int, default=60, help="items of a problem")
    parser.add_argument("--problems", type=int, default=32)
    parser.add_argument("--budget", type=float, default=5.0, help="seconds of the host, a problem")
    options = parser.parse_args()
    compile_kernels()
    for slack in (0.0, 0.01, 0.05):
        problems = [
            cut_problem(seed, options.pieces, slack=slack)[0] for seed in range(options.problems)
        ]
        row = {"pieces": options.pieces, "slack": slack, "device": device(problems)}
        print(json.dumps({**row, "host": host(problems, options.budget)}), flush=True)
    return 0


def device(problems: list[PackingProblem]) -> dict:
    columns = [np.stack([getattr(p, n) for p in problems], 1) for n in ("size", "lower", "upper")]
    columns.append(np.stack([p.floor for p in problems], 1))
    columns.append(np.tile(np.arange(len(columns[0]))[:, None], len(problems)))
    capacity = np.array([p.capacity for p in problems])
    table = [np.asarray(c, np.int32) for c in (*columns, capacity)]
    jax.block_until_ready(pack_batch(*table))
    begin = time.perf_counter()
    offsets, ok = jax.block_until_ready(pack_batch(*table))
    seconds = (time.perf_counter() - begin) / len(problems)
    return figures(np.asarray(ok), np.asarray(offsets < 0).mean(0), seconds)


def host(problems: list[PackingProblem], budget: float) -> dict:
    packed = [pack(p, budget) for p in problems]
    unplaced = np.array([len(p.unplaced) / len(p.offsets) for p in packed])
    return figures(unplaced == 0, unplaced, float(np.mean([p.seconds for p in packed])))


def figures(solved: np.ndarray, unplaced: np.ndarray, seconds: float) -> dict:
    return {
        "solved": float(solved.mean()),
        "unplaced": round(float(unplaced.mean()), 4),
        "seconds": round(seconds, 4),
    }


if __name__ == "__main__":
    sys.exit(main())
