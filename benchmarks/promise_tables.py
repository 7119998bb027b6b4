"""Tables of docs/results/promises.md from the rows of `benchmarks/promises.py`.

python benchmarks/promise_tables.py rows.jsonl --commit COMMIT --date YYYY-MM-DD --out DIR
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.promises import KINDS, SLOWER, read_rows
from gamekit.files import write_text
from mallocgame.promise import LEAST_SHARE

Row = dict[str, Any]
COMMAND = [
    "python benchmarks/promises.py --work DIR --out rows.jsonl --cases DIR --programs ...",
    "python benchmarks/promises.py --work DIR --out rows.jsonl --cases DIR --again",
    "python benchmarks/promise_tables.py rows.jsonl --commit COMMIT --date DATE --out DIR",
]
MACHINE = (
    "two x86-64 cores (virtual machine), jax 0.10.2, no accelerator, one core shared with much "
    "other work; a TPU compiler (libtpu 0.0.51), no TPU"
)
MOST_OFF = 0.03


def main() -> int:
    """Writes promises.json, promises_summary.json and promises_stays.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--date", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = read_rows(options.rows)
    about = {"command": COMMAND, "machine": MACHINE, "commit": options.commit, "date": options.date}
    for name, table in (
        ("promises", each(rows)), ("promises_summary", summary(rows)),
        ("promises_stays", stays(rows)),
    ):  # fmt: skip
        text = json.dumps({**table, **about}, indent=1)
        write_text(options.out / f"{name}.json", text + "\n")
    return 0


def each(rows: Sequence[Row]) -> dict[str, Any]:
    """One line for each program."""
    signed = {"promised at first", "promised", "compiled", "confirmed", "our latency", "off"}
    names = (
        "promised at first", "error at first", "promised", "error", "compiled", "confirmed",
        "followed", "our latency", "off",
    )  # fmt: skip
    columns: list[dict[str, Any]] = [{"name": "program", "unit": ""}]
    columns += [
        {"name": name, "unit": "%", "decimals": 1 if name == "followed" else 2,
         **({"signed": True} if name in signed else {})}
        for name in names
    ]  # fmt: skip
    columns += [{"name": part, "unit": "s", "decimals": 0} for part in ("load", "confirm")]
    return {
        "title": "What was promised and what the compiler made of it",
        "question": "Does the compiler confirm what is promised?",
        "columns": columns,
        "rows": [_line(row) for row in rows],
        "notes": [
            "*At first*: the promise before copies that come late were left out and before the "
            "error knew that copies are followed in part. *Compiled*: the first way in which the "
            "mapping was said; where nothing is promised nothing is compiled. *Confirmed*: what "
            "the options that are handed out gain. *Our latency*: the gain by our latencies of "
            "what was compiled, so that its distance to *compiled* is the latencies' fault, and "
            "its distance to *promised* is what the compiler did not follow. *Off*: production's "
            "cycles by our latencies against the compiler's.",
            "Mappings of three seconds of local search, one seed, public levers, one way of saying "
            "each. Programs that begin with a letter and two digits are of a list of programs that "
            "failed once; the others are in `benchmarks/ordinary`.",
            "Loads whose compiles were kept from an earlier run are not given seconds. The first "
            "compiles were still told of late copies. The attention layer on v5e (e05) is left "
            "out: its compile did not end within 600 s on this machine.",
        ],
    }


