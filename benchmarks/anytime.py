"""What local search has found after some seconds on each program of a suite.

    python benchmarks/anytime.py [--suite tpu_v4] [--marks 1,10,30,60] [--out FILE]

Appends one JSON object for each program to FILE, and skips the programs that are in it.  Seconds
are process time, so that other processes on the core matter less.  `saved` is the share of the
all-slow latency that the mapping of the best layout so far saves, by the judge.  The search goes
on from that layout, and stops where it reaches its bound.  It runs on older commits too: copy it
there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate
from mallocgame.mappers.layouts import local_search as layouts
from mallocgame.mappers.msa import msa
from mallocgame.program import Program, load_program
from mallocgame.suites import find_programs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", nargs="+", default=["tpu_v4"])
    parser.add_argument("--marks", default="1,10,30,60")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    marks = [float(mark) for mark in options.marks.split(",")]
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    done = {json.loads(line)["program"] for line in lines}
    if hasattr(layouts, "compile_kernels"):
        layouts.compile_kernels()
    for program in map(load_program, find_programs(options.suite)):
        if program.name not in done:
            row = {"program": program.name, "accesses": len(program.accesses)}
            row |= _measure(program, marks, options.seed)
            with options.out.open("a") as file:
                print(json.dumps(row), file=file)


def _measure(program: Program, marks: list[float], seed: int) -> dict[str, Any]:
    """The steps of `local_search`, with a look at the best layout at each mark."""
    begin = time.process_time()
    heuristic = msa(program, GameConfig(), marks[-1], seed).mapping
    search = layouts.LayoutSearch(program, seed)
    search.start()
    if hasattr(search, "sweep"):
        search.sweep()
    search.lay(layouts.fast_accesses(program, heuristic))
    relaxing = time.process_time()
    if getattr(layouts, "RELAX_S", 0.0) * len(program.accesses) <= layouts.PRICING * marks[-1]:
        search.learn_prices(layouts.PRICING * marks[-1])
    started = time.process_time()
    saved, steps = [], []
    for mark in marks:
        while time.process_time() - begin < mark and not _is_over(search):
            _step(search)
        mapping = layouts.best_legal(program, search.mapping(), heuristic)
        saved.append(simulate(program, mapping).saved_fraction)
        steps.append(int(search.steps))
    return {
        "saved": saved,
        "steps": steps,
        "msa": simulate(program, heuristic).saved_fraction,
        "relaxing_s": round(started - relaxing, 2),
        "seconds": round(time.process_time() - begin, 2),
        "is_over": bool(_is_over(search)),
    }


def _step(search: Any) -> None:
    if hasattr(search, "search"):
        search.search(100)
    else:  # before the kernels
        search.step()


def _is_over(search: Any) -> bool:
    before_kernels = hasattr(search, "optimal")
    return bool(search.optimal if before_kernels else search.is_over)


if __name__ == "__main__":
    main()
