"""Pictures of mappings: fast memory over time, copies, the slow bus and the use of memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import ListedColormap, LogNorm, Normalize, to_hex, to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch, Rectangle

from gamekit.text import shown
from mallocgame.judge import Simulation
from mallocgame.program import Program
from mallocgame.program.machine import MIB
from mallocgame.program.mapping import COPIED, Mapping, Residency
from mallocgame.report.benefit import benefit, served_by
from mallocgame.report.figures import LEGEND, LOOP, SOFT, embedded, styled, write_figure
from mallocgame.report.timeline import draw_bus, draw_copies, draw_use, slot_edges

# Colours that stay distinct in greyscale and for the colour-blind (Paul Tol's "bright", "light").
INPUT, PRODUCED, RETURNED = "#4477aa", "#eebb44", "#44aa99"
KINDS = {
    "input or weight, copied in": INPUT,
    "produced there": PRODUCED,
    "copied back": RETURNED,
}
RESERVED = "#bbbbbb"
# The part of a colour map that stands out from the paper.
SAVINGS = ListedColormap(colormaps["YlGnBu"](np.linspace(0.18, 1, 256)))
Colour = Literal["kind", "saving"]


@dataclasses.dataclass(frozen=True)
class DrawnMapping:
    """A mapping to be drawn, with its simulation; `title` names its mapper."""

    title: str
    mapping: Mapping
    simulation: Simulation


def draw_layout(
    program: Program,
    layout: DrawnMapping,
    others: Sequence[DrawnMapping] = (),
    colour: Colour = "kind",
) -> str:
    """One layout as markup for the page, on which rectangles have tooltips.

    The time axis has room for `others` too, so that adjacent pictures share their scale.
    """
    with styled():
        figure = Figure(figsize=(7.4, 6.2), layout="constrained")
        pictured = _Scale(program, [layout, *others])
        _draw(figure, program, layout, pictured, colour)
        return embedded(write_figure(figure, None), _titles(program, layout, pictured))


def draw_layouts(
    program: Program, layouts: Sequence[DrawnMapping], stem: Path, colour: Colour = "kind"
) -> None:
    """Writes layouts side by side, on one scale, as `stem`.svg and `stem`.png.

    The horizontal axis is the time of each mapping's own execution, including stalls, with each
    loop body once.  Rectangles are residencies: height is the value's size, position its offset.
    """
    with styled():
        figure = Figure(figsize=(max(7.4 * len(layouts), 9.0), 6.2), layout="constrained")
        parts: Any = figure.subfigures(1, len(layouts), wspace=0.03, squeeze=False)
        pictured = _Scale(program, layouts)
        for part, layout in zip(parts[0], layouts, strict=True):
            _draw(part, program, layout, pictured, colour)
        write_figure(figure, stem)


class _Scale:
    """What layouts of one program share: end and unit of time, and the colours of savings."""

    def __init__(self, program: Program, layouts: Sequence[DrawnMapping]):
        longest = max(float(slot_edges(layout.simulation)[-1]) for layout in layouts)
        idle = all(layout.simulation.elapsed_s.sum() <= 0 for layout in layouts)
        self.factor, self.unit = (1e3, "ms") if longest >= 2e-2 else (1e6, "µs")
        if idle:
            self.factor, self.unit = 1.0, "slots (the program takes no time)"
        self.end = longest * self.factor
        self._of_access = benefit(program).of_access
        self.savings = {id(layout): self._savings(program, layout) for layout in layouts}
        most = max((s for row in self.savings.values() for s in row), default=0.0)
        self.norm: Normalize = LogNorm(most / 1e3, most, clip=True) if most > 0 else Normalize()

    def _savings(self, program: Program, layout: DrawnMapping) -> list[float]:
        served = served_by(program, layout.mapping)
        return [float(self._of_access[accesses].sum()) for accesses in served]

    def colour(self, saving: float) -> str:
        share = float(self.norm(saving)) if saving > 0 else 0.0
        return to_hex(SAVINGS(share))


def _draw(
    figure: Figure | SubFigure,
    program: Program,
    layout: DrawnMapping,
    scale: _Scale,
    colour: Colour,
) -> None:
    panels: Any = figure.subplots(4, 1, sharex=True, height_ratios=[9, 1.3, 1.8, 1.8])
    memory, copies, bus, use = panels
    edges = slot_edges(layout.simulation) * scale.factor
    _memory(memory, program, layout, edges, scale, colour)
    memory.set_xlim(0, scale.end)
    draw_copies(copies, layout.mapping, edges)
    draw_bus(bus, layout.simulation, edges)
    draw_use(use, program, layout.simulation, edges)
    use.set_xlabel(f"time, {scale.unit}" + (" (each loop body once)" if program.loops else ""))
    figure.align_ylabels(panels)
    title = f"{shown(program.name)}: {layout.title}\n{_headline(program, layout.simulation)}"
    figure.suptitle(title, x=0.01, ha="left", parse_math=False, fontsize=9)


def _headline(program: Program, simulation: Simulation) -> str:
    weights = np.asarray(program.weights, dtype=np.float64)
    slow = simulation.all_slow_latency_s
    stalls = float(weights @ simulation.stall_s) / slow if slow > 0 else 0.0
    return (
        f"{100 * simulation.saved_fraction:.2f} % of {1e6 * slow:,.1f} µs all-slow latency saved, "
        f"stalls {100 * stalls:.2f} %"
    )


def _memory(
    axes: Axes,
    program: Program,
    layout: DrawnMapping,
    edges: np.ndarray,
    scale: _Scale,
    colour: Colour,
) -> None:
    capacity = program.machine.fast_capacity_bytes / MIB
    room = 1.06 if program.loops else 1.0  # for the loops' names
    axes.set_ylim(0, room * capacity)
    axes.set_ylabel("fast memory, MiB")
    _loops(axes, program, edges, capacity)
    reserved = _reservations(axes, program, edges)
    shown = set()
    for number, residency, place in _places(program, layout.mapping, edges):
        kind = _kind(program, residency)
        shown.add(kind)
        saving = scale.savings[id(layout)][number]
        face = KINDS[kind] if colour == "kind" else scale.colour(saving)
        place.set(facecolor=face, edgecolor="#ffffff", linewidth=0.4, zorder=2)
        place.set_gid(f"stay-{number}")
        place.set_in_layout(False)  # inside the axes; thousands would be measured again and again
        axes.add_patch(place)
        _label(axes, program, residency, place, edges[-1], capacity)
    if colour == "saving" and isinstance(scale.norm, LogNorm):
        bar = axes.figure.colorbar(
            ScalarMappable(scale.norm, SAVINGS), ax=axes, location="top", aspect=60, pad=0.01,
            label="saves at most, share of the all-slow latency",
        )  # fmt: skip
        bar.outline.set_visible(False)  # type: ignore[operator]
        return
    handles = [Patch(color=KINDS[kind], label=kind) for kind in KINDS if kind in shown]
    if reserved:
        label = "reserved by an instruction"
        handles.append(Patch(label=label, facecolor="#ffffff", edgecolor=RESERVED, hatch="////"))
    if handles:
        legend = axes.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles),
            borderaxespad=0.2, handlelength=1.2, columnspacing=1.2, fontsize=8,
        )  # fmt: skip
        legend.set_gid(LEGEND)


def _loops(axes: Axes, program: Program, edges: np.ndarray, capacity: float) -> None:
    if program.loops:
        axes.axhline(capacity, color=SOFT, linewidth=0.6, linestyle=(0, (4, 3)))
    for loop in program.loops:
        first, last = edges[loop.entry], edges[loop.exit]
        axes.axvspan(first, last, color=LOOP, zorder=0, linewidth=0)
        depth = sum(other.entry < loop.entry and loop.exit < other.exit for other in program.loops)
        if last - first < 0.12 * edges[-1]:
            continue  # no room for its name
        axes.text(
            (first + last) / 2, 0.993 - 0.04 * depth, f"loop, {loop.trip_count:,} times",
            transform=axes.get_xaxis_transform(), color=SOFT, ha="center", va="top",
            fontsize=8, zorder=4,
        )  # fmt: skip


def _reservations(axes: Axes, program: Program, edges: np.ndarray) -> bool:
    """Draws what instructions reserve for themselves; returns whether there is any."""
    reserved = [
        Rectangle((edges[t], 0), edges[t + 1] - edges[t], ins.reserved_bytes / MIB)
        for t, ins in enumerate(program.instructions)
        if ins.reserved_bytes
    ]
    if reserved:
        axes.add_collection(
            PatchCollection(
                reserved, facecolor="#ffffff", edgecolor=RESERVED, hatch="////", linewidth=0
            )
        )
    return bool(reserved)


def _places(
    program: Program, mapping: Mapping, edges: np.ndarray
) -> Iterator[tuple[int, Residency, Rectangle]]:
    last = len(edges) - 1
    for number, r in enumerate(mapping.residencies):
        if 0 <= r.start < r.end and 0 <= r.value < len(program.values) and r.start < last:
            begin, end = edges[r.start], edges[min(r.end, last)]
            size = program.values[r.value].size_bytes / MIB
            yield number, r, Rectangle((begin, r.offset / MIB), end - begin, size)


def _kind(program: Program, residency: Residency) -> str:
    copied, inputs = residency.arrival == COPIED, program.values[residency.value].is_input
    first, second, third = KINDS
    return (first if inputs else third) if copied else second


def _titles(program: Program, layout: DrawnMapping, scale: _Scale) -> dict[str, tuple[str, str]]:
    """The tooltip of each rectangle on the page, and its colour by saving."""
    titles = {}
    for number, residency, _ in _places(program, layout.mapping, slot_edges(layout.simulation)):
        value, saving = program.values[residency.value], scale.savings[id(layout)][number]
        text = (
            f"{shown(value.name)}\n{value.size_bytes / MIB:.2f} MiB at "
            f"{residency.offset / MIB:.2f} MiB, slots {residency.start} to {residency.end}\n"
            f"{_kind(program, residency)}; saves at most {100 * saving:.3f} %"
        )
        titles[f"stay-{number}"] = (text, scale.colour(saving))
    return titles


def _label(
    axes: Axes, program: Program, r: Residency, place: Rectangle, width: float, height: float
) -> None:
    """Writes the value's name if the rectangle has room for it."""
    name = shown(program.values[r.value].name)
    letters = int(85 * place.get_width() / width)
    if letters < min(len(name), 8) or place.get_height() < 0.035 * height:
        return
    red, green, blue = to_rgb(place.get_facecolor())
    light = 0.3 * red + 0.6 * green + 0.1 * blue > 0.5
    axes.text(
        place.get_x() + place.get_width() / 2, place.get_y() + place.get_height() / 2,
        name if len(name) <= letters else name[: letters - 1] + "…",
        ha="center", va="center", fontsize=6.5, clip_on=True, zorder=3, parse_math=False,
        color="#333333" if light else "#fffffe",
    )  # fmt: skip
