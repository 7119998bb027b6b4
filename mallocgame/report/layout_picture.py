"""Pictures of mappings: fast memory over time, copies, the slow bus and the use of memory."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection, PolyCollection
from matplotlib.colors import LogNorm, Normalize, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text

from gamekit.text import shown
from mallocgame.judge import Simulation
from mallocgame.program import Program
from mallocgame.program.machine import MIB
from mallocgame.program.mapping import COPIED, Mapping, Residency
from mallocgame.report.benefit import benefit, served_by, wanted_bytes
from mallocgame.report.figures import (
    KEY,
    LEGEND,
    LOOP,
    NAME,
    SOFT,
    STAYS,
    draw_ticks,
    embedded,
    filled,
    pixels_of,
    styled,
    svg_of,
    without,
    write_side_by_side,
)
from mallocgame.report.savings_key import SAVINGS, draw_key
from mallocgame.report.timeline import draw_bus, draw_copies, draw_use, slot_edges

# Colours that stay distinct in greyscale and for the colour-blind (Paul Tol's "bright", "light").
INPUT, PRODUCED, RETURNED = "#4477aa", "#eebb44", "#44aa99"
KINDS = {
    "input or weight, copied in": INPUT,
    "produced there": PRODUCED,
    "copied back": RETURNED,
}
RESERVED = "#bbbbbb"
Colour = Literal["kind", "saving"]
COLOURS: tuple[Colour, ...] = ("kind", "saving")
NAMES: dict[Colour, str] = {"kind": "layout", "saving": "saving"}  # of the files
SIZE = (7.4, 6.2)  # of a picture, inches


class Place(NamedTuple):
    """A rectangle: time, MiB, and the lengths of its sides."""

    x: float
    y: float
    width: float
    height: float


def _corners(place: Place) -> list[tuple[float, float]]:
    right, top = place.x + place.width, place.y + place.height
    return [(place.x, place.y), (right, place.y), (right, top), (place.x, top)]


@dataclasses.dataclass(frozen=True)
class DrawnMapping:
    """A mapping to be drawn, with its simulation; `title` names its mapper."""

    title: str
    mapping: Mapping
    simulation: Simulation


def draw_layouts(
    program: Program, layouts: Sequence[DrawnMapping], stem: Path | None = None
) -> tuple[str, ...]:
    """Layouts on one scale as markup for the page, on which rectangles have tooltips.

    If a stem is given, writes them side by side as `stem`.layout.svg and .png, coloured by kind,
    and as `stem`.saving.svg and .png, coloured by what each residency saves at most.

    The horizontal axis is the time of each mapping's own execution, including stalls, with each
    loop body once.  Rectangles are residencies: height is the value's size, position its offset.
    """
    with styled():
        scale = _Scale(program, layouts)
        pictures = [_Picture(program, layout, scale) for layout in layouts]
        images = [picture.images() for picture in pictures]
        if stem is not None:
            pixels = [picture.pixels() for picture in pictures]
            for colour in COLOURS:
                write_side_by_side(
                    [image[colour] for image in images], [image[colour] for image in pixels],
                    SIZE, stem.with_name(f"{stem.name}.{NAMES[colour]}"),
                )  # fmt: skip
        return tuple(
            embedded(image["kind"], picture.titles())
            for image, picture in zip(images, pictures, strict=True)
        )


class _Scale:
    """What layouts of one program share: end and unit of time, and the colours of savings.

    wanted: int64 [T], bytes of useful values in use (`benefit.wanted_bytes`).
    """

    def __init__(self, program: Program, layouts: Sequence[DrawnMapping]):
        longest = max(float(slot_edges(layout.simulation)[-1]) for layout in layouts)
        idle = all(layout.simulation.elapsed_s.sum() <= 0 for layout in layouts)
        self.factor, self.unit = (1e3, "ms") if longest >= 2e-2 else (1e6, "µs")
        if idle:
            self.factor, self.unit = 1.0, "slots (the program takes no time)"
        self.end = longest * self.factor
        worth = benefit(program)
        self.wanted = wanted_bytes(program, worth)
        self.savings = {
            id(layout): np.array(
                [worth.of_access[served].sum() for served in served_by(program, layout.mapping)]
            )
            for layout in layouts
        }
        most = max((row.max(initial=0.0) for row in self.savings.values()), default=0.0)
        self.norm: Normalize = LogNorm(most / 1e3, most, clip=True) if most > 0 else Normalize()

    def colours(self, savings: np.ndarray) -> list[str]:
        """The colours of what residencies save."""
        shares = np.zeros(len(savings))
        shares[savings > 0] = self.norm(savings[savings > 0])
        return [to_hex(colour) for colour in SAVINGS(shares)]


class _Picture:
    """One layout as a figure, whose residencies take either of the colours.

    Places are fixed, because a layout engine would measure every text several times over.
    """

    def __init__(self, program: Program, layout: DrawnMapping, scale: _Scale):
        self._program, self._layout = program, layout
        edges = slot_edges(layout.simulation) * scale.factor
        self._stays = list(_places(program, layout.mapping, edges))
        self._savings = scale.savings[id(layout)][[number for number, *_ in self._stays]]
        kinds = [_kind(program, residency) for _, residency, _ in self._stays]
        self._faces: dict[Colour, list[str]] = {
            "kind": [KINDS[kind] for kind in kinds],
            "saving": scale.colours(self._savings),
        }
        self.figure = Figure(figsize=SIZE)
        panels: Any = self.figure.subplots(
            4, 1, height_ratios=[9, 1.3, 1.8, 1.8],
            gridspec_kw={"left": 0.088, "right": 0.88, "top": 0.89, "bottom": 0.078, "hspace": 0.2},
        )  # fmt: skip
        memory, copies, bus, use = panels
        self._legends = self._draw_memory(memory, edges, scale, dict.fromkeys(kinds))
        for panel in panels:
            panel.set_xlim(0, scale.end)
        draw_copies(copies, layout.mapping, edges)
        draw_bus(bus, layout.simulation, edges)
        draw_use(use, program.machine.fast_capacity_bytes, scale.wanted, layout.simulation, edges)
        use.set_xlabel(f"time, {scale.unit}" + (" (each loop body once)" if program.loops else ""))
        times = use.get_xticks()
        times = times[times <= scale.end]
        for panel in (memory, copies, bus):
            panel.set_xticks([])
            draw_ticks(panel, times, 3.5)
        for panel in panels:
            panel.yaxis.set_label_coords(-0.074, 0.5)
        title = f"{shown(program.name)}: {layout.title}\n{_headline(program, layout.simulation)}"
        self.figure.suptitle(title, x=0.01, y=0.99, ha="left", parse_math=False, fontsize=9)

    def images(self) -> dict[Colour, bytes]:
        """The picture as SVG in each of the colours.

        It is drawn once, with both legends, and without the residencies: matplotlib would spend
        more time on them than on all else.
        """
        self._colour("kind")
        self._rectangles.set_visible(False)
        self._stand_in.set_visible(True)
        for legend in self._legends.values():
            legend.set_visible(True)
        image = svg_of(self.figure)
        self._rectangles.set_visible(True)
        self._stand_in.set_visible(False)
        found: dict[Colour, bytes] = {}
        for colour in COLOURS:
            other = KEY if colour == "kind" else LEGEND
            styles = (
                f"fill: {face}; stroke: #ffffff; stroke-width: 0.4" for face in self._faces[colour]
            )
            stays = list(zip(self._outlines(), styles, strict=True))
            found[colour] = filled(without(image, other), stays, self._inks(colour))
        return found

    def _outlines(self) -> list[str]:
        """The data of each residency's path in SVG, in points."""
        corners = np.array([_corners(place)[::2] for *_, place in self._stays]).reshape(-1, 2)
        axes = self._stand_in.axes
        assert axes is not None
        inches = (axes.transData - self.figure.dpi_scale_trans).transform(corners)
        points = 72 * (inches * [1, -1] + [0, SIZE[1]]).reshape(-1, 4)  # from the top left
        return [
            f"M {left:.2f} {bottom:.2f} H {right:.2f} V {top:.2f} H {left:.2f} z"
            for left, bottom, right, top in points.tolist()
        ]

    def pixels(self) -> dict[Colour, np.ndarray]:
        """The picture as RGB in each of the colours: uint8 [height, width, 3]."""
        changes = [functools.partial(self._colour, colour) for colour in COLOURS]
        return dict(zip(COLOURS, pixels_of(self.figure, self._changing, changes), strict=True))

    def _colour(self, colour: Colour) -> None:
        """Colours the residencies, and shows the legend of that."""
        self._rectangles.set_facecolor(self._faces[colour])
        inks = self._inks(colour)
        for number, text in self._labels:
            text.set_color(inks[number])
        for each, legend in self._legends.items():
            legend.set_visible(each == colour)

    def _inks(self, colour: Colour) -> dict[int, str]:
        """The colour of each name, which its residency's colour is behind, by number."""
        faces = self._faces[colour]
        light = {n: np.dot(to_rgb(faces[n]), (0.3, 0.6, 0.1)) > 0.5 for n, _ in self._labels}
        return {number: "#333333" if light[number] else "#fffffe" for number in light}

    def titles(self) -> list[tuple[str, str]]:
        """The tooltip of each rectangle on the page, and its colour by saving."""
        titles = []
        rows = zip(self._stays, self._savings, self._faces["saving"], strict=True)
        for (_, residency, _), saving, other in rows:
            value = self._program.values[residency.value]
            text = (
                f"{shown(value.name)}\n{value.size_bytes / MIB:.2f} MiB at "
                f"{residency.offset / MIB:.2f} MiB, slots {residency.start} to {residency.end}\n"
                f"{_kind(self._program, residency)}; saves at most {100 * saving:.3f} %"
            )
            titles.append((text, other))
        return titles

    def _draw_memory(
        self, axes: Axes, edges: np.ndarray, scale: _Scale, kinds: Iterable[str]
    ) -> dict[Colour, Artist]:
        """Draws the residencies; returns the legend of each colour."""
        program = self._program
        capacity = program.machine.fast_capacity_bytes / MIB
        room = 1.06 if program.loops else 1.0  # for the loops' names
        axes.set_ylim(0, room * capacity)
        axes.set_ylabel("fast memory, MiB")
        _draw_loops(axes, program, edges, capacity)
        reserved = _draw_reservations(axes, program, edges)
        self._rectangles = PolyCollection(
            [_corners(place) for *_, place in self._stays],
            edgecolors="#ffffff", linewidths=0.4, zorder=2,
        )  # fmt: skip
        axes.add_collection(self._rectangles, autolim=False)
        # For which the residencies are put into an SVG.
        self._stand_in = Rectangle((0, 0), 1, 1, zorder=2, gid=STAYS, visible=False)
        axes.add_artist(self._stand_in)
        self._labels = [
            (number, text)
            for number, (_, residency, place) in enumerate(self._stays)
            if (text := _label(axes, program, residency, place, edges[-1], capacity))
        ]
        for number, text in self._labels:
            text.set_gid(f"{NAME}{number}")
        handles = [Patch(color=KINDS[kind], label=kind) for kind in KINDS if kind in kinds]
        if reserved:
            handles.append(
                Patch(
                    label="reserved by an instruction", facecolor="#ffffff", edgecolor=RESERVED,
                    hatch="////",
                )
            )  # fmt: skip
        legends: dict[Colour, Artist] = {}
        if handles:
            legends["kind"] = axes.legend(
                handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles),
                borderaxespad=0.2, handlelength=1.2, columnspacing=1.2, fontsize=8,
            )  # fmt: skip
            legends["kind"].set_gid(LEGEND)
        if isinstance(scale.norm, LogNorm):
            legends["saving"] = draw_key(axes, scale.norm)
            legends["saving"].set_gid(KEY)
        self._changing: list[Artist] = [self._rectangles, *axes.spines.values(), *axes.texts]
        self._changing = sorted([*self._changing, *legends.values()], key=Artist.get_zorder)
        return legends


