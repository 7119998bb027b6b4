"""Statistics of result rows for each mapper: means, medians, wins, bootstrap intervals."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
# [..., programs] to [...]
Statistic = Callable[[np.ndarray], np.ndarray]
RESAMPLES = 10_000
LEVEL = 0.95
# Differences within the rounding of the game's clock are ties.
TIE = 1e-6


def mean(samples: np.ndarray) -> np.ndarray:
    return samples.mean(axis=-1)


def median(samples: np.ndarray) -> np.ndarray:
    return np.median(samples, axis=-1)


def geometric(samples: np.ndarray) -> np.ndarray:
    """The geometric mean of factors 1 + x, less 1."""
    return np.expm1(np.log1p(samples).mean(axis=-1))


def interval(sample: Sequence[float], statistic: Statistic) -> list[float] | None:
    """A 95 % confidence interval by the percentile bootstrap (Efron 1979), always the same.

    sample: one number for each program, drawn with replacement.  None for fewer than two.
    """
    if len(sample) < 2:
        return None
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(sample), size=(RESAMPLES, len(sample)))
    found = statistic(np.asarray(sample, dtype=np.float64)[drawn])
    return np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()


def pool_seeds(rows: Sequence[Row]) -> list[Row]:
    """One row for each program and mapper with the means over its seeds, ordered as the first rows.

    Adds `seeds`, the number that succeeded, and `saved_spread`, [lowest, highest] if there are
    several. Seeds that failed count only if all of them failed.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["program"], row["mapper"]), []).append(row)
    return [_pooled(group) for group in groups.values()]


def _pooled(group: Sequence[Row]) -> Row:
    done = [row for row in group if succeeded(row)]
    if not done:
        return group[0] | {"seeds": 0, "saved_spread": None}
    averaged = (
        "latency_s", "saved_fraction", "speedup_vs_production", "gap_to_bound_closed",
        "stall_fraction", "seconds", "decisions", "drop_backups",
    )  # fmt: skip
    saved = [row["saved_fraction"] for row in done]
    pooled = done[0] | {
        "seeds": len(done),
        "saved_spread": [min(saved), max(saved)] if len(done) > 1 else None,
        "verified": all(row["verified"] for row in done),
    }
    if len(done) > 1:
        for field in averaged:
            known = [row[field] for row in done if row.get(field) is not None]
            pooled[field] = statistics.fmean(known) if known else None
    return pooled


def succeeded(row: Row) -> bool:
    """Whether a row has figures: whether its mapper succeeded."""
    return row.get("status", "ok") == "ok"


def summarize(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Statistics of each mapper over programs, the one that saves most first.

    A speed-up is `latency(production) / latency(mapper) - 1`, over the programs that have a
    production mapping; None if none has.  A program counts once: its seeds are averaged first.
    `verified` counts the programs whose mappings the judge accepts, `failed` those without a
    mapping, and `*_ci95` are intervals over programs.
    """
    pooled = pool_seeds(rows)
    summary = {
        mapper: _summary([row for row in pooled if row["mapper"] == mapper])
        for mapper in dict.fromkeys(row["mapper"] for row in pooled)
    }
    missing = -2.0  # below every saved fraction
    return dict(
        sorted(
            summary.items(),
            key=lambda item: -(missing if (s := item[1]["mean_saved_fraction"]) is None else s),
        )
    )


def _summary(mine: Sequence[Row]) -> dict[str, Any]:
    done = [row for row in mine if succeeded(row)]
    saved = known(done, "saved_fraction")
    speedups = known(done, "speedup_vs_production")
    closed = known(done, "gap_to_bound_closed")
    spreads = [row["saved_spread"] for row in done if row["saved_spread"]]
    wins, losses = (sum(sign * s > TIE for s in speedups) for sign in (1, -1))
    return {
        "programs": len(done),
        "failed": len(mine) - len(done),
        "verified": sum(bool(row["verified"]) for row in done),
        "seeds": max((row["seeds"] for row in done), default=0),
        "mean_saved_fraction": _or_none(mean, saved),
        "mean_saved_fraction_ci95": interval(saved, mean),
        "mean_saved_spread_over_seeds": statistics.fmean(b - a for a, b in spreads)
        if spreads
        else None,
        "mean_speedup_vs_production": _or_none(mean, speedups),
        "mean_speedup_vs_production_ci95": interval(speedups, mean),
        "median_speedup_vs_production": _or_none(median, speedups),
        "median_speedup_vs_production_ci95": interval(speedups, median),
        "geomean_speedup_vs_production": _or_none(geometric, speedups),
        "geomean_speedup_vs_production_ci95": interval(speedups, geometric),
        "wins": wins,
        "ties": len(speedups) - wins - losses,
        "losses": losses,
        "worst": min(speedups, default=None),
        "best": max(speedups, default=None),
        "gap_to_bound_closed": _or_none(mean, closed),
        "gap_to_bound_closed_ci95": interval(closed, mean),
        "median_gap_to_bound_closed": _or_none(median, closed),
        "seconds": sum(row["seconds"] for row in done),
    }


def known(rows: Sequence[Row], field: str) -> list[float]:
    """The numbers of a field, without missing ones."""
    return [row[field] for row in rows if row.get(field) is not None]


def _or_none(statistic: Statistic, sample: Sequence[float]) -> float | None:
    return float(statistic(np.asarray(sample, dtype=np.float64))) if sample else None
