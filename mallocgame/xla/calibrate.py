"""Fits the latency form of the rules to the compiler's cycle estimates under several placements.

``cycles = max(compute, sum of reads, sum of writes)``, each access with one time in slow and one in
fast memory.  Two steps:

1. Per program: four bandwidths (reads and writes, slow and fast), robustly, with every
   instruction's compute floor profiled out.
2. Per instruction: the floor and access times nearest to those bandwidths (least generalised
   Kullback-Leibler divergence) that reproduce all its estimates.  Which of the three terms is the
   largest under which placement is enumerated; for each choice the constraints are met by cyclic
   Bregman projections, for sums of positive terms plain rescalings (Censor and Lent 1981).

Instructions of equal kind, traffic and estimate share one fit, so what the compiler placed
differently in one layer informs the other layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

FloatArray = np.ndarray

# Bytes per cycle: slow reads, fast reads, slow writes, fast writes.  What six programs on TPU v4
# had in common; a program whose placements say little is drawn towards them.
TYPICAL_RATES = np.array([320.0, 3300.0, 900.0, 8000.0])
RATE_PULL = 0.002
SWEEPS = 200
MOST_PLACEMENTS = 6
MISFIT_WEIGHT = 1e3
ALL_SLOW_WEIGHT = 100.0
SLOW_MARGIN, FAST_MARGIN, PLATEAU_SHARE = 8.0, 2.0, 0.2
FLOOR_SHARE = 0.7


@dataclass(frozen=True)
class Sample:
    """Estimates of one instruction under P placements.

    reads, writes: physical bytes, [R] and [W]. read_fast, write_fast: whether in fast memory,
    [P, R] and [P, W]. cycles: the compiler's estimates, [P], NaN where a compile gives none; row 0
    is everything in slow memory.
    """

    key: tuple
    reads: FloatArray
    writes: FloatArray
    read_fast: FloatArray
    write_fast: FloatArray
    cycles: FloatArray


@dataclass(frozen=True)
class Fit:
    """Cycles of one instruction: its floor, its accesses, and whether the data tell the floor."""

    compute: float
    read_slow: FloatArray
    read_fast: FloatArray
    write_slow: FloatArray
    write_fast: FloatArray
    is_floor_identified: bool

    def predict(self, read_fast: FloatArray, write_fast: FloatArray) -> FloatArray:
        """Cycles [P] under placements [P, R] and [P, W]."""
        reads = np.where(read_fast, self.read_fast, self.read_slow).sum(axis=1)
        writes = np.where(write_fast, self.write_fast, self.write_slow).sum(axis=1)
        return np.maximum(self.compute, np.maximum(reads, writes))


@dataclass(frozen=True)
class Calibration:
    """Fits per slot and what they amount to.

    total_errors: relative error of the summed cycles per placement, all-slow first.
    held_out_errors: the same for each placement but the first, fitted without it; None where no
    other is left.
    """

    rates: FloatArray
    fits: dict[int, Fit]
    total_errors: tuple[float, ...]
    held_out_errors: tuple[float | None, ...]
    median_error: float
    p95_error: float
    identified_share: float

    def summary(self) -> dict[str, Any]:
        """The numbers that go into a program's provenance."""
        return {
            "bytes_per_cycle": [float(f"{r:.4g}") for r in self.rates],
            "total_errors": [float(f"{e:.3g}") for e in self.total_errors],
            "held_out_errors": [
                e if e is None else float(f"{e:.3g}") for e in self.held_out_errors
            ],
            "median_error": float(f"{self.median_error:.3g}"),
            "p95_error": float(f"{self.p95_error:.3g}"),
            "identified_share": float(f"{self.identified_share:.3g}"),
        }


def calibrate(samples: Mapping[int, Sample]) -> Calibration:
    """Fits all slots of a program; every sample has the same P placements."""
    fits, rates = _fit_all(samples)
    predicted = {slot: fits[slot].predict(s.read_fast, s.write_fast) for slot, s in samples.items()}
    errors = [np.abs(predicted[slot] / s.cycles - 1) for slot, s in samples.items()]
    flat = np.concatenate(errors) if errors else np.zeros(1)
    width = max((len(s.cycles) for s in samples.values()), default=0)
    floors = [s.cycles[0] * fits[slot].is_floor_identified for slot, s in samples.items()]
    return Calibration(
        rates=rates,
        fits=fits,
        total_errors=tuple(_total_error(samples, predicted, p) for p in range(width)),
        held_out_errors=tuple(_held_out_error(samples, p) for p in range(1, width)),
        median_error=float(np.nanmedian(flat)),
        p95_error=float(np.nanpercentile(flat, 95)),
        identified_share=float(sum(floors) / max(sum(s.cycles[0] for s in samples.values()), 1)),
    )


