"""The first part of the representation: an observation to a latent.

A residual MLP reads any observation as one vector.  The other encoder reads it part by part, as the
game's specification names them: features as they are, series by a residual tower along their common
axis, tokens by attention; what they find is joined.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from agent.config import NetworkConfig
from gamekit.observation import ObservationSpec, Part

_SMALL = nn.initializers.normal(0.02)


class Block(nn.Module):
    """A pre-normalised residual block; `dropout` is the share of its hidden units left out."""

    hidden: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.LayerNorm()(x)
        y = nn.relu(nn.Dense(self.hidden)(y))
        y = nn.Dropout(self.dropout, deterministic=not self.dropout)(y)
        return x + nn.Dense(x.shape[-1])(y)


class PartsEncoder(nn.Module):
    """Reads the parts of an observation, [..., F] to [..., latent]."""

    config: NetworkConfig
    spec: ObservationSpec
    dropout: float = 0.0

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        c = self.config

        def read(part: Part) -> jax.Array:
            x = observation[..., self.spec.slices[part.name]]
            return x.reshape(*x.shape[:-1], *part.shape)

        flat = [read(part) for part in self.spec.of_kind("features")]
        found = [x.reshape(*observation.shape[:-1], -1) for x in flat]
        if series := self.spec.of_kind("series"):
            found.append(_Tower(c.channels, c.tower_blocks)([read(part) for part in series]))
        for part in self.spec.of_kind("tokens"):
            found.append(_Tokens(c.width, c.heads, c.attention_layers)(read(part)))
        x = nn.Dense(c.latent)(jnp.concatenate(found, axis=-1))
        for _ in range(c.representation_blocks):
            x = Block(c.hidden, self.dropout)(x)
        return x


class _Tower(nn.Module):
    """Residual convolutions along the axis of the series, [..., T, C] each, to [..., T * channels].

    All series are channels beside each other.
    """

    channels: int
    blocks: int

    @nn.compact
    def __call__(self, series: list[jax.Array]) -> jax.Array:
        *batch, length, _ = max(series, key=lambda x: x.shape[-2]).shape
        x = jnp.concatenate(
            [jnp.broadcast_to(s, (*batch, length, s.shape[-1])) for s in series], axis=-1
        )
        x = nn.Dense(self.channels)(x)
        x += self.param("places", _SMALL, (length, self.channels))
        for _ in range(self.blocks):
            y = nn.relu(nn.LayerNorm()(x))
            y = nn.relu(nn.Dense(self.channels)(_neighbours(y)))
            x += nn.Dense(self.channels)(_neighbours(y))
        return nn.relu(nn.LayerNorm()(x)).reshape(*batch, -1)


def _neighbours(x: jax.Array) -> jax.Array:
    """Each place beside the ones before and after it, [..., T, C] to [..., T, 3 C]: a dense layer
    over it is a convolution of width three, as one matrix product."""
    padded = jnp.pad(x, (*((0, 0),) * (x.ndim - 2), (1, 1), (0, 0)))
    return jnp.concatenate([padded[..., :-2, :], x, padded[..., 2:, :]], axis=-1)


class _Tokens(nn.Module):
    """Attention over tokens [..., N, C], to [..., 2 * width]: the first token's and the mean's."""

    width: int
    heads: int
    layers: int

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = nn.Dense(self.width)(tokens)
        x += self.param("places", _SMALL, (tokens.shape[-2], self.width))
        for _ in range(self.layers):
            y = nn.LayerNorm()(x)
            x += nn.MultiHeadDotProductAttention(self.heads)(y, y)
            x = Block(2 * self.width)(x)
        x = nn.LayerNorm()(x)
        return jnp.concatenate([x[..., 0, :], jnp.mean(x, axis=-2)], axis=-1)
