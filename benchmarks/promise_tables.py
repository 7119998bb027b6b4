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
    """Writes promises.json and promises_*.json: summary, stays and loads."""
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
        ("promises_stays", stays(rows)), ("promises_loads", loads(rows)),
    ):  # fmt: skip
        text = json.dumps({**table, **about}, indent=1)
        write_text(options.out / f"{name}.json", text + "\n")
    return 0


def each(rows: Sequence[Row]) -> dict[str, Any]:
    """One line for each mapping of which something was promised or compiled."""
    signed = {"promised at first", "promised", "compiled", "confirmed", "our latency", "off"}
    names = (
        "promised at first", "error at first", "promised", "error", "compiled", "confirmed",
        "followed", "our latency", "off",
    )  # fmt: skip
    columns: list[dict[str, Any]] = [{"name": name, "unit": ""} for name in ("program", "mapper")]
    columns += [
        {"name": name, "unit": "%", "decimals": 1 if name == "followed" else 2,
         **({"signed": True} if name in signed else {})}
        for name in names
    ]  # fmt: skip
    shown = [row for row in rows if "refused" in row or _says_something(row)]
    quiet = sorted({row["program"] for row in rows} - {row["program"] for row in shown})
    return {
        "title": "What was promised and what the compiler made of it",
        "question": "Does the compiler confirm what is promised?",
        "columns": columns,
        "rows": [_line(row) for row in shown],
        "notes": [
            "*At first*: the promise that was made before what the compiler does not follow was "
            "left out; of later mappings there is none. *Compiled*: the best of the ways in which "
            "the mapping was said; where nothing is promised nothing is compiled. *Confirmed*: "
            "what the options that are handed out gain. *Our latency*: the gain by our latencies "
            "of what was compiled, so that its distance to *compiled* is the latencies' fault, and "
            "its distance to *promised* is what the compiler did not follow. *Off*: production's "
            "cycles by our latencies against the compiler's.",
            "Local search has three seconds. One seed, public levers. Programs that begin with a "
            "letter and two digits are of a list of programs that failed once; the others are in "
            "`benchmarks/ordinary`.",
            f"Of {len(rows) - len(shown)} other mappings nothing was promised. These programs have "
            f"no others: {', '.join(quiet)}.",
        ],
    }


def _says_something(row: Row) -> bool:
    kinds = [row[kind] for kind in ("promise", "promise_first") if row.get(kind)]
    return bool(row.get("attempts")) or any(p["gain"] > LEAST_SHARE for p in kinds)


def _line(row: Row) -> list[Any]:
    if "refused" in row:
        return [row["program"], row["mapper"], *[None] * 9]
    first, now = row.get("promise_first"), row["promise"]
    tried = [a for a in row.get("attempts", ()) if a["cycles"]]
    compiled = ours = followed = None
    if tried:
        attempt = min(tried, key=lambda a: a["cycles"])
        compiled = row["production_cycles"] / attempt["cycles"] - 1
        ours = row["production_s"] / attempt["simulated_s"] - 1
        followed = attempt["followed"]
    shares = (
        first and first["gain"], first and first["error"], now and now["gain"],
        now and now["error"], compiled, row.get("confirmed"), followed, ours, row["off"],
    )  # fmt: skip
    return [
        row["program"], row["mapper"], *(None if s is None else round(100 * s, 4) for s in shares),
    ]  # fmt: skip


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Promises at first and now, by mapper, over the mappings that were compiled."""
    groups = {
        "greedy, at first": ("greedy", "promise_first"), "greedy": ("greedy", "promise"),
        "local_search": ("local_search", "promise"), "free": ("local_search, free", "promise"),
    }  # fmt: skip
    columns = [_column(rows, *group) for group in groups.values()]
    return {
        "title": "Promises at first and now",
        "question": "How often does the error hold?",
        "columns": [{"name": name, "unit": ""} for name in ("", *groups)],
        "rows": [[what, *(column[what] for column in columns)] for what in columns[0]],
        "notes": [
            "The same mappings and compiles in the first two columns. A promise of less than "
            "nothing counts as one of nothing, since production's options are handed out then.",
            "What is left out of a promise was found on greedy's mappings of the programs up to "
            "`bottlenecks`, in the order of `benchmarks/ordinary`; local search's mappings were "
            "made afterwards. *free*: earlier mappings of local search, which did not know what "
            "the compiler follows. How much of what is new counts was chosen on all of them.",
        ],
    }


def _column(rows: Sequence[Row], mapper: str, kind: str) -> dict[str, Any]:
    """Figures of one mapper's rows with one kind of promise, by what they are."""
    of_mapper = [row for row in rows if row["mapper"] == mapper]
    asked = [_pair(row, kind) for row in of_mapper if row.get("attempts") and row.get(kind)]
    return {
        "mappings": len(of_mapper),
        "refused": sum("refused" in row for row in of_mapper),
        "production's cycles more than 3 % off": sum(
            abs(row.get("off") or 0) > MOST_OFF for row in of_mapper
        ),
        "compiled": len(asked),
        "of these: a gain that can be told from zero": sum(_clear(*x) for x in asked),
        "such a gain, and the compiler sees none": sum(_false(*x) for x in asked),
        "confirmed gain inside the error": sum(_inside(*x) for x in asked),
        "median distance to the confirmed gain, points": _median_distance(asked),
    }


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


def loads(rows: Sequence[Row]) -> dict[str, Any]:
    """Seconds of loads by part, over the programs that were compiled for these rows."""
    parts: dict[str, list[float]] = {}
    loaded = [row["seconds"] for row in rows if "without assignment" in row["seconds"]]
    for seconds in loaded:
        for part, took in seconds.items():
            parts.setdefault(part, []).append(took)
    wanted = (
        "tracing", "without assignment", "with assignment", "probe random_N", "with N MiB", "fit",
    )  # fmt: skip
    total = sum(sum(parts[part]) for part in wanted)
    return {
        "title": f"What a load takes, {len(loaded)} programs",
        "question": "Does importing take long, and why?",
        "columns": [
            {"name": "part", "unit": ""}, {"name": "programs", "unit": ""},
            {"name": "median", "unit": "s", "decimals": 1},
            {"name": "share of all", "unit": "%", "decimals": 1},
        ],
        "rows": [
            [part, len(parts[part]), float(np.median(parts[part])),
             round(100 * sum(parts[part]) / total, 2)] for part in wanted
        ],
        "notes": [
            "Compiles: without assignment of memory spaces, with it, a probe with a random half of "
            "all arrays kept in slow memory, and with less fast memory where that is asked for. "
            "The core was shared with two to four other processes: take the shares, not the "
            "seconds.",
        ],
    }  # fmt: skip


def _pair(row: Row, kind: str) -> tuple[float, float, float]:
    """Promised gain, its error, and the confirmed gain."""
    said = row[kind]
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
