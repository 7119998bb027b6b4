"""The latency of one instruction, fitted to the compiler's estimates under several placements.

Two steps:

1. What each access adds in slow memory.  The estimates are close to
   ``max(floor, base + sum of that over the accesses in slow memory)``.  An access about which they
   say nothing adds its bytes at the program's rate.
2. The form of the rules, ``max(compute, fixed reads + reads, fixed writes + writes)``, as close as
   possible to the estimates and, with less weight, to what step 1 predicts for other placements.

Step 2 fits a maximum of three sums: each placement is assigned to the term that is the largest
    there,
the terms are fitted (non-negative least squares), and this is repeated from several starts.

Some estimates rise when more lies in fast memory: the compiler emits the instruction in another
way.  Only where they do, accesses may take longer in fast memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

FloatArray = np.ndarray

MINOR_SHARE = 1e-4
PRIOR_WEIGHT = 1e-3
EXPECTED_FLOOR = 0.65
LARGEST_SAVING = 0.9
ALL_SLOW_WEIGHT = 30.0
GUESS_WEIGHT = 0.03
LEAST_GUESS = 1e-3
ROUNDS = 8
PLATEAU = 1.002
NEVER_BOUND = ("copy",)
LEAST_RISE = 0.005


@dataclass(frozen=True)
class Sample:
    """Estimates of one instruction under P placements.

    key: what equal instructions have in common.
    reads, writes: physical bytes, [R] and [W].
    read_fast, write_fast: whether in fast memory, [P, R] and [P, W].
    cycles: the compiler's estimates, [P], NaN if a compile has none; row 0 has all in slow memory.
    counts: how often each placement occurs, [P]; None means once.
    """

    key: tuple
    reads: FloatArray
    writes: FloatArray
    read_fast: FloatArray
    write_fast: FloatArray
    cycles: FloatArray
    counts: FloatArray | None = None


@dataclass(frozen=True)
class Fit:
    """Cycles of one instruction.

    compute: the floor.
    fixed_read, fixed_write: what reads and writes take in any memory.
    read_added, write_added: what each access adds in slow memory, [R] and [W].
    read_in_fast, write_in_fast: what it adds in fast memory, [R] and [W].
    """

    compute: float
    fixed_read: float
    read_added: FloatArray
    fixed_write: float
    write_added: FloatArray
    read_in_fast: FloatArray
    write_in_fast: FloatArray

    def predict(self, read_fast: FloatArray, write_fast: FloatArray) -> FloatArray:
        """Cycles [P] under placements [P, R] and [P, W]."""
        read_fast, write_fast = np.asarray(read_fast, bool), np.asarray(write_fast, bool)
        reads = self.fixed_read + np.where(read_fast, self.read_in_fast, self.read_added).sum(1)
        writes = self.fixed_write + np.where(write_fast, self.write_in_fast, self.write_added).sum(
            1
        )
        return np.maximum(self.compute, np.maximum(reads, writes))


@dataclass(frozen=True)
class Additive:
    """``max(floor, base + sum of added over accesses in slow memory)``; reads, then writes."""

    floor: float
    base: float
    added: FloatArray

    def predict(self, fast: FloatArray) -> FloatArray:
        """Cycles [P] under placements [P, R + W]."""
        return np.maximum(self.floor, self.base + ~np.asarray(fast, bool) @ self.added)


def fit_instruction(sample: Sample, cycles_per_byte: FloatArray) -> Fit:
    """The fit in the rules' form that is nearest to a sample.

    cycles_per_byte: [2], of reads and of writes.
    """
    additive = fit_additive(sample, cycles_per_byte)
    fast = np.concatenate([sample.read_fast, sample.write_fast], axis=1).astype(bool)
    guessed = _telling_placements(additive.added > 0)
    rows = np.concatenate([fast, guessed])
    least = LEAST_GUESS * sample.cycles[0]
    cycles = np.concatenate([sample.cycles, np.maximum(additive.predict(guessed), least)])
    counts = np.ones(len(fast)) if sample.counts is None else sample.counts / sample.counts.mean()
    weight = np.concatenate([counts, np.full(len(guessed), GUESS_WEIGHT)])
    weight[0] = ALL_SLOW_WEIGHT
    risen = _risen(fast, sample.cycles)
    terms = _terms(rows, len(sample.reads), risen)
    starts = _starts(additive, len(sample.reads), risen, float(sample.cycles.max()))
    found = [_fit_terms(start, terms, cycles, weight) for start in starts]
    x = min(found, key=lambda pair: pair[0])[1]
    x = x * (sample.cycles[0] / max(float((terms[:1] @ x).max()), 1e-9))
    r, n = len(sample.reads), len(risen)
    in_fast = np.zeros(n)
    in_fast[risen] = x[3 + n :]
    return Fit(
        compute=float(x[0]),
        fixed_read=float(x[1]),
        read_added=x[3 : 3 + r],
        fixed_write=float(x[2]),
        write_added=x[3 + r : 3 + n],
        read_in_fast=in_fast[:r],
        write_in_fast=in_fast[r:],
    )


def _risen(fast: FloatArray, cycles: FloatArray) -> FloatArray:
    """Accesses [N] that may take longer in fast memory.

    They are in fast memory under one placement and not under another, which has no more in fast
    memory but a lower estimate.
    """
    risen = np.zeros(fast.shape[1], bool)
    for more, high in zip(fast, cycles, strict=True):
        for less, low in zip(fast, cycles, strict=True):
            if high > low * (1 + LEAST_RISE) and np.all(more >= less):
                risen |= more & ~less
    return risen


def fit_additive(sample: Sample, cycles_per_byte: FloatArray) -> Additive:
    """What each access adds in slow memory; all slow is matched exactly."""
    fast = np.concatenate([sample.read_fast, sample.write_fast], axis=1).astype(float)
    size = np.concatenate([sample.reads * cycles_per_byte[0], sample.writes * cycles_per_byte[1]])
    all_slow, least = sample.cycles[0], sample.cycles.min()
    prior = size * min(1.0, LARGEST_SAVING * all_slow / max(size.sum(), 1e-9))
    major = np.flatnonzero(prior > MINOR_SHARE * all_slow)
    is_low = sample.cycles <= least * PLATEAU
    floor = least if len(np.unique(fast[is_low][:, major], axis=0)) > 1 else 0.0
    if not floor and sample.key[0] not in NEVER_BOUND:
        floor = EXPECTED_FLOOR * least
    saved = np.maximum(all_slow - sample.cycles, 0.0)
    used = np.flatnonzero(~is_low | (floor < least))
    pull = PRIOR_WEIGHT / np.sqrt(prior[major] / all_slow)
    left = np.concatenate([fast[used][:, major] / all_slow, np.diag(pull / all_slow)])
    right = np.concatenate([saved[used], pull * prior[major]]) / all_slow
    added = np.zeros(len(size))
    if len(major):
        added[major] = nnls(left, right)[0]
    if added.sum() > all_slow:
        added *= all_slow / added.sum()
    return Additive(float(floor), float(all_slow - added.sum()), added)


def _telling_placements(matters: FloatArray) -> FloatArray:
    """Placements [Q, N] for which to guess: all fast, and one access fast or slow."""
    n = len(matters)
    one = np.eye(n, dtype=bool)[matters]
    return np.concatenate([np.ones((1, n), bool), one, ~one])


def _terms(fast: FloatArray, reads: int, risen: FloatArray) -> FloatArray:
    """The unknowns, 0 or 1 [P, 3, 3 + N + F], of compute, reads and writes.

    Constants come first, then what each access adds in slow memory, then what the F `risen` ones
    add in fast memory.
    """
    p, n = fast.shape
    numbers = np.flatnonzero(risen)
    terms = np.zeros((p, 3, 3 + n + len(numbers)))
    terms[:, [0, 1, 2], [0, 1, 2]] = 1
    terms[:, 1, 3 : 3 + reads] = ~fast[:, :reads]
    terms[:, 2, 3 + reads : 3 + n] = ~fast[:, reads:]
    for column, number in enumerate(numbers, 3 + n):
        terms[:, 1 if number < reads else 2, column] = fast[:, number]
    return terms


def _starts(additive: Additive, reads: int, risen: FloatArray, highest: float) -> list[FloatArray]:
    """Start values of the unknowns, by whether reads or writes carry the constant part.

    Where estimates rise in fast memory, each start is also tried with all that `risen` accesses
    add up to the `highest` one.
    """
    base, added = additive.base, additive.added
    read, write = added[:reads], added[reads:]
    total = added.sum()

    def scaled(part: FloatArray) -> FloatArray:
        return part * (total / part.sum()) if part.sum() else part

    constants = (
        (base + write.sum(), base + read.sum(), read, write),
        (base, base, scaled(read), write),
        (base, base, read, scaled(write)),
        (base + write.sum(), base, read, write),
        (base, base + read.sum(), read, write),
    )
    is_read = np.flatnonzero(risen) < reads
    starts = []
    for k, m, r, w in constants:
        usual = np.concatenate([[additive.floor, k, m], r, w])
        starts.append(np.concatenate([usual, np.zeros(len(is_read))]))
        if len(is_read):
            rise = np.maximum(highest - np.where(is_read, k, m), 0.0)
            share = np.where(is_read, is_read.sum(), (~is_read).sum())
            starts.append(np.concatenate([usual, rise / share]))
    return starts


def _fit_terms(
    start: FloatArray, terms: FloatArray, cycles: FloatArray, weight: FloatArray
) -> tuple[float, FloatArray]:
    """The misfit and the unknowns of the best round from one start."""
    scale = cycles[0]
    rows = np.arange(len(cycles))
    x, best = start, (np.inf, start)
    for _ in range(ROUNDS):
        values = terms @ x
        chosen = values.argmax(axis=1)
        misfit = float(weight @ np.abs(values.max(axis=1) / cycles - 1))
        if misfit < best[0] * (1 - 1e-9):
            best = (misfit, x)
        root = np.sqrt(weight) / cycles
        left = np.concatenate([terms[rows, chosen] * root[:, None], np.eye(len(x)) * 1e-4 / scale])
        right = np.concatenate([cycles * root, x * 1e-4 / scale])
        new = nnls(left, right)[0]
        if np.allclose(new, x, rtol=1e-6, atol=1e-6 * scale):
            break
        x = new
    return best
