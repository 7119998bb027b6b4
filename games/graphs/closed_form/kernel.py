"""The closed form and the search for the best tile, compiled by Numba.

Arrays are those of a `Form`; a tile is (width, height, depth).
"""

from __future__ import annotations

import numba
import numpy as np

from games.graphs.closed_form.form import (
    ALL,
    COLUMN,
    COLUMNS_CUT,
    HEIGHT,
    LATE,
    ROW,
    ROWS_CUT,
    STEP,
    TENSOR,
    WIDTH,
)

# Orders of tiles: row by row; back and forth along rows; back and forth along columns.
RASTER, ROW_SNAKE, COLUMN_SNAKE = range(3)


@numba.njit(cache=True)
def _extent(cut, full, wide, high, depth):
    size = full
    if cut == ROW:
        size = min(high, full)
    elif cut == COLUMN:
        size = min(wide, full)
    elif cut == STEP:
        size = min(depth, full)
    return size


@numba.njit(cache=True)
def cut_loads(loads, wide, high, depth, cuts):
    """Fills cuts [L, 3] with the axes that cut each slice and its size, 0 for one that another one
    covers; returns the elements of all slices."""
    total = 0
    begin = 0
    count = loads.shape[0]
    while begin < count:
        end = begin
        whole = False
        while end < count and loads[end, TENSOR] == loads[begin, TENSOR]:
            rows = _extent(loads[end, ROWS_CUT], loads[end, HEIGHT], wide, high, depth)
            columns = _extent(loads[end, COLUMNS_CUT], loads[end, WIDTH], wide, high, depth)
            cuts[end, 0] = ALL if rows == loads[end, HEIGHT] else loads[end, ROWS_CUT]
            cuts[end, 1] = ALL if columns == loads[end, WIDTH] else loads[end, COLUMNS_CUT]
            cuts[end, 2] = rows * columns
            for other in range(begin, end):
                if cuts[other, 0] == cuts[end, 0] and cuts[other, 1] == cuts[end, 1]:
                    cuts[end, 2] = 0
            whole = whole or (cuts[end, 0] == ALL and cuts[end, 1] == ALL)
            end += 1
        for i in range(begin, end):
            if whole and not (cuts[i, 0] == ALL and cuts[i, 1] == ALL):
                cuts[i, 2] = 0
            total += cuts[i, 2]
        begin = end
    return total


@numba.njit(cache=True)
def time_of(
    loads,
    cuts,
    stepping,
    late_cost,
    upstream,
    height,
    width,
    tile,
    order,
    stored,
    bandwidth,
    native,
):
    """Time of a subgraph; cuts: as `cut_loads` fills it; stored: elements, with a last step."""
    wide, high, depth = tile
    down, across = -(-height // high), -(-width // wide)
    steps = 1
    for i in range(stepping.shape[0]):
        steps = max(steps, int(np.ceil(stepping[i, 1] / depth)))
    total = 0.0
    for kind in range(4):
        # Classes of tiles: the first, the rest of the first line, the turns, all others.
        first = kind == 0
        along, turn = (across, down) if order != COLUMN_SNAKE else (down, across)
        count = 1
        if kind == 1:
            count = along - 1
        elif kind == 2:
            count = turn - 1
        elif kind == 3:
            count = (along - 1) * (turn - 1)
        if count == 0:
            continue
        moves_along = kind != 2 or (order == RASTER and along > 1)
        moves_turn = first or kind == 2
        new_along = kind <= 1
        new_turn = first or kind == 2
        row, column, new_row, new_column = moves_turn, moves_along, new_turn, new_along
        if order == COLUMN_SNAKE:
            row, column, new_row, new_column = column, row, new_column, new_row
        step = 0
        while step < steps:
            last = step == steps - 1
            # The steps until `end` are alike.
            end = step + 1
            if step > 0 and not last:
                end = steps - 1
                for i in range(stepping.shape[0]):
                    own = int(np.ceil(stepping[i, 1] / depth))
                    if step < own < end:
                        end = own
            moved = stored if last else 0
            for i in range(loads.shape[0]):
                if cuts[i, 2] == 0:
                    continue
                by_row = cuts[i, 0] == ROW or cuts[i, 1] == ROW
                by_column = cuts[i, 0] == COLUMN or cuts[i, 1] == COLUMN
                by_step = cuts[i, 0] == STEP or cuts[i, 1] == STEP
                changes = first or (row and by_row) or (column and by_column)
                early = by_step or (step == 0 and changes)
                if (last and changes) if loads[i, LATE] else early:
                    moved += cuts[i, 2]
            busy = late_cost if last else 0.0
            for i in range(stepping.shape[0]):
                if step * depth < stepping[i, 1]:
                    busy += stepping[i, 0] * min(depth, stepping[i, 1]) / stepping[i, 1]
            for i in range(upstream.shape[0]):
                busy += _upstream(upstream[i], tile, native, first, new_row, new_column, step)
            total += count * (end - step) * max(busy, moved / bandwidth)
            step = end
    return total


@numba.njit(cache=True)
def _upstream(row, tile, native, first, new_row, new_column, step):
    """Cost of computing a slice for a MatMul inside: once for each slice."""
    wide, high, depth = tile
    full = (int(row[1]), int(row[2]))
    passes = 1.0
    by_row = by_column = by_step = False
    for axis in range(2):
        cut = int(row[3 + axis])
        size = _extent(cut, full[axis], wide, high, depth)
        if size == full[axis]:
            cut = ALL
        by_row = by_row or cut == ROW
        by_column = by_column or cut == COLUMN
        by_step = by_step or cut == STEP
        whole = native[1 - axis]
        passes *= size / whole if cut == STEP else np.ceil(size / whole)
    new = first
    if by_row:
        new = new_row
    elif by_column:
        new = new_column
    return row[0] * passes if new and (step == 0 or by_step) else 0.0


@numba.njit(cache=True)
def best_tile(
    loads,
    stepping,
    late_cost,
    upstream,
    height,
    width,
    least,
    deepest,
    held,
    leaving,
    capacity,
    bandwidth,
    native,
):
    """The fastest tile among halvings of the native one, and its order.

    held: elements of tensors retained before and to be retained. leaving: outputs that are stored.
    Returns latency (infinite if none fits), width, height, depth, order, working set.
    """
    cuts = np.empty((loads.shape[0], 3), np.int64)
    found = (np.inf, 0, 0, 0, 0, 0)
    # Where every reduction is a multiple of native, joining two steps never costs time, and neither
    # does a larger depth.
    regular = True
    for i in range(stepping.shape[0]):
        regular = regular and stepping[i, 1] % native[0] == 0
    wide = native[0]
    while wide >= max(least[0], 1):
        high = native[1]
        while high >= max(least[1], 1):
            depth = deepest
            while depth >= max(least[2], 1):
                area = min(wide, width) * min(high, height)
                used = held + area * leaving + cut_loads(loads, wide, high, depth, cuts)
                if used <= capacity:
                    tile = (wide, high, depth)
                    for order in (ROW_SNAKE, COLUMN_SNAKE):
                        time = time_of(
                            loads,
                            cuts,
                            stepping,
                            late_cost,
                            upstream,
                            height,
                            width,
                            tile,
                            order,
                            area * leaving,
                            bandwidth,
                            native,
                        )
                        if time < found[0] * (1 - 1e-12):
                            found = (time, wide, high, depth, order, used)
                    if regular:
                        break
                depth //= 2
            high //= 2
        wide //= 2
    return found
