"""A layout under construction and the search over layouts, compiled.

Stays are put in and taken out, and the cost is always known.  What a change costs depends on how
long the stays are and what they meet, not on the size of the program.

Costs are exact for the copies as they are laid out here: prefetches take the latest idle supply
before their read, evictions the earliest after their last write.  If more accesses become fast
later and slots then lack supply, the missing part counts as a stall.  The judge, which feeds copies
earliest deadline first, finds the same latency or a smaller one.

All data are in one array of 64-bit words, which functions see twice: `m` as whole numbers, `x` as
floats.  Compilation takes time for every array that a function is given, and there would be sixty.
A stay, a piece, a value, a gain or a part of a copy is a record of words and is given by the
address of its first; constants below name the words, as in `m[stay + SIZE]`.  Address 0 is none.
In functions s is a stay, v a value, e a piece and g a gain, all by their addresses, t the number of
a slot, and `slot` its address.  Times are in units of the all-slow latency.

A step is undone from three lists: the slots that it has touched, each with its times before, the
stays that it has added, and those that it has removed, each with its placement.

All is in this one file because Numba's cache of compiled code does not notice that a function in
another file has changed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

# Shares of the all-slow latency: the loss that a step may accept at first and at last, the least
# gain that counts, and what rounding leaves of a slot's supply.
HOT, COLD, WORTH, TINY = 5e-4, 1e-6, 1e-9, 1e-15
TRUST = 0.02  # weight of what a stay saves only together with others: `_insert`
# Shares of the steps that make room for one stay, and of those that clear some slots.
WANTED, WINDOWS = 0.5, 0.35
# Steps from hot to cold of the first cycle; further ones take multiples of that, by `luby`.
FIRST_CYCLE = 6000
MOST_RUINED = 24  # stays that a step takes out to make room or to clear some slots
MOST_OTHERS = 12  # values that a step tries besides those that it has taken out
BLOCK = 32  # slots whose greatest number is kept

# The head of the memory.  Floats: the cost, that of the best layout, and one that no layout can go
# below.  Then counts of the search, the stamp of the latest marks, the state of the generator of
# draws, the first free part and how many there are, lengths of lists, and facts of the program.
COST, BEST, LIMIT = 0, 1, 2
STEPS, SINCE, CYCLE, CYCLES, IMPROVEMENTS, STAMP, DRAW, FREE, SPARE = range(3, 12)
CHANGED, TOUCHED, ADDED, REMOVED = range(12, 16)
CAPACITY, ALIGNMENT, TOTAL, HEIGHTS = range(16, 20)
# Where tables begin.  By slot: the records, bytes in use and reserved, and the first piece that
# starts there.  By block: the greatest bytes in use and reserved, and slots with supply.
SLOTS, FULL, RESERVED, STARTING, FULL_PEAK, RESERVED_PEAK, SUPPLIED = range(20, 27)
# By height: the first list of pieces that cross the middle of an aligned range of 2^height slots.
CROSSING = 27
# All stays; the values worth a place; those used in each slot; the slots with any.
STAYS, STAYS_END, VALUES, VALUES_END, NEAR, BUSY, BUSY_END = range(28, 35)
# Stays that may differ from the best layout, slots that the step has changed, stays that it has put
# in, and those that it has taken out, each with its placement.  Then scratch.
CHANGED_AT, TOUCHED_AT, ADDED_AT, REMOVED_AT, MET, LOWS, TOPS, KEYS, ORDER, POOL = range(35, 45)
HEAD_WORDS = 48

# A slot.  Floats: its times now, the supply that copies take, its weight and computation, its
# times with everything in slow memory, and its first six words before the step.  Then whether the
# step has changed it, whether it has supply left, and its first entry of `NEAR`.
READ, WRITE, BUS, ELAPSED, IDLE, USED, WEIGHT, COMPUTE = range(8)
CHANGING = 6  # words of a slot that steps change, from its first one on
SLOW, BEFORE, IS_TOUCHED, HAS_SUPPLY, NEAR_FIRST = 8, 11, 17, 18, 19
SLOT_WORDS = 20

# A stay: fields of `Stay`, with addresses for values and gains.  Floats: the bus time of a copy,
# the most that it could save, what the linear relaxation charges for its room.
VALUE, SIZE, START, END, COPIED, FETCH_FROM, EVICT_FROM, EVICT_TO = range(8)
RESULT, RESULT_START, RESULT_END, LAST, GAIN, GAIN_END, DEMAND, HOPE, PRICE = range(8, 17)
# Its placement: the offset, -1 if it is not in the layout; where the prefetch starts and the
# eviction ends, -1 without one; the first part of its copies; the weighted time of copies without
# supply, a float; `PLACEMENT` words in all.  Then its placement in the best layout, whether that
# may differ, and a mark.
OFFSET, FETCH_START, EVICT_END, COPIES, STALL = range(17, 22)
PLACEMENT, BEST_PLACEMENT, IS_CHANGED, MARK = 5, 22, 27, 28
# Its pieces: itself, and its group's result where that is longer.  Then whether its prefetch must
# not stall, and whether it must not be in the layout.
OWN, OTHER, IN_TIME, BARRED = 29, 38, 47, 48
STAY_WORDS = 49

# A piece: its slots, its stay, and what follows and precedes it in three lists, of the pieces that
# start in a slot, cross a middle, and hold a value.
FIRST, STOP, OWNER, BY_START, BY_MIDDLE, BY_VALUE = 0, 1, 2, 3, 5, 7

# A value: its stays and gains, the first piece that holds it, a mark; floats: the most that a stay
# could save, its logarithm, and that of bytes times slots from the first stay to the last.
STAY_FIRST, STAY_END, GAIN_FIRST, GAIN_STOP, HOLDING, VALUE_MARK = range(6)
MOST, LOG_MOST, LOG_AREA = 6, 7, 8
VALUE_WORDS = 9

# A gain: its slot; floats: what it takes off reads, writes and bus time.  Then scratch: the slot's
# times before a trial, and what the gains of the value before this one would save.
GAIN_SLOT, GAIN_READ, GAIN_WRITE, GAIN_BUS, KEPT, SAVED = 0, 1, 2, 3, 4, 10
GAIN_WORDS = 11

# A part of a stay's copies: the slot, the time that it takes there, the next part, and in the first
# one how many placements have the copies.
PART_SLOT, PART_TIME, PART_NEXT, REFERENCES = range(4)
PART_WORDS = 4

# Functions that only others of this file call need no entry from Python.
_inner: Any = njit(  # type: ignore[call-overload]
    no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy"
)
_kernel = njit(cache=True, error_model="numpy")


@_inner
def _uniform(m):
    """A number in [0, 1) by splitmix64."""
    z = np.uint64(m[DRAW]) + np.uint64(0x9E3779B97F4A7C15)
    m[DRAW] = np.int64(z)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.int64(z >> np.uint64(11)) * (1.0 / (1 << 53))


@_inner
def _below(m, n):
    """A whole number in [0, n)."""
    return np.int64(_uniform(m) * n)


@_inner
def _exponential(m, mean):
    """A whole number from 0 on, of an exponential distribution rounded down."""
    return np.int64(-mean * math.log(1.0 - _uniform(m)))


@_inner
def _sort(keys, items, a, b, n):
    """Sorts keys[a : a + n] and items[b : b + n] by rising key: Shell's sort, Ciura's gaps."""
    gap = 1750
    while True:
        if gap < n or gap == 1:
            for i in range(gap, n):
                key, item, k = keys[a + i], items[b + i], i
                while k >= gap and keys[a + k - gap] > key:
                    keys[a + k], items[b + k] = keys[a + k - gap], items[b + k - gap]
                    k -= gap
                keys[a + k], items[b + k] = key, item
        if gap == 1:
            return
        gap = 701 if gap == 1750 else 301 if gap == 701 else max(1, int(gap / 2.25))


@_inner
def _shuffle(m, at, n, first):
    """Draws the first `first` of n words, each set of them equally likely."""
    for i in range(min(first, n)):
        k = at + i + _below(m, n - i)
        m[at + i], m[k] = m[k], m[at + i]


@_inner
def _copy(m, target, source, n):
    """Copies n words."""
    for k in range(n):
        m[target + k] = m[source + k]


@_inner
def _highest(m, at, peak, start, end):
    """The greatest of the numbers of slots [start, end) at `at`; `peak` has that of each block."""
    highest, t = 0, start
    while t < end:
        if t % BLOCK == 0 and t + BLOCK <= end:
            highest = max(highest, m[peak + t // BLOCK])
            t += BLOCK
        else:
            highest = max(highest, m[at + t])
            t += 1
    return highest


@_inner
def _add_bytes(m, start, end, size):
    """Adds bytes in use to the slots [start, end)."""
    full, peak = m[FULL], m[FULL_PEAK]
    for t in range(full + start, full + end):
        m[t] += size
    for b in range(start // BLOCK, (end - 1) // BLOCK + 1):
        first, last = b * BLOCK, min(b * BLOCK + BLOCK, m[TOTAL])
        if start <= first and last <= end:
            m[peak + b] += size
        else:
            highest = 0
            for t in range(full + first, full + last):
                highest = max(highest, m[t])
            m[peak + b] = highest


@_inner
def _link(m, head, e, links):
    """Puts a piece first in a list, whose links are its words `links` and the next one."""
    other = m[head]
    m[e + links], m[e + links + 1] = other, 0
    if other:
        m[other + links + 1] = e
    m[head] = e


@_inner
def _unlink(m, head, e, links):
    """The opposite of `_link`."""
    after, before = m[e + links], m[e + links + 1]
    if before:
        m[before + links] = after
    else:
        m[head] = after
    if after:
        m[after + links + 1] = before


@_inner
def _middle(m, start, end):
    """The list of the largest aligned range whose middle [start, end) crosses."""
    differing, height = start ^ (end - 1), 0
    while differing:
        differing >>= 1
        height += 1
    return m[m[CROSSING] + height] + (start >> height)


@_inner
def _meet(m, start, end, n):
    """Appends the pieces that meet [start, end) to the n in `MET`; returns their number."""
    met = m[MET]
    for height in range(m[HEIGHTS]):
        e = m[m[m[CROSSING] + height] + (start >> height)]
        while e:
            if m[e + FIRST] <= start < m[e + STOP]:
                m[met + n] = e
                n += 1
            e = m[e + BY_MIDDLE]
    for t in range(m[STARTING] + start + 1, m[STARTING] + end):
        e = m[t]
        while e:
            m[met + n] = e
            n += 1
            e = m[e + BY_START]
    return n


@_inner
def _mark(m, at):
    """Whether a mark is set for the first time since the stamp has changed."""
    new = m[at] != m[STAMP]
    m[at] = m[STAMP]
    return new


@_inner
def _meet_stays(m, start, end):
    """Puts the stays that are there in [start, end) into `MET`; returns their number."""
    m[STAMP] += 1
    n, met = 0, m[MET]
    for k in range(_meet(m, start, end, 0)):
        s = m[m[met + k] + OWNER]
        if _mark(m, s + MARK):
            m[met + n] = s
            n += 1
    return n


@_inner
def _enter(m, e, value, size):
    """Enters a piece in the lists and in the bytes in use."""
    start, end = m[e + FIRST], m[e + STOP]
    _link(m, m[STARTING] + start, e, BY_START)
    _link(m, _middle(m, start, end), e, BY_MIDDLE)
    _link(m, value + HOLDING, e, BY_VALUE)
    _add_bytes(m, start, end, size)


@_inner
def _leave(m, e, value, size):
    """The opposite of `_enter`."""
    start, end = m[e + FIRST], m[e + STOP]
    _unlink(m, m[STARTING] + start, e, BY_START)
    _unlink(m, _middle(m, start, end), e, BY_MIDDLE)
    _unlink(m, value + HOLDING, e, BY_VALUE)
    _add_bytes(m, start, end, -size)


@_inner
def _occupy(m, s):
    """Enters a stay whose placement is known."""
    end = m[s + END]
    if m[s + RESULT]:  # the result takes its parameter's place
        e = s + OTHER
        m[e + FIRST] = max(m[s + RESULT_START], end)
        m[e + STOP] = max(m[s + RESULT_END], m[s + EVICT_END])
        _enter(m, e, m[s + RESULT], m[s + SIZE])
    else:
        end = max(end, m[s + EVICT_END])
    m[s + OWN + FIRST], m[s + OWN + STOP] = m[s + FETCH_START], end
    _enter(m, s + OWN, m[s + VALUE], m[s + SIZE])


@_inner
def _vacate(m, s):
    """Takes out what `_occupy` has entered."""
    _leave(m, s + OWN, m[s + VALUE], m[s + SIZE])
    if m[s + RESULT]:
        _leave(m, s + OTHER, m[s + RESULT], m[s + SIZE])
    m[s + OFFSET] = -1


@_inner
def _change(m, s):
    """Enters that a stay may differ from what it is in the best layout."""
    if not m[s + IS_CHANGED]:
        m[s + IS_CHANGED] = 1
        m[m[CHANGED_AT] + m[CHANGED]] = s
        m[CHANGED] += 1


@_inner
def _retain(m, copies):
    """Counts one more placement that has these copies, as `_release` counts one less."""
    if copies:
        m[copies + REFERENCES] += 1


@_inner
def _release(m, copies):
    """Frees the parts of a stay's copies if no placement has them any more."""
    if not copies:
        return
    m[copies + REFERENCES] -= 1
    if m[copies + REFERENCES]:
        return
    last, n = copies, 1
    while m[last + PART_NEXT]:
        last = m[last + PART_NEXT]
        n += 1
    m[last + PART_NEXT] = m[FREE]
    m[FREE] = copies
    m[SPARE] += n


