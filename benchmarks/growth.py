"""What grows faster than the program: process seconds of each part, by size.

    python benchmarks/growth.py [--accesses 5000,16000,50000]

Prints one JSON object a size, for `sized_program`; kernels are compiled before.  The last object
has each part's exponent, the slope of its logarithm over that of the accesses between the first
and the last size: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mallocgame.game.compile_program import compile_program
from mallocgame.game.options import GameConfig
from mallocgame.game.retime import retime
from mallocgame.judge import simulate, verify
from mallocgame.mappers.layouts.local_search import LayoutSearch
from mallocgame.mappers.msa import msa
from mallocgame.packing.host import pack
from mallocgame.packing.problem import PackingProblem, simple_problem
from mallocgame.program import Program, validate
from mallocgame.program.mapping import Mapping
from mallocgame.relaxation.relaxation import relax
from mallocgame.report.benefit import benefit, served_by, wanted_bytes
from mallocgame.synthetic.random_programs import sized_program

STEPS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--accesses", default="5000,16000,50000")
    sizes = [int(n) for n in parser.parse_args().accesses.split(",")]
    measure(sized_program(np.random.default_rng(0), accesses=60))
    found = []
    for accesses in sizes:
        program = sized_program(np.random.default_rng(0), accesses=accesses)
        found.append(measure(program))
        print(json.dumps({"accesses": len(program.accesses)} | found[-1]), flush=True)
    factor = math.log(sizes[-1] / sizes[0])
    first, last = found[0], found[-1]
    print(json.dumps({p: round(math.log(last[p] / first[p]) / factor, 2) for p in first}))


def measure(program: Program) -> dict[str, float]:
    """Process seconds of each part; of local search those of `STEPS` steps."""
    seconds: dict[str, float] = {}

    def timed(part: str, run: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = run()
        seconds[part] = round(max(time.process_time() - began, 1e-6), 6)
        return result

    timed("validate", lambda: validate(program))
    mapped = timed("msa", lambda: msa(program, GameConfig(), 0.0, 0))
    timed("verify", lambda: verify(program, mapped.mapping))
    timed("simulate", lambda: simulate(program, mapped.mapping))
    search = timed("prepare_search", lambda: LayoutSearch(program, 0))
    timed("first_layout", search.start)
    timed("steps", lambda: search.search(STEPS))
    layout = search.mapping()
    timed("retime", lambda: retime(program, layout))
    problem = places(program, layout)
    timed("pack", lambda: pack(problem, 0.0))
    timed("game_tables", lambda: compile_program(program, GameConfig()))
    timed("rows", lambda: relax(program))
    worth = timed("report", lambda: benefit(program))
    timed("report_fast", lambda: served_by(program, mapped.mapping))
    timed("report_wanted", lambda: wanted_bytes(program, worth))
    return seconds


def places(program: Program, mapping: Mapping) -> PackingProblem:
    """What a packer is asked at the end of a game with these residencies."""
    stays, values = mapping.residencies, program.values
    size = [program.machine.align(values[stay.value].size_bytes) for stay in stays]
    lower, upper = [stay.start for stay in stays], [stay.end for stay in stays]
    return simple_problem(program.machine.fast_capacity_bytes, size, lower, upper)


if __name__ == "__main__":
    main()