def _line(row: Row) -> list[Any]:
    if "refused" in row:
        return [row["program"], *[None] * 11]
    first, now = row.get("promise_first", row["promise"]), row["promise"]
    attempt = next((a for a in row.get("attempts", ()) if a["cycles"]), None)
    compiled = ours = followed = None
    if attempt:
        compiled = row["production_cycles"] / attempt["cycles"] - 1
        ours = row["production_s"] / attempt["simulated_s"] - 1
        followed = attempt["followed"]
    seconds = row["seconds"]
    compiles = [
        s for part, s in seconds.items() if part.startswith(("with ", "without ", "probe "))
    ]
    load = sum(compiles) + seconds["tracing"] + seconds["fit"] if compiles else None
    shares = (
        first and first["gain"], first and first["error"], now and now["gain"],
        now and now["error"], compiled, row.get("confirmed"), followed, ours, row["off"],
    )  # fmt: skip
    return [
        row["program"], *(None if s is None else round(100 * s, 4) for s in shares),
        load and round(load), seconds.get("confirm") and round(seconds["confirm"]),
    ]  # fmt: skip


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Promises at first and now, over the programs that were compiled again."""
    asked = [row for row in rows if row.get("attempts") and row["promise"]]
    lines = [["programs", len(rows), len(rows)], ["refused", *[_count(rows, "refused")] * 2]]
    off = sum(abs(row.get("off") or 0) > MOST_OFF for row in rows)
    lines += [["production's cycles more than 3 % off", off, off]]
    lines += [["compiled with a mapping", len(asked), len(asked)]]
    kinds = [[_pair(row, kind) for row in asked] for kind in ("promise_first", "promise")]
    for what, figure in (
        ("of these: a gain that can be told from zero", lambda p: sum(_clear(*x) for x in p)),
        ("such a gain, and the compiler sees none", lambda p: sum(_false(*x) for x in p)),
        ("confirmed gain inside the error", lambda p: sum(_inside(*x) for x in p)),
        ("median distance to the confirmed gain, points", _median_distance),
    ):
        lines.append([what, *(figure(pairs) for pairs in kinds)])
    return {
        "title": "Promises at first and now",
        "question": "How often does the error hold?",
        "columns": [
            {"name": "", "unit": ""}, {"name": "at first", "unit": ""}, {"name": "now", "unit": ""},
        ],
        "rows": lines,
        "notes": [
            "The same mappings and compiles in both columns. A promise of less than nothing counts "
            "as one of nothing, since production's options are handed out then.",
            "The constants of the error were chosen on these programs, so the right column is no "
            "test of them.",
        ],
    }  # fmt: skip


def stays(rows: Sequence[Row]) -> dict[str, Any]:
    """New stays of the mappings by what is expected of them, and whether the compiler has them."""
    lines = []
    for kind in (*KINDS, SLOWER):
        found = [row["stays"][kind] for row in rows if row.get("stays")]
        many, saved, followed = (sum(each[i] for each in found) for i in range(3))
        lines.append(
            [kind, sum(each[0] > 0 for each in found), many, round(1e6 * saved, 2),
             round(1e6 * followed, 2), round(100 * followed / saved, 2) if saved > 0 else None]
        )  # fmt: skip
    return {
        "title": "What mappings have in fast memory and production has not",
        "question": "Which stays does the compiler follow?",
        "columns": [
            {"name": "kind", "unit": ""}, {"name": "mappings", "unit": ""},
            {"name": "stays", "unit": ""}, {"name": "to save", "unit": "us", "decimals": 1},
            {"name": "of that compiled", "unit": "us", "decimals": 1},
            {"name": "share", "unit": "%", "decimals": 1},
        ],
        "rows": lines,
        "notes": [
            "*There was room*: the value would fit beside all that production has in fast memory. "
            "*Late copy*: it takes longer, at the published bandwidth, than all instructions from "
            "its start to its end. *A result, copied away*: it is written in fast memory and then "
            "copied to slow memory, which production does not do with it. *Slower in fast memory*: "
            "accesses, not stays, that the mapping has in slow memory and production has not.",
            "To save: by our latencies. Compiled: what of it the first compile has where the "
            "mapping has it.",
        ],
    }  # fmt: skip


def _count(rows: Sequence[Row], key: str) -> int:
    return sum(key in row for row in rows)


def _pair(row: Row, kind: str) -> tuple[float, float, float]:
    """Promised gain, its error, and the confirmed gain."""
    said = row.get(kind) or row["promise"]
    return max(said["gain"], 0.0), said["error"], row["confirmed"]


def _clear(gain: float, error: float, confirmed: float) -> bool:
    return gain > max(error, LEAST_SHARE)


def _false(gain: float, error: float, confirmed: float) -> bool:
    return _clear(gain, error, confirmed) and confirmed == 0


def _inside(gain: float, error: float, confirmed: float) -> bool:
    return abs(gain - confirmed) <= max(error, LEAST_SHARE)


def _median_distance(pairs: Sequence[tuple[float, float, float]]) -> float:
    found = [abs(gain - confirmed) for gain, _, confirmed in pairs]
    return round(100 * float(np.median(found)), 2) if found else 0.0


if __name__ == "__main__":
    sys.exit(main())
