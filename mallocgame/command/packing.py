"""Places buffers in memory; reads and writes the CSV files of minimalloc.

    mallocgame pack problem.csv --capacity 1048576 -o answer.csv
    mallocgame pack problem.csv -o answer.csv
    mallocgame pack --mapping tpu_v4_sample/lstm_scan_v4_64mib NAME.mapping.json.gz -o problem.csv

Without --capacity it looks for the least capacity that it can pack in the time given.  Columns are
id, lower, upper and size, and where they are wanted alignment and gaps (`3-5 6-7@0:16`).  Bytes of
a window (`@0:16`) stay taken in the gap; such a gap is not used by others, which a line says.  The
answer has the column offset besides.  The exit code is 1, and nothing is written, if not all
buffers find a place.  --mapping writes the residencies of a mapping as a problem.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gamekit.errors import InputError
from gamekit.jsonfile import MAX_INTEGER
from gamekit.text import say

if TYPE_CHECKING:
    from mallocgame.judge.minimalloc import Buffer
    from mallocgame.packing.problem import Packed, PackingProblem

TRIES = 6  # capacities for which the time is divided


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("problem", nargs="?", type=Path, help="CSV file")
    what.add_argument(
        "--mapping", nargs=2, metavar=("PROGRAM", "MAPPING"), help="write its residencies"
    )
    parser.add_argument("-o", "--out", type=Path, help="CSV file; default standard output")
    parser.add_argument("--capacity", type=int, metavar="BYTES", help="default: as few as it can")
    parser.add_argument("--budget", type=float, default=10.0, metavar="S", help="default 10 s")
    parser.add_argument("--seed", type=int, default=0, help="default 0")


def run(options: argparse.Namespace) -> int:
    """Packs or writes a problem; 1 if some buffers found no place."""
    from gamekit.files import write_text
    from mallocgame.judge.minimalloc import read_csv, to_csv

    if options.out is not None and options.out.exists():
        raise InputError(f"{options.out}: already exists; choose another name")
    if options.mapping:
        text = to_csv(_residencies(*options.mapping))
    else:
        buffers = read_csv(options.problem)
        windows = sum(gap.window is not None for b in buffers for gap in b.gaps)
        if windows:
            say(f"{windows} gaps with a window are kept free of other buffers", error=True)
        packed = _pack(buffers, options)
        if packed is None:
            return 1
        text = to_csv(packed, offsets=True)
    if options.out is None:
        for line in text.splitlines():
            say(line)
    else:
        write_text(options.out, text)
    return 0


def _residencies(program: str, mapping: str) -> list[Buffer]:
    from mallocgame.judge.minimalloc import buffers_of
    from mallocgame.program import load_program
    from mallocgame.program.mapping import load_mapping
    from mallocgame.suites import find_program

    loaded = load_program(find_program(program))
    return buffers_of(loaded, load_mapping(mapping, loaded))


def _pack(buffers: Sequence[Buffer], options: argparse.Namespace) -> list[Buffer] | None:
    """The buffers with offsets; None if not all find a place."""
    import dataclasses

    from mallocgame.arguments import check_seconds, check_seed
    from mallocgame.judge.minimalloc import live_bytes
    from mallocgame.packing.problem import check

    budget, seed = check_seconds("--budget", options.budget), check_seed(options.seed)
    if options.capacity is not None and not 0 <= options.capacity <= MAX_INTEGER:
        raise InputError(f"--capacity: must be bytes, at least 0, got {options.capacity}")
    begin = time.perf_counter()
    if options.capacity is None:
        problem, packed = _least(buffers, budget, seed)
    else:
        problem, packed = _packed(buffers, options.capacity, budget, seed)
    seconds = time.perf_counter() - begin
    if packed.unplaced:
        say(
            f"{len(packed.unplaced)} of {len(buffers)} buffers found no place in "
            f"{problem.capacity:,} bytes; at least {live_bytes(buffers):,} are alive at a time "
            f"({seconds:.1f} s)",
            error=True,
        )
        return None
    broken = check(problem, packed.offsets)
    assert broken is None, broken
    answer = [
        dataclasses.replace(buffer, offset=int(offset))
        for buffer, offset in zip(buffers, packed.offsets, strict=True)
    ]
    height = max((b.offset + b.size for b in answer), default=0)
    say(
        f"{len(buffers)} buffers in {height:,} bytes; {live_bytes(buffers):,} are alive at a time "
        f"({seconds:.1f} s)",
        error=True,
    )
    return answer


def _packed(
    buffers: Sequence[Buffer], capacity: int, budget_s: float, seed: int
) -> tuple[PackingProblem, Packed]:
    import numpy as np

    from mallocgame.packing.host import pack
    from mallocgame.packing.problem import PackingProblem

    intervals = [(i, *interval) for i, b in enumerate(buffers) for interval in b.intervals]
    item, lower, upper = np.array(intervals, np.int64).reshape(-1, 3).T
    size = np.array([b.size for b in buffers], np.int64)
    align = np.array([b.alignment for b in buffers], np.int64)
    problem = PackingProblem(capacity, size, np.zeros_like(size), item, lower, upper, align)
    return problem, pack(problem, budget_s, seed)


def _least(buffers: Sequence[Buffer], budget_s: float, seed: int) -> tuple[PackingProblem, Packed]:
    """A packing in as little memory as it finds, halving what is left to know."""
    from mallocgame.judge.minimalloc import height, live_bytes
    from mallocgame.judge.minimalloc import pack as greedy

    low = live_bytes(buffers)
    simple = min(height(greedy(buffers, "best_fit", order)) for order in ("start", "area"))
    best = _packed(buffers, simple, budget_s, seed)
    high, tried = simple, low
    for _ in range(TRIES):
        if best[1].unplaced or low >= high:
            break
        found = _packed(buffers, tried, budget_s / TRIES, seed)
        if found[1].unplaced:
            low = tried + 1
        else:
            best = found
            high = int((found[1].offsets + found[0].size).max(initial=0))
        tried = (low + high) // 2
    return best
