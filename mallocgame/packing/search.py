"""Complete search for a packing, compiled.

Ideas of MiniMalloc (Moffitt, ASPLOS 2023).  If a packing exists, then one exists in which every
item lies on its floor or on another item, or as near above as its alignment lets it.  Such a
packing is built bottom up, by rising offset: the next item lies on the skyline of what is placed,
not below the item before it.  A node fails if an item could sink below everything that is still to
come, or if a section of time cannot hold what must still come over it.  What falls apart in time is
solved part by part.  Also, failed states are remembered, so that another way to the same skyline is
not searched again.

The search is a loop over frames, one for each part on the way from the root, without recursion.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from mallocgame.packing.greedy import aligned
from mallocgame.packing.tables import Items

SOLVED, INFEASIBLE, STOPPED = 1, 0, -1
ENTER, NEXT, SPLIT, CHILD = 0, 1, 2, 3

# The columns of a frame: its items are order[FIRST:END], `NOW` is the one it has placed, at or
# above LINE.  The options and the cuts between its parts lie on stacks.  DONE and TRAIL say how far
# to take back.
FIRST, END, LINE, LAST, NOW, KEY = 0, 1, 2, 3, 4, 5
OPTION, OPTIONS_END, CUT, CUTS_END, DONE, TRAIL = 6, 7, 8, 9, 10, 11
COLUMNS = 12


class State(NamedTuple):
    """What the search changes, for N items and S sections.

    low: int64 [N], where an item would come to lie now.
    offset: int64 [N], -1 for an item that is not placed.
    load: int64 [S], units still to come over a section.
    lowest: int64 [S], the lowest offset that something still to come may have there.
    crossing: int64 [S + 1], scratch of `_split`.
    order, sorted: uint32 [N], the items, those of a frame side by side, and scratch for it.
    frame: int64 [N + 2, COLUMNS].
    options, cuts, done, trail: stacks of options, bounds, placed items, and changes of `low`.
    failed: int64 [M, 2], key of a failed state and the line from which on it failed.
    """

    low: np.ndarray
    offset: np.ndarray
    load: np.ndarray
    lowest: np.ndarray
    crossing: np.ndarray
    order: np.ndarray
    sorted: np.ndarray
    frame: np.ndarray
    options: np.ndarray
    cuts: np.ndarray
    done: np.ndarray
    trail: np.ndarray
    failed: np.ndarray


def fresh_state(items: Items, sections: int, nodes: int) -> State:
    """The state in which nothing is placed; it remembers up to about `nodes` failures."""
    n = len(items.size)
    load = np.zeros(sections, np.int64)
    np.add.at(load, items.section, np.repeat(items.size, np.diff(items.section_at)))
    return State(
        low=items.floor.copy(),
        offset=np.full(n, -1),
        load=load,
        lowest=np.zeros(sections, np.int64),
        crossing=np.zeros(sections + 1, np.int64),
        order=np.arange(n, dtype=np.uint32),
        sorted=np.zeros(n, np.uint32),
        frame=np.zeros((n + 2, COLUMNS), np.int64),
        options=np.zeros(n * (n + 1) // 2 + 1, np.uint32),
        cuts=np.zeros(2 * n + 4, np.int64),
        done=np.zeros(n, np.int64),
        trail=np.zeros((len(items.neighbour) + 1, 2), np.int64),
        failed=np.zeros((1 << max(nodes, 2).bit_length(), 2), np.int64),
    )


@njit(cache=True)
def search(items, state, limit, budget):
    """Searches until a packing is found, none can exist, or `budget` nodes were entered.

    Args:
      items, state: Items and a fresh State, which is changed.
      limit: the capacity in units.

    Returns:
      (SOLVED, INFEASIBLE or STOPPED, nodes); the packing is in `state.offset`.
    """
    frame, offset = state.frame, state.offset
    depth, nodes, done, trail = 0, 0, 0, 0
    # The frame at the root places nothing; its parts are the components.
    frame[0, END] = items.size.shape[0]
    frame[0, NOW] = -1
    mode = SPLIT
    while True:
        if mode == ENTER:
            if nodes == budget:
                return STOPPED, nodes
            nodes += 1
            if _enter(items, state, limit, depth):
                frame[depth, NOW] = -1
                frame[depth, DONE] = done
                frame[depth, TRAIL] = trail
            else:
                depth -= 1
            mode = NEXT
        elif mode == NEXT:
            while done > frame[depth, DONE]:
                done -= 1
                i = state.done[done]
                offset[i] = -1
                for k in range(items.section_at[i], items.section_at[i + 1]):
                    state.load[items.section[k]] += items.size[i]
            while trail > frame[depth, TRAIL]:
                trail -= 1
                state.low[state.trail[trail, 0]] = state.trail[trail, 1]
            if depth == 0:
                return INFEASIBLE, nodes
            if frame[depth, OPTION] == frame[depth, OPTIONS_END]:
                slot = frame[depth, KEY] & (state.failed.shape[0] - 1)
                state.failed[slot, 0] = frame[depth, KEY]
                state.failed[slot, 1] = _rank(items, frame, depth)
                depth -= 1
                continue
            i = state.options[frame[depth, OPTION]]
            frame[depth, OPTION] += 1
            frame[depth, NOW] = i
            state.done[done] = i
            done += 1
            trail = _place(items, state, i, trail)
            mode = SPLIT
        elif mode == SPLIT:
            _split(items, state, depth)
            mode = CHILD
        elif frame[depth, CUT] == frame[depth, CUTS_END] - 1:  # all parts are solved
            if depth == 0:
                return SOLVED, nodes
            depth -= 1
        else:
            cut = frame[depth, CUT]
            frame[depth, CUT] += 1
            above = frame[depth, NOW]
            depth += 1
            frame[depth, FIRST] = state.cuts[cut]
            frame[depth, END] = state.cuts[cut + 1]
            frame[depth, LINE] = offset[above] if above >= 0 else 0
            frame[depth, LAST] = above
            mode = ENTER


@njit(cache=True)
def _rank(items, frame, depth):
    """The place of a frame's line and last item in the order in which items are placed."""
    return frame[depth, LINE] * items.size.shape[0] + frame[depth, LAST] + 1


