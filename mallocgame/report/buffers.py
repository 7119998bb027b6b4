"""A picture of what each mapper does with the most valuable buffers."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from gamekit.text import shown
from mallocgame.judge.reading import Reading
from mallocgame.program import Program
from mallocgame.program.machine import MIB
from mallocgame.program.mapping import Mapping
from mallocgame.report.benefit import benefit
from mallocgame.report.figures import SOFT, embedded, styled, write_figure

SHOWN = 20
NAME_LETTERS = 30


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
    with styled():
        size = (3.6 + 0.52 * len(mappings), 1.3 + 0.21 * len(values))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        edges = np.arange(len(mappings) + 1) - 0.5, np.arange(len(values) + 1) - 0.5
        faces = colours(0.9 * shares)
        faces[shares == 0, 3] = 0.0
        axes.pcolormesh(*edges, faces, edgecolors="#ffffff", linewidth=1.0)
        for (row, column), share in np.ndenumerate(shares):
            axes.text(
                column, row, f"{100 * share:.0f}" if share > 0 else "·", ha="center", va="center",
                fontsize=7.5, color="#fffffe" if share > 0.55 else "#222222" if share > 0 else SOFT,
            )  # fmt: skip
        labels = [_label(program, v, worth[v]) for v in values]
        axes.set_yticks(range(len(values)), labels, fontsize=7.5, parse_math=False)
        axes.set_xticks(range(len(mappings)), list(mappings), rotation=40, ha="left", fontsize=8)
        axes.xaxis.tick_top()
        axes.invert_yaxis()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        return embedded(write_figure(figure, stem))


def _label(program: Program, value: int, worth: float) -> str:
    name = shown(program.values[value].name)
    half = NAME_LETTERS // 2  # names often differ only at their ends
    short = name if len(name) <= NAME_LETTERS else f"{name[: half - 1]}…{name[-half:]}"
    return f"{short}  {program.values[value].size_bytes / MIB:.2f} MiB  {100 * worth:.2f} %"
