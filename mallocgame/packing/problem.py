"""What a packer is asked, what it answers, and what a right answer is."""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class PackingProblem:
    """N items over K intervals of slots, to be placed in `capacity` bytes.

    An item gets one offset and occupies [offset, offset + size) over all its intervals.  An item of
    size 0, or without a slot, blocks nothing and gets offset 0.

    size: int64 [N], bytes.
    floor: int64 [N], the lowest offset that an item may take; below it lie reservations.
    item: int64 [K], which item an interval belongs to.
    lower, upper: int64 [K], half-open intervals [lower, upper) of slots.
    align: int64 [N], offsets are multiples of it; None if all are at 1.  The device's packer knows
        no alignment.

    Packers put items at multiples of the greatest common divisor of all sizes, floors and
    alignments above 1, so the caller aligns those.

    Raises:
      ValueError: shapes do not agree, or a number is out of range.
    """

    capacity: int
    size: np.ndarray
    floor: np.ndarray
    item: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    align: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.align is None:
            object.__setattr__(self, "align", np.ones_like(np.asarray(self.size, np.int64)))
        for name in ("size", "floor", "item", "lower", "upper", "align"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64))
        items, intervals = self.size.shape, self.item.shape
        shapes = {"floor": items, "align": items, "lower": intervals, "upper": intervals}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name}: must be {shape}, got {getattr(self, name).shape}")
        if self.capacity < 0 or (self.size < 0).any() or (self.floor < 0).any():
            raise ValueError("capacity, size and floor: must be at least 0, got a negative one")
        if (self.alignment < 1).any():
            raise ValueError("align: must be at least 1, got a smaller one")
        if ((self.item < 0) | (self.item >= len(self.size))).any():
            raise ValueError(f"item: must be in [0, {len(self.size)}), got another number")

    @property
    def alignment(self) -> np.ndarray:
        """int64 [N]: `align`, which is there once the problem is made."""
        assert self.align is not None
        return self.align

    @property
    def blocks(self) -> np.ndarray:
        """bool [N]: the items that take room at all."""
        alive = np.zeros(len(self.size), bool)
        alive[self.item[self.lower < self.upper]] = True
        return alive & (self.size > 0)


@dataclasses.dataclass(frozen=True, eq=False)
class Packed:
    """A packer's answer.

    offsets: int64 [N], -1 for an item without a place.
    unplaced: those items, the one that found no place most often first.
    tries: orders of items that were tried.
    seconds: time that it took.
    """

    offsets: np.ndarray
    unplaced: tuple[int, ...]
    tries: int
    seconds: float


def simple_problem(capacity: int, size, lower, upper, floor=None) -> PackingProblem:
    """A problem whose items have one interval each; all arrays are [N]."""
    size = np.asarray(size, np.int64)
    floor = np.zeros_like(size) if floor is None else floor
    return PackingProblem(capacity, size, floor, np.arange(len(size)), lower, upper)


def check(problem: PackingProblem, offsets: np.ndarray) -> str | None:
    """The first rule that a packing breaks, as a sentence, or None.

    Written in plain loops, apart from every packer.  An unplaced item breaks a rule too.
    """
    if len(offsets) != len(problem.size):
        return f"There are {len(problem.size)} items and {len(offsets)} offsets."
    where: dict[int, list[tuple[int, int]]] = {i: [] for i in range(len(problem.size))}
    for i, lower, upper in zip(problem.item, problem.lower, problem.upper, strict=True):
        if lower < upper:
            where[int(i)].append((int(lower), int(upper)))
    for i, intervals in where.items():
        low, size, floor = int(offsets[i]), int(problem.size[i]), int(problem.floor[i])
        if size == 0 or not intervals:
            if low != 0:
                return f"Item {i} takes no room and must be at 0, not at {low}."
            continue
        if low < 0:
            return f"Item {i} has no place."
        if low < floor:
            return f"Item {i} is at {low}, below its floor {floor}."
        if low % int(problem.alignment[i]):
            return f"Item {i} is at {low}, no multiple of {problem.alignment[i]}."
        if low + size > problem.capacity:
            return f"Item {i} ends at {low + size}, above the capacity {problem.capacity}."
        for j in range(i):
            other, end = int(offsets[j]), int(offsets[j]) + int(problem.size[j])
            if low >= end or other >= low + size:
                continue
            for a, b in intervals:
                for c, d in where[j]:
                    if a < d and c < b:
                        return f"Items {j} and {i} share bytes in slot {max(a, c)}."
    return None


def live_bytes(problem: PackingProblem) -> int:
    """The most bytes that any slot needs; no packing needs less.

    A slot needs, for every floor f, f and the sizes of the items there whose floor is at least f.
    """
    takes = (problem.lower < problem.upper) & (problem.size[problem.item] > 0)
    rows = (column[takes].tolist() for column in (problem.lower, problem.upper, problem.item))
    coming = sorted(zip(*rows, strict=True), reverse=True)
    most, here = 0, Counter[int]()  # the items of a slot, by how many of their intervals are there
    ending: list[tuple[int, int]] = []  # heap of (end, item)
    while coming:
        slot = coming[-1][0]
        while ending and ending[0][0] <= slot:
            _, item = heapq.heappop(ending)
            here[item] -= 1
            if not here[item]:
                del here[item]
        while coming and coming[-1][0] == slot:
            _, end, item = coming.pop()
            here[item] += 1
            heapq.heappush(ending, (end, item))
        items = np.fromiter(here, np.int64, len(here))
        items = items[np.argsort(-problem.floor[items], kind="stable")]
        needs = problem.floor[items] + np.cumsum(problem.size[items])
        most = max(most, int(needs.max()))
    return most
