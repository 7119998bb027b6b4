"""The state of a game."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from games.loops.game.tables import Tables
from games.loops.program.nest import MAX_LOOPS


@struct.dataclass
class Nest:
    """Batch axes last; L loops of both nests, the compute nest first.

    variable, step: int32 [2, L, ...]; behind the last loop they mean nothing. unroll: bool
    [L, ...], of the compute nest. count: int32 [2, ...], loops. vector: bool [...].
    """

    variable: jax.Array
    step: jax.Array
    unroll: jax.Array
    count: jax.Array
    vector: jax.Array


@struct.dataclass
class State:
    """Batch axes last; M moves.

    instance: int32 [...]. row, place: int32 [...], where the cursor is. stopped: bool [...].
    begun, seconds: float32 [...], what the starting nest and this one take by the model.
    legal: bool [A, ...], and gains: float32 [A, ...], by how much each action would raise the
        score, 0 where it is illegal; of a running game.
    log: int32 [M, ...], the moves; length: int32 [...].
    """

    instance: jax.Array
    nest: Nest
    row: jax.Array
    place: jax.Array
    stopped: jax.Array
    begun: jax.Array
    seconds: jax.Array
    legal: jax.Array
    gains: jax.Array
    log: jax.Array
    length: jax.Array


def start_nest(t: Tables) -> Nest:
    """The nest of one game's beginning."""
    return Nest(
        variable=t.variable,
        step=jnp.ones((2, MAX_LOOPS), jnp.int32),
        unroll=jnp.zeros(MAX_LOOPS, bool),
        count=t.count,
        vector=jnp.bool_(True),
    )


class Beginning(NamedTuple):
    """Of P games: what the starting nests take [P], and what the actions lead to [P, A], as in
    `State`."""

    seconds: jax.Array
    legal: jax.Array
    gains: jax.Array


def start(
    t: Tables, instance: jax.Array, begun: jax.Array, legal: jax.Array, gains: jax.Array, moves: int
) -> State:
    """The beginning of one game, which has so many moves at most."""
    zero = jnp.int32(0)
    return State(
        instance=instance.astype(jnp.int32),
        nest=start_nest(t),
        row=zero,
        place=zero,
        stopped=jnp.bool_(False),
        begun=begun,
        seconds=begun,
        legal=legal,
        gains=gains,
        log=jnp.zeros(moves, jnp.int32),
        length=zero,
    )
