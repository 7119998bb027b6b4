"""The allocator alone: how close packers come to the most bytes alive at any time.

    python benchmarks/packing.py [--suite tpu_v4_sample] [--budget 5] [--csv DIR]

Packs the residencies of production's and of local search's mapping anew and prints one JSON object
for each: the most bytes alive (no packing needs less) and, for every packer and order, the bytes
that it needs relative to that.  `fits` says whether that is within fast memory.  With --csv the
problems are written as minimalloc's CSV files.  Reservations are not modelled; the suite has none.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from gamekit.errors import InputError
from mallocgame.game.options import GameConfig
from mallocgame.judge.minimalloc import PACKERS, buffers_of, height, live_bytes, pack, write_csv
from mallocgame.mappers.layouts.local_search import local_search
from mallocgame.program import Program, load_program
from mallocgame.program.mapping import Mapping
from mallocgame.suites import find_programs, load_production


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--suite", default="tpu_v4_sample")
    parser.add_argument("--budget", type=float, default=5.0, help="seconds for local search")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    try:
        for path in find_programs([options.suite]):
            program = load_program(path)
            mappings = {
                "local_search": local_search(program, GameConfig(), options.budget, 0).mapping
            }
            production = load_production(path, program)
            if production is not None:
                mappings["production"] = production
            for name, mapping in mappings.items():
                row = {"program": program.name, "mapping": name, **packings(program, mapping)}
                print(json.dumps(row), flush=True)
                if options.csv is not None:
                    options.csv.mkdir(parents=True, exist_ok=True)
                    problem = options.csv / f"{program.name}.{name}.csv"
                    write_csv(buffers_of(program, mapping), problem)
    except InputError as error:
        print(f"packing.py: {error}", file=sys.stderr)
        return 2
    return 0


def packings(program: Program, mapping: Mapping) -> dict:
    """Sizes relative to the bytes alive, per packer and order, and of the mapping itself."""
    buffers = buffers_of(program, mapping)
    alive = live_bytes(buffers)
    capacity = program.machine.fast_capacity_bytes
    row: dict = {
        "buffers": len(buffers),
        "alive_bytes": alive,
        "alive_of_capacity": alive / capacity,
    }
    row["itself"] = height(buffers) / alive if alive else 1.0
    for packer in PACKERS:
        for order in ("start", "area"):
            needs = height(pack(buffers, packer, order))
            row[f"{packer} by {order}"] = needs / alive if alive else 1.0
            row[f"{packer} by {order} fits"] = needs <= capacity
    return row


if __name__ == "__main__":
    sys.exit(main())
