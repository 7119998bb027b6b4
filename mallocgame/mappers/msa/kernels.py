"""The inner loops of MSA's picker, copy resource and heap, compiled.

Pure functions of arrays; `.picker`, `.resource` and `.heap` say what they compute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_inner: Any = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]


@_inner
def _between(total, scale, level, start, end):
    """Seconds between two instructions, as one execution of their outermost level takes them."""
    return 0.0 if end <= start else (total[end - 1] - total[start]) / scale[level]


@njit(cache=True)
def overlap(total, nesting, scale, start, end):
    """`IntervalPicker.overlap`; `scale` has the executions of each level of nesting."""
    start, level = max(start, 0), len(scale) - 1
    if end <= start:
        return 0.0
    for t in range(start, min(end, len(nesting) - 1) + 1):
        level = min(level, nesting[t])
    return _between(total, scale, level, start, end)


@njit(cache=True)
def overlaps(total, nesting, scale, start, end):
    """The overlap with `end` from each of start - 1 .. end: [end - start + 2]."""
    found = np.zeros(max(end - start + 2, 1))
    level = len(scale) - 1
    if end < len(nesting):
        level = nesting[end]
    for t in range(end - 1, start - 2, -1):
        level = min(level, nesting[max(t, 0)])
        found[t - start + 1] = _between(total, scale, level, max(t, 0), end)
    return found


@njit(cache=True)
def latest_start(found, start, end, allowed, level, least, gain_s):
    """`IntervalPicker.latest_start`; `found` is of `overlaps`, `allowed` the nesting of starts."""
    time = end - 1
    while time >= start and (allowed[time] != level or least > found[time - start + 1] + gain_s):
        time -= 1
    return time


@njit(cache=True)
def starts(found, start, end, allowed, level, times, explored):
    """`IntervalPicker.starts`, all of them: int64.

    times: what `ratios` ask of this copy: the least and the preferred overlap, the most of any
        copy, and how much the use gains.
    """
    least, preferred, most, gain_s = times
    latest = latest_start(found, start, end, allowed, level, least, gain_s)
    earliest, at = start, start - 1  # `found` begins there
    while earliest < latest and (allowed[earliest] != level or most < found[earliest - at]):
        earliest += 1
    order, n = np.empty(max(latest - earliest + 1, 0), np.int64), 0
    if earliest > latest:
        return order
    first, distance = earliest, abs(preferred - found[earliest - at])
    for time in range(earliest + 1, latest + 1):
        there = abs(preferred - found[time - at])
        if allowed[time] == level and there < distance:
            first, distance = time, there
    order[0], n = first, 1
    later, earlier = first + 1, first - 1
    while later <= latest and allowed[later] != level:
        later += 1
    stride = found[earliest - at] / explored
    target = found[first - at] + stride if later > latest else 0.0
    turn_later = True
    while True:
        while earlier >= earliest and (allowed[earlier] != level or found[earlier - at] < target):
            earlier -= 1
        # `earlier` stands until it is taken.
        while later <= latest and (turn_later or earlier < earliest):
            order[n], n = later, n + 1
            later += 1
            while later <= latest and allowed[later] != level:
                later += 1
            turn_later = False
        if earlier < earliest:
            return order[:n]
        order[n], n = earlier, n + 1
        target = found[earlier - at] + stride if later > latest else 0.0
        earlier -= 1
        turn_later = True


@njit(cache=True)
def eviction_end(total, nesting, scale, start, latest, wanted):
    """The first end up to `latest` that overlaps with `wanted` seconds from `start` on."""
    begin, level = max(start, 0), len(scale) - 1
    for t in range(begin, start + 1):
        level = min(level, nesting[t])
    for end in range(start + 1, latest + 1):
        if end < len(nesting):
            level = min(level, nesting[end])
        if _between(total, scale, level, begin, end) >= wanted:
            return end
    return latest


@njit(cache=True)
def under_way(copies, n, start, end, longest):
    """How many of n copies, rows of start and end by rising start, meet (start, end)."""
    count = 0
    for k in range(np.searchsorted(copies[:n, 0], end) - 1, -1, -1):
        if copies[k, 0] <= start - longest:
            break
        count += copies[k, 1] > start
    return count


@njit(cache=True)
def find(taken, n, spans, size, preferred, reserved, capacity):
    """`Heap.find`; -1 for None.

    taken: int64 [5, .], low, high, first and last time, and block of what is taken, by rising low;
        the first n columns count.
    spans: int64 [., 2].
    preferred: -1 for None.
    """
    top, begin, end = 0, spans[0, 0], spans[0, 1]
    for k in range(spans.shape[0]):
        begin, end = min(begin, spans[k, 0]), max(end, spans[k, 1])
        for time in range(spans[k, 0], spans[k, 1] + 1 if len(reserved) else 0):
            top = max(top, reserved[time])
    if preferred >= 0 and (preferred < top or preferred + size > capacity):
        return -1
    best, place = capacity + 1, -1
    firsts, lasts = taken[2], taken[3]
    for i in range(n):
        if firsts[i] > end or lasts[i] < begin:
            continue
        meets = False
        for k in range(spans.shape[0]):
            meets |= firsts[i] <= spans[k, 1] and lasts[i] >= spans[k, 0]
        if not meets:
            continue
        low, high = taken[0, i], taken[1, i]
        if preferred >= 0:
            if size and low < preferred + size and high > preferred:
                return -1
            continue
        if size <= low - top < best:
            best, place = low - top, top
        top = max(top, high)
    if preferred >= 0:
        return preferred
    return top if size <= capacity - top < best else place


@njit(cache=True)
def find_lasting(taken, n, start, end, later_uses, size, reserved, capacity):
    """`Heap.find_lasting`; -1 for None."""
    spans = np.array([[start, end]])
    best = find(taken, n, spans, size, -1, reserved, capacity)
    if best < 0:
        return -1
    low, high = 0, len(later_uses)  # some offset is free up to use `low`
    while low < high:
        middle = (low + high + 1) // 2
        spans[0, 1] = later_uses[middle - 1]
        place = find(taken, n, spans, size, -1, reserved, capacity)
        if place < 0:
            high = middle - 1
        else:
            low, best = middle, place
    return best


@njit(cache=True)
def occupy(taken, n, low, size, first, last, owner):
    """Enters a column among the first n of `taken`; returns their new number."""
    if not size:
        return n
    at = n
    while at > 0 and taken[0, at - 1] > low:
        at -= 1
    for row in range(taken.shape[0]):
        for k in range(n, at, -1):
            taken[row, k] = taken[row, k - 1]
    taken[0, at], taken[1, at] = low, low + size
    taken[2, at], taken[3, at], taken[4, at] = first, last, owner
    return n + 1


@njit(cache=True)
def repack(sizes, spans, at, owners, reserved, capacity):
    """Offsets for blocks in the given order, one after the other; none if one does not fit.

    spans: int64 [., 2], those of block i are spans[at[i] : at[i + 1]].

    Returns:
      The offsets, the new `taken`, and how many of its columns count.
    """
    taken, n = np.zeros((5, len(spans) + 1), np.int64), 0
    offsets = np.empty(len(sizes), np.int64)
    for i in range(len(sizes)):
        mine = spans[at[i] : at[i + 1]]
        offsets[i] = find(taken, n, mine, sizes[i], -1, reserved, capacity)
        if offsets[i] < 0:
            return offsets[:0], taken, 0
        for k in range(len(mine)):
            n = occupy(taken, n, offsets[i], sizes[i], mine[k, 0], mine[k, 1], owners[i])
    return offsets, taken, n
