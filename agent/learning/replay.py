"""Replay: the newest moves of every game, on the device, as one ring along time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from agent.selfplay.rollout import Moves


@struct.dataclass
class Replay:
    """moves [T, B]; written [T, B]; cursor: the next cell along T to write, which is the oldest."""

    moves: Moves
    written: jax.Array
    cursor: jax.Array


def init_replay(example: Moves, capacity: int) -> Replay:
    """An empty replay for moves like `example` [t, B]; `capacity` is a multiple of t."""
    moves = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape[1:]), x.dtype), example)
    written = jnp.zeros((capacity, example.reward.shape[1]), bool)
    return Replay(moves, written, jnp.int32(0))


def insert(replay: Replay, moves: Moves) -> Replay:
    """Overwrites the oldest cells by a rollout [t, B]."""
    count = moves.reward.shape[0]
    capacity = replay.written.shape[0]

    def write(ring: jax.Array, new: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(ring, new, replay.cursor, axis=0)

    return Replay(
        moves=jax.tree.map(write, replay.moves, moves),
        written=write(replay.written, jnp.ones_like(moves.done)),
        cursor=(replay.cursor + count) % capacity,
    )


def gather(replay: Replay, time: jax.Array, game: jax.Array, length: int) -> Moves:
    """The `length` moves from each sampled cell on: [N, length]; wraps around the ring."""
    capacity = replay.written.shape[0]
    at = (time[:, None] + jnp.arange(length)) % capacity
    return jax.tree.map(lambda x: x[at, game[:, None]], replay.moves)
