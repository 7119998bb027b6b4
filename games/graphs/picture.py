"""A solution as a picture: subgraphs over time, computing against moving, and fast memory."""

from __future__ import annotations

from pathlib import Path

from gamekit.pictures import save_picture
from games.graphs.judge import Evaluation
from games.graphs.problem import Problem, Solution

COMPUTE, TRANSFER, MEMORY = "#4477aa", "#cc6677", "#999933"
# Subgraphs that take less than this part of the whole get no text.
LABELLED = 0.02


def draw(problem: Problem, solution: Solution, found: Evaluation, path: Path) -> None:
    """Writes the picture; subgraphs that break a rule are left out.

    Raises:
      InputError: the place cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        3, 1, figsize=(12, 6), sharex=True, height_ratios=(2, 2, 1), layout="constrained"
    )
    begin = 0.0
    for subgraph, figures in zip(solution.subgraphs, found.subgraphs, strict=True):
        if figures is None:
            continue
        middle, wide = begin + figures.latency / 2, figures.latency
        colour = "#dddddd" if len(subgraph.ops) == 1 else "#88ccee"
        axes[0].bar(middle, 1, wide, color=colour, edgecolor="white", linewidth=0.5)
        if wide > LABELLED * found.latency:
            tile = " x ".join(map(str, subgraph.tile))
            kept = f"\nretains {len(subgraph.retain)}" if subgraph.retain else ""
            ops = " ".join(map(str, subgraph.ops[:6])) + (" ..." if len(subgraph.ops) > 6 else "")
            text = f"{ops}\n{tile}{kept}"
            axes[0].text(middle, 0.5, text, ha="center", va="center", rotation=90, fontsize=7)
        # Heights are parts of the subgraph's time: where one of the two reaches 1 it is the limit.
        for offset, part, paint in (
            (-0.25, figures.compute, COMPUTE),
            (0.25, figures.transfer, TRANSFER),
        ):
            axes[1].bar(middle + offset * wide, part / wide if wide else 0, wide / 2, color=paint)
        axes[2].bar(middle, figures.working_set / problem.capacity, wide, color=MEMORY)
        begin += wide
    axes[0].set_yticks([])
    axes[0].set_ylabel("subgraph")
    axes[1].set_ylabel("part of its time")
    axes[1].legend(["computing", "moving"], loc="lower right", fontsize=8)
    axes[1].get_legend().legend_handles[0].set_color(COMPUTE)
    axes[1].get_legend().legend_handles[1].set_color(TRANSFER)
    axes[2].set_ylabel("fast memory")
    axes[2].set_ylim(0, 1)
    axes[2].set_xlabel("time")
    verdict = "accepted" if found.valid else "rejected"
    axes[0].set_title(f"{problem.name}: {found.latency:,.1f}, {verdict}")
    save_picture(figure, path)
