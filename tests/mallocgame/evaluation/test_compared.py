"""Speed-ups and gaps, worked out by hand."""

from __future__ import annotations

import pytest

from gamekit.evaluation.rows import FAILED, Row
from mallocgame.evaluation.compared import compared


def row(mapper: str, latency_s: float, bound_s: float = 0.0, **fields) -> Row:
    figures = {
        "latency_s": latency_s,
        "all_slow_latency_s": 8.0,
        "floor_latency_s": 1.0,
        "bound_s": bound_s,
    }
    return Row("p", "f", mapper, None, None, score=1 - latency_s / 8, figures=figures, **fields)


def test_mappers_are_compared_with_production_and_the_highest_bound():
    rows = [
        row("production", 4.0),
        row("better", 3.0, bound_s=2.0),
        row("worse", 5.0),
        row("bound", 1.5, bound_s=1.5),
        row("broken", 1.0, status=FAILED),
    ]
    found = {r.solver: r for r in compared(rows)}
    gains = {name: r.figures["speedup_vs_production"] for name, r in found.items()}
    closed = {name: r.figures["gap_to_bound_closed"] for name, r in found.items()}
    # The bound is what another row proves, 2 s, and no longer its own.
    assert found["bound"].figures["latency_s"] == 2.0
    assert found["bound"].score == pytest.approx(0.75)
    assert gains == pytest.approx(
        {"production": 0.0, "better": 1 / 3, "worse": -0.2, "bound": 1.0, "broken": None}
    )
    assert closed == pytest.approx(
        {"production": 0.0, "better": 0.5, "worse": -0.5, "bound": 1.0, "broken": None}
    )


def test_without_production_there_is_no_gain():
    (alone,) = compared([row("better", 3.0)])
    assert alone.figures["speedup_vs_production"] is None
    assert alone.figures["gap_to_bound_closed"] is None
