"""Parts of the linear model: rows of a sparse matrix, and an instruction's times as rows."""

from __future__ import annotations

import itertools
from array import array

import numpy as np
from scipy import sparse

from mallocgame.program import Program
from mallocgame.program.times import Times

Terms = list[tuple[int, float]]  # (column, factor)


class Rows:
    """Rows of a sparse matrix with right-hand sides."""

    def __init__(self) -> None:
        self.right: list[float] = []
        self._ends = array("q", [0])
        self._columns, self._factors = array("q"), array("d")

    def add(self, terms: Terms, right: float = 0.0) -> None:
        for column, factor in terms:
            self._columns.append(column)
            self._factors.append(factor)
        self._ends.append(len(self._columns))
        self.right.append(right)

    def matrix(self, columns: int) -> sparse.csr_array:
        """The rows, the factors of a column that is there several times summed up."""
        parts = (np.array(part) for part in (self._factors, self._columns, self._ends))
        matrix = sparse.csr_array(tuple(parts), shape=(len(self.right), columns))
        matrix.sum_duplicates()
        return matrix


def less(terms: Terms) -> Terms:
    """The terms with opposite signs."""
    return [(column, -factor) for column, factor in terms]


def tightened(slowed: Terms, fast: float, floor: float) -> list[tuple[Terms, float]]:
    """Rows `terms <= right + above` of one side of an instruction.

    `above` is the instruction's time over the floor.

    slowed: (column, seconds that slow memory adds); fast: seconds with all columns at 0.
    Whichever accesses are taken as fast, the sum of the others exceeds the floor by `excess`.  If
    columns are 0 or 1, a single one of them saves no more than that (coefficient tightening).
    """
    rows = []
    several = range(min(len(slowed), 2 if len(slowed) <= 6 else 1) + 1)
    for chosen in itertools.chain.from_iterable(
        itertools.combinations(range(len(slowed)), n) for n in several
    ):
        others = [term for i, term in enumerate(slowed) if i not in chosen]
        excess = fast + sum(f for _, f in others) - floor
        if excess > 0:
            row = [(column, min(f, excess)) for column, f in others]
            rows.append((row, sum(f for _, f in row) - excess))
    return rows


def most_idle(program: Program, times: Times) -> np.ndarray:
    """An upper bound on every slot's supply, over all placements: [T]."""
    total = len(program.instructions)
    fits = np.array([program.fits(a.value) for a in program.accesses], dtype=bool)

    def sums(seconds: np.ndarray, which: np.ndarray) -> np.ndarray:
        return np.bincount(times.slot[which], seconds[which], total)

    bus = times.fixed_bus + sums(times.bus, ~fits)
    gained = times.best + np.maximum(0.0, times.slow - times.best - times.bus)
    spent = np.where(fits, gained, times.slow)
    most = np.maximum(
        times.fixed_read + sums(spent, times.reads), times.fixed_write + sums(spent, ~times.reads)
    )
    return np.maximum(np.maximum(times.compute, most) - bus, 0.0)


def surplus(
    bus: float, bus_terms: Terms, sides: dict[bool, float], slowed: dict[bool, Terms], floor: float
) -> float:
    """An upper bound on bus time minus elapsed time, over all placements of the accesses.

    Supply is never below zero, even if the bus needs longer than the instruction takes.  The model
    is linear, so it adds the most that may be missing.
    """
    ways = [bus + sum(f for _, f in bus_terms) - floor]
    for side, terms in slowed.items():
        factor: dict[int, float] = {}
        for column, seconds in bus_terms:
            factor[column] = factor.get(column, 0.0) + seconds
        for column, seconds in terms:
            factor[column] -= seconds
        ways.append(bus - sides[side] + sum(max(f, 0.0) for f in factor.values()))
    return max(0.0, min(ways))