@_inner
def _touch(m, slot, t):
    """Remembers what a slot was before the step."""
    if not m[slot + IS_TOUCHED]:
        m[slot + IS_TOUCHED] = 1
        m[m[TOUCHED_AT] + m[TOUCHED]] = t
        m[TOUCHED] += 1
        _copy(m, slot + BEFORE, slot, CHANGING)


@_inner
def _weigh_supply(m, x, slot, t):
    """Enters whether a slot has supply left."""
    has = 1 if x[slot + IDLE] - x[slot + USED] > TINY else 0
    if has != m[slot + HAS_SUPPLY]:
        m[m[SUPPLIED] + t // BLOCK] += has - m[slot + HAS_SUPPLY]
        m[slot + HAS_SUPPLY] = has


@_inner
def _shift(m, x, s, sign):
    """Moves the accesses of a stay into fast memory (sign -1) or back."""
    change = 0.0
    for g in range(m[s + GAIN], m[s + GAIN_END], GAIN_WORDS):
        t = m[g + GAIN_SLOT]
        slot = m[SLOTS] + t * SLOT_WORDS
        _touch(m, slot, t)
        before = x[slot + ELAPSED] + max(0.0, x[slot + USED] - x[slot + IDLE])
        for k in range(3):
            x[slot + READ + k] += sign * x[g + GAIN_READ + k]
        elapsed = max(x[slot + COMPUTE], max(x[slot + READ], x[slot + WRITE]))
        idle = max(0.0, elapsed - x[slot + BUS])
        x[slot + ELAPSED], x[slot + IDLE] = elapsed, idle
        change += x[slot + WEIGHT] * (elapsed + max(0.0, x[slot + USED] - idle) - before)
        _weigh_supply(m, x, slot, t)
    x[COST] += change


@_inner
def _gain(m, x, g):
    """The latency that a gain would save now."""
    slot = m[SLOTS] + m[g + GAIN_SLOT] * SLOT_WORDS
    read, write = x[slot + READ] - x[g + GAIN_READ], x[slot + WRITE] - x[g + GAIN_WRITE]
    return x[slot + WEIGHT] * (x[slot + ELAPSED] - max(x[slot + COMPUTE], max(read, write)))


@_inner
def _saving(m, x, s):
    """The latency that a stay's accesses would save now, without its copies."""
    saved = 0.0
    for g in range(m[s + GAIN], m[s + GAIN_END], GAIN_WORDS):
        saved += _gain(m, x, g)
    return saved


@_inner
def _fetch(m, x, s, begin):
    """Where a prefetch starts that may not before `begin`, and the weighted stall."""
    t = start = m[s + START]
    if not m[s + COPIED]:
        return start, 0.0
    demand = x[s + DEMAND]
    while demand > 0 and t > begin:
        if t % BLOCK == 0 and not m[m[SUPPLIED] + t // BLOCK - 1]:
            t -= BLOCK
            continue
        t -= 1
        slot = m[SLOTS] + t * SLOT_WORDS
        if m[slot + HAS_SUPPLY]:
            demand -= min(x[slot + IDLE] - x[slot + USED], demand)
            start = t
    return start, demand * x[m[SLOTS] + m[s + START] * SLOT_WORDS + WEIGHT]


@_inner
def _evict(m, x, s):
    """Where the eviction ends, -1 without one, and the weighted stall."""
    t = end = m[s + EVICT_FROM]
    if t < 0:
        return -1, 0.0
    demand = x[s + DEMAND]
    while demand > 0 and t < m[s + EVICT_TO]:
        if t % BLOCK == 0 and not m[m[SUPPLIED] + t // BLOCK]:
            t += BLOCK
            continue
        slot = m[SLOTS] + t * SLOT_WORDS
        t += 1
        if m[slot + HAS_SUPPLY]:
            demand -= min(x[slot + IDLE] - x[slot + USED], demand)
            end = t
    return end, demand * x[m[SLOTS] + (m[s + EVICT_FROM] - 1) * SLOT_WORDS + WEIGHT]


@_inner
def _take(m, x, first, end, step, demand, copies):
    """Takes supply of the slots from `first` on for a copy; returns the copies' new first part."""
    for t in range(first, end, step):
        slot = m[SLOTS] + t * SLOT_WORDS
        if demand <= 0 or not m[slot + HAS_SUPPLY]:
            continue
        _touch(m, slot, t)
        part = min(x[slot + IDLE] - x[slot + USED], demand)
        x[slot + USED] += part  # idle time, so it stalls nothing
        _weigh_supply(m, x, slot, t)
        demand -= part
        new = m[FREE]
        m[FREE] = m[new + PART_NEXT]
        m[SPARE] -= 1
        m[new + PART_SLOT], m[new + PART_NEXT], m[new + REFERENCES] = t, copies, 0
        x[new + PART_TIME] = part
        copies = new
    return copies


@_inner
def _is_held(m, value, first, end):
    """Whether a stay in the layout serves accesses to a value in [first, end)."""
    e = m[value + HOLDING]
    while e:
        s = m[e + OWNER]
        if e == s + OWN:
            start, stop = m[s + START], m[s + END]
        else:
            start, stop = m[s + RESULT_START], m[s + RESULT_END]
        if start < end and first < stop:
            return True
        e = m[e + BY_VALUE]
    return False


@_inner
def _is_orderly(m, s, fetch_start, evict_end):
    """Whether slow memory holds what this and later prefetches of the same value copy."""
    leaves = m[s + RESULT] if m[s + RESULT] else m[s + VALUE]
    e = m[leaves + HOLDING]
    while e:
        other = m[e + OWNER]
        copies = m[other + COPIED] and m[other + VALUE] == leaves
        if copies and m[other + START] >= m[s + LAST] and evict_end > m[other + FETCH_START]:
            return False
        e = m[e + BY_VALUE]
    if m[s + COPIED]:
        e = m[m[s + VALUE] + HOLDING]
        while e:
            other = m[e + OWNER]
            if m[other + START] < m[s + START] and m[other + EVICT_END] > fetch_start:
                return False
            e = m[e + BY_VALUE]
    return True


@_inner
def _hits(m, s, low, high):
    """Whether a stay in the layout has some of the bytes [low, high)."""
    return m[s + OFFSET] < high and m[s + OFFSET] + m[s + SIZE] > low


@_inner
def _find(m, s, fetch_start, evict_end, offset):
    """Where a stay fits; -1 if nowhere.

    offset: where it must be; -1 for the smallest sufficient gap, the lowest of equals.
    """
    size, end = m[s + SIZE], m[s + END]
    if not size:
        return max(offset, 0)
    if not m[s + RESULT]:
        end = max(end, evict_end)
    top = _highest(m, m[RESERVED], m[RESERVED_PEAK], fetch_start, end)
    n = _meet(m, fetch_start, end, 0)
    if m[s + RESULT]:
        start, end = max(m[s + RESULT_START], end), max(m[s + RESULT_END], evict_end)
        top = max(top, _highest(m, m[RESERVED], m[RESERVED_PEAK], start, end))
        n = _meet(m, start, end, n)
    met, lows, tops = m[MET], m[LOWS], m[TOPS]
    if offset >= 0:
        if top > offset or offset + size > m[CAPACITY]:
            return -1
        for k in range(met, met + n):
            if _hits(m, m[m[k] + OWNER], offset, offset + size):
                return -1
        return offset
    for k in range(n):
        other = m[m[met + k] + OWNER]
        m[lows + k], m[tops + k] = m[other + OFFSET], m[other + OFFSET] + m[other + SIZE]
    _sort(m, m, lows, tops, n)
    best, place = m[CAPACITY] + 1, -1
    for k in range(n):
        if size <= m[lows + k] - top < best:
            best, place = m[lows + k] - top, top
        top = max(top, m[tops + k])
    return top if size <= m[CAPACITY] - top < best else place


@_inner
def _room_from(m, s, start, offset):
    """The first slot from `start` on that has room until the prefetch is complete."""
    size, end, room = m[s + SIZE], m[s + START], start
    if offset < 0:
        for t in range(end - 1, start - 1, -1):
            if m[m[FULL] + t] + size > m[CAPACITY]:
                return t + 1
    elif start < end:
        for k in range(m[MET], m[MET] + _meet(m, start, end, 0)):
            e = m[k]
            if _hits(m, m[e + OWNER], offset, offset + size):
                room = max(room, min(end, m[e + STOP]))
    return room


@_kernel
def place(m, x, s, least, offset):
    """Puts a stay in if it fits and saves more than `least`; whether it did.

    offset: where it must be; -1 for best fit.
    """
    if m[s + BARRED]:
        return False
    most = m[CAPACITY] - m[s + SIZE]
    if _highest(m, m[FULL], m[FULL_PEAK], m[s + START], m[s + END]) > most:
        return False
    if _is_held(m, m[s + VALUE], m[s + START], m[s + END]):
        return False
    if m[s + RESULT]:
        start, end = m[s + RESULT_START], m[s + RESULT_END]
        if _highest(m, m[FULL], m[FULL_PEAK], start, end) > most:
            return False
        if _is_held(m, m[s + RESULT], start, end):
            return False
    before = x[COST]
    for g in range(m[s + GAIN], m[s + GAIN_END], GAIN_WORDS):
        _copy(m, g + KEPT, m[SLOTS] + m[g + GAIN_SLOT] * SLOT_WORDS, CHANGING)
    _shift(m, x, s, -1.0)
    evict_end, late = _evict(m, x, s)
    begin = m[s + FETCH_FROM]
    while True:
        fetch_start, missing = _fetch(m, x, s, begin)
        if missing > 0 and m[s + IN_TIME]:
            break
        stall = missing + late
        parts = m[s + START] - fetch_start + max(0, evict_end - m[s + EVICT_FROM])
        if before - x[COST] - stall <= least or parts > m[SPARE]:
            break
        if not _is_orderly(m, s, fetch_start, evict_end):
            break
        where = _find(m, s, fetch_start, evict_end, offset)
        if where >= 0:
            copies = _take(m, x, m[s + START] - 1, fetch_start - 1, -1, x[s + DEMAND], 0)
            copies = _take(m, x, m[s + EVICT_FROM], evict_end, 1, x[s + DEMAND], copies)
            _retain(m, copies)
            m[s + OFFSET], m[s + FETCH_START], m[s + EVICT_END] = where, fetch_start, evict_end
            m[s + COPIES], x[s + STALL] = copies, stall
            x[COST] += stall
            _occupy(m, s)
            _change(m, s)
            m[m[ADDED_AT] + m[ADDED]] = s
            m[ADDED] += 1
            return True
        # Without room for the whole copy, it may begin later and stall.
        room = _room_from(m, s, fetch_start, offset)
        if room <= fetch_start:
            break
        begin = room
    for g in range(m[s + GAIN], m[s + GAIN_END], GAIN_WORDS):
        t = m[g + GAIN_SLOT]
        slot = m[SLOTS] + t * SLOT_WORDS
        _copy(m, slot, g + KEPT, CHANGING)
        _weigh_supply(m, x, slot, t)
    x[COST] = before
    return False


@_kernel
def remove(m, x, s):
    """Takes a stay out; the list of those that the step has taken out keeps its placement."""
    gone = m[REMOVED_AT] + m[REMOVED] * (PLACEMENT + 1)
    m[gone] = s
    _copy(m, gone + 1, s + OFFSET, PLACEMENT)
    m[REMOVED] += 1
    _vacate(m, s)
    _change(m, s)
    part = m[s + COPIES]
    while part:
        t = m[part + PART_SLOT]
        slot = m[SLOTS] + t * SLOT_WORDS
        _touch(m, slot, t)
        late = max(0.0, x[slot + USED] - x[slot + IDLE])
        x[slot + USED] = max(0.0, x[slot + USED] - x[part + PART_TIME])
        late -= max(0.0, x[slot + USED] - x[slot + IDLE])
        x[COST] -= x[slot + WEIGHT] * late
        _weigh_supply(m, x, slot, t)
        part = m[part + PART_NEXT]
    x[COST] -= x[s + STALL]
    _shift(m, x, s, 1.0)


@_kernel
def settle(m):
    """Forgets how the layout was before the step."""
    for k in range(m[REMOVED]):
        _release(m, m[m[REMOVED_AT] + k * (PLACEMENT + 1) + 1 + COPIES - OFFSET])
    for k in range(m[TOUCHED_AT], m[TOUCHED_AT] + m[TOUCHED]):
        m[m[SLOTS] + m[k] * SLOT_WORDS + IS_TOUCHED] = 0
    m[REMOVED] = m[TOUCHED] = m[ADDED] = 0


@_kernel
def undo(m, x, cost):
    """Makes the layout what it was before the step, when it cost `cost`."""
    for k in range(m[ADDED_AT], m[ADDED_AT] + m[ADDED]):
        _release(m, m[m[k] + COPIES])
        _vacate(m, m[k])
    for k in range(m[REMOVED]):
        gone = m[REMOVED_AT] + k * (PLACEMENT + 1)
        s = m[gone]
        _copy(m, s + OFFSET, gone + 1, PLACEMENT)
        _retain(m, m[s + COPIES])
        _occupy(m, s)
    for k in range(m[TOUCHED_AT], m[TOUCHED_AT] + m[TOUCHED]):
        slot = m[SLOTS] + m[k] * SLOT_WORDS
        _copy(m, slot, slot + BEFORE, CHANGING)
        _weigh_supply(m, x, slot, m[k])
    x[COST] = cost
    settle(m)


@_kernel
def note(m, x):
    """Remembers the layout if it is the best so far."""
    settle(m)
    if x[COST] >= x[BEST] - 1e-12:
        return
    x[BEST] = x[COST]
    m[IMPROVEMENTS] += 1
    for k in range(m[CHANGED_AT], m[CHANGED_AT] + m[CHANGED]):
        s = m[k]
        m[s + IS_CHANGED] = 0
        if m[s + BEST_PLACEMENT] >= 0:
            _release(m, m[s + BEST_PLACEMENT + COPIES - OFFSET])
        _copy(m, s + BEST_PLACEMENT, s + OFFSET, PLACEMENT)
        if m[s + OFFSET] >= 0:
            _retain(m, m[s + COPIES])
    m[CHANGED] = 0


@_kernel
def recall(m, x):
    """Makes the layout the best one."""
    settle(m)
    for k in range(m[CHANGED_AT], m[CHANGED_AT] + m[CHANGED]):
        if m[m[k] + OFFSET] >= 0:
            _release(m, m[m[k] + COPIES])
            _vacate(m, m[k])
    for k in range(m[CHANGED_AT], m[CHANGED_AT] + m[CHANGED]):
        s = m[k]
        m[s + IS_CHANGED] = 0
        if m[s + BEST_PLACEMENT] >= 0:
            _copy(m, s + OFFSET, s + BEST_PLACEMENT, PLACEMENT)
            _retain(m, m[s + COPIES])
            _occupy(m, s)
    m[CHANGED] = 0
    refresh(m, x)


@_kernel
def empty(m, x):
    """Takes everything out."""
    settle(m)
    for s in range(m[STAYS], m[STAYS_END], STAY_WORDS):
        if m[s + OFFSET] >= 0:
            _release(m, m[s + COPIES])
            _vacate(m, s)
            _change(m, s)
    refresh(m, x)


@_kernel
def refresh(m, x):
    """Computes the slots' times and the cost anew, without the rounding errors of many steps."""
    cost = 0.0
    for t in range(m[TOTAL]):
        slot = m[SLOTS] + t * SLOT_WORDS
        _copy(m, slot + READ, slot + SLOW, 3)
        x[slot + USED] = 0.0
    for s in range(m[STAYS], m[STAYS_END], STAY_WORDS):
        if m[s + OFFSET] < 0:
            continue
        cost += x[s + STALL]
        for g in range(m[s + GAIN], m[s + GAIN_END], GAIN_WORDS):
            slot = m[SLOTS] + m[g + GAIN_SLOT] * SLOT_WORDS
            for k in range(3):
                x[slot + READ + k] -= x[g + GAIN_READ + k]
        part = m[s + COPIES]
        while part:
            x[m[SLOTS] + m[part + PART_SLOT] * SLOT_WORDS + USED] += x[part + PART_TIME]
            part = m[part + PART_NEXT]
    for t in range(m[TOTAL]):
        slot = m[SLOTS] + t * SLOT_WORDS
        elapsed = max(x[slot + COMPUTE], max(x[slot + READ], x[slot + WRITE]))
        idle = max(0.0, elapsed - x[slot + BUS])
        x[slot + ELAPSED], x[slot + IDLE] = elapsed, idle
        cost += x[slot + WEIGHT] * (elapsed + max(0.0, x[slot + USED] - idle))
        _weigh_supply(m, x, slot, t)
    x[COST] = cost


@_inner
def _due(m, x, s, rent, trust, priced):
    """What a stay has to save: what its room costs, less a part of what it could save."""
    room = rent * (m[s + SIZE] * (m[s + LAST] - m[s + START])) + priced * x[s + PRICE]
    return room - trust * x[s + HOPE]


@_inner
def _insert(m, x, n, taste, noise, rent, trust, priced):
    """Inserts the first n values of `POOL`, the densest first, each with its best stays.

    Args:
      taste: a density is worth for each byte and slot, these to the power of this.
      noise: standard deviation of what is added to the logarithms of densities.
      rent: latency that a stay pays for each byte and slot.
      trust: weight of what a stay would save if other accesses became fast too; an instruction may
        need several accesses in fast memory before it becomes faster at all.
      priced: share of the relaxation's prices that is charged as well.
    """
    keys, pool, taken = m[POOL] + n, m[POOL], m[ORDER]
    for k in range(n):
        radius = math.sqrt(-2.0 * math.log(1.0 - _uniform(m)))
        normal = radius * math.cos(2.0 * math.pi * _uniform(m))
        v = m[pool + k]
        x[keys + k] = taste * x[v + LOG_AREA] - x[v + LOG_MOST] + noise * normal
    _sort(x, m, keys, pool, n)
    for at in range(pool, pool + n):
        rated, took = _rate(m, x, m[at], rent, trust, priced), 0
        for k in range(rated):
            s, free = m[taken + k], True
            for i in range(taken, taken + took):
                free &= m[m[i] + LAST] <= m[s + START] or m[s + LAST] <= m[m[i] + START]
            due = _due(m, x, s, rent, trust, priced)
            if free and place(m, x, s, due if due < 0 else max(due, WORTH), -1):
                m[taken + took] = s
                took += 1


@_inner
def _rate(m, x, v, rent, trust, priced):
    """Puts a value's stays that pay for themselves into `ORDER`, best first; returns how many."""
    total = 0.0
    for g in range(m[v + GAIN_FIRST], m[v + GAIN_STOP], GAIN_WORDS):
        x[g + SAVED] = total
        total += _gain(m, x, g)
    n, keys, order = 0, m[KEYS], m[ORDER]
    for s in range(m[v + STAY_FIRST], m[v + STAY_END], STAY_WORDS):
        if x[s + HOPE] <= WORTH:
            continue
        if m[s + RESULT]:
            saved = _saving(m, x, s)
        else:
            end = m[s + GAIN_END]
            saved = (total if end == m[v + GAIN_STOP] else x[end + SAVED]) - x[m[s + GAIN] + SAVED]
        score = saved - _due(m, x, s, rent, trust, priced)
        if score > 0:
            x[keys + n], m[order + n] = -score, s
            n += 1
    _sort(x, m, keys, order, n)
    return n


@_kernel
def fill(m, x, taste):
    """Fills an empty layout by density."""
    empty(m, x)
    n = m[VALUES_END] - m[VALUES]
    for trust in (0.0, TRUST):
        _copy(m, m[POOL], m[VALUES], n)
        _insert(m, x, n, taste, 0.0, 0.0, trust, 0.0)
    note(m, x)


@_kernel
def place_all(m, x, stays):
    """Fills an empty layout with stays, one after the other, whatever they save."""
    empty(m, x)
    for s in stays:
        place(m, x, s, -np.inf, -1)
    note(m, x)


@_kernel
def luby(i):
    """The i-th of 1, 1, 2, 1, 1, 2, 4, ...: how long tries should be when nobody knows how long.

    M. Luby, A. Sinclair and D. Zuckerman, "Optimal speedup of Las Vegas algorithms", 1993.
    """
    while True:
        power = 2
        while power <= i:
            power *= 2
        if power == i + 1:
            return power // 2
        i -= power // 2 - 1


@_kernel
def search(m, x, steps):
    """Makes ruin and recreate steps until there are `steps` or the best layout is at the limit.

    After each cycle it goes on from the best layout, or every other time from a new filling.
    """
    for _ in range(steps):
        if x[BEST] <= x[LIMIT] + WORTH:
            return
        m[STEPS] += 1
        is_new = False
        if m[SINCE] == m[CYCLE]:
            m[SINCE] = 0
            m[CYCLES] += 1
            m[CYCLE] = FIRST_CYCLE * luby(m[CYCLES] + 1)
            is_new = m[CYCLES] % 2 == 1
            recall(m, x)
        m[SINCE] += 1
        before = x[COST]
        if is_new:
            empty(m, x)
            n = m[VALUES_END] - m[VALUES]
            _copy(m, m[POOL], m[VALUES], n)
        else:
            n = _ruin(m, x)
        # How stays are chosen is drawn anew each time; `_insert` says what the parameters are.  All
        # of memory over all slots costs 1 to 100 % of the all-slow latency, or nothing.
        rent = 0.0
        if _uniform(m) < 0.5:
            rent = 10 ** (2 * _uniform(m) - 2) / m[TOTAL] / m[CAPACITY]
        taste, noise = 0.5 * _below(m, 3), 1.5 * _uniform(m)
        trust = (0.0, TRUST, 0.3)[_below(m, 3)]
        priced = (0.0, 0.0, 0.5, 0.8, 0.95)[_below(m, 5)]
        _insert(m, x, n, taste, noise, rent, trust, priced)
        temperature = HOT * (COLD / HOT) ** (m[SINCE] / m[CYCLE])
        loss = x[COST] - before
        if is_new or loss <= 0 or _uniform(m) < math.exp(-loss / temperature):
            note(m, x)
        else:
            undo(m, x, before)


@_inner
def _ruin(m, x):
    """Takes some stays out, and may put one in.

    Returns:
      How many values are in `POOL`: those to insert.
    """
    kind, wanted, offset = _uniform(m), 0, -1
    n = 0
    if kind < WANTED:
        wanted, offset, n = _want(m, x)
    if not wanted and kind < WANTED + WINDOWS:
        n = _window(m)
    elif not wanted:
        n = _some(m)
    for k in range(m[MET], m[MET] + n):
        remove(m, x, m[k])
    if wanted:
        place(m, x, wanted, -np.inf, offset)
    return _pool(m, wanted)


@_inner
def _pool(m, wanted):
    """Fills `POOL` with what a step puts in: what it took out, and some values used nearby."""
    n, pool = 0, m[POOL]
    m[STAMP] += 1
    for k in range(m[REMOVED]):
        v = m[m[m[REMOVED_AT] + k * (PLACEMENT + 1)] + VALUE]
        if _mark(m, v + VALUE_MARK):
            m[pool + n] = v
            n += 1
    s = wanted
    if m[REMOVED]:
        s = m[m[REMOVED_AT] + _below(m, m[REMOVED]) * (PLACEMENT + 1)]
    if s:
        t = m[s + START] + _below(m, max(1, min(m[s + LAST], m[TOTAL] - 1) - m[s + START] + 1))
        width = _exponential(m, 4.0)
        near, end = _near(m, max(0, t - width), t + width + 1)
        for _ in range(min(_below(m, MOST_OTHERS + 1), end - near)):
            v = m[near + _below(m, end - near)]
            if _mark(m, v + VALUE_MARK):
                m[pool + n] = v
                n += 1
    return n


@_inner
def _near(m, start, end):
    """Where `NEAR` has the values that are used in the slots [start, end)."""
    slots = m[SLOTS]
    end = min(end, m[TOTAL])
    return m[slots + start * SLOT_WORDS + NEAR_FIRST], m[slots + end * SLOT_WORDS + NEAR_FIRST]


@_inner
def _busy(m):
    """A slot drawn from those where a value worth a place is used."""
    return m[m[BUSY] + _below(m, m[BUSY_END] - m[BUSY])]


@_inner
def _want(m, x):
    """Draws a stay that is not in the layout, and a place for it.

    Returns:
      The stay or 0, the place, and how many stays in its way are in `MET`.
    """
    s = _missing(m, x)
    size = m[s + SIZE]
    top = m[CAPACITY] - size
    if not s or top < 0:
        return 0, -1, 0
    top -= top % m[ALIGNMENT]
    met, lows = m[MET], m[LOWS]
    n = _meet_stays(m, max(0, m[s + START] - 1), min(m[s + LAST] + 1, m[TOTAL]))
    # Places that are worth a try: the ends of memory, and those on and under what is there.
    m[lows], m[lows + 1] = 0, top
    places = 2
    for k in range(met, met + n):
        above = m[m[k] + OFFSET] + m[m[k] + SIZE]
        under = m[m[k] + OFFSET] - size
        if above <= top:
            m[lows + places] = above
            places += 1
        if 0 <= under <= top:
            m[lows + places] = under
            places += 1
    tried = min(6, places)
    _shuffle(m, lows, places, tried)
    # What is hit there is worth the least, by a random rate for each place.
    cheapest, place = np.inf, -1
    for i in range(lows, lows + tried):
        worth, hits = 0.0, 0
        for k in range(met, met + n):
            if _hits(m, m[k], m[i], m[i] + size):
                worth += x[m[m[k] + VALUE] + MOST]
                hits += 1
                if hits > MOST_RUINED:
                    break
        worth *= 0.5 + _uniform(m)
        if hits <= MOST_RUINED and worth < cheapest:
            cheapest, place = worth, m[i]
    if place < 0:
        return 0, -1, 0
    hits = 0
    m[STAMP] += 1
    for k in range(met, met + n):
        if _hits(m, m[k], place, place + size) and _mark(m, m[k] + MARK):
            m[met + hits] = m[k]
            hits += 1
    hits = _append_held(m, m[s + VALUE], hits)
    if m[s + RESULT]:
        hits = _append_held(m, m[s + RESULT], hits)
    return s, place, hits


@_inner
def _missing(m, x):
    """Draws a stay that would save something now, by a slot where its value is used; 0 for none."""
    for _ in range(20):
        t = _busy(m)
        near, end = _near(m, t, t + 1)
        v = m[near + _below(m, end - near)]
        stays = m[v + STAY_FIRST]
        s = stays + _below(m, (m[v + STAY_END] - stays) // STAY_WORDS) * STAY_WORDS
        if _saving(m, x, s) + TRUST * x[s + HOPE] > WORTH:
            return s
    return 0


@_inner
def _append_held(m, value, n):
    """Appends the stays that hold a value to the n in `MET`, without those that are marked."""
    e = m[value + HOLDING]
    while e:
        if _mark(m, m[e + OWNER] + MARK):
            m[m[MET] + n] = m[e + OWNER]
            n += 1
        e = m[e + BY_VALUE]
    return n


@_inner
def _window(m):
    """Puts most of the stays in fast memory over a few slots into `MET`; returns their number."""
    t = _busy(m)
    end = min(t + 1 + _exponential(m, 3.0), m[TOTAL])
    rate = (0.2, 0.5, 1.0)[_below(m, 3)]
    n, met = 0, m[MET]
    for k in range(_meet_stays(m, t, end)):
        if _uniform(m) < rate:
            m[met + n] = m[met + k]
            n += 1
    if n > MOST_RUINED:
        _shuffle(m, met, n, MOST_RUINED)
    return min(n, MOST_RUINED)


@_inner
def _some(m):
    """Puts a few stays of values used near each other into `MET`; returns their number."""
    t = _busy(m)
    near, end = _near(m, t, t + 1 + _exponential(m, 8.0))
    m[STAMP] += 1
    n = 0
    for k in range(near, end):
        n = _append_held(m, m[k], n)
    few = min(n, 1 + _below(m, 8))
    _shuffle(m, m[MET], n, few)
    return few