def _fit_all(samples: Mapping[int, Sample]) -> tuple[dict[int, Fit], FloatArray]:
    groups = pool(list(samples.values()))
    rates = fit_rates(list(groups.values()))
    by_key = {key: fit_instruction(sample, rates, FLOOR_SHARE) for key, sample in groups.items()}
    return {slot: by_key[sample.key] for slot, sample in samples.items()}, rates


def _total_error(
    samples: Mapping[int, Sample], predicted: Mapping[int, FloatArray], placement: int
) -> float:
    """Relative error of the summed cycles under one placement, where estimates exist."""
    pairs = np.array(
        [(predicted[slot][placement], s.cycles[placement]) for slot, s in samples.items()]
    )
    pairs = pairs[~np.isnan(pairs[:, 1])]
    return float(pairs[:, 0].sum() / max(pairs[:, 1].sum(), 1.0) - 1.0)


def _held_out_error(samples: Mapping[int, Sample], placement: int) -> float | None:
    """Error of the total under a placement that the fit has not seen, nor one equal to it.

    None where no other placement with assignment on is left.
    """
    width = len(next(iter(samples.values())).cycles)
    kept = [0] + [p for p in range(1, width) if not _same_placement(samples, p, placement)]
    if len(kept) == 1:
        return None
    reduced = {slot: _placements(s, kept) for slot, s in samples.items()}
    fits, _ = _fit_all(reduced)
    predicted = {slot: fits[slot].predict(s.read_fast, s.write_fast) for slot, s in samples.items()}
    return _total_error(samples, predicted, placement)


def _same_placement(samples: Mapping[int, Sample], a: int, b: int) -> bool:
    return all(
        np.array_equal(s.read_fast[a], s.read_fast[b])
        and np.array_equal(s.write_fast[a], s.write_fast[b])
        for s in samples.values()
    )


def _placements(sample: Sample, kept: Sequence[int]) -> Sample:
    return Sample(
        sample.key,
        sample.reads,
        sample.writes,
        sample.read_fast[kept],
        sample.write_fast[kept],
        sample.cycles[kept],
    )


def pool(samples: Sequence[Sample]) -> dict[tuple, Sample]:
    """One sample per key with the distinct placements of all samples of that key."""
    groups: dict[tuple, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.key, []).append(sample)
    return {key: _merge(group) for key, group in groups.items()}


def _merge(group: Sequence[Sample]) -> Sample:
    first = group[0]
    seen: dict[bytes, tuple] = {}
    for s in group:
        for row in zip(s.read_fast, s.write_fast, s.cycles, strict=True):
            if np.isnan(row[2]):
                continue
            seen.setdefault(np.concatenate([row[0], row[1]]).astype(bool).tobytes(), row)
    rows = list(seen.values())[:MOST_PLACEMENTS]
    return Sample(
        key=first.key,
        reads=first.reads,
        writes=first.writes,
        read_fast=np.array([r[0] for r in rows], bool).reshape(len(rows), len(first.reads)),
        write_fast=np.array([r[1] for r in rows], bool).reshape(len(rows), len(first.writes)),
        cycles=np.array([r[2] for r in rows], float),
    )


def fit_rates(samples: Sequence[Sample]) -> FloatArray:
    """Program-wide bytes per cycle [4]: slow reads, fast reads, slow writes, fast writes."""
    width = max((len(s.cycles) for s in samples), default=1)
    traffic = np.zeros((len(samples), width, 4))
    cycles = np.zeros((len(samples), width))
    for i, s in enumerate(samples):
        rows = [0] * (width - len(s.cycles)) + list(range(len(s.cycles)))
        for column, (size, fast) in enumerate(((s.reads, s.read_fast), (s.writes, s.write_fast))):
            traffic[i, :, 2 * column] = (size * ~fast).sum(axis=1)[rows]
            traffic[i, :, 2 * column + 1] = (size * fast).sum(axis=1)[rows]
        cycles[i] = s.cycles[rows]
    if not len(cycles):
        return TYPICAL_RATES.copy()
    weight = cycles[:, 0] / cycles[:, 0].sum()

    def misfit(log_rates: FloatArray) -> float:
        pull = RATE_PULL * float(((log_rates - np.log(TYPICAL_RATES)) ** 2).sum())
        time = traffic / np.exp(log_rates)
        memory = np.maximum(time[..., 0] + time[..., 1], time[..., 2] + time[..., 3])
        floors = np.concatenate([np.ones((len(cycles), 1)), cycles], axis=1)
        predicted = np.maximum(memory[:, None, :], floors[:, :, None])
        errors = np.abs(np.log(predicted / cycles[:, None, :])).mean(axis=2).min(axis=1)
        return float(weight @ errors) + pull

    options = {"maxiter": 800, "xatol": 1e-4, "fatol": 1e-7}
    best = minimize(misfit, np.log(TYPICAL_RATES), method="Nelder-Mead", options=options)
    return np.exp(best.x)


