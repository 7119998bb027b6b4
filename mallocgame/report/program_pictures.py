"""All pictures of one program: layouts, buffers, traces, as files and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mallocgame.judge import simulate
from mallocgame.program import Program, load_program
from mallocgame.program.mapping import Mapping, load_mapping
from mallocgame.report.buffers import draw_buffers
from mallocgame.report.html import ProgramPictures
from mallocgame.report.layout_picture import DrawnMapping, draw_layouts
from mallocgame.report.statistics import TIE, Row, succeeded
from mallocgame.report.trace import write_trace


def draw_program(
    path: Path, rows: Sequence[Row], out: Path, stem: str
) -> tuple[str, ProgramPictures]:
    """Draws a program's mappings that `rows` tell to show: production, the agent, and the best one.

    Args:
      path: the program's file.
      rows: of this program, as in `results.json`; mappings are read from `out`/mappings.
      stem: the beginning of the names in `out`/pictures and `out`/traces.

    Returns:
      The program's name and the markup for the page.

    Raises:
      InputError: a file cannot be read or written.
    """
    program = load_program(path)
    mappings = _mappings(program, rows, out / "mappings")
    layouts = [
        DrawnMapping(name, mappings[name], simulate(program, mappings[name]))
        for name in shown(rows)
        if name in mappings
    ]
    if not layouts:
        return program.name, ProgramPictures()
    for layout in layouts:
        target = out / "traces" / f"{stem}.{layout.title}.trace.json"
        write_trace(program, layout.mapping, layout.simulation, layout.title, target)
    return program.name, ProgramPictures(
        draw_layouts(program, layouts, out / "pictures" / stem),
        draw_buffers(program, mappings, out / "pictures" / f"{stem}.buffers"),
    )


def shown(rows: Sequence[Row]) -> list[str]:
    """The mappers whose layouts are shown: production, agent, and the best one if it is better.

    `hybrid` is one of the first two.
    """
    saved: dict[str, float] = {}
    for row in rows:
        if succeeded(row) and row["mapper"] not in ("bound", "hybrid"):
            saved[row["mapper"]] = max(row["saved_fraction"], saved.get(row["mapper"], -2.0))
    names = [name for name in ("production", "agent") if name in saved]
    best = max(saved, key=lambda name: saved[name], default=None)
    if best is not None and all(saved[best] > saved[name] + TIE for name in names):
        names.append(best)
    return names


def _mappings(program: Program, rows: Sequence[Row], folder: Path) -> dict[str, Mapping]:
    """Each mapper's mapping, the best one if there are several seeds; without `hybrid`."""
    best: dict[str, Row] = {}
    for row in rows:
        if not succeeded(row) or not row["mapping"] or row["mapper"] == "hybrid":
            continue
        other = best.get(row["mapper"])
        if other is None or row["saved_fraction"] > other["saved_fraction"]:
            best[row["mapper"]] = row
    return {name: load_mapping(folder / row["mapping"], program) for name, row in best.items()}
