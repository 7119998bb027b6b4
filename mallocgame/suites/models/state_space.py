"""State-space models: a selective scan in time (Mamba), an associative scan (LRU)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from mallocgame.suites.models.common import (
    BF16,
    Conv,
    Dense,
    Embed,
    RMSNorm,
    ids,
    inference,
    spec,
)
from mallocgame.xla.workload import Workload


def selective_scan(
    x: jax.Array, step: jax.Array, into: jax.Array, out: jax.Array, decay: jax.Array
) -> jax.Array:
    """h_t = exp(step_t decay) h_(t-1) + step_t into_t x_t; y_t = out_t . h_t.

    x, step [B, T, E]; into, out [B, T, N]; decay [N, E], negative; y [B, T, E]. All float32.
    """

    def body(state: jax.Array, now: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        x, step, into, out = now
        kept = jnp.exp(step[:, None, :] * decay) * state
        state = kept + into[:, :, None] * (step * x)[:, None, :]
        return state, jnp.sum(out[:, :, None] * state, axis=1)

    start = jnp.zeros((x.shape[0], *decay.shape))
    inputs = [a.swapaxes(0, 1) for a in (x, step, into, out)]
    return jax.lax.scan(body, start, tuple(inputs))[1].swapaxes(0, 1)


class MambaBlock(nn.Module):
    """Gated block with a causal depthwise convolution and a selective scan, [B, T, D] to same."""

    states: int = 16
    rank: int = 48

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inner = 2 * x.shape[-1]
        y, gate = jnp.split(Dense(2 * inner, use_bias=False)(x), 2, axis=-1)
        y = nn.silu(Conv(inner, (4,), padding=((3, 0),), feature_group_count=inner)(y))
        low, into, out = jnp.split(
            Dense(self.rank + 2 * self.states, use_bias=False)(y).astype(jnp.float32),
            [self.rank, self.rank + self.states],
            axis=-1,
        )
        step = nn.softplus(Dense(inner)(low).astype(jnp.float32))
        decay = -jnp.exp(
            self.param("decay", nn.initializers.zeros, (self.states, inner)).astype(jnp.float32)
        )
        direct = self.param("direct", nn.initializers.ones, (inner,))
        x32 = y.astype(jnp.float32)
        y = selective_scan(x32, step, into, out, decay).astype(BF16) + direct.astype(BF16) * y
        return Dense(x.shape[-1], use_bias=False)(y * nn.silu(gate))


class _MambaLayer(nn.Module):
    """Norm, block and residual sum, as the body of a loop over layers."""

    @nn.compact
    def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
        return x + MambaBlock()(RMSNorm()(x)), None


class Mamba(nn.Module):
    """Tokens [B, T] to logits [B, T, vocabulary]; with `scan` one loop over all layers."""

    layers: int
    width: int = 768
    vocabulary: int = 50_280
    scan: bool = False

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        embed = Embed(self.vocabulary, self.width)
        x = embed(tokens)
        if self.scan:
            loop = nn.scan(
                _MambaLayer,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=self.layers,
            )
            x, _ = loop()(x, None)
        else:
            for _ in range(self.layers):
                x, _ = _MambaLayer()(x, None)
        return embed.attend(RMSNorm()(x))


def mamba(batch: int, length: int = 256, layers: int = 4, scan: bool = False) -> Workload:
    """Mamba 130M, unrolled with few layers, or with all layers as a loop around the time loop."""
    source = "own definition; after Gu and Dao, arXiv 2312.00752"
    return inference(Mamba(layers, scan=scan), ids(batch, length), source=source)


class LruBlock(nn.Module):
    """A diagonal complex linear recurrence by associative scan, then a gated unit."""

    states: int = 512

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = RMSNorm()(x)
        real, imag = (Dense(self.states, use_bias=False)(y).astype(jnp.float32) for _ in range(2))
        log_rate, angle = (
            self.param(name, nn.initializers.uniform(1.0), (self.states,)).astype(jnp.float32)
            for name in ("rate", "angle")
        )
        size = jnp.exp(-jnp.exp(log_rate))
        # The state is kept as real and imaginary parts: the compiler has no fast complex numbers.
        coefficient = [jnp.broadcast_to(size * f(angle), real.shape) for f in (jnp.cos, jnp.sin)]
        _, _, real, imag = jax.lax.associative_scan(compose, (*coefficient, real, imag), axis=1)
        y = Dense(x.shape[-1])(jnp.concatenate([real, imag], axis=-1).astype(BF16))
        a, b = jnp.split(Dense(2 * x.shape[-1])(nn.gelu(y)), 2, axis=-1)
        return x + a * nn.sigmoid(b)


def compose(f: tuple[jax.Array, ...], g: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """First x -> p x + q by f, then by g, for complex numbers as (p, p', q, q')."""
    fr, fi, ur, ui = f
    gr, gi, vr, vi = g
    return (gr * fr - gi * fi, gr * fi + gi * fr, gr * ur - gi * ui + vr, gr * ui + gi * ur + vi)


class LruClassifier(nn.Module):
    """Sequences [B, T, C] to logits [B, 10], as on sequential CIFAR-10."""

    layers: int = 6
    width: int = 512

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Dense(self.width)(x)
        for _ in range(self.layers):
            x = LruBlock()(x)
        return Dense(10)(jnp.mean(x, axis=1))


def lru(batch: int, length: int = 1024, layers: int = 6) -> Workload:
    """Linear recurrent units over a sequence of pixels."""
    source = "own definition; after Orvieto et al., arXiv 2303.06349"
    return inference(LruClassifier(layers), spec(batch, length, 3), source=source)
