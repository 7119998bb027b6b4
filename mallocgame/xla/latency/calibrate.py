"""Fits a program's latencies to the compiler's cycle estimates under several placements.

Instructions of equal kind, traffic and estimate share one fit (`.fit`), so what the compiler placed
differently in one layer informs the other layers.  If an instruction's own estimates do not show
how much slower a byte is in slow memory, the whole program's do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mallocgame.xla.latency.fit import Fit, FloatArray, Sample, fit_instruction

# Cycles that a byte adds in slow memory: what copies take on TPU v4, reads and writes alike.
TYPICAL_CYCLES_PER_BYTE = 1 / 428
# A program's own rate is believed within this factor of the machine's; small arrays tell of others.
BELIEVED = 2.5
LEAST_DIFFERENCE = 0.005
MOST_PLACEMENTS = 12
LEAST_UNSEEN = 0.005


@dataclass(frozen=True)
class HeldOut:
    """Errors under one placement when neither it nor an equal one is part of the fit.

    total: relative error of the summed cycles.
    median: median of the instructions' relative errors.
    unseen: error of what those instructions save over all slow that no fitted placement has placed
        as this one does, as a share of it; None if they save less than `LEAST_UNSEEN` of all
        cycles.
    """

    total: float
    median: float
    unseen: float | None = None


@dataclass(frozen=True)
class Calibration:
    """The fits of all slots, and their quality.

    cycles_per_byte: what a byte adds in slow memory, [2], reads and writes.
    fits: by slot.
    total_errors: relative error of the summed cycles per placement, all-slow first.
    held_out: for each placement but the first; None if no other is left to fit.
    median_error, p95_error: of instructions under the placements that were fitted.
    seen: by slot, the placements that were fitted of it or of instructions like it, and their
        cycles; bit i of a placement is the i-th access, reads first, in fast memory.
    """

    cycles_per_byte: FloatArray
    fits: dict[int, Fit]
    total_errors: tuple[float, ...]
    held_out: tuple[HeldOut | None, ...]
    median_error: float
    p95_error: float
    seen: dict[int, dict[int, float]]

    def summary(self) -> dict[str, Any]:
        """The numbers that go into a program's provenance."""
        return {
            "cycles_per_byte": [_short(c) for c in self.cycles_per_byte],
            "total_errors": [_short(e) for e in self.total_errors],
            "held_out_errors": [None if h is None else _short(h.total) for h in self.held_out],
            "held_out_medians": [None if h is None else _short(h.median) for h in self.held_out],
            "median_error": _short(self.median_error),
            "p95_error": _short(self.p95_error),
            "unseen_savings": [
                None if h is None or h.unseen is None else _short(h.unseen) for h in self.held_out
            ],
        }


def _short(number: float) -> float:
    return float(f"{number:.3g}")


def calibrate(
    samples: Mapping[int, Sample], typical: float = TYPICAL_CYCLES_PER_BYTE
) -> Calibration:
    """Fits all slots of a program; all samples have the same P placements.

    typical: cycles that a byte adds in slow memory on this machine, if the placements do not tell.
    """
    fits, cycles_per_byte = fit_all(samples, typical)
    width = max((len(s.cycles) for s in samples.values()), default=0)
    tables = [_cycles(samples, fits, p) for p in range(width)]
    errors = [np.abs(t[0] / t[1] - 1) for t in tables]
    flat = np.concatenate(errors) if errors else np.zeros(1)
    return Calibration(
        cycles_per_byte=cycles_per_byte,
        fits=fits,
        total_errors=tuple(_total(table) for table in tables),
        held_out=tuple(_held_out(samples, p, typical) for p in range(1, width)),
        median_error=float(np.median(flat)) if len(flat) else 0.0,
        p95_error=float(np.percentile(flat, 95)) if len(flat) else 0.0,
        seen=seen_placements(samples),
    )


def seen_placements(samples: Mapping[int, Sample]) -> dict[int, dict[int, float]]:
    """The placements with an estimate, and their cycles, by slot; see `Calibration.seen`."""
    by_key: dict[tuple, dict[int, float]] = {}
    for sample in samples.values():
        known = by_key.setdefault(sample.key, {})
        for mask, cycles in zip(placement_masks(sample), sample.cycles.tolist(), strict=True):
            if not np.isnan(cycles):
                known.setdefault(mask, cycles)
    return {slot: dict(sorted(by_key[sample.key].items())) for slot, sample in samples.items()}


def placement_masks(sample: Sample) -> list[int]:
    """Each placement as a number whose bit i is access i in fast memory, reads first."""
    rows = np.concatenate([sample.read_fast, sample.write_fast], axis=1)
    return [sum(1 << i for i, is_fast in enumerate(row) if is_fast) for row in rows]