@njit(cache=True)
def _place(items, state, i, trail):
    """Puts item i where it lies lowest; returns the new length of the trail."""
    low = state.low
    state.offset[i] = low[i]
    top = low[i] + items.size[i]
    for k in range(items.section_at[i], items.section_at[i + 1]):
        state.load[items.section[k]] -= items.size[i]
    for k in range(items.neighbour_at[i], items.neighbour_at[i + 1]):
        j = items.neighbour[k]
        if state.offset[j] < 0 and low[j] < top:
            state.trail[trail, 0] = j
            state.trail[trail, 1] = low[j]
            trail += 1
            low[j] = aligned(top, items.align[j])
    return trail


@njit(cache=True)
def _enter(items, state, limit, depth):
    """Fills in a frame's key and options, lowest first; false if the frame must fail."""
    frame, low, order, options = state.frame, state.low, state.order, state.options
    line, last = frame[depth, LINE], frame[depth, LAST]
    first, end = frame[depth, FIRST], frame[depth, END]
    # An item is free if it may still be placed where it lies lowest.  Others come on top of one.
    top, free_top = limit + 1, limit + 1
    left, right = state.load.shape[0], 0
    key = 0
    for k in range(first, end):
        i = order[k]
        if low[i] + items.size[i] < top:
            top = low[i] + items.size[i]
        if (low[i], i) > (line, last) and low[i] + items.size[i] < free_top:
            free_top = low[i] + items.size[i]
        left = min(left, items.left[i])
        right = max(right, items.right[i])
        mixed = (low[i] + items.salt[i]) * 0x1E3779B97F4A7C15
        mixed = (mixed ^ (mixed >> 29)) * 0x3F58476D1CE4E5B9
        key += mixed ^ (mixed >> 31)
    if top <= line or free_top > limit:
        return False
    slot = key & (state.failed.shape[0] - 1)
    if state.failed[slot, 0] == key and state.failed[slot, 1] <= _rank(items, frame, depth):
        return False
    for s in range(left, right):
        state.lowest[s] = limit + 1
    for k in range(first, end):
        i = order[k]
        least = low[i] if (low[i], i) > (line, last) else max(low[i], free_top)
        for q in range(items.section_at[i], items.section_at[i + 1]):
            state.lowest[items.section[q]] = min(state.lowest[items.section[q]], least)
    for s in range(left, right):
        if state.load[s] > 0 and state.lowest[s] + state.load[s] > limit:
            return False
    start = frame[depth - 1, OPTIONS_END]
    stop = start
    for k in range(first, end):
        i = order[k]
        if (low[i], i) <= (line, last):
            if _stuck(items, state, limit, i, line, last, free_top):
                return False
        # What is placed at `top` or above would leave a place for an item to sink into.
        elif low[i] < top and (items.twin[i] < 0 or state.offset[items.twin[i]] >= 0):
            j = stop
            while j > start and (low[options[j - 1]], options[j - 1]) > (low[i], i):
                options[j] = options[j - 1]
                j -= 1
            options[j] = i
            stop += 1
    frame[depth, KEY] = key
    frame[depth, OPTION] = start
    frame[depth, OPTIONS_END] = stop
    return True


