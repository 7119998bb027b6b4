"""The report: one HTML page that needs nothing beside itself."""

from __future__ import annotations

import html
import re
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

OURS = ("agent", "hybrid")
STYLE = """
:root { color-scheme: light; --line: #dcdcdc; --soft: #666; --bar: #cfdcea; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto 4rem;
  padding: 0 1.2rem; color: #222; background: #fff; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .3rem; }
h2 a { color: inherit; text-decoration: none; }
nav { columns: 18rem; margin: 1rem 0; font-size: .9rem; } nav a { display: block; color: #2a5d8f; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .4rem 0 1.2rem; font-variant-numeric: tabular-nums;
  font-size: .9rem; white-space: nowrap; }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
th, td { padding: .22rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: .2rem; }
td.bar { background: linear-gradient(to right, var(--bar) var(--share), transparent var(--share)); }
tr.ours td { font-weight: 650; } tr.limit td { color: var(--soft); font-style: italic; }
td.bad { color: #b3261e; font-weight: 650; }
figure { margin: .8rem 0 1.6rem; } figure svg { width: 100%; height: auto; }
svg text { font-family: system-ui, "DejaVu Sans", sans-serif; }
p.note, footer { color: var(--soft); font-size: .88rem; max-width: 60rem; }
code { overflow-wrap: anywhere; }
@media print { figure { break-inside: avoid; } nav { display: none; } }
"""
NOTE = (
    "Saved: the share of the all-slow latency that a mapping saves when the judge runs it; stalls: "
    "the share of the all-slow latency spent waiting for copies. Vs production: "
    "latency(production) / latency(mapper) - 1. The bound keeps all that fits in fast memory at no "
    "cost: a limit, no mapping. Gap closed: how far a mapper goes from production to the bound. "
    "Valid: the judge finds no broken rule; s: seconds the mapper took."
)


def write_report(results: dict[str, Any], layouts: Sequence[Layout], path: str | Path) -> None:
    """Writes the page: summary, each program's table and layouts, versions, command.

    Args:
      results: as in evaluate.py's `results.json`.
      layouts: title (the mapper), program, mapping, simulation; shown with the program's table.
    """
    suite = html.escape(str(results["suite"]))
    programs = by_program(results["rows"])
    parts = [f"<h1>{suite}</h1>", f"<p class=note>{_machines(results)}{NOTE}</p>"]
    if len(programs) > 1:
        summary = results["summary"]
        cells = [summary_cells(mapper, summary[mapper]) for mapper in summary]
        parts += ["<h2>All programs</h2>", _table(SUMMARY_HEADER, cells)]
        links = "".join(f"<a href='#{_anchor(n)}'>{html.escape(n)}</a>" for n in programs)
        parts.append(f"<nav>{links}</nav>")
    for name, rows in programs.items():
        parts.append(
            f"<h2 id='{_anchor(name)}'><a href='#{_anchor(name)}'>{html.escape(name)}</a></h2>"
        )
        parts.append(_table(PROGRAM_HEADER, [program_cells(row) for row in rows]))
        for title, program, mapping, simulation in layouts:
            if program.name == name:
                image = draw_layout(program, mapping, simulation, title).decode()
                parts.append(f"<figure>{image}</figure>")
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    parts.append(f"<footer><p>{html.escape(versions)}</p>")
    if "command" in results:
        parts.append(f"<p><code>{html.escape(' '.join(results['command']))}</code></p>")
    parts.append("</footer>")
    body = "\n".join(parts)
    Path(path).write_text(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{suite}</title><style>{STYLE}</style></head>\n<body>{body}</body></html>\n",
        encoding="utf-8",
    )


def _machines(results: dict[str, Any]) -> str:
    machines = results.get("machine", [])
    names = [machines] if isinstance(machines, str) else [str(machine) for machine in machines]
    return f"Machine: {html.escape(', '.join(names))}. " if names else ""


def _anchor(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose second column, a percentage, is also a bar relative to the largest."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    largest = max((_number(row[1]) for row in rows), default=0.0)
    body = []
    for row in rows:
        share = max(0.0, 100 * _number(row[1]) / largest) if largest > 0 else 0.0
        kind = " class=ours" if row[0] in OURS else " class=limit" if row[0] == "bound" else ""
        body.append(f"<tr{kind}>" + "".join(_cell(i, c, share) for i, c in enumerate(row)))
    return (
        f"<div class=scroll><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{'</tr>'.join(body)}</tr></tbody></table></div>"
    )


def _cell(column: int, text: str, share: float) -> str:
    attributes = ""
    if column == 1:
        attributes = f" class=bar style='--share:{share:.1f}%'"
    elif text == "no":
        attributes = " class=bad"
    return f"<td{attributes}>{html.escape(text)}</td>"


def _number(text: str) -> float:
    """The number at the beginning of a cell, 0 where there is none."""
    found = re.match(r"[-+]?[0-9.]+", text)
    return float(found[0]) if found else 0.0
