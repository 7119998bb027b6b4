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
    alive: bool [N, S], item by section.
    """

    number: np.ndarray
    unit: int
    limit: int
    size: np.ndarray
    floor: np.ndarray
    align: np.ndarray
    slots: np.ndarray
    alive: np.ndarray


def tables_of(problem: PackingProblem) -> Tables:
    """Compresses time to sections and bytes to units."""
    number = np.flatnonzero(problem.blocks)
    row = np.full(len(problem.size), -1)
    row[number] = np.arange(len(number))
    keep = (problem.lower < problem.upper) & (row[problem.item] >= 0)
    item, lower, upper = row[problem.item[keep]], problem.lower[keep], problem.upper[keep]
    times = np.unique(np.concatenate([lower, upper]))
    first, last = np.searchsorted(times, lower), np.searchsorted(times, upper)
    alive = np.zeros((len(number), max(len(times) - 1, 0)), bool)
    for i, a, b in zip(item, first, last, strict=True):
        alive[i, a:b] = True
    size, floor = problem.size[number], problem.floor[number]
    unit = int(np.gcd.reduce(np.concatenate([size, floor]))) or 1
    align = problem.alignment[number]
    if (unit % align == 0).all():  # multiples of the unit keep all alignments
        align = np.ones_like(align)
    else:
        unit = int(np.gcd.reduce(np.concatenate([[unit], align[align > 1]])))
        align = np.maximum(align // unit, 1)
    return Tables(
        number,
        unit,
        problem.capacity // unit,
        size // unit,
        -(-(floor // unit) // align) * align,
        align,
        alive @ np.diff(times),
        alive[:, _maximal(first, last, alive.shape[1])],
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


def items_in(tables: Tables, order: np.ndarray, salt: np.ndarray) -> Items:
    """The kernels' arrays, with the items int64 [N] of `order` in that order."""
    alive, size, floor = tables.alive[order], tables.size[order], tables.floor[order]
    align = tables.align[order]
    counts = alive.astype(np.float32)
    meets = counts @ counts.T > 0
    np.fill_diagonal(meets, False)
    seen: dict[tuple, int] = {}
    twin = np.full(len(order), -1)
    for i, key in enumerate(zip(size, floor, align, map(bytes, alive), strict=True)):
        twin[i] = seen.get(key, -1)
        seen[key] = i
    section_at, section = _starts(alive), np.nonzero(alive)[1].astype(np.uint32)
    return Items(
        size,
        floor,
        align,
        section_at,
        section,
        _starts(meets),
        np.nonzero(meets)[1].astype(np.uint32),
        section[section_at[:-1]].astype(np.int64),
        section[section_at[1:] - 1].astype(np.int64) + 1,
        twin,
        salt[order],
    )


def _starts(table: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(table.sum(1))])
