"""A schedule as a picture: what every group does over time, and how full every memory is."""

from __future__ import annotations

from pathlib import Path

from gamekit.errors import InputError
from gamekit.text import shown
from games.cores.judge import Judged
from games.cores.problem.problem import Problem

COLOURS = {"run": "#4477aa", "move": "#cc6677"}
MEMORY = "#999933"
# What takes less than this part of the whole gets no text.
LABELLED = 0.03
ENDINGS = (".png", ".pdf", ".svg")


def draw(problem: Problem, found: Judged, path: Path) -> None:
    """Writes the picture; of a schedule that breaks a rule, up to there.

    Raises:
      InputError: the place cannot be written, or its ending is not that of a picture.
    """
    if path.suffix not in ENDINGS:
        raise InputError(f"{path}: must end in {', '.join(ENDINGS)}")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    limited = [m for m, memory in enumerate(problem.memories) if memory.bits is not None]
    used = [g for g in range(len(problem.groups)) if any(s.group == g for s in found.spans)]
    row = {g: i for i, g in enumerate(used)}
    rows = 1 + len(limited)
    high = 0.35 * len(used) + 0.6 * len(limited) + 1.2
    figure, axes = pyplot.subplots(
        rows, 1, figsize=(12, high), sharex=True, squeeze=False, layout="constrained",
        height_ratios=[0.35 * max(len(used), 1), *[0.6] * len(limited)],
    )  # fmt: skip
    chart = axes[0][0]
    for span in found.spans:
        y, wide = -row[span.group], span.end - span.begin
        chart.barh(y, wide, 0.8, span.begin, color=COLOURS[span.kind], edgecolor="white", lw=0.5)
        if wide > LABELLED * found.time:
            # A `$` would begin a formula.
            text = shown(span.label, 20).replace("$", r"\$")
            chart.text(
                span.begin + wide / 2, y, text, ha="center", va="center", fontsize=6, clip_on=True
            )
    chart.set_yticks([-i for i in row.values()], [_plain(problem.groups[g]) for g in used])
    chart.tick_params(axis="y", labelsize=7)
    times = [time for time, _ in found.usage]
    for axis, m in zip(axes[1:, 0], limited, strict=True):
        memory = problem.memories[m]
        size = max(memory.bits or 0, 1)
        levels = [bits[m] / size for _, bits in found.usage]
        axis.fill_between([*times, found.time], [*levels, levels[-1] if levels else 0],
                          step="post", color=MEMORY)  # fmt: skip
        axis.set_ylim(0, 1)
        axis.set_ylabel(_plain(memory.name), rotation=0, ha="right", va="center", fontsize=7)
        axis.set_yticks([])
    axes[-1][0].set_xlabel("time")
    verdict = "accepted" if found.valid else "rejected"
    chart.set_title(
        f"{_plain(problem.name)}: time {found.time:,}, energy {found.energy:,.6g}, "
        f"peak {found.peak:,} bits, {verdict}"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        pyplot.close(figure)


def _plain(name: str) -> str:
    return shown(name, 40).replace("$", r"\$")
