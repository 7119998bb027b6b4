"""A picture of what each mapper does with the most valuable buffers."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from gamekit.text import shown
from mallocgame.judge.reading import Reading
from mallocgame.program import Program
from mallocgame.program.machine import MIB
from mallocgame.program.mapping import Mapping
from mallocgame.report.benefit import benefit
from mallocgame.report.figures import SOFT, embedded, styled, write_figure

SHOWN = 20
NAME_LETTERS = 30
# Points: sizes of fonts, from a cell to its label, and from the edge of the picture.
LABEL_SIZE, MAPPER_SIZE, GAP, EDGE = 7.5, 8.0, 3.5, 3.0
TURN = 40  # degrees, of mappers' names


def buffer_shares(
    program: Program, mappings: MappingABC[str, Mapping]
) -> tuple[list[int], np.ndarray]:
    """The most valuable values, and the share of their worth that each mapper gets from them.

    Returns:
      values: at most `SHOWN` with any worth, the most valuable first.
      shares: float64 [values, mappers] in [0, 1]; 1 if fast memory serves every access that gains.
    """
    worth = benefit(program)
    order = np.argsort(-worth.of_value, kind="stable")[:SHOWN]
    values = [int(v) for v in order if worth.of_value[v] > 0]
    of = np.array([a.value for a in program.accesses], dtype=np.int64)
    shares = np.zeros((len(values), len(mappings)))
    for column, mapping in enumerate(mappings.values()):
        served = Reading(program, mapping).served_fast()
        got = np.bincount(of, worth.of_access * served, len(program.values))
        shares[:, column] = got[values] / worth.of_value[values]
    return values, shares


def draw_buffers(
    program: Program, mappings: MappingABC[str, Mapping], stem: Path | None = None
) -> str:
    """Draws a row for each value and a column for each mapper.

    A cell is the share, in per cent, of what the value could save.

    Returns:
      Markup for the page, "" if no value is worth anything.  Also writes `stem`.svg and `stem`.png
      if a stem is given.
    """
    values, shares = buffer_shares(program, mappings)
    if not values or not mappings:
        return ""
    worth = benefit(program).of_value
    colours = colormaps["YlGnBu"]
    labels = [_label(program, v, worth[v]) for v in values]
    with styled():
        figure = Figure(figsize=(3.6 + 0.52 * len(mappings), 1.3 + 0.21 * len(values)))
        axes = figure.add_axes(_place(figure, labels, list(mappings)))
        edges = np.arange(len(mappings) + 1) - 0.5, np.arange(len(values) + 1) - 0.5
        faces = colours(0.9 * shares)
        faces[shares == 0, 3] = 0.0
        axes.pcolormesh(*edges, faces, edgecolors="#ffffff", linewidth=1.0)
        for (row, column), share in np.ndenumerate(shares):
            axes.text(
                column, row, f"{100 * share:.0f}" if share > 0 else "·", ha="center", va="center",
                fontsize=7.5, color="#fffffe" if share > 0.55 else "#222222" if share > 0 else SOFT,
            )  # fmt: skip
        # Not ticks, which are many artists each.
        look: Any = {"textcoords": "offset points", "annotation_clip": False, "parse_math": False}
        for row, label in enumerate(labels):
            axes.annotate(
                label, (-0.5, row), (-GAP, 0), ha="right", va="center", fontsize=LABEL_SIZE, **look
            )
        for column, name in enumerate(mappings):
            axes.annotate(
                name, (column, -0.5), (0, GAP), ha="left", va="bottom", rotation=TURN,
                fontsize=MAPPER_SIZE, **look,
            )  # fmt: skip
        axes.invert_yaxis()
        axes.set_axis_off()
        return embedded(write_figure(figure, stem))


def _place(
    figure: Figure, labels: Sequence[str], names: Sequence[str]
) -> tuple[float, float, float, float]:
    """Where the cells have room for their labels at the left and the mappers' names above.

    Returns:
      left, bottom, width and height, as shares of the figure.
    """
    width, height = 72 * figure.get_size_inches()
    left = EDGE + max(_length(label, LABEL_SIZE) for label in labels) + GAP
    room = width - EDGE - left
    lengths = [_length(name, MAPPER_SIZE) for name in names]
    cosine, sine = np.cos(np.radians(TURN)), np.sin(np.radians(TURN))
    beside = [length * cosine + MAPPER_SIZE * sine for length in lengths]
    above = max(lengths) * sine + MAPPER_SIZE * cosine
    # No name goes on beyond the right edge; each begins in the middle of its column.
    cell = min([room / len(names), *((room - x) / (i + 0.5) for i, x in enumerate(beside))])
    cells = height - 2 * EDGE - GAP - above
    return left / width, EDGE / height, len(names) * cell / width, cells / height


def _length(text: str, size: float) -> float:
    """Of text of a size, both in points."""
    return text_to_path.get_text_width_height_descent(text, FontProperties(size=size), False)[0]


def _label(program: Program, value: int, worth: float) -> str:
    name = shown(program.values[value].name)
    half = NAME_LETTERS // 2  # names often differ only at their ends
    short = name if len(name) <= NAME_LETTERS else f"{name[: half - 1]}…{name[-half:]}"
    return f"{short}  {program.values[value].size_bytes / MIB:.2f} MiB  {100 * worth:.2f} %"
