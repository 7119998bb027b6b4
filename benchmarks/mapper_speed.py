"""Seconds to the first layout of local search, its steps per second, and seconds of MSA.

    python benchmarks/mapper_speed.py [--accesses 1000,4000,16000] [--seconds 3]

Prints one JSON object per line, for `sized_program` of each size.  All is process time, so that
other processes on the core matter less; `wall_over_process` says how busy it was.  The line `start`
is what the first call in this process took on top: compilation if nothing was compiled before on
this machine (`NUMBA_CACHE_DIR` in an empty folder measures that), else loading.  It runs on older
commits too: copy it there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.mappers.layouts.local_search import LayoutSearch
from mallocgame.mappers.msa import msa
from mallocgame.program import Program
from mallocgame.synthetic.random_programs import sized_program


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--accesses", default="1000,4000,16000")
    parser.add_argument("--seconds", type=float, default=3.0, help="of steps, process time")
    options = parser.parse_args()
    small = sized_program(np.random.default_rng(0), accesses=60)
    first, again = (_timed(lambda: _try(small))[1] for _ in range(2))
    print(json.dumps({"benchmark": "mapper_speed", "start_s": round(first - again, 3)}), flush=True)
    for accesses in (int(n) for n in options.accesses.split(",")):
        program = sized_program(np.random.default_rng(0), accesses=accesses)
        print(json.dumps(_measure(program, options.seconds)), flush=True)


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    result = run()
    return result, time.process_time() - started


def _try(program: Program) -> None:
    search = LayoutSearch(program, 0)
    search.start()
    _steps(search, 1)
    msa(program, GameConfig(), 0.0, 0)


def _steps(search: Any, steps: int) -> None:
    if hasattr(search, "search"):
        search.search(steps)
    else:  # before the kernels
        for _ in range(steps):
            search.step()


def _measure(program: Program, seconds: float) -> dict[str, Any]:
    wall, process = time.perf_counter(), time.process_time()
    search, prepared = _timed(lambda: LayoutSearch(program, 0))
    _, filled = _timed(search.start)
    steps, chunk, spent = 0, 50, 0.0
    while spent < seconds:
        spent += _timed(lambda: _steps(search, chunk))[1]
        steps += chunk
    mapping = search.mapping()
    mapped, of_msa = _timed(lambda: msa(program, GameConfig(), 0.0, 0))
    assert verify(program, mapping) == verify(program, mapped.mapping) == []
    busy = (time.perf_counter() - wall) / (time.process_time() - process)
    return {
        "accesses": len(program.accesses),
        "first_layout_s": round(prepared + filled, 3),
        "step_us": round(1e6 * spent / steps, 1),
        "steps_per_s": round(steps / spent),
        "saved": round(simulate(program, mapping).saved_fraction, 5),
        "msa_s": round(of_msa, 3),
        "wall_over_process": round(busy, 2),
    }


if __name__ == "__main__":
    main()
