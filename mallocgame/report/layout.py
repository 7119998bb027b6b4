"""A picture of a mapping: fast memory over time, the copies, the slow bus and the memory's use."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from mallocgame.machine import MIB
from mallocgame.mapping import COPIED, Mapping, Residency, Transfer
from mallocgame.program import Program
from mallocgame.simulation import Simulation

# Colours that stay apart in greyscale and for the colour-blind (Paul Tol's "bright" and "light").
INPUT, PRODUCED, RETURNED = "#4477aa", "#eebb44", "#44aa99"
KINDS = {
    "input or weight, copied in": INPUT,
    "intermediate, produced there": PRODUCED,
    "intermediate, copied back": RETURNED,
}
PREFETCH, EVICTION, OWN, STALL, USED = "#4477aa", "#cc6677", "#c8c8c8", "#882255", "#7a7a7a"
LOOP, RESERVED = "#f1f1f1", "#bbbbbb"
STYLE: Any = {
    "svg.hashsalt": "mallocgame",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


def draw_layout(
    program: Program, mapping: Mapping, simulation: Simulation, title: str, path: Path | None = None
) -> bytes:
    """Draws the layout as SVG; also writes it to `path` (.svg, .png or .pdf) where one is given.

    The horizontal axis is the time of the mapping's own execution, stalls included, each loop body
    once.  Rectangles are residencies: their height is the value's size, their place its offset.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 6.4), layout="constrained")
        panels = figure.subplots(4, 1, sharex=True, height_ratios=[9, 1.3, 1.8, 1.8])
        memory, copies, bus, use = panels
        edges, unit = _edges(simulation)
        _memory(memory, program, mapping, edges)
        _copies(copies, mapping, edges)
        _bus(bus, simulation, edges)
        _use(use, program, simulation, edges)
        use.set_xlabel(f"time, {unit}" + (" (each loop body once)" if program.loops else ""))
        figure.align_ylabels(panels)
        # Two titles in one row: the layout reserves room for the first, the second joins it.
        heading = figure.suptitle(f"{program.name}: {title}", x=0.01, ha="left", weight="bold")
        figure.draw_without_rendering()
        figure.text(0.99, heading.get_position()[1], _headline(program, simulation),
                    ha="right", va="top", parse_math=False)  # fmt: skip
        if path is not None:
            figure.savefig(path, dpi=150)
        image = io.BytesIO()
        figure.savefig(image, format="svg", metadata={"Date": None})
    # The page carries many of these: without the preamble and its addresses they are plain markup.
    text = re.sub(r"<metadata>.*?</metadata>", "", image.getvalue().decode(), flags=re.DOTALL)
    return text[text.index("<svg") :].encode()


def _headline(program: Program, simulation: Simulation) -> str:
    weights = np.asarray(program.weights, dtype=np.float64)
    slow = simulation.all_slow_latency_s
    stalls = float(weights @ simulation.stall_s) / slow if slow > 0 else 0.0
    return (
        f"{100 * simulation.saved_fraction:.2f} % of {1e6 * slow:,.1f} µs all-slow latency saved, "
        f"stalls {100 * stalls:.2f} %"
    )


def _edges(simulation: Simulation) -> tuple[np.ndarray, str]:
    """When each slot begins, and the end: [T + 1], and the unit."""
    durations = np.asarray(simulation.elapsed_s) + np.asarray(simulation.stall_s)
    edges = np.concatenate([[0.0], np.cumsum(durations)])
    if edges[-1] <= 0:
        return np.arange(len(edges), dtype=np.float64), "slots (the program takes no time)"
    return (1e3 * edges, "ms") if edges[-1] >= 2e-2 else (1e6 * edges, "µs")


def _memory(axes: Axes, program: Program, mapping: Mapping, edges: np.ndarray) -> None:
    capacity = program.machine.fast_capacity_bytes / MIB
    room = 1.06 if program.loops else 1.0  # for the loops' names
    axes.set_ylim(0, room * capacity)
    if program.loops:
        axes.axhline(capacity, color="#666666", linewidth=0.6, linestyle=(0, (4, 3)))
    axes.set_xlim(0, edges[-1])
    axes.set_ylabel("fast memory, MiB")
    for loop in program.loops:
        first, last = edges[loop.entry], edges[loop.exit]
        axes.axvspan(first, last, color=LOOP, zorder=0, linewidth=0)
        depth = sum(other.entry < loop.entry and loop.exit < other.exit for other in program.loops)
        axes.text(
            (first + last) / 2, 0.993 - 0.04 * depth, f"loop, {loop.trip_count:,} times",
            transform=axes.get_xaxis_transform(), color="#666666", ha="center", va="top",
            fontsize=8, zorder=4,
        )  # fmt: skip
    reserved = [
        Rectangle((edges[t], 0), edges[t + 1] - edges[t], ins.reserved_bytes / MIB)
        for t, ins in enumerate(program.instructions)
        if ins.reserved_bytes
    ]
    if reserved:
        axes.add_collection(
            PatchCollection(
                reserved, facecolor="white", edgecolor=RESERVED, hatch="////", linewidth=0
            )
        )
    by_kind: dict[str, list[Rectangle]] = {kind: [] for kind in KINDS}
    for residency, place in _places(program, mapping, edges):
        by_kind[_kind(program, residency)].append(place)
        _label(axes, program, residency, place, edges[-1], capacity)
    for kind, rectangles in by_kind.items():
        axes.add_collection(
            PatchCollection(
                rectangles, facecolor=KINDS[kind], edgecolor="white", linewidth=0.4, zorder=2
            )
        )
    handles = [Patch(color=KINDS[kind], label=kind) for kind in KINDS if by_kind[kind]]
    if reserved:
        label = "reserved by an instruction"
        handles.append(Patch(label=label, facecolor="white", edgecolor=RESERVED, hatch="////"))
    if handles:
        axes.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles),
            frameon=False, borderaxespad=0.2, handlelength=1.2, columnspacing=1.2,
        )  # fmt: skip


