"""The report: one HTML page that needs nothing beside itself."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mallocgame.mapping import Mapping
from mallocgame.program import Program
from mallocgame.report.layout import draw_layout
from mallocgame.report.tables import (
    PROGRAM_HEADER,
    SUMMARY_HEADER,
    by_program,
    program_cells,
    summary_cells,
)
from mallocgame.simulation import Simulation

Layout = tuple[str, Program, Mapping, Simulation]

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
tr.ours td { font-weight: 600; }
figure { margin: 1rem 0; } svg { max-width: 100%; height: auto; }
p.note, footer { color: #555; }
"""
NOTE = (
    "Saved is the share of the all-slow latency that a mapping saves under the judge; vs production "
    "is latency(production) / latency(mapper) - 1. The bound keeps all that fits in fast memory at "
    "no cost; no mapping reaches below it. Stalls are time spent waiting for copies; the compiler's "
    "own estimate knows none."
)


def write_report(results: dict[str, Any], layouts: Sequence[Layout], path: Path) -> None:
    """Writes the page: summary, a table and the layouts of each program, versions, command."""
    parts = [f"<h1>{html.escape(str(results['suite']))}</h1><p class=note>{NOTE}</p>"]
    programs = by_program(results["rows"])
    if len(programs) > 1:
        summary = results["summary"]
        cells = [summary_cells(mapper, summary[mapper]) for mapper in summary]
        parts.append("<h2>All programs</h2>" + _table(SUMMARY_HEADER, cells))
    for name, rows in programs.items():
        parts.append(f"<h2>{html.escape(name)}</h2>")
        parts.append(_table(PROGRAM_HEADER, [program_cells(row) for row in rows]))
        for title, program, mapping, simulation in layouts:
            if program.name == name:
                image = draw_layout(program, mapping, simulation, title).decode()
                parts.append(f"<figure>{image[image.index('<svg') :]}</figure>")
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items())
    command = html.escape(" ".join(results["command"]))
    parts.append(f"<footer><p>{html.escape(versions)}</p><p><code>{command}</code></p></footer>")
    page = "\n".join(parts)
    path.write_text(
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        f"<title>{html.escape(str(results['suite']))}</title><style>{STYLE}</style></head>"
        f"<body>{page}</body></html>\n",
        encoding="utf-8",
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr{' class=ours' if row[0] in ('agent', 'hybrid') else ''}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
