"""Pictures of a whole suite: speed-ups, gaps closed, savings by decisions, learning curves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gamekit.errors import InputError
from gamekit.jsonfile import Record, read_lines
from gamekit.text import say, shown
from mallocgame.report.figures import PALETTE, SOFT, embedded, styled, write_figure
from mallocgame.report.statistics import Row, known, pool_seeds, succeeded

BASELINES = ("random", "untrained")  # not drawn among speed-ups and gaps
WIDTH = 5.3  # inches; narrow enough for a phone
MARKERS = "osD^vP*X<>hd"
MAX_LABEL = 60


def draw_suite(rows: Sequence[Row], stem: Path | None = None) -> dict[str, str]:
    """Pictures of several programs, by caption; none for a single program.

    Each is markup for the page, and is written as `stem`-NAME.svg and .png if a stem is given.
    """
    pooled = [row for row in pool_seeds(rows) if succeeded(row)]
    if len({row["program"] for row in pooled}) < 2:
        return {}
    pictures: tuple[tuple[str, str, Callable[[Sequence[Row]], Figure | None]], ...] = (
        ("speedup", "Speed-up against production", draw_speedups),
        ("gap", "Gap from production to the bound closed", draw_gaps),
        ("decisions", "Saved fraction against the number of decisions", draw_decisions),
    )
    found = {}
    with styled():
        for name, caption, draw in pictures:
            figure = draw(pooled)
            if figure is not None:
                target = stem and stem.with_name(f"{stem.name}-{name}")
                found[caption] = embedded(write_figure(figure, target))
    return found


def draw_speedups(rows: Sequence[Row]) -> Figure | None:
    """Dots for each program and mapper; programs are ordered by their best speed-up."""
    return _dots(rows, "speedup_vs_production", "faster than production, %", (-30.0, np.inf))


def draw_gaps(rows: Sequence[Row]) -> Figure | None:
    """The same for the share of the gap between production and the bound."""
    return _dots(
        [row for row in rows if row["mapper"] != "bound"],
        "gap_to_bound_closed", "of the gap from production to the bound, %", (-100.0, 100.0),
    )  # fmt: skip


def _dots(
    rows: Sequence[Row], field: str, label: str, limits: tuple[float, float]
) -> Figure | None:
    """One line for each program; what is beyond the limits is a hollow dot on the edge."""
    drawn = [
        row
        for row in rows
        if row.get(field) is not None and row["mapper"] not in (*BASELINES, "production")
    ]
    if not drawn:
        return None
    best: dict[str, float] = {}
    for row in drawn:
        if row["mapper"] != "bound":
            best[row["program"]] = max(row[field], best.get(row["program"], -np.inf))
    order = {name: i for i, name in enumerate(sorted(best, key=lambda name: best[name]))}
    drawn = [row for row in drawn if row["program"] in order]
    if not drawn:
        return None
    figure = Figure(figsize=(WIDTH, 1.6 + 0.19 * len(order)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=SOFT, linewidth=0.8)
    for y in order.values():
        axes.axhline(y, color=SOFT, linewidth=0.4, alpha=0.25, zorder=0)
    for mapper, style in _styles(drawn).items():
        mine = [row for row in drawn if row["mapper"] == mapper]
        x = np.array([100 * row[field] for row in mine])
        y = np.array([order[row["program"]] for row in mine])
        inside = (x >= limits[0]) & (x <= limits[1])
        axes.plot(x[inside], y[inside], label=mapper, **style)
        hollow: dict[str, Any] = style | {"markerfacecolor": "none"}
        axes.plot(np.clip(x, *limits)[~inside], y[~inside], clip_on=False, **hollow)
    labels = [shown(name, MAX_LABEL) for name in order]
    axes.set_yticks(list(order.values()), labels, fontsize=7.5, parse_math=False)
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.set_xlabel(label)
    _legend(axes)
    return figure


def draw_decisions(rows: Sequence[Row]) -> Figure | None:
    """Savings against the number of decisions, as counted by mappers that play the game."""
    decisions: dict[str, float] = {}
    for row in rows:
        decisions[row["program"]] = max(row["decisions"], decisions.get(row["program"], 0))
    drawn = [row for row in rows if decisions[row["program"]] > 0]
    if not drawn:
        return None
    figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
    axes = figure.subplots()
    for mapper, style in _styles(drawn).items():
        mine = [row for row in drawn if row["mapper"] == mapper]
        x = [decisions[row["program"]] for row in mine]
        axes.plot(x, [100 * row["saved_fraction"] for row in mine], label=mapper, **style)
    axes.set_xscale("log")
    axes.set_xlabel("decisions of the game")
    axes.set_ylabel("of the all-slow latency saved, %")
    _legend(axes)
    return figure


def _styles(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Colour and marker of each mapper; the bound is a grey bar."""
    looks = itertools.cycle(zip(PALETTE, MARKERS, strict=True))
    styles = {}
    for mapper in dict.fromkeys(row["mapper"] for row in rows):
        colour, marker = (SOFT, "|") if mapper == "bound" else next(looks)
        styles[mapper] = {
            "color": colour,
            "marker": marker,
            "markersize": 7 if mapper == "bound" else 4,
            "linestyle": "none",
        }
    return styles


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=8, handletextpad=0.2,
        columnspacing=1.0, borderaxespad=0.2,
    )  # fmt: skip


