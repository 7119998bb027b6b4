"""Items one by one into the smallest gap, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def aligned(offset, align):
    """The lowest multiple of `align` that is not below an offset."""
    return offset if align == 1 else (offset + align - 1) // align * align


@njit(cache=True)
def best_fit(items, order, limit, offset):
    """Places the items of `order`, each at the bottom of the smallest gap that holds it.

    A gap lies between items already placed that collide, or above them, up to `limit`.

    Args:
      items: Items.
      order: int64 [N], items in the order in which they are placed.
      offset: int64 [N], filled in; -1 for an item without a place.
    """
    offset[:] = -1
    lows = np.empty(order.shape[0], np.int64)
    tops = np.empty(order.shape[0], np.int64)
    for i in order:
        count = 0
        for k in range(items.neighbour_at[i], items.neighbour_at[i + 1]):
            j = items.neighbour[k]
            if offset[j] >= 0:
                at = count
                while at > 0 and lows[at - 1] > offset[j]:
                    lows[at], tops[at] = lows[at - 1], tops[at - 1]
                    at -= 1
                lows[at], tops[at] = offset[j], offset[j] + items.size[j]
                count += 1
        bottom, room = items.floor[i], limit + 1
        for at in range(count + 1):
            end = lows[at] if at < count else limit
            if items.size[i] <= end - bottom < room:
                room, offset[i] = end - bottom, bottom
            if at < count:
                bottom = max(bottom, aligned(tops[at], items.align[i]))