def _places(
    program: Program, mapping: Mapping, edges: np.ndarray
) -> Iterator[tuple[Residency, Rectangle]]:
    last = len(edges) - 1
    for r in mapping.residencies:
        if 0 <= r.start < r.end and 0 <= r.value < len(program.values) and r.start < last:
            begin, end = edges[r.start], edges[min(r.end, last)]
            size = program.values[r.value].size_bytes / MIB
            yield r, Rectangle((begin, r.offset / MIB), end - begin, size)


def _kind(program: Program, residency: Residency) -> str:
    copied, inputs = residency.arrival == COPIED, program.values[residency.value].is_input
    first, second, third = KINDS
    return (first if inputs else third) if copied else second


def _label(
    axes: Axes, program: Program, r: Residency, place: Rectangle, width: float, height: float
) -> None:
    """Names the values whose rectangles have room for it."""
    name = program.values[r.value].name
    letters = int(150 * place.get_width() / width)
    if letters < min(len(name), 8) or place.get_height() < 0.035 * height:
        return
    axes.text(
        place.get_x() + place.get_width() / 2, place.get_y() + place.get_height() / 2,
        name if len(name) <= letters else name[: letters - 1] + "…",
        ha="center", va="center", fontsize=6.5, clip_on=True, zorder=3, parse_math=False,
        color="white" if _kind(program, r) != "intermediate, produced there" else "#333333",
    )  # fmt: skip


def _copies(axes: Axes, mapping: Mapping, edges: np.ndarray) -> None:
    rows = ((mapping.evictions, EVICTION), (mapping.prefetches, PREFETCH))
    for row, (transfers, colour) in enumerate(rows):
        axes.broken_barh(
            _windows(transfers, edges), (row + 0.1, 0.8), facecolors=colour, alpha=0.45, linewidth=0
        )
    axes.set_ylim(0, 2)
    axes.set_yticks([0.5, 1.5], ["evictions", "prefetches"])
    axes.tick_params(axis="y", length=0)


def _windows(transfers: Sequence[Transfer], edges: np.ndarray) -> list[tuple[float, float]]:
    last = len(edges) - 1
    return [
        (edges[t.start], edges[min(t.end, last)] - edges[t.start])
        for t in transfers
        if 0 <= t.start < t.end and t.start < last
    ]


def _bus(axes: Axes, simulation: Simulation, edges: np.ndarray) -> None:
    """The slow bus in each slot: shares of its time, the instruction's own traffic lowest."""
    durations = np.maximum(simulation.elapsed_s + simulation.stall_s, 1e-30)
    own = simulation.bus_busy_s - simulation.prefetch_s - simulation.eviction_s
    below = np.zeros(len(durations))
    rows = (
        ("own traffic", own, OWN),
        ("prefetch", simulation.prefetch_s, PREFETCH),
        ("eviction", simulation.eviction_s, EVICTION),
    )
    for name, seconds, colour in rows:
        above = below + 100 * np.maximum(seconds, 0) / durations
        axes.fill_between(
            edges, np.append(below, below[-1]), np.append(above, above[-1]), step="post",
            color=colour, linewidth=0, label=name,
        )  # fmt: skip
        below = above
    stalls = np.flatnonzero(simulation.stall_s > 1e-4 * max(simulation.latency_s, 1e-30))
    if len(stalls):
        axes.plot(
            edges[stalls], np.full(len(stalls), 104.0), "v", color=STALL, markersize=4,
            clip_on=False, label="stall",
        )  # fmt: skip
    axes.set_ylim(0, 100)
    axes.set_ylabel("bus, %")
    axes.legend(
        loc="upper left", bbox_to_anchor=(1, 1.1), frameon=False, fontsize=7.5, handlelength=1,
        labelspacing=0.2, borderaxespad=0.2,
    )  # fmt: skip


def _use(axes: Axes, program: Program, simulation: Simulation, edges: np.ndarray) -> None:
    used = 100 * np.asarray(simulation.fast_bytes) / program.machine.fast_capacity_bytes
    axes.fill_between(edges, np.append(used, used[-1]), step="post", color=USED, linewidth=0)
    axes.set_ylim(0, 100)
    axes.set_ylabel("used, %")
