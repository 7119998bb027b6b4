"""The inner loops of MSA's picker, copy resource and heap, compiled.

`.picker`, `.resource` and `.heap` say what they compute.  Only the arrays of the heap are changed.
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

    First the one whose overlap is nearest to the preferred one.  Then later and earlier ones take
    turns, each the next from the first one on.  Once there are no later ones, an earlier one has to
    overlap with a stride more than the one before it, 1 / explored of the longest overlap.

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


@_inner
def _period(time, width, counts):
    """The period of a time, the first or the last one for times outside of the program."""
    return min(max(time, 0) // width, len(counts) - 1)


@njit(cache=True)
def find(taken, counts, width, spans, size, preferred, reserved, capacity):
    """`Heap.find`; -1 for None.

    taken, counts, width: as `Heap` has them.
    spans: int64 [., 2].
    preferred: -1 for None.
    """
    top, begin, end = 0, spans[0, 0], spans[0, 1]
    for k in range(spans.shape[0]):
        begin, end = min(begin, spans[k, 0]), max(end, spans[k, 1])
        top = max(top, _reserved(reserved, spans[k, 0], spans[k, 1]))
    if preferred >= 0 and (preferred < top or preferred + size > capacity):
        return -1
    if preferred >= 0 and not size:
        return preferred
    # What is wanted, or all there is, less what is taken.
    low, high = (top, capacity) if preferred < 0 else (preferred, preferred + size)
    gaps, n = _all(low, high, size)
    for period in range(_period(begin, width, counts), _period(end, width, counts) + 1):
        lists = taken[period]
        for i in range(counts[period]):
            meets = False
            for k in range(spans.shape[0]):
                meets |= lists[2, i] <= spans[k, 1] and lists[3, i] >= spans[k, 0]
            if meets:
                gaps, n = _carve(gaps, n, lists[0, i], lists[1, i], size)
    return _smallest(gaps, n)


@njit(cache=True)
def find_lasting(taken, counts, width, start, end, later_uses, size, reserved, capacity):
    """`Heap.find_lasting`; -1 for None."""
    gaps, n = _all(0, capacity, size)
    best, done = -1, start - 1  # all that is taken in [start, done] is out of the gaps
    for use in range(-1, len(later_uses)):
        until = end if use < 0 else later_uses[use]
        # From below 0 on, as nothing is at 0 then, not even what has no bytes.
        gaps, n = _carve(gaps, n, -1, _reserved(reserved, done + 1, until), size)
        for period in range(_period(done, width, counts), _period(until, width, counts) + 1):
            lists = taken[period]
            for i in range(counts[period]):
                first, last = lists[2, i], lists[3, i]
                if first <= until and (first > done or (use < 0 and last >= start)):
                    gaps, n = _carve(gaps, n, lists[0, i], lists[1, i], size)
            if not n:
                return best
        best, done = _smallest(gaps, n), max(done, until)
    return best


@_inner
def _reserved(reserved, first, last):
    """The most that is reserved in [first, last]."""
    most = 0
    for time in range(first, last + 1 if len(reserved) else first):
        most = max(most, reserved[time])
    return most


@_inner
def _all(low, high, size):
    """One gap from low to high, none if that is less than `size`: int64 [2, .], and how many."""
    gaps = np.empty((2, 16), np.int64)
    gaps[0, 0], gaps[1, 0] = low, high
    return gaps, 1 if high - low >= size else 0


@_inner
def _carve(gaps, n, low, high, size):
    """Takes [low, high) out of the gaps, and what is left of less than `size`."""
    i = 0
    while i < n and gaps[1, i] <= low:
        i += 1
    j = i
    while j < n and gaps[0, j] < high:
        j += 1
    if i == j:
        return gaps, n
    begin, end = gaps[0, i], gaps[1, j - 1]
    below, above = low - begin >= size, end - high >= size
    shift = below + above - (j - i)
    if n + shift > gaps.shape[1]:
        larger = np.empty((2, 2 * n), np.int64)
        larger[:, :n] = gaps
        gaps = larger
    if shift > 0:
        gaps[:, n] = gaps[:, n - 1]
        for k in range(n - 1, j, -1):
            gaps[:, k] = gaps[:, k - 1]
    elif shift < 0:
        for k in range(j, n):
            gaps[:, k + shift] = gaps[:, k]
    if below:
        gaps[0, i], gaps[1, i] = begin, low
        i += 1
    if above:
        gaps[0, i], gaps[1, i] = high, end
    return gaps, n + shift


@_inner
def _smallest(gaps, n):
    """Where the smallest gap begins, of equal ones the lowest; -1 without any."""
    best = -1
    for i in range(n):
        if best < 0 or gaps[1, i] - gaps[0, i] < gaps[1, best] - gaps[0, best]:
            best = i
    return gaps[0, best] if best >= 0 else -1


@njit(cache=True)
def occupy(taken, counts, width, low, size, first, last, owner):
    """Enters an interval of a block; returns `taken`, which may be a larger copy."""
    if not size:
        return taken
    for period in range(_period(first, width, counts), _period(last, width, counts) + 1):
        n = counts[period]
        if n == taken.shape[2]:
            larger = np.zeros((taken.shape[0], taken.shape[1], 2 * n), np.int64)
            larger[:, :, :n] = taken
            taken = larger
        taken[period, 0, n], taken[period, 1, n] = low, low + size
        taken[period, 2, n], taken[period, 3, n] = first, last
        taken[period, 4, n] = owner
        counts[period] = n + 1
    return taken


@njit(cache=True)
def release(taken, counts, width, first, last, owner):
    """Takes out all intervals of a block; they lie in [first, last]."""
    for period in range(_period(first, width, counts), _period(last, width, counts) + 1):
        n = 0
        for i in range(counts[period]):
            if taken[period, 4, i] != owner:
                taken[period, :, n] = taken[period, :, i]
                n += 1
        counts[period] = n


@njit(cache=True)
def repack(sizes, spans, at, owners, periods, width, reserved, capacity):
    """Offsets for blocks in the given order, one after the other; none if one does not fit.

    spans: int64 [., 2], those of block i are spans[at[i] : at[i + 1]].

    Returns:
      The offsets, and the new `taken` and `counts`.
    """
    taken, counts = np.zeros((periods, 5, 16), np.int64), np.zeros(periods, np.int64)
    offsets = np.empty(len(sizes), np.int64)
    for i in range(len(sizes)):
        mine = spans[at[i] : at[i + 1]]
        offsets[i] = find(taken, counts, width, mine, sizes[i], -1, reserved, capacity)
        if offsets[i] < 0:
            return offsets[:0], taken, counts
        for k in range(len(mine)):
            taken = occupy(
                taken, counts, width, offsets[i], sizes[i], mine[k, 0], mine[k, 1], owners[i]
            )
    return offsets, taken, counts
