"""Packing problems with a known answer: a rectangle of slots and bytes, cut into pieces.

Each cut goes through a whole piece, along time or along memory.  Without options the pieces fill
the rectangle, so that a packing has no slack anywhere.
"""

from __future__ import annotations

import numpy as np

from mallocgame.packing.problem import PackingProblem


def cut_problem(
    seed: int,
    pieces: int,
    slots: int = 256,
    units: int = 1024,
    unit: int = 1024,
    gaps: float = 0.0,
    floors: int = 0,
    pairs: int = 0,
    slack: float = 0.0,
) -> tuple[PackingProblem, np.ndarray]:
    """A problem and int64 [N] offsets that solve it.

    Args:
      pieces: how many pieces the rectangle of `slots` times `units` units of `unit` bytes is cut
        into; the options below change N.
      gaps: the part of the pieces that is left out.
      floors: how many pieces at the bottom become reservations, the floors of what lies over them.
      pairs: how many pieces lose the middle of their time to a new item of the same size, so that
        they have two intervals.
      slack: bytes added to the capacity, as a part of it.
    """
    rng = np.random.default_rng(seed)
    cut = _cut(rng, pieces, slots, units)
    reserved = [p for p in cut if p[2] == 0][:floors]
    kept = [p for p in cut if p not in reserved and rng.random() >= gaps]
    rng.shuffle(kept)
    items: list[tuple[int, int, list[tuple[int, int]]]] = []
    for start, end, low, high in kept:
        if pairs and end - start >= 3:
            pairs -= 1
            first, last = np.sort(rng.choice(np.arange(start + 1, end), 2, replace=False))
            items.append((low, high, [(start, first), (last, end)]))
            items.append((low, high, [(first, last)]))
        else:
            items.append((low, high, [(start, end)]))
    intervals = [(i, a, b) for i, item in enumerate(items) for a, b in item[2]]
    item, lower, upper = np.array(intervals, np.int64).reshape(-1, 3).T
    floor = np.zeros(len(items), np.int64)
    for start, end, _, high in reserved:
        over = item[(lower < end) & (start < upper)]
        floor[over] = np.maximum(floor[over], high)
    low = np.array([i[0] for i in items], np.int64)
    high = np.array([i[1] for i in items], np.int64)
    capacity = int(units * (1 + slack)) * unit
    problem = PackingProblem(capacity, (high - low) * unit, floor * unit, item, lower, upper)
    return problem, low * unit


def _cut(
    rng: np.random.Generator, pieces: int, slots: int, units: int
) -> list[tuple[int, int, int, int]]:
    """Pieces (start, end, low, high); large ones are cut more often, until none can be."""
    cut = [(0, slots, 0, units)]
    while len(cut) < pieces:
        area = np.array([(b - a) * (d - c) - 1 for a, b, c, d in cut], np.float64)
        if not area.any():
            break
        start, end, low, high = cut.pop(int(rng.choice(len(cut), p=area / area.sum())))
        if high - low == 1 or (end - start > 1 and rng.random() < 0.5):
            at = int(rng.integers(start + 1, end))
            cut += [(start, at, low, high), (at, end, low, high)]
        else:
            at = int(rng.integers(low + 1, high))
            cut += [(start, end, low, at), (start, end, at, high)]
    return cut
