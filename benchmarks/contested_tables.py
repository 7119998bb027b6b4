"""Table of docs/results/promises.md on programs that fill the memory.

    python benchmarks/contested_tables.py rows.jsonl --before rows.jsonl --commit COMMIT
        --date YYYY-MM-DD --out docs/results/data/promises_contested.json

Rows are of `benchmarks/promises.py --suite`.  Those of ``--before`` were made by an earlier
version, with public levers and with all of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.promises import read_rows
from gamekit.files import write_text
from mallocgame.promise import LEAST_SHARE

Row = dict[str, Any]
COMMAND = ["python benchmarks/promises.py --work DIR --out rows.jsonl --suite tpu_v4 --budget 10 "
           "--programs ... [--levers all]"]  # fmt: skip
MACHINE = (
    "two x86-64 cores (virtual machine), jax 0.10.2, no accelerator, one core shared with much "
    "other work; a TPU compiler (libtpu 0.0.51), no TPU"
)
PUBLIC, ALL = "local_search", "local_search, all levers"
SHARES = ("promised", "error", "one compile", "turns", "confirmed")
BEFORE = ("before", "before, all levers")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("rows", type=Path)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--date", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    made = table(read_rows(options.rows), read_rows(options.before))
    about = {"command": COMMAND, "machine": MACHINE, "commit": options.commit, "date": options.date}
    write_text(options.out, json.dumps({**made, **about}, indent=1) + "\n")
    return 0


def table(rows: Sequence[Row], before: Sequence[Row]) -> dict[str, Any]:
    """One line for each program, and what they say together."""
    known = {(row["program"], row["mapper"]): row.get("confirmed") for row in before}
    lines = [
        [row["program"], *(_percent(figures(row).get(name)) for name in SHARES),
         len(row.get("attempts", ())), round(row["seconds"].get("confirm", 0.0)),
         *(_percent(known.get((row["program"], mapper))) for mapper in (PUBLIC, ALL))]
        for row in rows
    ]  # fmt: skip
    return {
        "title": "Programs that fill the memory: what is promised, and what compiles make of it",
        "question": "How far do public levers go, and does the error hold on new programs?",
        "columns": [
            {"name": "program", "unit": ""},
            *({"name": name, "unit": "%", "decimals": 2, **_signed(name)} for name in SHARES),
            {"name": "compiles", "unit": ""}, {"name": "seconds", "unit": "s", "decimals": 0},
            *({"name": name, "unit": "%", "decimals": 2, "signed": True} for name in BEFORE),
        ],
        "rows": lines,
        "notes": [
            "Of the mapping whose options are handed out: *promised* before its compile, and the "
            "*error*. *One compile*: the first one of the first mapping. *Turns*: the best of the "
            "first mapping, with what was left out first. *Confirmed*: the best of all, with the "
            "mappings that were made with what the compiler taught. Negative ones are not handed "
            "out. *Before*: up to four ways to say the first mapping, at 5cc8609.",
            *(f"{line}." for line in sums(rows, before)),
        ],
    }  # fmt: skip


def figures(row: Row) -> dict[str, float | None]:
    """The shares of a row by name."""
    promise = row.get("promise") or {}
    tried = [a for a in row.get("attempts", ()) if a["cycles"]]
    first = [row["production_cycles"] / a["cycles"] - 1 for a in tried if not a["number"]]
    return {
        "promised": promise.get("gain"), "error": promise.get("error"),
        "one compile": first[0] if first else None, "turns": max(first, default=None),
        "confirmed": row.get("confirmed"),
    }  # fmt: skip


def sums(rows: Sequence[Row], before: Sequence[Row]) -> list[str]:
    """What the rows say together."""
    found = [figures(row) for row in rows if row.get("attempts") and row.get("promise")]

    def mean(name: str) -> float:
        return 100 * float(np.mean([max(f[name] or 0.0, 0.0) for f in map(figures, rows)]))

    said = [(max(f["promised"] or 0.0, 0.0), f["error"] or 0.0, f["confirmed"] or 0.0)
            for f in found]  # fmt: skip
    inside = sum(abs(gain - got) <= max(error, LEAST_SHARE) for gain, error, got in said)
    above = sum(got - gain > max(error, LEAST_SHARE) for gain, error, got in said)
    clear = [(gain, got) for gain, error, got in said if gain > max(error, LEAST_SHARE)]
    distance = 100 * float(np.median([abs(gain - got) for gain, _, got in said]))
    shared = {row["program"] for row in before}
    now = [row["confirmed"] for row in rows if row["program"] in shared]
    earlier = {
        mapper: [row["confirmed"] for row in before if row["mapper"] == mapper]
        for mapper in (PUBLIC, ALL)
    }
    means = [100 * float(np.mean(values)) for values in (now, earlier[PUBLIC], earlier[ALL])]
    return [
        f"{len(rows)} programs, {len(found)} of them compiled. Gain on average: one compile "
        f"{mean('one compile'):.2f} %, turns {mean('turns'):.2f} %, all {mean('confirmed'):.2f} %",
        f"The confirmed gain is inside the error of {inside}, and above it in {above}. Gains that "
        f"can be told from zero: {len(clear)}, of which {sum(g <= 0 for _, g in clear)} came to "
        f"nothing. Median distance: {distance:.2f} points",
        f"The {len(now)} programs with both: {means[0]:.2f} % on average, before {means[1]:.2f} %, "
        f"with all levers {means[2]:.2f} %",
    ]


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 4)


def _signed(name: str) -> dict[str, bool]:
    return {} if name == "error" else {"signed": True}


if __name__ == "__main__":
    sys.exit(main())
