"""Random numbers that belong to a game, not to the device that plays it.

Every game of a run has a number. What is drawn for it comes from a key and this number alone, so
that a game's chances do not depend on how the games are spread over devices.
"""

from __future__ import annotations

from collections.abc import Callable

import jax


def keys_of(key: jax.Array, number: jax.Array) -> jax.Array:
    """One key for each of the games with these numbers [B]; the key is consumed."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, number)


def draw(sampler: Callable[[jax.Array], jax.Array], key: jax.Array, number: jax.Array) -> jax.Array:
    """What `sampler` makes of the key of each game, [B, ...]; the key is consumed."""
    return jax.vmap(sampler)(keys_of(key, number))
