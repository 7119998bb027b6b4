"""Where a residency goes, over a table kept sorted by offset: best fit or two-ended.

Table arrays have the residency axis first and any batch axes behind it, so that the same code
serves one game and a batch, and so that a batch fills the vector lanes.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from mallocgame.game.options import LARGE

NO_GAP = jnp.iinfo(jnp.int32).max


def running_sum(x: Array) -> Array:
    """Running sum along the first axis, inclusive, in doubling steps over all lanes."""
    length, shift = x.shape[0], 1
    while shift < length:
        x = x + jnp.concatenate([jnp.zeros_like(x[:shift]), x[:-shift]])
        shift *= 2
    return x


def find_offset(
    offset: Array,
    size: Array,
    blocks: Array,
    lowest: Array,
    need: Array,
    capacity: Array,
    placement: str,
) -> tuple[Array, Array]:
    """Finds the place of a new residency.

    Args:
      offset, size: int32 [R, ...]; the table, sorted by offset along the first axis.
      blocks: bool [R, ...]; the residencies that intersect the interval in question.
      lowest: int32 [...]; what lies below is reserved.
      need: int32 [...]; aligned bytes to place.
      capacity: int32 [...]; bytes of fast memory.
      placement: as in `GameConfig`.

    Returns:
      (found, offset): bool and int32 [...].  Zero bytes are found room for at offset 0.
    """
    blocks = blocks & (size > 0)
    is_high = (placement == "two_ended") & (need <= (capacity - 1) // LARGE)

    def consider(best: tuple[Array, Array], begin: Array, gap: Array) -> tuple[Array, Array]:
        fits = (gap >= need) & (gap < best[0])
        place = jnp.where(is_high, begin + gap - need, begin)
        return jnp.where(fits, gap, best[0]), jnp.where(fits, place, best[1])

    def visit(carry: tuple, residency: tuple[Array, Array, Array]) -> tuple[tuple, None]:
        begin, best = carry
        start, size, blocks = residency
        best = consider(best, begin, jnp.where(blocks, start - begin, -1))
        return (jnp.where(blocks, jnp.maximum(begin, start + size), begin), best), None

    none = jnp.full_like(need, NO_GAP)
    (begin, best), _ = lax.scan(visit, (lowest, (none, none)), (offset, size, blocks))
    smallest, place = consider(best, begin, capacity - begin)
    empty = need == 0
    return (smallest < NO_GAP) | empty, jnp.where(empty, 0, place)


def insert_sorted(
    columns: dict[str, Array], row: dict[str, Array], dead: Array, mask: Array
) -> dict:
    """Inserts `row` into the table at its offset's position, overwriting one dead entry.

    Args:
      columns: int32 [R, ...] each, sorted by "offset".
      row: int32 [...] each, the same keys.
      dead: bool [R, ...]; entries that may be overwritten; where none is, nothing happens.
      mask: bool [...]; where not, nothing happens.
    """
    offset = columns["offset"]
    index = jnp.arange(offset.shape[0]).reshape((-1,) + (1,) * (offset.ndim - 1))
    victim = jnp.max(jnp.where(dead, index, -1), axis=0)
    position = jnp.sum(offset <= row["offset"], axis=0)
    mask = mask & (victim >= 0)
    to_right = mask & (victim >= position)
    to_left = mask & (victim < position)
    target = jnp.where(to_right, position, position - 1)
    here = mask & (index == target)
    from_left = to_right & (index > position) & (index <= victim)
    from_right = to_left & (index >= victim) & (index < target)

    def shifted(x: Array, new: Array) -> Array:
        left = jnp.concatenate([x[:1], x[:-1]])
        right = jnp.concatenate([x[1:], x[-1:]])
        x = jnp.where(from_left, left, jnp.where(from_right, right, x))
        return jnp.where(here, new, x)

    return {name: shifted(columns[name], row[name]) for name in columns}


def take_supply(supply: Array, limit: Array, demand: Array) -> tuple[Array, Array, Array]:
    """Schedules a copy backwards over the supply that is left.

    Args:
      supply: int32 [W, ...]; ticks left in slots t-1, t-2, ...
      limit: int32 [...]; how many of these slots the copy may use.
      demand: int32 [...]; ticks it needs.

    Returns:
      (missing, slots, supply): the ticks that the supply lacks, how many slots the copy reaches
      back to the earliest that it takes from, and the supply without what it takes.
    """
    index = jnp.arange(supply.shape[0]).reshape((-1,) + (1,) * (supply.ndim - 1))
    usable = jnp.where(index < limit, supply, 0)
    total = running_sum(usable)
    taken = jnp.clip(demand - (total - usable), 0, usable)
    slots = jnp.max(jnp.where(taken > 0, index + 1, 0), axis=0)
    return jnp.maximum(demand - total[-1], 0), slots, supply - taken


def at_row(column: Array, where: Array) -> Array:
    """The entry of [R, ...] that `where` (at most one true along the first axis) picks, else 0."""
    return jnp.sum(jnp.where(where, column, 0), axis=0)


def gather(table: Array, *index: Array) -> tuple[Array, ...]:
    """Rows of an [..., C] table at the given indices, as C arrays of the indices' shape."""
    rows = table.at[index].get(mode="clip")
    return tuple(jnp.moveaxis(rows, -1, 0))
