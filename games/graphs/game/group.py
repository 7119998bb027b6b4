"""The time of one group at its best tile, in closed form.

A group is a list of operations, int32 [G], in ascending order and filled up with N.  Roles say what
cuts the rows and the columns of a slice: nothing, the tile's row, its column, the step.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from games.graphs.game.options import HALVINGS
from games.graphs.game.tables import ABSENT, Tables

ALL, ROW, COLUMN, STEP = range(4)
# A role as one number; that of outputs.
BASE = 4
TILE = ROW * BASE + COLUMN
NOBODY = -9


class Shape(NamedTuple):
    """What a group is made of, [G] or [G, 2] over its operations and their inputs.

    valid: bool [G]. role: of the outputs. need: of the inputs. inside: bool [G, 2], made by the
    group. output: bool [G], leaves the group. legal: whether the roles fit.
    """

    valid: Array
    role: Array
    need: Array
    inside: Array
    output: Array
    legal: Array


def shape_of(t: Tables, ops: Array) -> Shape:
    """Works backwards from the outputs; t: tables of one problem."""
    size = ops.shape[0]
    valid = ops < t.source.shape[0]
    at = jnp.minimum(ops, t.source.shape[0] - 1)
    source, matmul = t.source[at], t.matmul[at]
    # reads[g, j, h]: input j of the g-th operation is the output of the h-th.
    reads = (source[:, :, None] == ops) & valid[:, None, None] & valid

    def backwards(i: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        role, need, legal = carry
        g = size - 1 - i
        reader = reads[:, :, g]
        most = jnp.where(reader, need, -1).max()
        least = jnp.where(reader, need, BASE * BASE).min()
        own = jnp.where(reader.any(), most, TILE)
        rows, columns = own // BASE, own % BASE
        along = jnp.where(own == TILE, STEP, ALL)
        pair = jnp.stack([rows * BASE + along, along * BASE + columns])
        return (
            role.at[g].set(own),
            need.at[g].set(jnp.where(matmul[g], pair, own)),
            legal & (~reader.any() | (most == least)),
        )

    fresh = (jnp.full(size, TILE), jnp.full((size, 2), -1), jnp.array(True))
    role, need, legal = lax.fori_loop(0, size, backwards, fresh)
    return Shape(valid, role, need, reads.any(-1), valid & ~reads.any((0, 1)), legal)


def _sum(mask: Array, values: Array) -> Array:
    """Over the last axis, where the mask holds."""
    return jnp.sum(jnp.where(mask, values, 0), axis=-1)


def group_time(t: Tables, ops: Array, resident: Array, retain: Array) -> Array:
    """Float32: time of a group at its best tile; infinite where no tile is legal.

    resident: the operation whose output the group before retained. retain: the one whose output
    this group retains, which must leave the group. NOBODY for none.
    """
    shape = shape_of(t, ops)
    at = jnp.minimum(ops, t.source.shape[0] - 1)
    valid, role = shape.valid, shape.role
    matmul = t.matmul[at] & valid
    reduction = t.reduction[at]

    # Outputs have one shape.
    out_h, out_w = t.out_height[at], t.out_width[at]
    high = jnp.max(jnp.where(shape.output, out_h, 0))
    wide = jnp.max(jnp.where(shape.output, out_w, 0))
    legal = shape.legal & jnp.all(~shape.output | ((out_h == high) & (out_w == wide)))

    # Steps go along one reduction.
    stepping = matmul & (role == TILE)
    along = jnp.max(jnp.where(stepping, reduction, 0))
    legal &= jnp.all(~stepping | (reduction == along))
    native_w, native_h = t.native[0], t.native[1]
    deepest = jnp.minimum(native_w, jnp.min(jnp.where(matmul, reduction, native_w)))
    fed = shape.inside & matmul[:, None]
    least_w = jnp.max(jnp.where(fed[:, 0], reduction, 1))
    least_h = jnp.max(jnp.where(fed[:, 1], reduction, 1))
    by_pointwise = fed & ~t.matmul[jnp.maximum(t.source[at], 0)]
    least_d = jnp.max(jnp.where(by_pointwise.any(-1), reduction, 1))

    # Loads, each tensor once and in one role.
    source = t.source[at]
    loaded = (valid[:, None] & ~shape.inside & (source != ABSENT) & (source != resident)).ravel()
    tensor, need = t.tensor[at].ravel(), shape.need.ravel()
    same = (tensor[:, None] == tensor) & loaded[:, None] & loaded
    legal &= jnp.all(~same | (need[:, None] == need))
    loaded &= ~jnp.any(jnp.tril(same, -1), axis=-1)
    load_h, load_w = t.height[at].ravel(), t.width[at].ravel()
    cut_h, cut_w = need // BASE, need % BASE

    # Tiles: axis i of heights, axis j of widths.
    halvings = jnp.arange(HALVINGS)
    heights = jnp.maximum(native_h >> halvings, 1)
    widths = jnp.maximum(native_w >> halvings, 1)
    part_h, part_w = jnp.minimum(heights[:, None], load_h), jnp.minimum(widths[:, None], load_w)
    by_h, by_w = heights[:, None] < load_h, widths[:, None] < load_w
    early = loaded & (need != TILE)

    def sums(cut: tuple[int, int], values: Array, mask: Array) -> Array:
        return _sum(mask & early & (cut_h == cut[0]) & (cut_w == cut[1]), values)

    def split(cut: tuple[int, int], values: Array, by: Array) -> tuple[Array, Array]:
        """What changes with the tile's place, and what does not."""
        return sums(cut, values, by), sums(cut, values, ~by)

    row, row_fixed = split((ROW, ALL), part_h * load_w, by_h)
    column, column_fixed = split((ALL, COLUMN), part_w * load_h, by_w)
    row_step, row_step_fixed = split((ROW, STEP), part_h, by_h)
    column_step, column_step_fixed = split((STEP, COLUMN), part_w, by_w)
    ones = jnp.ones_like(early)
    fixed = sums((ALL, ALL), load_h * load_w, ones)
    fixed_step = sums((ALL, STEP), load_h, ones) + sums((STEP, ALL), load_w, ones)
    late = loaded & (need == TILE)

    def with_last(mask_h: Array, mask_w: Array) -> Array:
        return jnp.sum(
            jnp.where(mask_h & late, part_h, 0)[:, None] * jnp.where(mask_w, part_w, 0), axis=-1
        )

    late_both, late_row = with_last(by_h, by_w), with_last(by_h, ~by_w)
    late_column, late_fixed = with_last(~by_h, by_w), with_last(~by_h, ~by_w)

    # Memory, and the largest depth that it leaves room for.
    def size_of(op: Array) -> Array:
        last = jnp.clip(op, 0, t.source.shape[0] - 1)
        return jnp.where(op >= 0, t.out_height[last] * t.out_width[last], 0)

    area = jnp.minimum(heights, high)[:, None] * jnp.minimum(widths, wide)
    stored = area * (jnp.sum(shape.output) - (retain >= 0))
    whole = (row + row_fixed)[:, None] + (column + column_fixed) + fixed
    per_step = (row_step + row_step_fixed)[:, None] + (column_step + column_step_fixed) + fixed_step
    late_all = late_both + late_row + late_column + late_fixed
    used = size_of(resident) + size_of(retain) + stored + whole + late_all
    depths = jnp.maximum(deepest >> halvings, 1)
    fits = (used[..., None] + depths * per_step[..., None] <= t.capacity) & (depths >= least_d)
    depth = depths[jnp.argmax(fits, axis=-1)]
    able = fits.any(-1) & (heights >= least_h)[:, None] & (widths >= least_w)
    steps = jnp.maximum(-(-along // depth), 1)
    single = steps == 1

    # Elements that move: in every step, and with the first step of a tile by what changed.
    moved = jnp.where(single, 0, depth * per_step)
    moved_row = row[:, None] + jnp.where(single, depth * row_step[:, None], 0)
    moved_column = column + jnp.where(single, depth * column_step, 0)
    moved_first = whole + jnp.where(single, depth * per_step, 0)

    # Computing: along the steps, behind the last one, and for MatMuls inside.
    cost = t.cost[at]
    busy = _sum(stepping, cost) * depth / jnp.maximum(along, 1)
    behind = _sum(valid & ~matmul & (role == TILE), cost)
    above = valid & (role != TILE)
    role_h, role_w = role // BASE, role % BASE
    tile_h, tile_w = jnp.minimum(heights[:, None], out_h), jnp.minimum(widths[:, None], out_w)
    full_h, full_w = -(-out_h // native_h), -(-out_w // native_w)
    passes_h, passes_w = -(-tile_h // native_h), -(-tile_w // native_w)
    up_h, up_w = heights[:, None] < out_h, widths[:, None] < out_w

    def computed(cut: tuple[int, int], values: Array, mask: Array) -> Array:
        return _sum(mask & above & (role_h == cut[0]) & (role_w == cut[1]), values)

    def split_up(cut: tuple[int, int], values: Array, by: Array) -> tuple[Array, Array]:
        return computed(cut, values, by), computed(cut, values, ~by)

    up_row, up_row_fixed = split_up((ROW, ALL), cost * passes_h * full_w, up_h)
    up_column, up_column_fixed = split_up((ALL, COLUMN), cost * passes_w * full_h, up_w)
    up_row_step, up_row_step_fixed = split_up((ROW, STEP), cost * passes_h, up_h)
    up_column_step, up_column_step_fixed = split_up((STEP, COLUMN), cost * passes_w, up_w)
    every = jnp.ones_like(above)
    up_fixed = computed((ALL, ALL), cost * full_h * full_w, every)
    step_w = jnp.where(single, -(-depth // native_w), depth / native_w)
    step_h = jnp.where(single, -(-depth // native_h), depth / native_h)
    up_first = (up_row + up_row_fixed)[:, None] + up_column + up_column_fixed + up_fixed
    by_step_w = (up_row_step + up_row_step_fixed)[:, None] + computed(
        (ALL, STEP), cost * full_h, every
    )
    by_step_h = up_column_step + up_column_step_fixed + computed((STEP, ALL), cost * full_w, every)
    up_first_step = by_step_w * step_w + by_step_h * step_h

    def tile_time(first: Array, last: Array, once: Array | float, always: Array | float) -> Array:
        """Of one tile: elements with its first and last step, computing once and in each step."""
        speed = t.bandwidth
        alone = jnp.maximum(busy + behind + once + always, (first + last + stored) / speed)
        begin = jnp.maximum(busy + once + always, (moved + first) / speed)
        middle = jnp.maximum(busy + always, moved / speed)
        end = jnp.maximum(busy + always + behind, (moved + last + stored) / speed)
        return jnp.where(single, alone, begin + (steps - 2) * middle + end)

    last_row, last_column = late_row + late_both, late_column + late_both
    down = -(-high // heights)[:, None] - 1
    across = -(-wide // widths) - 1
    new_column = tile_time(moved_column, last_column, up_column, up_column_step * step_h)
    new_row = tile_time(moved_row, last_row, up_row[:, None], up_row_step[:, None] * step_w)
    # Rows or columns back and forth: the better of the two.
    rest = jnp.minimum(
        tile_time(moved_column, last_column, 0.0, 0.0), tile_time(moved_row, last_row, 0.0, 0.0)
    )
    total = tile_time(moved_first, late_all, up_first, up_first_step)
    total += across * new_column + down * new_row + down * across * rest
    best = jnp.min(jnp.where(able, total, jnp.inf))
    return jnp.where(legal & valid.any(), best, jnp.inf).astype(jnp.float32)
