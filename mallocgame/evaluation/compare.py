"""Two results side by side: what changed, and whether it is more than chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gamekit.errors import InputError
from gamekit.files import write_text
from gamekit.jsonfile import write_json
from gamekit.text import say
from mallocgame.evaluation.results import load_rows
from mallocgame.report.statistics import TIE, Row, interval, mean, pool_seeds, succeeded
from mallocgame.report.tables import Table, between, markdown, percent, print_tables

MAPPER_HEADER = (
    "mapper", "programs", "saved, first", "saved, second", "difference", "95 %", "speed-up",
    "95 %", "better", "equal", "worse",
)  # fmt: skip
PROGRAM_HEADER = ("mapper", "saved, first", "saved, second", "difference", "speed-up")


def compare_files(first: Path, second: Path, out: Path | None = None) -> None:
    """Prints what changed from one `results.json` to another, and writes it to `out` if given.

    Raises:
      InputError: a file is not usable, they have nothing in common, or `out` cannot be written.
    """
    sides = [{"rows": load_rows(path)} for path in (first, second)]
    comparison = compare(sides[0], sides[1], str(first), str(second))
    tables = _tables(comparison)
    print_tables(tables)
    notes = _notes(comparison)
    for note in notes:
        say(note)
    if out is None:
        return
    write_json(out / "comparison.json", comparison)
    text = "\n".join([markdown(tables), *(f"- {note}" for note in notes), ""])
    write_text(out / "comparison.md", text)


def compare(
    first: dict[str, Any], second: dict[str, Any], name: str = "first", other: str = "second"
) -> dict[str, Any]:
    """What the second results make of the same programs and mappers as the first.

    Programs must be the very same (their fingerprints are).  Seeds are averaged; the intervals are
    by bootstrap over pairs, that is over the programs' differences.

    Returns:
      JSON data: "rows" by program and mapper, "summary" by mapper, and what has no counterpart.

    Raises:
      InputError: nothing is in both.
    """
    prints = [{row["program"]: row["fingerprint"] for row in r["rows"]} for r in (first, second)]
    changed = [p for p, mark in prints[0].items() if prints[1].get(p, mark) != mark]
    pairs = [
        {(row["program"], row["mapper"]): row for row in pool_seeds(r["rows"])}
        for r in (first, second)
    ]
    common = [key for key in pairs[0] if key in pairs[1] and key[0] not in changed]
    rows = [
        _difference(pairs[0][key], pairs[1][key])
        for key in common
        if all(succeeded(side[key]) for side in pairs)
    ]
    if not rows:
        raise InputError(f"{name} and {other}: no mapper ran on the same program in both")
    mappers = dict.fromkeys(row["mapper"] for row in rows)
    both = [{mapper for _, mapper in side} for side in pairs]
    return {
        "first": name,
        "second": other,
        "rows": rows,
        "summary": {m: _summary([row for row in rows if row["mapper"] == m]) for m in mappers},
        "changed_programs": changed,
        "only_first": {
            "programs": [p for p in prints[0] if p not in prints[1]],
            "mappers": sorted(both[0] - both[1]),
        },
        "only_second": {
            "programs": [p for p in prints[1] if p not in prints[0]],
            "mappers": sorted(both[1] - both[0]),
        },
        "failed": [
            f"{p}: {m}" for p, m in common if not all(succeeded(side[p, m]) for side in pairs)
        ],
    }


def _difference(one: Row, two: Row) -> dict[str, Any]:
    return {
        "program": one["program"],
        "mapper": one["mapper"],
        "saved_first": one["saved_fraction"],
        "saved_second": two["saved_fraction"],
        "difference": two["saved_fraction"] - one["saved_fraction"],
        "speedup": one["latency_s"] / two["latency_s"] - 1 if two["latency_s"] > 0 else 0.0,
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    differences = [row["difference"] for row in rows]
    speedups = [row["speedup"] for row in rows]
    return {
        "programs": len(rows),
        "saved_first": float(np.mean([row["saved_first"] for row in rows])),
        "saved_second": float(np.mean([row["saved_second"] for row in rows])),
        "difference": float(np.mean(differences)),
        "difference_ci95": interval(differences, mean),
        "speedup": float(np.mean(speedups)),
        "speedup_ci95": interval(speedups, mean),
        "better": sum(s > TIE for s in speedups),
        "equal": sum(abs(s) <= TIE for s in speedups),
        "worse": sum(s < -TIE for s in speedups),
    }


def _tables(comparison: dict[str, Any]) -> list[Table]:
    summary = tuple(
        (
            mapper,
            str(s["programs"]),
            percent(s["saved_first"]),
            percent(s["saved_second"]),
            percent(s["difference"], sign=True),
            between(s["difference_ci95"]),
            percent(s["speedup"], sign=True),
            between(s["speedup_ci95"]),
            str(s["better"]),
            str(s["equal"]),
            str(s["worse"]),
        )
        for mapper, s in comparison["summary"].items()
    )
    programs = dict.fromkeys(row["program"] for row in comparison["rows"])
    return [
        *(
            Table(name, PROGRAM_HEADER, tuple(_cells(row) for row in comparison["rows"]
                                              if row["program"] == name))
            for name in programs
        ),
        Table(f"{comparison['first']} to {comparison['second']}", MAPPER_HEADER, summary),
    ]  # fmt: skip


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["mapper"],
        percent(row["saved_first"]),
        percent(row["saved_second"]),
        percent(row["difference"], sign=True),
        percent(row["speedup"], sign=True),
    )


def _notes(comparison: dict[str, Any]) -> list[str]:
    """What is left out, a line each."""
    found = [("not the same program in both", comparison["changed_programs"])]
    for side in ("first", "second"):
        for what in ("programs", "mappers"):
            found.append((f"{what} only in {comparison[side]}", comparison[f"only_{side}"][what]))
    found.append(("without a result in one of them", comparison["failed"]))
    return [f"{what}: {', '.join(names)}" for what, names in found if names]
