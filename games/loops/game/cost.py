"""What a nest takes by the model of docs/loops.md, section 5, for one game."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from games.loops.game.shape import PLACES, extents
from games.loops.game.state import Nest
from games.loops.game.tables import Tables
from games.loops.program.computation import MAX_VARIABLES, WIDTH
from games.loops.program.nest import COMPUTE, MAX_LOOPS, MAX_SHORT, WRITE

LINE_FLOATS = 16
# Vector registers; two of them are for what is multiplied.
REGISTERS, OPERANDS = 16, 2
NO_FIT = 2.0
CORE = 4


class Counts(NamedTuple):
    """How often the model pays for each thing, float32 each.

    core: [4], of multiplications, accesses, links of chains and stores that are loaded again: the
        dearest of them counts.
    others: [constants - 4], of the other constants in their order.
    """

    core: jax.Array
    others: jax.Array


def seconds(t: Tables, nest: Nest) -> jax.Array:
    """Float32: what a nest's kernel takes."""
    return 1e-9 * nanoseconds(counts(t, nest), t.prices)


def nanoseconds(count: Counts, prices: jax.Array) -> jax.Array:
    """What counts [..., n] cost at prices [n]."""
    core = jnp.max(count.core * prices[:CORE], axis=-1)
    return core + jnp.sum(count.others * prices[CORE:], axis=-1)


def counts(t: Tables, nest: Nest) -> Counts:
    """What a nest is made of."""
    loops = nest.count[COMPUTE]
    there = loops > PLACES
    variable = jnp.where(there, nest.variable[COMPUTE], 0)
    step = jnp.where(there, nest.step[COMPUTE], 1)
    extent = jnp.where(there, extents(t, variable, step), 1)
    trips = extent.astype(jnp.float32) / step
    last = loops - 1
    is_last = last == PLACES
    before = jnp.concatenate([jnp.ones(1), jnp.cumprod(trips)])
    lanes = jnp.where(nest.vector, jnp.minimum(float(WIDTH), trips[last]), 1.0)
    # The block: inner loops that are written out; of a long vectorised loop one vector.
    short = jnp.where(nest.vector, trips[last] <= MAX_SHORT, nest.unroll[last])
    written_out = jnp.where(is_last, short, nest.unroll | ~there)
    inside = jnp.cumprod(written_out[::-1].astype(jnp.int32))[::-1] > 0
    q = jnp.where(inside, trips, jnp.where(is_last, lanes, 1.0))
    of_variable = (variable[None, :] == jnp.arange(MAX_VARIABLES)[:, None]) & there[None, :]
    covered = jnp.prod(jnp.where(of_variable, q[None, :], 1.0), axis=1)  # [V]
    size = jnp.prod(q)
    blocks = before[-1] / size
    steady = jnp.max(jnp.where(there & ~inside, PLACES, -1))
    rounds = jnp.where(steady >= 0, trips[steady] / q[steady], 1.0)
    again = jnp.where((steady < 0) | t.uses[:, variable[steady]], 1.0, rounds)  # [3]
    inner = variable[last]
    # Of each tensor, [3]: elements are broadcast or scalar, in vectors, or gathered.
    stride = t.strides[:, inner]
    alone = ~nest.vector | (stride == 0)
    per_vector = jnp.where(alone, 1.0, jnp.where(stride == 1, 1 / lanes, 0.0))
    per_gather = jnp.where(alone | (stride == 1), 0.0, 1.0)
    elements = jnp.prod(_axes(t, covered), axis=-1)
    reads = elements / again * jnp.array([0.0, 1.0, 1.0])
    accesses, gathers = jnp.sum(reads * per_vector), jnp.sum(reads * per_gather)
    fmas = size / lanes
    outs = elements[0] * (per_vector[0] + per_gather[0])
    # What the loops from each place on cover, [L + 1, V], and touch of each axis, [L + 1, 3, axes].
    later = PLACES[None, :] >= jnp.arange(MAX_LOOPS + 1)[:, None]
    covers = jnp.max(
        jnp.where(later[:, None, :] & of_variable[None], extent[None, None, :], 1), axis=-1
    ).astype(jnp.float32)
    axes = _axes(t, covers)
    at = _register_tile(t, nest, variable, trips)
    is_tiled = at < loops
    tile = jnp.prod(axes[at, 0]) * (per_vector[0] + per_gather[0])
    too_many = jnp.maximum(0.0, tile + OPERANDS - REGISTERS)
    accesses = accesses + jnp.where(is_tiled, 0.0, 2 * elements[0] * per_vector[0])
    gathers = gathers + jnp.where(is_tiled, 0.0, 2 * elements[0] * per_gather[0])
    is_sum = ~t.uses[0, variable]
    # The innermost loop outside of the block after whose iteration the same elements come again.
    again_at = jnp.max(jnp.where(there & ~inside & is_sum, PLACES, -1))
    outer = there & ~inside & (steady != PLACES)
    contiguous = t.strides[0, nest.variable[WRITE, nest.count[WRITE] - 1]] == 1
    lines = _lines(t, axes, trips, before, variable, there)
    return Counts(
        jnp.stack(
            [
                blocks * fmas,
                blocks * accesses,
                jnp.where(is_tiled & is_sum[steady] & (steady >= 0), blocks * fmas / outs, 0.0),
                jnp.where(is_tiled | (again_at < 0), 0.0, before[again_at + 1]),
            ]
        ),
        jnp.stack(
            [
                blocks,
                blocks * gathers,
                jnp.where(is_tiled, before[at] * tile, 0.0),
                jnp.where(is_tiled, blocks * outs * jnp.minimum(1.0, too_many / tile), 0.0),
                jnp.where(nest.vector & (stride[0] == 0), before[last], 0.0),
                jnp.sum(jnp.where(outer, before[1:], 0.0)),
                jnp.where(contiguous, t.elements / WIDTH, 0.0),
                jnp.where(contiguous, 0.0, t.elements),
                *lines,
            ]
        ),
    )


