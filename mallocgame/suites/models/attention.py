"""Transformer blocks shared by the families: attention, gated and plain networks, caches.

Shapes: B batch, T new positions, S positions attended to, D width, H heads, K key/value heads,
W width of a head.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from mallocgame.suites.models.common import BF16, Dense, LayerNorm, RMSNorm, spec

# Keys and values of one attention layer, [B, K, S, W] each.
Cache = tuple[jax.Array, jax.Array]


@dataclasses.dataclass(frozen=True)
class Shape:
    """One kind of transformer block.

    kv_heads: fewer than `heads` for grouped queries; 0 means as many.
    causal: positions see only those before them.
    rotary: rotary position embedding of queries and keys.
    gated: three-matrix network with SiLU, else two matrices with GELU.
    rms: root mean square norm without bias, else layer norm; also drops all other biases.
    post_norm: norm after the sum (BERT), else before the sublayer.
    """

    width: int
    heads: int
    hidden: int
    kv_heads: int = 0
    causal: bool = False
    rotary: bool = False
    gated: bool = False
    rms: bool = False
    post_norm: bool = False

    @property
    def keys(self) -> int:
        """Number of key/value heads."""
        return self.kv_heads or self.heads

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.width // self.heads

    def norm(self) -> nn.Module:
        """A new norm of this block's kind."""
        return RMSNorm() if self.rms else LayerNorm()

    def cache(self, batch: int, length: int) -> Any:
        """Shapes of an attention layer's cache."""
        one = spec(batch, self.keys, length, self.head_width)
        return (one, one)


def rotate(x: jax.Array, positions: jax.Array) -> jax.Array:
    """Rotary embedding (Su et al., arXiv 2104.09864) of [B, T, H, W] at positions [T]."""
    half = x.shape[-1] // 2
    frequency = 10_000.0 ** (-jnp.arange(half) / half)
    angle = positions[:, None] * frequency
    cos, sin = jnp.cos(angle)[:, None, :], jnp.sin(angle)[:, None, :]
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1).astype(BF16)


def append(cache: Cache, new: Cache, index: jax.Array | int) -> Cache:
    """Writes new keys and values [B, K, T, W] at position `index`, in place if donated."""
    write = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=index, axis=2)
    return write(cache[0], new[0]), write(cache[1], new[1])


def attend(q: jax.Array, k: jax.Array, v: jax.Array, bias: jax.Array | None) -> jax.Array:
    """Queries [B, T, H, W] over keys and values [B, K, S, W], to [B, T, H * W].

    bias: added to the float32 scores [B, K, H / K, T, S], or None.
    """
    batch, new, heads, width = q.shape
    q = q.reshape(batch, new, k.shape[1], heads // k.shape[1], width)
    scores = jnp.einsum("btkgw,bksw->bkgts", q, k, preferred_element_type=jnp.float32)
    scores = scores * width**-0.5
    if bias is not None:
        scores = scores + bias
    weights = jax.nn.softmax(scores, axis=-1).astype(BF16)
    return jnp.einsum("bkgts,bksw->btkgw", weights, v).reshape(batch, new, heads * width)


def causal_bias(new: int, length: int, index: jax.Array | int) -> jax.Array:
    """The bias [T, S]: zero if position index + t may see position s, else very negative."""
    return jnp.where(jnp.arange(length) <= index + jnp.arange(new)[:, None], 0.0, -1e9)


class SelfAttention(nn.Module):
    """Attention of a block over itself and, while decoding, over its cache."""

    shape: Shape

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        cache: Cache | None = None,
        index: jax.Array | int = 0,
        bias: jax.Array | None = None,
    ) -> tuple[jax.Array, Cache]:
        """Maps x [B, T, D] at positions index.. to its shape.

        Also returns the keys and values so far.
        """
        c = self.shape
        batch, new, _ = x.shape
        project = functools.partial(Dense, use_bias=not c.rms)
        q = project(c.width)(x).reshape(batch, new, c.heads, c.head_width)
        k, v = (
            project(c.keys * c.head_width)(x).reshape(batch, new, c.keys, c.head_width)
            for _ in range(2)
        )
        if c.rotary:
            positions = index + jnp.arange(new)
            q, k = rotate(q, positions), rotate(k, positions)
        kv = (k.swapaxes(1, 2), v.swapaxes(1, 2))
        if cache is not None:
            kv = append(cache, kv, index)
        if c.causal:
            mask = causal_bias(new, kv[0].shape[2], index)
            bias = mask if bias is None else bias + mask
        return project(x.shape[-1])(attend(q, *kv, bias)), kv


class CrossAttention(nn.Module):
    """Attention over a memory [B, S, D], or over its precomputed keys and values."""

    shape: Shape

    @nn.compact
    def __call__(self, x: jax.Array, memory: jax.Array | Cache) -> jax.Array:
        c = self.shape
        project = functools.partial(Dense, use_bias=not c.rms)
        q = project(c.width)(x).reshape(*x.shape[:2], c.heads, c.head_width)
        if not isinstance(memory, tuple):
            batch, length, _ = memory.shape
            k, v = (
                project(c.width)(memory).reshape(batch, length, c.heads, c.head_width)
                for _ in range(2)
            )
            memory = (k.swapaxes(1, 2), v.swapaxes(1, 2))
        return project(x.shape[-1])(attend(q, *memory, None))


class Network(nn.Module):
    """The position-wise network of a block."""

    shape: Shape

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        c = self.shape
        project = functools.partial(Dense, use_bias=not c.rms)
        if c.gated:
            y = nn.silu(project(c.hidden)(x)) * project(c.hidden)(x)
        else:
            y = nn.gelu(project(c.hidden)(x))
        return project(x.shape[-1])(y)


class Block(nn.Module):
    """Self-attention, cross-attention if there is a memory, and network, each with a residual."""

    shape: Shape

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        cache: Cache | None = None,
        index: jax.Array | int = 0,
        memory: jax.Array | Cache | None = None,
        bias: jax.Array | None = None,
    ) -> tuple[jax.Array, Cache]:
        c = self.shape
        before = (lambda y: y) if c.post_norm else (lambda y: c.norm()(y))
        after = (lambda y: c.norm()(y)) if c.post_norm else (lambda y: y)
        y, cache = SelfAttention(c)(before(x), cache, index, bias)
        x = after(x + y)
        if memory is not None:
            x = after(x + CrossAttention(c)(before(x), memory))
        return after(x + Network(c)(before(x))), cache


class _Layer(nn.Module):
    """A block as the body of a loop over layers."""

    shape: Shape

    @nn.compact
    def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
        return Block(self.shape)(x)[0], None


class Stack(nn.Module):
    """`layers` blocks and a final norm, [B, T, D] to [B, T, D]; with `scan` a loop over layers."""

    shape: Shape
    layers: int
    scan: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.scan:
            loop = nn.scan(
                _Layer,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=self.layers,
            )
            x, _ = loop(self.shape)(x, None)
        else:
            for _ in range(self.layers):
                x, _ = Block(self.shape)(x)
        return x if self.shape.post_norm else self.shape.norm()(x)
