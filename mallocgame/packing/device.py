"""The device packer: greedy rounds for a batch of problems, in JAX.

Each round places the items one by one at the best fit, in the order of bytes times slots.  What
found no place moves ahead in the next round.  The placed items are kept sorted by offset, so that
one running maximum finds all gaps: O(N log N) vector work for each item that is placed.
"""

from __future__ import annotations

import functools
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mallocgame.packing.problem import Packed, PackingProblem

ROUNDS = 8
BOOST = 4.0  # of the priority of what found no place
FAR = 1 << 30  # above every offset


class _Items(NamedTuple):
    """Items by the row that leads them; all are [N, B], `meets` is bool [N, N, B]."""

    size: jax.Array
    floor: jax.Array
    area: jax.Array
    leads: jax.Array
    meets: jax.Array


@functools.partial(jax.jit, static_argnames="rounds")
def pack_batch(
    size: jax.Array,
    lower: jax.Array,
    upper: jax.Array,
    floor: jax.Array,
    leader: jax.Array,
    capacity: jax.Array,
    rounds: int = ROUNDS,
) -> tuple[jax.Array, jax.Array]:
    """Packs B problems of up to N rows each.

    A row is an interval of slots that needs `size` bytes.  Rows with one leader get one offset;
    together they need the bytes of the largest and the floor of the highest.  Rows of size 0, or
    without a slot, are padding: they get offset 0 and tie nothing.

    Args:
      size, lower, upper, floor: int32 [N, B], bytes and half-open intervals of slots.
      leader: int32 [N, B], the row whose offset a row shares; its own number if it is alone or
        leads others.
      capacity: int32 [B]; it and all bytes are below 2**29.

    Returns:
      Offsets int32 [N, B], -1 for a row without a place, and bool [B]: every row has one.
    """
    pads = (size <= 0) | (lower >= upper)
    leader = jnp.where(pads, jnp.arange(size.shape[0])[:, None], leader)
    items = _items(size, lower, upper, floor, leader, pads)

    def unfinished(carry):
        played, _, best, _ = carry
        return (played < rounds) & jnp.any(items.leads & (best < 0))

    def play(carry):
        played, priority, best, least = carry
        offset = _round(items, capacity, priority)
        failed = items.leads & (offset < 0)
        missing = failed.sum(0)
        best = jnp.where(missing < least, offset, best)
        priority = jnp.where(failed, priority * BOOST, priority)
        return played + 1, priority, best, jnp.minimum(missing, least)

    nothing = jnp.full_like(size, -1)
    most = jnp.full_like(capacity, FAR)
    _, _, best, _ = jax.lax.while_loop(unfinished, play, (0, items.area, nothing, most))
    offsets = jnp.where(pads, 0, jnp.take_along_axis(best, leader, 0))
    return offsets, (offsets >= 0).all(0)


def _items(size, lower, upper, floor, leader, pads) -> _Items:
    """Gathers the rows of each item; what its rows meet is what it meets."""
    n, lanes = size.shape[0], jnp.arange(size.shape[1])
    zeros = jnp.zeros_like(size)
    slots = jnp.where(pads, 0, upper - lower).astype(jnp.float32)
    slots = jnp.zeros_like(slots).at[leader, lanes].add(slots)
    own_size = zeros.at[leader, lanes].max(jnp.where(pads, 0, size))
    own_floor = zeros.at[leader, lanes].max(jnp.where(pads, 0, floor))
    meets = (lower[:, None] < upper) & (lower < upper[:, None]) & ~pads[:, None] & ~pads
    none = jnp.zeros((n, n, len(lanes)), bool)
    meets = none.at[leader, :, lanes].max(jnp.moveaxis(meets, -1, 1))
    meets = none.at[:, leader, lanes].max(meets)
    leads = ~pads & (leader == jnp.arange(n)[:, None])
    area = own_size.astype(jnp.float32) * slots
    return _Items(own_size, own_floor, area, leads, meets)


def _round(items: _Items, capacity: jax.Array, priority: jax.Array) -> jax.Array:
    """Offsets int32 [N, B] of the items placed by falling priority, -1 for the others."""
    n, lanes = priority.shape[0], jnp.arange(priority.shape[1])
    position = jnp.arange(n)[:, None]

    def insert(values, at, value):
        shifted = jnp.where(position > at, jnp.roll(values, 1, 0), values)
        return jnp.where(position == at, value, shifted)

    def place(placed, item):
        lows, tops, ids = placed  # int32 [N, B], by rising offset, FAR where nothing is yet
        size, floor = items.size[item, lanes], items.floor[item, lanes]
        hits = items.meets[item, ids, lanes] & (lows < FAR)
        ends = jax.lax.cummax(jnp.where(hits, tops, 0))
        bottoms = jnp.maximum(floor, jnp.roll(ends, 1, 0).at[0].set(0))
        gaps = jnp.where(hits, lows, 0) - bottoms
        # The gap above everything is the last row.
        bottoms = jnp.concatenate([bottoms, jnp.maximum(floor, ends[-1:])])
        gaps = jnp.concatenate([gaps, (capacity - bottoms[-1])[None]])
        fits = jnp.where(gaps >= size, gaps, FAR)
        choice = fits.argmin(0)
        found = (fits[choice, lanes] < FAR) & items.leads[item, lanes]
        offset = bottoms[choice, lanes]
        at = jnp.where(found, (lows < offset).sum(0), n)
        lows, tops = insert(lows, at, offset), insert(tops, at, offset + size)
        return (lows, tops, insert(ids, at, item)), jnp.where(found, offset, -1)

    order = jnp.argsort(-priority, axis=0)
    nothing = jnp.full(priority.shape, FAR, jnp.int32)
    placed = nothing, nothing, jnp.zeros_like(nothing)
    _, offsets = jax.lax.scan(place, placed, order)
    return jnp.zeros_like(offsets).at[order, lanes].set(offsets)


def pack_on_device(problem: PackingProblem) -> Packed:
    """Packs one problem; as `host.pack` with what the rounds find.

    Problems are padded to powers of two, so that others share what is compiled.
    """
    begin = time.perf_counter()
    count = len(problem.item)
    padding = max(8, 1 << max(count - 1, 0).bit_length()) - count
    first = np.full(len(problem.size), count, np.int64)
    np.minimum.at(first, problem.item, np.arange(count))
    unit = int(np.gcd.reduce(np.append(problem.size, problem.floor))) or 1
    size = np.where(problem.lower < problem.upper, problem.size[problem.item], 0) // unit
    columns = (size, problem.lower, problem.upper, problem.floor[problem.item] // unit)
    padded = [np.pad(column, (0, padding)) for column in columns]
    leader = np.append(first[problem.item], np.arange(count, count + padding))
    rows = [jnp.asarray(column[:, None], jnp.int32) for column in (*padded, leader)]
    offsets, _ = pack_batch(*rows, jnp.array([problem.capacity // unit], jnp.int32))
    found = np.zeros(len(problem.size), np.int64)
    found[problem.item] = np.asarray(offsets)[:count, 0]
    missing = tuple(int(i) for i in np.flatnonzero(found < 0))
    found = np.where(found < 0, -1, found * unit)
    return Packed(found, missing, ROUNDS, time.perf_counter() - begin)
