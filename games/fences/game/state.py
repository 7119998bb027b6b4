"""The state of a game, and one program's row of the tables."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

NOBODY = -1


@struct.dataclass
class State:
    """Batch axes last; N operations, K outcomes, M moves, 2 devices.

    instance: int32 [...]. device: int32 [N, ...], of each operation, -1 while it is not placed.
    order: int32 [N, ...], how many were placed before it. finish: float32 [N, K, ...], when its
        device is done with it. clock: float32 [2, K, ...], when each device is free.
    handed: bool [N, ...], a sync of the other device lies behind it; sent: the other device reads
        it. last: int32 [2, ...], the last operation of each stream, -1 without one.
    ifs, fences: int32 [...]; bytes: float32 [...], so far.
    bound: float32 [...], what a schedule costs at least that this game can still make.
    after: int32 [N, ...], the operation behind whose fence it waits, -1 without.
    window: int32 [...], how often `next` was said about operations.
    asked, asked_device, point: int32 [...]: of a question about a fence: the operation that waits,
        its device, and the operation behind which the fence would stand; asked is -1 without one.
    log: int32 [M, ...], the moves; length: int32 [...].
    """

    instance: jax.Array
    device: jax.Array
    order: jax.Array
    finish: jax.Array
    clock: jax.Array
    handed: jax.Array
    sent: jax.Array
    last: jax.Array
    ifs: jax.Array
    fences: jax.Array
    bytes: jax.Array
    bound: jax.Array
    after: jax.Array
    window: jax.Array
    asked: jax.Array
    asked_device: jax.Array
    point: jax.Array
    log: jax.Array
    length: jax.Array


def start(instance: jax.Array, operations: int, outcomes: int, moves: int) -> State:
    """The beginning of one game."""
    zero, nobody = jnp.int32(0), jnp.int32(NOBODY)
    none = jnp.full(operations, NOBODY, jnp.int32)
    no = jnp.zeros(operations, bool)
    return State(
        instance=instance.astype(jnp.int32),
        device=none,
        order=none,
        finish=jnp.zeros((operations, outcomes), jnp.float32),
        clock=jnp.zeros((2, outcomes), jnp.float32),
        handed=no,
        sent=no,
        last=jnp.full(2, NOBODY, jnp.int32),
        ifs=zero,
        fences=zero,
        bytes=jnp.float32(0),
        bound=jnp.float32(0),
        after=none,
        window=zero,
        asked=nobody,
        asked_device=zero,
        point=nobody,
        log=jnp.zeros(moves, jnp.int32),
        length=zero,
    )
