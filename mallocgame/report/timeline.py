"""The panels below a memory layout: copies, the slow bus with stalls, the use of memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from mallocgame.judge import Simulation
from mallocgame.program.mapping import Mapping, Transfer
from mallocgame.report.figures import SOFT

PREFETCH, EVICTION, OWN, STALL, USED = "#4477aa", "#cc6677", "#bbbbbb", "#aa3377", "#8a8a8a"
MOST_WANTED = 300  # per cent of the capacity, the most that the panel shows


def slot_edges(simulation: Simulation) -> np.ndarray:
    """The start of each slot and the end, in seconds: [T + 1]; slot numbers if no time passes."""
    durations = np.asarray(simulation.elapsed_s) + np.asarray(simulation.stall_s)
    edges = np.concatenate([[0.0], np.cumsum(durations)])
    return edges if edges[-1] > 0 else np.arange(len(edges), dtype=np.float64)


def draw_copies(axes: Axes, mapping: Mapping, edges: np.ndarray) -> None:
    """How many copies may use the bus in each slot: prefetches upwards, evictions downwards."""
    rows = (
        ("prefetch", mapping.prefetches, PREFETCH, 1),
        ("eviction", mapping.evictions, EVICTION, -1),
    )
    most = []
    for name, transfers, colour, sign in rows:
        number = open_windows(transfers, len(edges) - 1)
        most.append(max(1, int(number.max(initial=0))))
        axes.fill_between(
            edges, sign * np.append(number, number[-1]), step="post", color=colour, linewidth=0,
            label=name,
        )  # fmt: skip
    axes.axhline(0, color=SOFT, linewidth=0.6)
    up, down = most
    axes.set_ylim(-down, up)
    axes.set_yticks([-down, 0, up] if down > 0.3 * up else [0, up])
    axes.yaxis.set_major_formatter(lambda number, _: f"{abs(number):.0f}")
    axes.set_ylabel("copies")


def open_windows(transfers: Sequence[Transfer], slots: int) -> np.ndarray:
    """The number of copies whose window covers each slot: int64 [T]."""
    change = np.zeros(slots + 1, dtype=np.int64)
    for t in transfers:
        start, end = max(t.start, 0), min(t.end, slots)
        if start < end:
            change[start] += 1
            change[end] -= 1
    return np.cumsum(change)[:-1]


def draw_bus(axes: Axes, simulation: Simulation, edges: np.ndarray) -> None:
    """The slow bus in each slot, as shares of its time; the instruction's own traffic is lowest."""
    durations = np.maximum(simulation.elapsed_s + simulation.stall_s, 1e-30)
    own = simulation.bus_busy_s - simulation.prefetch_s - simulation.eviction_s
    below = np.zeros(len(durations))
    rows = (
        ("own", own, OWN),
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
    late = np.flatnonzero(simulation.stall_s > 1e-4 * max(simulation.latency_s, 1e-30))
    if len(late):
        # From the end of the instruction itself to the end of its wait.
        begin = edges[late] + np.diff(edges)[late] * simulation.elapsed_s[late] / durations[late]
        spans = np.stack([begin, edges[late + 1] - begin], axis=1)
        axes.broken_barh(spans.tolist(), (0, 100), color=STALL, alpha=0.35, linewidth=0)
        axes.plot(
            edges[late], np.full(len(late), 106.0), "v", color=STALL, markersize=4,
            clip_on=False, label="stall",
        )  # fmt: skip
    axes.set_ylim(0, 100)
    axes.set_ylabel("bus, %")
    axes.legend(
        loc="upper left", bbox_to_anchor=(1, 1.15), fontsize=7.5, handlelength=1,
        labelspacing=0.15, borderaxespad=0.2,
    )  # fmt: skip


def draw_use(
    axes: Axes, capacity: int, wanted_bytes: np.ndarray, simulation: Simulation, edges: np.ndarray
) -> None:
    """The use of fast memory, and a line of what all useful values would need.

    Args:
      capacity: of fast memory, bytes.
      wanted_bytes: int64 [T], what they would need (`benefit.wanted_bytes`).
    """
    used = 100 * np.asarray(simulation.fast_bytes) / capacity
    wanted = 100 * wanted_bytes / capacity
    axes.fill_between(
        edges, np.append(used, used[-1]), step="post", color=USED, linewidth=0, label="used"
    )
    axes.step(
        edges, np.append(wanted, wanted[-1]), where="post", color="#cc3311", linewidth=0.8,
        label="wanted",
    )  # fmt: skip
    top = float(np.clip(1.05 * wanted.max(initial=0.0), 100.0, MOST_WANTED))
    if top > 100:
        axes.axhline(100, color=SOFT, linewidth=0.6, linestyle=(0, (4, 3)))
    axes.set_ylim(0, top)
    axes.set_ylabel("memory, %")
    axes.legend(
        loc="upper left", bbox_to_anchor=(1, 1.15), fontsize=7.5, handlelength=1,
        labelspacing=0.15, borderaxespad=0.2,
    )  # fmt: skip