def fit_instruction(sample: Sample, rates: FloatArray, floor_share: float) -> Fit:
    """Floor and access times nearest to ``rates`` that reproduce the sample's estimates.

    ``floor_share`` is the floor to expect, as a share of the smallest estimate, where the
    placements do not tell.
    """
    r, w = len(sample.reads), len(sample.writes)
    prior = np.concatenate(
        [
            [max(sample.cycles.min() * floor_share, 1e-9)],
            sample.reads / rates[0],
            sample.reads / rates[1],
            sample.writes / rates[2],
            sample.writes / rates[3],
        ]
    )
    terms = _terms(sample)
    x = _project(prior, terms, sample.cycles, (r, w))
    read_slow, read_fast = x[1 : 1 + r], x[1 + r : 1 + 2 * r]
    write_slow, write_fast = x[1 + 2 * r : 1 + 2 * r + w], x[1 + 2 * r + w :]
    return Fit(
        compute=float(x[0]),
        read_slow=read_slow,
        read_fast=np.minimum(read_fast, read_slow),
        write_slow=write_slow,
        write_fast=np.minimum(write_fast, write_slow),
        is_floor_identified=_is_floor_identified(sample, rates),
    )


def _terms(sample: Sample) -> FloatArray:
    """[P, 3, N] 0/1: which unknowns add up to compute, reads and writes under each placement."""
    p, r, w = len(sample.cycles), len(sample.reads), len(sample.writes)
    terms = np.zeros((p, 3, 1 + 2 * r + 2 * w))
    terms[:, 0, 0] = 1
    terms[:, 1, 1 : 1 + r] = ~sample.read_fast
    terms[:, 1, 1 + r : 1 + 2 * r] = sample.read_fast
    terms[:, 2, 1 + 2 * r : 1 + 2 * r + w] = ~sample.write_fast
    terms[:, 2, 1 + 2 * r + w :] = sample.write_fast
    return terms


def _is_floor_identified(sample: Sample, rates: FloatArray) -> bool:
    """Whether the smallest estimate can only be the compute floor.

    Reads are excluded where, at that estimate, they would take far less by the program's rates
    (slow ones, which vary most, by a wide margin), or where two placements with that estimate
    differ in how much is read from slow memory; writes alike.
    """
    smallest = sample.cycles <= sample.cycles.min() * (1 + 1e-9)
    sides = (
        (sample.reads, sample.read_fast, rates[:2]),
        (sample.writes, sample.write_fast, rates[2:]),
    )
    for size, fast, (slow_rate, fast_rate) in sides:
        slow_bytes = (size * ~fast[smallest]).sum(axis=1)
        fast_bytes = (size * fast[smallest]).sum(axis=1)
        most = SLOW_MARGIN * slow_bytes / slow_rate + FAST_MARGIN * fast_bytes / fast_rate
        is_plateau = np.ptp(slow_bytes) >= PLATEAU_SHARE * max(size.sum(), 1.0)
        if most.min() > sample.cycles.min() and not is_plateau:
            return False
    return True


def _project(
    prior: FloatArray, terms: FloatArray, cycles: FloatArray, sizes: tuple[int, int]
) -> FloatArray:
    """Unknowns [N] of the best choice of the dominating term per placement."""
    p = len(cycles)
    choices = np.array(list(itertools.product(range(3), repeat=p)))  # [A, P]
    possible = (terms @ prior > 0)[np.arange(p), choices].all(axis=1)
    choices = choices[possible]
    x = np.repeat(prior[None], len(choices), axis=0)  # [A, N]
    r, w = sizes
    for _ in range(SWEEPS):
        for placement in reversed(range(p)):
            for term in range(3):
                support = terms[placement, term]
                ratio = cycles[placement] / np.maximum(x @ support, 1e-12)
                chosen = choices[:, placement] == term
                ratio = np.where(chosen, ratio, np.minimum(ratio, 1.0))
                x *= np.where(support[None] > 0, ratio[:, None], 1.0)
        x[:, 1 + r : 1 + 2 * r] = np.minimum(x[:, 1 + r : 1 + 2 * r], x[:, 1 : 1 + r])
        x[:, 1 + 2 * r + w :] = np.minimum(x[:, 1 + 2 * r + w :], x[:, 1 + 2 * r : 1 + 2 * r + w])
    predicted = np.einsum("ptn,an->apt", terms, x).max(axis=2)
    misfit = np.abs(predicted / cycles - 1) @ np.array([ALL_SLOW_WEIGHT] + [1.0] * (p - 1))
    safe = np.maximum(prior, 1e-12)
    divergence = (x * np.log(np.maximum(x, 1e-12) / safe) - x + safe).sum(axis=1) / cycles[0]
    return x[np.argmin(MISFIT_WEIGHT * misfit + divergence)]
