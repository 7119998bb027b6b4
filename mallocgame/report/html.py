"""The report: one self-contained HTML page."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.colors import to_hex

from gamekit.files import write_text
from gamekit.text import MAX_NAME, shown
from mallocgame.report.savings_key import SAVINGS
from mallocgame.report.style import SCRIPT, STYLE
from mallocgame.report.tables import Table, gains_table, result_tables

OURS = ("agent", "hybrid")
NOTE = (
    "Saved: the share of the all-slow latency that a mapping saves when the judge runs it; stalls: "
    "the share of the all-slow latency spent waiting for copies. Vs production, or speed-up: "
    "latency(production) / latency(mapper) - 1, over several programs its mean and the mean's "
    "95 % bootstrap interval. The bound is a proven limit, not a mapping. Gap closed: how far a "
    "mapper goes from production to the bound. Valid: the judge finds no broken rule; s: seconds "
    "the mapper took."
)
LAYOUT_NOTE = (
    "Rectangles are values in fast memory, their height is the size; point at one for its name. "
    "Copies: how many prefetches (up) and evictions (down) may use the bus. Bus: what instructions "
    "and copies use of the slow memory's bus. Wanted: what all values worth a place would need."
)
GAINS_NOTE = (
    "Promised: by latencies fitted to the compiler's estimates, with the range in which the "
    "compiler's own figure is expected. Compiled: each way in which the mapping was said to the "
    "compiler. Confirmed: what the options that are handed out gain by its estimate, which has no "
    "waiting for copies. Measured: on a device."
)
BUFFER_NOTE = (
    "The values that could save most, with their size and the share of the all-slow latency that "
    "they could save; in the cells, how much of that each mapper gets, in per cent."
)


@dataclasses.dataclass(frozen=True)
class ProgramPictures:
    """Markup of a program's pictures.

    layouts: one picture for each mapping.
    buffers: what mappers do with the most valuable values; may be empty.
    """

    layouts: tuple[str, ...] = ()
    buffers: str = ""


def write_report(
    results: dict[str, Any],
    path: str | Path,
    programs: MappingABC[str, ProgramPictures] | None = None,
    suite: MappingABC[str, str] | None = None,
) -> None:
    """Writes the page: summary, each program's table and pictures, versions, command.

    Args:
      results: as in evaluate.py's `results.json`.
      programs: program's name -> its pictures, shown with its table.
      suite: caption -> markup of a picture of the whole suite.

    Raises:
      InputError: the file cannot be written.
    """
    title = _escaped(results["suite"])
    tables = result_tables(results)
    parts = [f"<h1>{title}</h1>", f"<p class=note>{_machines(results)}{NOTE}</p>"]
    if len(tables) > 1:
        parts += ["<h2>All programs</h2>", _table(tables[0])]
        tables = tables[1:]
    if suite:
        figures = [_figure(markup, caption, kind="small") for caption, markup in suite.items()]
        parts.append(f"<div class=pictures>{''.join(figures)}</div>")
    if len(tables) > 1:
        links = (f"<a href='#{_anchor(t.title)}'>{_escaped(t.title)}</a>" for t in tables)
        parts.append(f"<nav>{''.join(links)}</nav>")
    if results.get("gains"):
        table = gains_table(results["gains"])
        parts += [f"<h2>{_escaped(table.title)}</h2>", f"<p class=note>{GAINS_NOTE}</p>"]
        parts.append(_table(table))
    for table in tables:
        parts.append(_section(table, (programs or {}).get(table.title, ProgramPictures())))
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    parts.append(f"<footer><p>{_escaped(versions, None)}</p>")
    if "command" in results:
        parts.append(f"<p><code>{_escaped(' '.join(results['command']), None)}</code></p>")
    parts.append("</footer>")
    style = STYLE.replace("GRADIENT", ", ".join(to_hex(SAVINGS(i / 8)) for i in range(9)))
    text = (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{title}</title><style>{style}</style></head>\n<body>"
        + "\n".join(parts)
        + f"<script>{SCRIPT}</script></body></html>\n"
    )
    write_text(path, text)


def _escaped(text: object, limit: int | None = MAX_NAME) -> str:
    """Text that HTML takes for nothing else."""
    return html.escape(shown(text, limit))


def _machines(results: dict[str, Any]) -> str:
    machines = results.get("machine", [])
    names = [machines] if isinstance(machines, str) else [str(machine) for machine in machines]
    return f"Machine: {_escaped(', '.join(names))}. " if names else ""


def _section(table: Table, pictures: ProgramPictures) -> str:
    name, anchor = _escaped(table.title), _anchor(table.title)
    parts = [f"<h2><a href='#{anchor}'>{name}</a></h2>", _table(table)]
    if pictures.layouts:
        layouts = "".join(_figure(markup) for markup in pictures.layouts)
        parts.append(
            f"<p class=note>{LAYOUT_NOTE}</p><label><input type=checkbox class=by-saving> colour "
            "by what each stay saves at most, little <span class=key></span> much</label>"
            f"<div class=pictures>{layouts}</div>"
        )
    if pictures.buffers:
        parts.append(
            f"<details><summary>The most valuable buffers</summary><p class=note>{BUFFER_NOTE}</p>"
            f"{_figure(pictures.buffers, kind='narrow')}</details>"
        )
    return f"<section id='{anchor}'>{''.join(parts)}</section>"


def _figure(markup: str, caption: str = "", kind: str = "") -> str:
    heading = f"<figcaption>{_escaped(caption)}</figcaption>" if caption else ""
    return f"<figure class='{kind}'>{heading}<div class=scroll>{markup}</div></figure>"


def _anchor(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def _table(table: Table) -> str:
    """A table whose second column, a percentage, is also a bar relative to the largest."""
    head = "".join(
        f"<th><button type=button>{_escaped(cell)}</button></th>" for cell in table.header
    )
    largest = max((_number(row[1]) for row in table.rows), default=0.0)
    body = []
    for row in table.rows:
        share = max(0.0, 100 * _number(row[1]) / largest) if largest > 0 else 0.0
        name = row[0].split("@")[0].split(" ")[0]
        kind = " class=ours" if name in OURS else " class=limit" if name == "bound" else ""
        body.append(f"<tr{kind}>{_cells(table.header, row, share)}</tr>")
    return (
        f"<div class=scroll><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _cells(header: Sequence[str], row: Sequence[str], share: float) -> str:
    cells = []
    for column, (name, text) in enumerate(zip(header, row, strict=True)):
        attributes = f" class=bar style='--share:{share:.1f}%'" if column == 1 else ""
        if name == "valid" and not _is_valid(text):
            attributes = " class=bad"
        cells.append(f"<td{attributes}>{_escaped(text)}</td>")
    return "".join(cells)


def _is_valid(text: str) -> bool:
    """Whether a verdict is good: "yes", "limit", or all of several, "3 of 3"."""
    some = re.fullmatch(r"(\d+) of (\d+)", text)
    return some[1] == some[2] if some else text in ("yes", "limit")


def _number(text: str) -> float:
    """The number at the beginning of a cell, 0 if there is none."""
    found = re.match(r"[-+]?[0-9.]+", text)
    return float(found[0]) if found else 0.0
