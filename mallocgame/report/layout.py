"""A picture of a mapping: fast memory over time, with the copies and the use of the memory."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from mallocgame.machine import MIB
from mallocgame.mapping import COPIED, Mapping
from mallocgame.program import Program
from mallocgame.simulation import Simulation

COLOURS = {"copied in": "#4477aa", "produced there": "#ddaa33"}
PREFETCH, EVICT, USED = "#4477aa", "#bb5566", "#888888"


def draw_layout(
    program: Program, mapping: Mapping, simulation: Simulation, title: str, path: Path | None = None
) -> bytes:
    """Draws the layout as SVG; writes it to `path` (.svg or .png) where one is given.

    The horizontal axis is the time of the mapping's own execution, in microseconds, each loop body
    once.  Rectangles are residencies: their height is the value's size, their place its offset.
    """
    with matplotlib.rc_context({"svg.hashsalt": "mallocgame", "font.size": 9}):
        figure = Figure(figsize=(11, 5.6), layout="constrained")
        memory, copies, use = figure.subplots(
            3, 1, sharex=True, gridspec_kw={"height_ratios": [8, 1.2, 1.6]}
        )
        edges = 1e6 * np.concatenate(
            [[0.0], np.cumsum(np.asarray(simulation.elapsed_s) + np.asarray(simulation.stall_s))]
        )
        _memory(memory, program, mapping, edges)
        _copies(copies, mapping, edges)
        _use(use, program, simulation, edges)
        saved = f"{100 * simulation.saved_fraction:.2f} % of the all-slow latency saved"
        figure.suptitle(f"{program.name}: {title}, {saved}")
        if path is not None:
            figure.savefig(path, dpi=150)
        image = io.BytesIO()
        figure.savefig(image, format="svg", metadata={"Date": None})
    return image.getvalue()


def _memory(axes: Axes, program: Program, mapping: Mapping, edges: np.ndarray) -> None:
    last = len(edges) - 1
    for arrival, colour in COLOURS.items():
        rectangles = [
            Rectangle(
                (edges[max(r.start, 0)], r.offset / MIB),
                edges[min(r.end, last)] - edges[max(r.start, 0)],
                program.values[r.value].size_bytes / MIB,
            )
            for r in mapping.residencies
            if (r.arrival == COPIED) == (arrival == "copied in") and 0 <= r.start < r.end
        ]
        axes.add_collection(
            PatchCollection(rectangles, facecolor=colour, edgecolor="white", linewidth=0.4)
        )
    for loop in program.loops:
        axes.axvspan(edges[loop.entry], edges[loop.exit], color="#eeeeee", zorder=0)
        axes.text(
            edges[loop.entry], 1.0, f" x{loop.trip_count}", va="top",
            transform=axes.get_xaxis_transform(), color="#555555",
        )  # fmt: skip
    axes.set_ylim(0, program.machine.fast_capacity_bytes / MIB)
    axes.set_xlim(0, edges[-1])
    axes.set_ylabel("fast memory, MiB")
    axes.legend(
        handles=[Patch(color=colour, label=name) for name, colour in COLOURS.items()],
        loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False,
    )  # fmt: skip


def _copies(axes: Axes, mapping: Mapping, edges: np.ndarray) -> None:
    last = len(edges) - 1
    for row, (transfers, colour) in enumerate(
        ((mapping.evictions, EVICT), (mapping.prefetches, PREFETCH))
    ):
        spans = [
            (edges[t.start], edges[min(t.end, last)] - edges[t.start])
            for t in transfers
            if 0 <= t.start < t.end
        ]
        axes.broken_barh(spans, (row + 0.1, 0.8), facecolors=colour, alpha=0.5)
    axes.set_ylim(0, 2)
    axes.set_yticks([0.5, 1.5], ["evictions", "prefetches"])


def _use(axes: Axes, program: Program, simulation: Simulation, edges: np.ndarray) -> None:
    used = np.asarray(simulation.fast_bytes) / program.machine.fast_capacity_bytes * 100
    axes.fill_between(edges, np.append(used, used[-1]), step="post", color=USED, linewidth=0)
    axes.set_ylim(0, 100)
    axes.set_ylabel("in use, %")
    axes.set_xlabel("time, us (each loop body once)")
