"""How the mappers of one program compare with production and with the bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gamekit.evaluation.rows import Row


def compared(rows: Sequence[Row]) -> list[Row]:
    """Rows of one program with the figures `speedup_vs_production` and `gap_to_bound_closed`.

    The bound's row takes the highest bound that any row proves.
    """
    done = [row for row in rows if row.is_done]
    production = next(
        (row.figures["latency_s"] for row in done if row.solver == "production"), None
    )
    limit = max(
        (max(row.figures["bound_s"], row.figures["floor_latency_s"]) for row in done), default=0.0
    )
    return [_compared(row, production, limit) for row in rows]


def _compared(row: Row, production: float | None, limit: float) -> Row:
    speedup = closed = None
    if row.is_done:
        if row.solver == "bound":
            slow = row.figures["all_slow_latency_s"]
            row = dataclasses.replace(row, score=1 - limit / slow if slow > 0 else 0.0)
            row = row.with_figures(latency_s=limit)
        latency = row.figures["latency_s"]
        if production is not None and latency > 0:
            speedup = production / latency - 1
        if production is not None and production > limit:
            closed = (production - latency) / (production - limit)
    return row.with_figures(speedup_vs_production=speedup, gap_to_bound_closed=closed)
