"""One batch from the replay of all devices, the same however the games are spread over them.

Every device draws the whole batch: first the games, from what each of them weighs, then, where the
game is its own, the time. Positions travel to the device that learns from them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Urn:
    """What is drawn from: cumulative weights along time [T, B] of this device's games, and
    along the games of all devices [G]."""

    times: jax.Array
    games: jax.Array


class Drawn(NamedTuple):
    """Time and game (on this device) of each sample [N]; whether it is on this device [N]."""

    time: jax.Array
    game: jax.Array
    here: jax.Array


def make_urn(weights: jax.Array, axis: str) -> Urn:
    """An urn for weights [T, B] of cells, at least 0; `axis` is the mesh's axis over games."""
    times = jnp.cumsum(weights, axis=0)
    return Urn(times, jnp.cumsum(jax.lax.all_gather(times[-1], axis, tiled=True)))


def draw_cells(urn: Urn, count: int, key: jax.Array, axis: str) -> Drawn:
    """Draws `count` cells in proportion to their weights, the same ones on every device.

    The key is consumed. With all weights zero the cells mean nothing.
    """
    game_key, time_key = jax.random.split(key)
    # Two levels, so that float32 stays exact enough with millions of cells.
    mark = jax.random.uniform(game_key, (count,)) * urn.games[-1]
    number = jnp.searchsorted(urn.games, mark, side="right")
    number = jnp.minimum(number, urn.games.shape[0] - 1).astype(jnp.int32)
    games = urn.times.shape[1]
    game = number - jax.lax.axis_index(axis) * games
    here = (game >= 0) & (game < games)
    game = jnp.clip(game, 0, games - 1)
    mark = jax.random.uniform(time_key, (count,)) * urn.times[-1, game]
    return Drawn(_first_above(urn.times, game, mark), game, here)


def _first_above(cumulative: jax.Array, column: jax.Array, mark: jax.Array) -> jax.Array:
    """The first row [N] at which cumulative [T, B] exceeds the mark [N] in a column [N]."""
    rows = cumulative.shape[0]
    low, high = jnp.zeros_like(column), jnp.full_like(column, rows)
    for _ in range(rows.bit_length()):
        middle = (low + high) // 2
        above = cumulative[jnp.minimum(middle, rows - 1), column] > mark
        low, high = jnp.where(above, low, middle + 1), jnp.where(above, middle, high)
    return jnp.minimum(high, rows - 1)


def hand_out(samples: Any, here: jax.Array, axis: str) -> Any:
    """Gives each device its part of samples [N, ...]: the first N / devices to the first one.

    here: [N], which samples are cells of this device; each is on exactly one.
    """

    def share(x: jax.Array) -> jax.Array:
        kind = jnp.int32 if jnp.issubdtype(x.dtype, jnp.integer) or x.dtype == bool else jnp.float32
        mine = jnp.where(here.reshape(-1, *(1,) * (x.ndim - 1)), x.astype(kind), 0)
        return jax.lax.psum_scatter(mine, axis, tiled=True).astype(x.dtype)

    return jax.tree.map(share, samples)
