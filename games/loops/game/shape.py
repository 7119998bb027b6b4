"""What follows from a nest alone, for one game."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from games.loops.game.state import Nest
from games.loops.game.tables import Tables
from games.loops.program.nest import MAX_LOOPS

PLACES = jnp.arange(MAX_LOOPS)


def extents(t: Tables, variable: jax.Array, step: jax.Array) -> jax.Array:
    """Int32 [L]: what each loop of a nest covers; variable and step int32 [L]."""
    outer = (variable[:, None] == variable[None, :]) & (PLACES[None, :] < PLACES[:, None])
    nearest = jnp.max(jnp.where(outer, PLACES[None, :], -1), axis=1)
    return jnp.where(nearest >= 0, step[nearest], t.sizes[variable])


def shared(nest: Nest) -> jax.Array:
    """Int32: how many outer loops both nests have in common."""
    same = (nest.variable[0] == nest.variable[1]) & (nest.step[0] == nest.step[1])
    both = same & (jnp.min(nest.count) > PLACES)
    return jnp.sum(jnp.cumprod(both.astype(jnp.int32)))