@njit(cache=True)
def _stuck(items, state, limit, i, line, last, free_top):
    """Whether an item that is not free will sink, or end above the limit.

    It comes on top of a neighbour that is free, or of one that itself comes on top of another.
    """
    low, least, sinks = state.low, limit + 1, True
    for k in range(items.neighbour_at[i], items.neighbour_at[i + 1]):
        j = items.neighbour[k]
        if state.offset[j] < 0:
            base = low[j] if (low[j], j) > (line, last) else max(low[j], free_top)
            least = min(least, base + items.size[j])
            sinks = sinks and base >= low[i] + items.size[i]
            if not sinks and least + items.size[i] <= limit:
                return False
    return True


@njit(cache=True)
def _split(items, state, depth):
    """Sorts a frame's other items by the parts into which they fall in time, and cuts them."""
    frame, order, crossing = state.frame, state.order, state.crossing
    first, end, now = frame[depth, FIRST], frame[depth, END], frame[depth, NOW]
    left, right = state.load.shape[0], 0
    for k in range(first, end):
        if order[k] != now:
            left = min(left, items.left[order[k]])
            right = max(right, items.right[order[k]])
    for s in range(left, right + 1):
        crossing[s] = 0
    for k in range(first, end):
        if order[k] != now:
            crossing[items.left[order[k]] + 1] += 1
            crossing[items.right[order[k]]] -= 1
    # From the items that cross into a section to the number of the part that it belongs to.
    parts, across = 0, 0
    for s in range(left, right):
        across += crossing[s]
        if across == 0:
            parts += 1
        crossing[s] = parts
    cut = frame[depth - 1, CUTS_END] if depth > 0 else 0
    frame[depth, CUT] = cut
    state.cuts[cut] = first
    filled = 0
    for part in range(1, parts + 1):
        before = filled
        for k in range(first, end):
            if order[k] != now and crossing[items.left[order[k]]] == part:
                state.sorted[filled] = order[k]
                filled += 1
        if filled > before:
            cut += 1
            state.cuts[cut] = first + filled
    for k in range(filled):
        order[first + k] = state.sorted[k]
    if now >= 0:
        order[end - 1] = now
    frame[depth, CUTS_END] = cut + 1
