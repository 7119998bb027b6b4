"""Result rows and their summary by mapper (the contract of `evaluate.py`)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Row = dict[str, Any]


def summarize(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Statistics of each mapper, the one that saves most first.

    A speed-up is `latency(production) / latency(mapper) - 1`, over the programs that have a
    production mapping (None without any); wins and losses count beyond a relative 1e-6, the
    rounding of the game's clock.  `verified` counts the mappings that the judge accepts.
    """
    summary: dict[str, dict[str, Any]] = {}
    for mapper in dict.fromkeys(row["mapper"] for row in rows):
        mine = [row for row in rows if row["mapper"] == mapper]
        speedups = _known(mine, "speedup_vs_production")
        closed = _known(mine, "gap_to_bound_closed")
        summary[mapper] = {
            "programs": len(mine),
            "verified": sum(bool(row["verified"]) for row in mine),
            "mean_saved_fraction": statistics.fmean(r["saved_fraction"] for r in mine),
            "mean_speedup_vs_production": statistics.fmean(speedups) if speedups else None,
            "median_speedup_vs_production": statistics.median(speedups) if speedups else None,
            "geomean_speedup_vs_production": statistics.geometric_mean(1 + s for s in speedups) - 1
            if speedups
            else None,
            "wins": sum(s > 1e-6 for s in speedups),
            "losses": sum(s < -1e-6 for s in speedups),
            "worst": min(speedups, default=None),
            "best": max(speedups, default=None),
            "gap_to_bound_closed": statistics.fmean(closed) if closed else None,
        }
    return dict(sorted(summary.items(), key=lambda item: -item[1]["mean_saved_fraction"]))


def _known(rows: Sequence[Row], field: str) -> list[float]:
    return [row[field] for row in rows if row.get(field) is not None]


def percent(fraction: float | None, sign: bool = False) -> str:
    """A fraction as a percentage with two decimals, "-" for None."""
    if fraction is None:
        return "-"
    return f"{100 * fraction:{'+' if sign else ''}.2f} %"


def program_cells(row: Row) -> tuple[str, ...]:
    """The cells of one row of a program's table."""
    verdict = "limit" if row["mapper"] == "bound" else "yes" if row["verified"] else "no"
    return (
        row["mapper"],
        percent(row["saved_fraction"]),
        percent(row["speedup_vs_production"], sign=True),
        f"{1e6 * row['latency_s']:,.1f}",
        percent(row.get("stall_fraction")),
        percent(row.get("gap_to_bound_closed")),
        f"{row['decisions']:,}" if row.get("decisions") else "-",
        f"{row['drop_backups']:,}" if row.get("decisions") else "-",
        verdict,
        f"{row['seconds']:.1f}",
    )


PROGRAM_HEADER = (
    "mapper", "saved", "vs production", "latency, µs", "stalls", "gap closed", "moves", "backups",
    "valid", "s",
)  # fmt: skip
SUMMARY_HEADER = (
    "mapper", "mean saved", "vs production: mean", "median", "geomean", "worst", "best", "won",
    "lost", "gap closed", "valid",
)  # fmt: skip


def summary_cells(mapper: str, summary: dict[str, Any]) -> tuple[str, ...]:
    """The cells of one mapper's row over the whole suite."""
    speedups = ("mean", "median", "geomean")
    of_production = [percent(summary[f"{s}_speedup_vs_production"], sign=True) for s in speedups]
    return (
        mapper,
        percent(summary["mean_saved_fraction"]),
        *of_production,
        percent(summary["worst"], sign=True),
        percent(summary["best"], sign=True),
        str(summary["wins"]),
        str(summary["losses"]),
        percent(summary["gap_to_bound_closed"]),
        "limit" if mapper == "bound" else f"{summary['verified']} of {summary['programs']}",
    )


def by_program(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of each program, the most saved first."""
    return {
        name: sorted(
            (row for row in rows if row["program"] == name), key=lambda row: -row["saved_fraction"]
        )
        for name in dict.fromkeys(row["program"] for row in rows)
    }


def print_results(results: dict[str, Any], console: Console | None = None) -> None:
    """Prints a table for each program, and a summary where there are several."""
    console = console or Console(width=120, highlight=False)
    for name, rows in by_program(results["rows"]).items():
        _print(console, name, PROGRAM_HEADER, [program_cells(row) for row in rows])
    if len({row["program"] for row in results["rows"]}) > 1:
        summary = results["summary"]
        cells = [summary_cells(mapper, summary[mapper]) for mapper in summary]
        _print(console, f"suite {results['suite']}", SUMMARY_HEADER, cells)


def _print(
    console: Console, title: str, header: Sequence[str], cells: Sequence[Sequence[str]]
) -> None:
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(header):
        table.add_column(column, justify="right" if i else "left")
    for row in cells:
        table.add_row(*row)
    console.print(table)
