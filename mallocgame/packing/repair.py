"""Local search for a packing that lacks few items, compiled: one item in, what it hits out.

An idea of breakout local search: what is hard to place grows in weight until it stays.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mallocgame.packing.greedy import aligned


@njit(cache=True)
def repair(items, limit, now, best, weight, draw, moves):
    """Brings unplaced items in, and takes out what they hit, until none is left or `moves` moves.

    An unplaced item is drawn.  It goes where the weights of what it hits sum up to the least; one
    of equal places is drawn.  If it hits anything, its own weight grows by 1.

    Args:
      items: Items.
      now: int64 [N], the packing to go on from, -1 for unplaced; changed.
      best: int64 [N], the packing that lacked the fewest items so far; changed.
      weight: float64 [N], changed.
      draw: int64 [1], state of the generator of draws; changed.

    Returns:
      How many moves were made.
    """
    n = now.shape[0]
    out = np.empty(n, np.int64)
    lows, tops, costs = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n)
    missing, least = 0, 0
    for i in range(n):
        if best[i] < 0:
            least += 1
        if now[i] < 0:
            out[missing] = i
            missing += 1
    for move in range(moves):
        if missing == 0:
            return move
        at = _below(missing, draw)
        i = out[at]
        size, floor, align = items.size[i], items.floor[i], items.align[i]
        count = 0
        for k in range(items.neighbour_at[i], items.neighbour_at[i + 1]):
            j = items.neighbour[k]
            if now[j] >= 0:
                lows[count], tops[count] = now[j], now[j] + items.size[j]
                costs[count] = weight[j]
                count += 1
        # Places worth a look: on the floor, under the limit, and on and under what is there.
        place, cheapest, equal = -1, np.inf, 0
        for c in range(2 * count + 2):
            if c < count:
                low = aligned(tops[c], align)
            elif c < 2 * count:
                low = lows[c - count] - size
                low -= low % align
            elif c == 2 * count:
                low = floor
            else:
                low = limit - size
                low -= low % align
            if low < floor or low + size > limit:
                continue
            cost = 0.0
            for q in range(count):
                if lows[q] < low + size and low < tops[q]:
                    cost += costs[q]
                    if cost > cheapest:
                        break
            if cost < cheapest:
                place, cheapest, equal = low, cost, 1
            elif cost == cheapest:
                equal += 1
                if _below(equal, draw) == 0:
                    place = low
        if place < 0:
            continue
        missing -= 1
        out[at] = out[missing]
        if cheapest > 0:
            weight[i] += 1
            for k in range(items.neighbour_at[i], items.neighbour_at[i + 1]):
                j = items.neighbour[k]
                if 0 <= now[j] < place + size and place < now[j] + items.size[j]:
                    now[j] = -1
                    out[missing] = j
                    missing += 1
        now[i] = place
        if missing < least:
            least = missing
            best[:] = now
    return moves


@njit(cache=True)
def _below(bound, draw):
    """A drawn number in [0, bound), by a linear congruential generator (Knuth's MMIX)."""
    draw[0] = draw[0] * 6364136223846793005 + 1442695040888963407
    return ((draw[0] >> 32) & 0x7FFFFFFF) % bound