def fit_all(
    samples: Mapping[int, Sample], typical: float = TYPICAL_CYCLES_PER_BYTE
) -> tuple[dict[int, Fit], FloatArray]:
    """The fits by slot, and the program's cycles per byte [2]."""
    groups = pool(list(samples.values()))
    cycles_per_byte = fit_cycles_per_byte(list(groups.values()), typical)
    by_key = {key: fit_instruction(sample, cycles_per_byte) for key, sample in groups.items()}
    return {slot: by_key[sample.key] for slot, sample in samples.items()}, cycles_per_byte


def _cycles(samples: Mapping[int, Sample], fits: Mapping[int, Fit], placement: int) -> FloatArray:
    """Predicted and estimated cycles [2, N] of the slots with an estimate under the placement."""
    here = slice(placement, placement + 1)
    pairs = [
        (fits[slot].predict(s.read_fast[here], s.write_fast[here])[0], s.cycles[placement])
        for slot, s in samples.items()
        if not np.isnan(s.cycles[placement])
    ]
    return np.array(pairs).reshape(-1, 2).T


def _total(table: FloatArray) -> float:
    return float(table[0].sum() / max(table[1].sum(), 1.0) - 1.0)


def _held_out(samples: Mapping[int, Sample], placement: int, typical: float) -> HeldOut | None:
    width = len(next(iter(samples.values())).cycles)
    kept = [0] + [p for p in range(1, width) if not _same_placement(samples, p, placement)]
    if len(kept) == 1:
        return None
    left = {slot: _placements(s, kept) for slot, s in samples.items()}
    fits, _ = fit_all(left, typical)
    table = _cycles(samples, fits, placement)
    if not table.size:
        return None
    seen = seen_placements(left)
    unseen = {
        slot: s for slot, s in samples.items() if placement_masks(s)[placement] not in seen[slot]
    }
    guessed = _cycles(unseen, fits, placement)
    slow = np.array([s.cycles[0] for s in unseen.values() if not np.isnan(s.cycles[placement])])
    saved = float(np.abs(slow - guessed[1]).sum())
    off = float((guessed[0] - guessed[1]).sum())
    return HeldOut(
        _total(table),
        float(np.median(np.abs(table[0] / table[1] - 1))),
        off / saved if saved > LEAST_UNSEEN * table[1].sum() else None,
    )


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
    """One sample for each key, with the distinct placements of all its samples."""
    groups: dict[tuple, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.key, []).append(sample)
    return {key: _merge(group) for key, group in groups.items()}


def _merge(group: Sequence[Sample]) -> Sample:
    first = group[0]
    seen: dict[bytes, tuple] = {}
    counts: dict[bytes, int] = {}
    for s in group:
        for row in zip(s.read_fast, s.write_fast, s.cycles, strict=True):
            if np.isnan(row[2]):
                continue
            placement = np.concatenate([row[0], row[1]]).astype(bool).tobytes()
            seen.setdefault(placement, row)
            counts[placement] = counts.get(placement, 0) + 1
    rows = list(seen.values())[:MOST_PLACEMENTS]
    return Sample(
        key=first.key,
        reads=first.reads,
        writes=first.writes,
        read_fast=np.array([r[0] for r in rows], bool).reshape(len(rows), len(first.reads)),
        write_fast=np.array([r[1] for r in rows], bool).reshape(len(rows), len(first.writes)),
        cycles=np.array([r[2] for r in rows], float),
        counts=np.array([counts[placement] for placement in list(seen)[: len(rows)]], float),
    )


def fit_cycles_per_byte(
    samples: Sequence[Sample], typical: float = TYPICAL_CYCLES_PER_BYTE
) -> FloatArray:
    """Cycles [2] that a byte adds in slow memory, read and written.

    The median over pairs of placements that differ only in reads, or only in writes, weighted by
    the difference in cycles.  A rate that is farther from the machine's than `BELIEVED` comes from
    arrays too small to matter, and the machine's is taken.
    """
    found: tuple[list[tuple[float, float]], ...] = ([], [])
    for sample in samples:
        for a in range(len(sample.cycles)):
            for b in range(a):
                slower = sample.cycles[b] - sample.cycles[a]
                reads = (sample.read_fast[a] * 1.0 - sample.read_fast[b]) @ sample.reads
                writes = (sample.write_fast[a] * 1.0 - sample.write_fast[b]) @ sample.writes
                for kind, (size, other) in enumerate(((reads, writes), (writes, reads))):
                    is_clear = abs(slower) > LEAST_DIFFERENCE * sample.cycles[0]
                    if is_clear and other == 0 and size * slower > 0:
                        found[kind].append((slower / size, abs(slower)))
    rates = [_weighted_median(pairs) for pairs in found]
    rates = [r if typical / BELIEVED <= r <= typical * BELIEVED else 0.0 for r in rates]
    known = next((rate for rate in rates if rate), typical)
    return np.array([rate or known for rate in rates])


def _weighted_median(pairs: Sequence[tuple[float, float]]) -> float:
    """Median of (value, weight) pairs, 0 for none."""
    if not pairs:
        return 0.0
    ordered = np.array(sorted(pairs))
    passed = np.cumsum(ordered[:, 1])
    return float(ordered[np.searchsorted(passed, passed[-1] / 2), 0])
