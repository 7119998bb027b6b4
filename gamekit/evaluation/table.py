"""The plain report of an evaluation: one table, printed and written as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from gamekit.domain import Domain
from gamekit.evaluation.evaluation import Finished
from gamekit.evaluation.rows import Row
from gamekit.files import write_text
from gamekit.text import cell, say


def report(domain: Domain, finished: Finished) -> None:
    """Prints the table and writes it as `tables.md`.

    Raises:
      InputError: the place cannot be written.
    """
    header, lines = solver_table(domain, finished.rows)
    table = Table(*header)
    for line in lines:
        table.add_row(*map(cell, line))
    Console().print(table)
    out = finished.evaluation.out
    bars = ["---"] * len(header)
    text = "\n".join(f"| {' | '.join(line)} |" for line in (header, bars, *lines))
    write_text(out / domain.report_file, text + "\n")
    say(f"results and {domain.words.solution}s are in {out}")


def solver_table(domain: Domain, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and cells: a row a solver, means over instances and seeds, the best one first."""
    words = domain.words
    header = [
        words.solver,
        f"{words.instance}s",
        words.score,
        f"vs {words.reference}",
        "valid",
        "s",
    ]
    gain = domain.compared_figures[0]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.solver, []).append(row)
    found = []
    for solver, group in groups.items():
        done = [row for row in group if row.is_done and row.score is not None]
        scores = [row.score for row in done if row.score is not None]
        mean = statistics.fmean(scores) if scores else float("-inf")
        gains = [g for row in done if (g := row.figures.get(gain)) is not None]
        line = [
            solver,
            f"{len({row.instance for row in done})}",
            domain.show(mean) if scores else group[0].status,
            f"{statistics.fmean(gains):+.4g}" if gains else "-",
            f"{sum(bool(row.valid) for row in done)} of {len(group)}",
            f"{sum(row.seconds for row in done):.1f}",
        ]
        found.append((mean, line))
    return header, [line for _, line in sorted(found, key=lambda pair: -pair[0])]
