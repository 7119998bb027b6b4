"""How far the reimplemented MSA agrees with the production compiler's own run, per program.

    python benchmarks/msa_agreement.py --dumps DIR [--suite tpu_v4_sample]

DIR holds the compiler dumps from which the suite was built, a folder for each program.  Prints one
JSON object per program:

    order_agreement  Spearman's rank correlation of the sort order with the order of bufferinfo.csv
    placed_alike     share of bytes x slots of the values' lives that both put into the same memory
    fast_alike       share of the bytes x slots in fast memory by either that both have there
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np

from gamekit.errors import InputError
from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate
from mallocgame.mappers.msa import msa
from mallocgame.mappers.msa.cost import PRODUCTION_BYTE_S, Cost, sort_order
from mallocgame.program import Program, load_program
from mallocgame.program.mapping import Mapping
from mallocgame.suites import find_programs, load_production


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--dumps", required=True, type=Path)
    parser.add_argument("--suite", default="tpu_v4_sample")
    options = parser.parse_args()
    try:
        for path in find_programs([options.suite]):
            program = load_program(path)
            production = load_production(path, program)
            if production is not None:
                print(json.dumps(compare(program, production, options.dumps)), flush=True)
    except InputError as error:
        print(f"msa_agreement.py: {error}", file=sys.stderr)
        return 2
    return 0


def compare(program: Program, production: Mapping, dumps: Path) -> dict:
    """The row of one program."""
    mapped = msa(program, GameConfig(), 0.0, 0)
    ours, theirs = _held(program, mapped.mapping), _held(program, production)
    lives = _lives(program)
    sizes = np.array([value.size_bytes for value in program.values], dtype=np.float64)[:, None]
    either = ((ours | theirs) * sizes).sum()
    saved = {
        name: simulate(program, mapping).saved_fraction
        for name, mapping in (("msa", mapped.mapping), ("production", production))
    }
    return {
        "program": program.name,
        "loops": len(program.loops),
        "order_agreement": _order_agreement(program, dumps),
        "placed_alike": float(((ours == theirs) * lives * sizes).sum() / (lives * sizes).sum()),
        "fast_alike": float(((ours & theirs) * sizes).sum() / either) if either else 1.0,
        "saved": saved,
        "dropped": mapped.info["dropped"],
        "seconds": mapped.seconds,
    }


def _held(program: Program, mapping: Mapping) -> np.ndarray:
    """Whether each value is in fast memory in each slot: bool [V, T]."""
    held = np.zeros((len(program.values), len(program.instructions)), dtype=bool)
    for r in mapping.residencies:
        held[r.value, r.start : r.end] = True
    return held


def _lives(program: Program) -> np.ndarray:
    """Slots from a value's definition (an input's: from the beginning) to its last access."""
    lives = np.zeros((len(program.values), len(program.instructions)), dtype=bool)
    for v, value in enumerate(program.values):
        at = [a.instruction for a in program.accesses if a.value == v]
        if at and program.fits(v):
            lives[v, 0 if value.is_input else min(at) : max(at) + 1] = True
    return lives


def _order_agreement(program: Program, dumps: Path) -> float | None:
    """Spearman's rank correlation with production's order, over the values that it names."""
    folder, _, capacity = program.name.rpartition("_")
    kib = int(capacity.removesuffix("mib")) * 1024
    inner = dumps / folder / f"capacity_{kib}_kib" / "bufferinfo.csv"
    path = inner if inner.exists() else dumps / folder / "bufferinfo.csv"
    try:
        rows = list(csv.DictReader(path.open()))
    except OSError as error:
        raise InputError(f"{path}: {error}") from None
    names = {value.name: v for v, value in enumerate(program.values)}
    theirs: dict[int, int] = {}
    for row in rows:
        name = row["buffer_name"].strip("<>").split(" ", 1)[1]
        if name in names:
            theirs.setdefault(names[name], len(theirs))  # retries repeat rows
    cost = Cost(program, PRODUCTION_BYTE_S)
    listed = sorted(theirs)
    order = sort_order(cost, [[v] for v in listed])
    ours = {listed[number]: rank for rank, number in enumerate(order)}
    a = np.array([ours[v] for v in listed], dtype=np.float64)
    b = np.argsort(np.argsort([theirs[v] for v in listed])).astype(np.float64)
    return float(np.corrcoef(a, b)[0, 1]) if len(listed) > 2 else None


if __name__ == "__main__":
    sys.exit(main())