def load_metrics(run: Path) -> list[dict[str, Any]]:
    """What `draw_learning` needs of the lines of a training run's `metrics.jsonl`.

    None if there is no such file.  A damaged line is left out, which a line on stderr says.

    Raises:
      InputError: the file cannot be read.
    """
    path = run / "metrics.jsonl"
    if not path.is_file():
        return []
    lines = []
    for number, (_, record) in enumerate(read_lines(path), start=1):
        try:
            if record is None:
                raise InputError(f"{path}: must be a JSON object")
            lines.append(_metrics(Record(record, str(path))))
        except InputError as error:
            say(f"{path}: line {number} is damaged and left out: {error}", error=True)
    return lines


def _metrics(record: Record) -> dict[str, Any]:
    """The figures of one iteration."""
    line = {"wall_s": record.number("wall_s"), "best_saved": record.number("best_saved", None)}
    returns = [f"return_{name}" for name in ("mean", "min", "max")]
    known = record.number(returns[0], None) is not None
    return line | {key: record.number(key) if known else None for key in returns}


def draw_learning(lines: Sequence[dict[str, Any]], stem: Path | None = None) -> str:
    """The games' mean and range, and the best so far, over training time; "" without games."""
    played = [line for line in lines if line.get("return_mean") is not None]
    if not played:
        return ""
    minutes = [line["wall_s"] / 60 for line in played]
    low, mean, high = (
        [100 * line[f"return_{name}"] for line in played] for name in ("min", "mean", "max")
    )
    with styled():
        figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
        axes = figure.subplots()
        axes.fill_between(minutes, low, high, color=PALETTE[0], alpha=0.2, linewidth=0,
                          label="worst to best game")  # fmt: skip
        axes.plot(
            minutes, mean, ".-", color=PALETTE[0], linewidth=1.2, markersize=3,
            label="mean of the games",
        )  # fmt: skip
        best = [line for line in lines if line.get("best_saved") is not None]
        axes.plot(
            [line["wall_s"] / 60 for line in best], [100 * s for s in known(best, "best_saved")],
            color=PALETTE[1], linewidth=1.2, label="best so far",
        )  # fmt: skip
        # The first games may lose a lot and would squeeze the curve to the top.
        bottom = float(np.quantile(low, 0.25))
        axes.set_ylim(bottom - 0.05 * (max(high) - bottom), None)
        axes.set_xlabel("minutes of training")
        axes.set_ylabel("of the all-slow latency saved, %")
        _legend(axes)
        return embedded(write_figure(figure, stem))