def _headline(program: Program, simulation: Simulation) -> str:
    weights = np.asarray(program.weights, dtype=np.float64)
    slow = simulation.all_slow_latency_s
    stalls = float(weights @ simulation.stall_s) / slow if slow > 0 else 0.0
    return (
        f"{100 * simulation.saved_fraction:.2f} % of {1e6 * slow:,.1f} µs all-slow latency saved, "
        f"stalls {100 * stalls:.2f} %"
    )


def _draw_loops(axes: Axes, program: Program, edges: np.ndarray, capacity: float) -> None:
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


def _draw_reservations(axes: Axes, program: Program, edges: np.ndarray) -> bool:
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
) -> Iterator[tuple[int, Residency, Place]]:
    """The residencies that can be drawn, with their numbers."""
    last = len(edges) - 1
    for number, r in enumerate(mapping.residencies):
        if 0 <= r.start < r.end and 0 <= r.value < len(program.values) and r.start < last:
            begin, end = float(edges[r.start]), float(edges[min(r.end, last)])
            size = program.values[r.value].size_bytes / MIB
            yield number, r, Place(begin, r.offset / MIB, end - begin, size)


def _kind(program: Program, residency: Residency) -> str:
    copied, inputs = residency.arrival == COPIED, program.values[residency.value].is_input
    first, second, third = KINDS
    return (first if inputs else third) if copied else second


def _label(
    axes: Axes, program: Program, r: Residency, place: Place, width: float, height: float
) -> Text | None:
    """Writes the value's name if the rectangle has room for it."""
    if place.height < 0.035 * height:
        return None
    name = shown(program.values[r.value].name)
    letters = int(85 * place.width / width)
    if letters < min(len(name), 8):
        return None
    return axes.text(
        place.x + place.width / 2, place.y + place.height / 2,
        name if len(name) <= letters else name[: letters - 1] + "…",
        ha="center", va="center", fontsize=6.5, clip_on=True, zorder=3, parse_math=False,
    )  # fmt: skip
