"""A packing problem as the host packer's kernels read it."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from mallocgame.packing.problem import PackingProblem


class Items(NamedTuple):
    """N items that take room, in an order of preference, over S sections of time.

    A section stands for a set of intervals that are alive together; no section's set is part of
    another one's.  Items collide if they share a section.

    size, floor, align: int64 [N], in units.
    section: uint32, the sections of item i are section[section_at[i] : section_at[i + 1]], rising.
      Indices without a sign are faster in the kernels, which need not look for negative ones.
    neighbour: uint32, the items that collide with it, likewise.
    left, right: int64 [N], all sections of an item are in [left, right).
    twin: int64 [N], the item before it that is just like it, or -1.
    salt: int64 [N], a random number for each item.
    """

    size: np.ndarray
    floor: np.ndarray
    align: np.ndarray
    section_at: np.ndarray
    section: np.ndarray
    neighbour_at: np.ndarray
    neighbour: np.ndarray
    left: np.ndarray
    right: np.ndarray
    twin: np.ndarray
    salt: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Tables:
    """What all orders of a problem's items share.

    number: int64 [N], the items of the problem that take room.
    unit: bytes; all sizes, floors and alignments but 1 are multiples of it.
    limit: the capacity in units.
    size, floor, align: int64 [N], in units; floors are aligned.
    slots: int64 [N], slots in which an item is alive.
    sections: S.
    section_at, section, neighbour_at, neighbour: as in `Items`, int64, for this order of the items.
    kind: int64 [N], equal for items that are just alike.
    """

    number: np.ndarray
    unit: int
    limit: int
    size: np.ndarray
    floor: np.ndarray
    align: np.ndarray
    slots: np.ndarray
    sections: int
    section_at: np.ndarray
    section: np.ndarray
    neighbour_at: np.ndarray
    neighbour: np.ndarray
    kind: np.ndarray


def tables_of(problem: PackingProblem) -> Tables:
    """Compresses time to sections and bytes to units."""
    number = np.flatnonzero(problem.blocks)
    count = len(number)
    row = np.full(len(problem.size), -1)
    row[number] = np.arange(count)
    keep = (problem.lower < problem.upper) & (row[problem.item] >= 0)
    item, lower, upper = row[problem.item[keep]], problem.lower[keep], problem.upper[keep]
    times = np.unique(np.concatenate([lower, upper]))
    first, last = np.searchsorted(times, lower), np.searchsorted(times, upper)
    maximal = _maximal(first, last, max(len(times) - 1, 0))
    item, first, last = _united(item, first, last)
    slots = np.zeros(count, np.int64)
    np.add.at(slots, item, times[last] - times[first])
    low, high = np.searchsorted(maximal, first), np.searchsorted(maximal, last)
    section_at = np.zeros(count + 1, np.int64)
    np.add.at(section_at[1:], item, high - low)
    section_at, section = np.cumsum(section_at), _ranges(low, high)
    neighbour_at, neighbour = _meetings(item, low, high, count)
    size, floor = problem.size[number], problem.floor[number]
    unit = int(np.gcd.reduce(np.concatenate([size, floor]))) or 1
    align = problem.alignment[number]
    if (unit % align == 0).all():  # multiples of the unit keep all alignments
        align = np.ones_like(align)
    else:
        unit = int(np.gcd.reduce(np.concatenate([[unit], align[align > 1]])))
        align = np.maximum(align // unit, 1)
    size, floor = size // unit, -(-(floor // unit) // align) * align
    alike: dict[tuple, int] = {}
    rows = np.split(section, section_at[1:-1])
    keys = zip(size.tolist(), floor.tolist(), align.tolist(), map(bytes, rows), strict=False)
    return Tables(
        number=number,
        unit=unit,
        limit=problem.capacity // unit,
        size=size,
        floor=floor,
        align=align,
        slots=slots,
        sections=len(maximal),
        section_at=section_at,
        section=section,
        neighbour_at=neighbour_at,
        neighbour=neighbour,
        kind=np.array([alike.setdefault(key, len(alike)) for key in keys], np.int64),
    )


def _maximal(first: np.ndarray, last: np.ndarray, sections: int) -> np.ndarray:
    """The sections after some start and before the next end: all others are part of these."""
    starts = np.bincount(first, minlength=sections + 1)[:sections] > 0
    ends = np.bincount(last, minlength=sections + 1)[1:] > 0
    kept, fresh = [], False
    for s in range(sections):
        fresh |= bool(starts[s])
        if ends[s] and fresh:
            kept.append(s)
            fresh = False
    return np.asarray(kept, np.int64)


def _united(
    item: np.ndarray, first: np.ndarray, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items and their intervals [first, last), sorted; those of an item that meet are one."""
    united: list[list[int]] = []
    for i, a, b in sorted(zip(item.tolist(), first.tolist(), last.tolist(), strict=True)):
        if united and united[-1][0] == i and a <= united[-1][2]:
            united[-1][2] = max(b, united[-1][2])
        else:
            united.append([i, a, b])
    found = np.array(united, np.int64).reshape(-1, 3).T
    return found[0], found[1], found[2]


def _meetings(
    item: np.ndarray, low: np.ndarray, high: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The items that each of `count` items shares a section with, rising, and where its row begins.

    item, low, high: int64 [K], intervals [low, high) of sections, none empty; those of an item do
        not overlap.
    """
    order = np.argsort(low, kind="stable")
    item, low, high = item[order], low[order], high[order]
    # Of two that overlap, the later one begins while the earlier one lasts.
    after, until = np.arange(1, len(low) + 1), np.searchsorted(low, high)
    one, other = np.repeat(item, until - after), item[_ranges(after, until)]
    pairs = np.unique(np.concatenate([one * count + other, other * count + one]))
    return np.searchsorted(pairs, np.arange(count + 1) * count), pairs % max(count, 1)


def _ranges(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The numbers of all intervals [low, high), one after the other."""
    lengths = high - low
    before = np.cumsum(lengths) - lengths
    return np.repeat(low - before, lengths) + np.arange(int(lengths.sum()))


def items_in(tables: Tables, order: np.ndarray, salt: np.ndarray) -> Items:
    """The kernels' arrays, with the items int64 [N] of `order` in that order."""
    count = len(order)
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    section_at, section = _rows(tables.section_at, tables.section, order)
    neighbour_at, neighbour = _rows(tables.neighbour_at, tables.neighbour, order)
    pairs = np.repeat(np.arange(count), np.diff(neighbour_at)) * count + rank[neighbour]
    pairs.sort()
    newest: dict[int, int] = {}
    twin = np.full(count, -1)
    for i, kind in enumerate(tables.kind[order].tolist()):
        twin[i] = newest.get(kind, -1)
        newest[kind] = i
    return Items(
        tables.size[order],
        tables.floor[order],
        tables.align[order],
        section_at,
        section.astype(np.uint32),
        neighbour_at,
        (pairs % max(count, 1)).astype(np.uint32),
        section[section_at[:-1]],
        section[section_at[1:] - 1] + 1,
        twin,
        salt[order],
    )


def _rows(at: np.ndarray, entries: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows entries[at[i] : at[i + 1]] of the items i of `order`, and where each begins."""
    low, high = at[order], at[order + 1]
    return np.concatenate([[0], np.cumsum(high - low)]), entries[_ranges(low, high)]
