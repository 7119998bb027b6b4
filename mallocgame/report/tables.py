"""Tables of results: cells, plain text for terminals, Markdown."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from gamekit.text import cell, shown
from mallocgame.report.statistics import Row, pool_seeds, succeeded


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text; the first column names things, the others hold figures or verdicts."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


PROGRAM_HEADER = (
    "mapper", "saved", "over seeds", "vs production", "latency, µs", "stalls", "gap closed",
    "moves", "backups", "valid", "s",
)  # fmt: skip
GAINS_HEADER = ("gain over production", "speed-up", "between", "by")
SUMMARY_HEADER = (
    "mapper", "saved", "speed-up", "95 %", "median", "geomean", "worst", "best", "won", "tied",
    "lost", "median gap closed", "valid",
)  # fmt: skip


def percent(fraction: float | None, sign: bool = False) -> str:
    """A fraction as a percentage with two decimals, "-" for None."""
    if fraction is None:
        return "-"
    return f"{100 * fraction:{'+' if sign else ''}.2f} %"


def between(interval: Sequence[float] | None) -> str:
    """An interval of fractions as percentages, "-" for None."""
    return "-" if interval is None else "{:.2f} to {:.2f}".format(*(100 * end for end in interval))


def result_tables(results: dict[str, Any]) -> list[Table]:
    """A table for each program and, if there are several, a summary before them."""
    programs = by_program(results["rows"])
    several = any(row["saved_spread"] for rows in programs.values() for row in rows)
    tables = [_program_table(name, rows, several) for name, rows in programs.items()]
    if len(programs) < 2:
        return tables
    summary = tuple(summary_cells(name, row) for name, row in results["summary"].items())
    return [Table(f"suite {results['suite']}", SUMMARY_HEADER, summary), *tables]


def gains_table(gains: Sequence[dict[str, Any]]) -> Table:
    """What was promised, confirmed and measured (`mallocgame.result_report.gains`)."""
    rows = []
    for row in gains:
        ends = None if row["low"] is None else (row["low"], row["high"])
        rows.append((row["what"], percent(row["gain"], sign=True), between(ends), row["by"]))
    return Table("Promised, confirmed, measured", GAINS_HEADER, tuple(rows))


def by_program(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each program, averaged over seeds, the most saved first and failures last."""

    def order(row: Row) -> float:
        return -row["saved_fraction"] if succeeded(row) else 2.0

    pooled = pool_seeds(rows)
    return {
        name: sorted((row for row in pooled if row["program"] == name), key=order)
        for name in dict.fromkeys(row["program"] for row in rows)
    }


def _program_table(name: str, rows: Sequence[Row], seeds: bool) -> Table:
    """A program's table.

    seeds: whether to show the range that its mappers save, from the worst to the best seed.
    """
    lines = [PROGRAM_HEADER, *(program_cells(row) for row in rows)]
    kept = [line if seeds else line[:2] + line[3:] for line in lines]
    return Table(name, kept[0], tuple(kept[1:]))


def program_cells(row: Row) -> tuple[str, ...]:
    """The cells of one pooled row (`statistics.pool_seeds`) under `PROGRAM_HEADER`."""
    if not succeeded(row):
        return (row["mapper"], *["-"] * 8, row["status"], "-")
    verdict = "limit" if row["mapper"] == "bound" else "yes" if row["verified"] else "no"
    return (
        row["mapper"],
        percent(row["saved_fraction"]),
        between(row["saved_spread"]),
        percent(row["speedup_vs_production"], sign=True),
        f"{1e6 * row['latency_s']:,.1f}",
        percent(row.get("stall_fraction")),
        percent(row.get("gap_to_bound_closed")),
        f"{row['decisions']:,.0f}" if row.get("decisions") else "-",
        f"{row['drop_backups']:,.0f}" if row.get("decisions") else "-",
        verdict,
        f"{row['seconds']:.1f}",
    )


def summary_cells(mapper: str, summary: dict[str, Any]) -> tuple[str, ...]:
    """The cells of one mapper's row over the whole suite."""
    total = summary["programs"] + summary["failed"]
    return (
        mapper,
        percent(summary["mean_saved_fraction"]),
        percent(summary["mean_speedup_vs_production"], sign=True),
        between(summary["mean_speedup_vs_production_ci95"]),
        percent(summary["median_speedup_vs_production"], sign=True),
        percent(summary["geomean_speedup_vs_production"], sign=True),
        percent(summary["worst"], sign=True),
        percent(summary["best"], sign=True),
        str(summary["wins"]),
        str(summary["ties"]),
        str(summary["losses"]),
        percent(summary["median_gap_to_bound_closed"]),
        "limit" if mapper == "bound" else f"{summary['verified']} of {total}",
    )


def print_results(results: dict[str, Any], console: Console | None = None) -> None:
    """Prints a table for each program and, if there are several, a summary at the end."""
    tables = result_tables(results)
    several = len(tables) > 1
    print_tables([*tables[1:], tables[0]] if several else tables, console)


def print_tables(tables: Sequence[Table], console: Console | None = None) -> None:
    """Prints tables as plain text."""
    console = console or Console(width=150, highlight=False)
    for table in tables:
        drawn = RichTable(title=cell(table.title), title_justify="left")
        for i, column in enumerate(table.header):
            drawn.add_column(column, justify="right" if i else "left")
        for row in table.rows:
            drawn.add_row(*map(cell, row))
        console.print(drawn)


def markdown(tables: Sequence[Table]) -> str:
    """Tables in Markdown, each under a heading."""
    return "\n".join(_markdown(table) for table in tables)


def _markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_plain(text) for text in cells) + " |"

    rule = "|---|" + "---:|" * (len(table.header) - 1)
    return "\n".join(
        [f"## {_plain(table.title)}", "", line(table.header), rule, *map(line, table.rows), ""]
    )


def _plain(text: str) -> str:
    """Text that Markdown takes for nothing else."""
    return re.sub(r"([\\|<>\[\]*`])", r"\\\1", shown(text))