def _axes(t: Tables, covers: jax.Array) -> jax.Array:
    """What is covered of the tensors' axes, [..., 3, axes]; covers of indices are [..., V]."""
    return 1 + jnp.einsum("tav,...v->...ta", t.factors, covers - 1)


def _register_tile(t: Tables, nest: Nest, variable: jax.Array, trips: jax.Array) -> jax.Array:
    """Int32: as `games.loops.program.nest.register_tile`."""
    loops = nest.count[COMPUTE]
    is_sum = ~t.uses[0, variable]
    short = nest.vector & (loops - 1 == PLACES) & (trips <= MAX_SHORT)
    as_vector = nest.vector & (loops - 1 == PLACES)
    fits = is_sum | jnp.where(as_vector, short, nest.unroll) | (loops <= PLACES)
    all_fit = jnp.cumprod(fits[::-1].astype(jnp.int32))[::-1] > 0
    # No shared loop is a sum's.
    found = all_fit & is_sum & (loops > PLACES)
    return jnp.min(jnp.where(found, PLACES, loops))


def _lines(
    t: Tables,
    axes: jax.Array,
    trips: jax.Array,
    before: jax.Array,
    variable: jax.Array,
    there: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Lines that come into the first and the second cache; axes [L + 1, 3, axes] as covered by the
    loops from each place on."""
    rows, of_row = jnp.prod(axes[..., :-1], axis=-1), 1 + (axes[..., -1] - 1) / LINE_FLOATS
    touched = rows * of_row
    crowd = jnp.maximum(1.0, jnp.minimum(t.crowding / of_row, rows))
    size = 4 * LINE_FLOATS * (touched * crowd).sum(axis=-1)
    reused = jnp.where(t.uses[:, variable].T, 1.0, trips[:, None])  # [L, 3]
    come = jnp.sum(touched[1:] * before[1:, None] / reused, axis=-1)
    come = jnp.concatenate([jnp.zeros(1), jnp.where(there, come, 0.0)])

    def into(cache: jax.Array) -> jax.Array:
        fits = jnp.clip(NO_FIT - size / cache, 0.0, 1.0)
        missed = jnp.cumprod(1 - fits)
        left = jnp.concatenate([jnp.ones(1), missed[:-1]])
        return jnp.sum(left * fits * come)

    return into(t.caches[0]), into(t.caches[1])
