"""The first part of the representation: an observation to a latent.

A plain observation goes through a residual MLP as it is.  Of a rich one (`rich_observation.LAYOUT`)
every part has its own reader: a residual tower runs over the memory profile along time, attention
over the window of stops, whose first token is the stop in question; what they find is joined with
the question's features.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from agent.config import NetworkConfig
from mallocgame.game.observe.rich import BINS, LAYOUT, PROSPECTS, TIMES, TOKEN, WINDOW

_SMALL = nn.initializers.normal(0.02)


class Block(nn.Module):
    """A pre-normalised residual block."""

    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.LayerNorm()(x)
        y = nn.relu(nn.Dense(self.hidden)(y))
        return x + nn.Dense(x.shape[-1])(y)


class PartsEncoder(nn.Module):
    """Reads the parts of a rich observation, [.., F] to [.., latent]."""

    config: NetworkConfig

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        c = self.config
        parts = [observation[..., LAYOUT.question]]
        if c.profile:
            parts.append(_Tower(c.channels, c.tower_blocks)(observation))
        if c.window:
            parts.append(_Window(c.width, c.heads, c.attention_layers)(observation))
        x = nn.Dense(c.latent)(jnp.concatenate(parts, axis=-1))
        for _ in range(c.representation_blocks):
            x = Block(c.hidden)(x)
        return x


class _Tower(nn.Module):
    """Residual convolutions along the times of the profile, [.., F] to [.., TIMES * channels].

    The bins of offsets are channels, beside the bins of the value in question and the prospects: a
    place is free over an interval of times, and which place it is matters.
    """

    channels: int
    blocks: int

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        batch, times = observation.shape[:-1], len(TIMES)
        profile = observation[..., LAYOUT.profile].reshape(*batch, times, BINS)
        footprint = jnp.broadcast_to(observation[..., None, LAYOUT.footprint], profile.shape)
        prospects = observation[..., LAYOUT.prospects].reshape(*batch, PROSPECTS, times)
        x = jnp.concatenate([profile, footprint, prospects.swapaxes(-1, -2)], axis=-1)
        x = nn.Dense(self.channels)(x)
        x += self.param("times", _SMALL, (times, self.channels))
        for _ in range(self.blocks):
            y = nn.relu(nn.LayerNorm()(x))
            y = nn.relu(nn.Dense(self.channels)(_neighbours(y)))
            x += nn.Dense(self.channels)(_neighbours(y))
        return nn.relu(nn.LayerNorm()(x)).reshape(*batch, -1)


def _neighbours(x: jax.Array) -> jax.Array:
    """Each time beside the ones before and after it, [.., T, C] to [.., T, 3 C]: a dense layer over
    it is a convolution of width three, as one matrix product."""
    padded = jnp.pad(x, (*((0, 0),) * (x.ndim - 2), (1, 1), (0, 0)))
    return jnp.concatenate([padded[..., :-2, :], x, padded[..., 2:, :]], axis=-1)


class _Window(nn.Module):
    """Attention over the stops, [.., F] to [.., 2 * width]: the question's token and their mean."""

    width: int
    heads: int
    layers: int

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        tokens = observation[..., LAYOUT.window]
        tokens = tokens.reshape(*tokens.shape[:-1], 1 + WINDOW, TOKEN)
        x = nn.Dense(self.width)(tokens)
        x += self.param("places", _SMALL, (1 + WINDOW, self.width))
        for _ in range(self.layers):
            y = nn.LayerNorm()(x)
            x += nn.MultiHeadDotProductAttention(self.heads)(y, y)
            x = Block(2 * self.width)(x)
        x = nn.LayerNorm()(x)
        return jnp.concatenate([x[..., 0, :], jnp.mean(x, axis=-2)], axis=-1)
