"""Bytes in use per slot: ranges are added, and the peak of a range is found, at little cost.

The slots lie in blocks.  A range that covers a block as a whole is added to the block's `lift`;
only the two blocks at its ends are touched slot by slot.  `top` is each block's peak.  So both cost
two blocks and one pass over the blocks, whatever the range.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jax import Array

BLOCK = 16


class Profile(struct.PyTreeNode):
    """Int32; slots [T, ...], a multiple of `BLOCK`; lift and top [T / BLOCK, ...].

    The bytes of slot t are slots[t] + lift[t // BLOCK].
    """

    slots: Array
    lift: Array
    top: Array


def fresh_profile(used: Array) -> Profile:
    """The profile of bytes [T, ...]."""
    blocks = used.reshape(-1, BLOCK, *used.shape[1:])
    top = jnp.max(blocks, axis=1)
    return Profile(used, jnp.zeros_like(top), top)


def take(column: Array, index: Array) -> Array:
    """Entries [K, ...] of a column [N, ...] at the indices int32 [K, ...], from 0 on.

    What lies behind the column is its last entry; what a negative index gives means nothing.
    """
    return jnp.take_along_axis(column, index, axis=0, mode="clip")


def take_one(column: Array, index: Array) -> Array:
    """Entry [...] of a column [N, ...] at the index int32 [...], as `take` does."""
    return take(column, index[None])[0]


def put(column: Array, index: Array, new: Array) -> Array:
    """Sets entries [K, ...] of a column [N, ...]; what lies outside of it is left out."""
    index = jnp.where(index < 0, column.shape[0], index)
    return column.at[_at(index)].set(new, mode="drop")


def put_one(column: Array, index: Array, new: Array, where: Array) -> Array:
    """Sets the entry of each game for which bool [...] holds."""
    index = jnp.where(where, index, -1)
    return put(column, index[None], jnp.broadcast_to(new, index.shape)[None])


def _at(index: Array) -> tuple[Array, ...]:
    lanes = jnp.indices(index.shape[1:], sparse=True)
    return (index, *(lane[None] for lane in lanes))


def used_at(profile: Profile, slots: Array) -> Array:
    """Bytes in use at slots int32 [K, ...]."""
    return take(profile.slots, slots) + take(profile.lift, slots // BLOCK)


def _ends(start: Array, end: Array) -> tuple[Array, Array, Array]:
    """The first and the last block [2, ...] of [start, end), their slots [2 * BLOCK, ...], and
    which of these lie in it."""
    blocks = jnp.stack([start // BLOCK, (end - 1) // BLOCK])
    inner = jnp.arange(BLOCK).reshape((1, BLOCK) + (1,) * start.ndim)
    slots = (blocks[:, None] * BLOCK + inner).reshape(2 * BLOCK, *start.shape)
    return blocks, slots, (slots >= start) & (slots < end)


def _between(profile: Profile, blocks: Array) -> Array:
    """Which blocks [T / BLOCK, ...] lie between the first and the last one."""
    number = jnp.arange(profile.top.shape[0]).reshape((-1,) + (1,) * (blocks.ndim - 1))
    return (number > blocks[0]) & (number < blocks[1])


def peak(profile: Profile, start: Array, end: Array) -> Array:
    """The most bytes in use over [start, end), int32 [...]; 0 for an empty range."""
    blocks, slots, inside = _ends(start, end)
    ragged = jnp.max(jnp.where(inside, used_at(profile, slots), 0), axis=0)
    whole = jnp.max(jnp.where(_between(profile, blocks), profile.top, 0), axis=0)
    return jnp.where(end > start, jnp.maximum(ragged, whole), 0)


def add(profile: Profile, start: Array, end: Array, size: Array) -> Profile:
    """The profile with `size` more bytes over [start, end), int32 [...] each."""
    size = jnp.where(end > start, size, 0)
    blocks, slots, inside = _ends(start, end)
    fine = take(profile.slots, slots) + jnp.where(inside, size, 0)
    between = jnp.where(_between(profile, blocks), size, 0)
    lift, top = profile.lift + between, profile.top + between
    tops = jnp.max(fine.reshape(2, BLOCK, *size.shape), axis=1) + take(lift, blocks)
    return Profile(put(profile.slots, slots, fine), lift, put(top, blocks, tops))


def subtract_block(profile: Profile, block: Array, size: Array) -> Profile:
    """The profile without `size` int32 [BLOCK, ...] in the slots of one block, int32 [...]."""
    inner = jnp.arange(BLOCK).reshape((BLOCK,) + (1,) * block.ndim)
    slots = block * BLOCK + inner
    fine = take(profile.slots, slots) - size
    top = jnp.max(fine, axis=0) + take_one(profile.lift, block)
    inside = block < profile.top.shape[0]
    return profile.replace(
        slots=put(profile.slots, slots, fine), top=put_one(profile.top, block, top, inside)
    )
