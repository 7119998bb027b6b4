"""Attention, recurrence and decoding."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.ordinary.listed import ordinary
from mallocgame.suites.models.common import f32, ids, spec
from mallocgame.suites.models.everyday import rms

WIDTH, HEADS = 1024, 8
LAYER = {
    "q": spec(WIDTH, WIDTH), "k": spec(WIDTH, WIDTH), "v": spec(WIDTH, WIDTH),
    "o": spec(WIDTH, WIDTH), "up": spec(WIDTH, 4 * WIDTH), "down": spec(4 * WIDTH, WIDTH),
}  # fmt: skip
SMALL = {name: spec(*(n // 2 for n in s.shape)) for name, s in LAYER.items()}
CACHE = spec(8, 1024, HEADS, WIDTH // HEADS)


def heads(x: jax.Array, w: jax.Array, many: int = HEADS) -> jax.Array:
    """[B, L, D] to [B, L, heads, D / heads]."""
    return (x @ w).reshape(*x.shape[:2], many, -1)


def block(x: jax.Array, layer: Any, **kind: Any) -> jax.Array:
    """A transformer block with normalization ahead of both parts."""
    q, k, v = (heads(rms(x), layer[name]) for name in "qkv")
    x = x + jax.nn.dot_product_attention(q, k, v, **kind).reshape(x.shape) @ layer["o"]
    return x + jax.nn.silu(rms(x) @ layer["up"]) @ layer["down"]


@ordinary("flax", spec(2, 512, WIDTH), LAYER)
def causal_block(x: Any, layer: Any) -> Any:
    """One block of a language model, whole sequence."""
    return block(x, layer, is_causal=True)


@ordinary("flax", spec(2, 512, WIDTH), LAYER, chip="v5e", capacity_mib=16)
def causal_block_v5e(x: Any, layer: Any) -> Any:
    """The same for another chip with less memory."""
    return block(x, layer, is_causal=True)


@ordinary("haiku", spec(4, 196, WIDTH // 2), [SMALL] * 3, capacity_mib=4)
def vision_blocks(x: Any, layers: Any) -> Any:
    """Three blocks over patches."""
    for layer in layers:
        x = block(x, layer)
    return x.mean(1)


@ordinary("flax", spec(1, 1024, WIDTH // 2), SMALL, chip="v6e", capacity_mib=8)
def window_block(x: Any, layer: Any) -> Any:
    """A block whose attention sees 128 steps back."""
    return block(x, layer, is_causal=True, local_window_size=(128, 0))


@ordinary("perceiver", spec(1, 256, WIDTH), spec(1, 2048, WIDTH), LAYER)
def cross_block(x: Any, bytes_: Any, layer: Any) -> Any:
    """A few latents attend to many inputs."""
    q, k, v = heads(rms(x), layer["q"]), heads(bytes_, layer["k"]), heads(bytes_, layer["v"])
    x = x + jax.nn.dot_product_attention(q, k, v).reshape(x.shape) @ layer["o"]
    return x + jax.nn.gelu(rms(x) @ layer["up"]) @ layer["down"]


def decode(x: jax.Array, place: jax.Array, caches: Any, layers: Any) -> Any:
    """One token through all layers; each has a cache of keys and one of values."""
    kept = []
    for (keys, values), layer in zip(caches, layers, strict=True):
        q, k, v = (heads(rms(x)[:, None], layer[name]) for name in "qkv")
        keys = jax.lax.dynamic_update_slice(keys, k, (0, place, 0, 0))
        values = jax.lax.dynamic_update_slice(values, v, (0, place, 0, 0))
        scores = jnp.einsum("bohd,blhd->bhl", q, keys).astype(jnp.float32)
        scores = jnp.where(jnp.arange(keys.shape[1]) <= place, scores, -1e9)
        share = jax.nn.softmax(scores).astype(x.dtype)
        x = x + jnp.einsum("bhl,blhd->bhd", share, values).reshape(x.shape) @ layer["o"]
        x = x + jax.nn.silu(rms(x) @ layer["up"]) @ layer["down"]
        kept.append((keys, values))
    return x, kept


@ordinary("maxtext", spec(8, WIDTH), ids(), [(CACHE, CACHE)] * 2, [LAYER] * 2, donate=(2,))
def decode_two(x: Any, place: Any, caches: Any, layers: Any) -> Any:
    """A step of decoding."""
    return decode(x, place, caches, layers)


@ordinary("maxtext", spec(8, WIDTH), ids(), [(CACHE, CACHE)] * 3, [LAYER] * 3, donate=(2,),
          chip="v5e", capacity_mib=32)  # fmt: skip
def decode_three_v5e(x: Any, place: Any, caches: Any, layers: Any) -> Any:
    """Three layers, another chip."""
    return decode(x, place, caches, layers)


STACK = {"up": spec(6, 512, 2048), "down": spec(6, 2048, 512)}


@ordinary("maxtext", STACK, spec(1024, 512), f32(1024, 512), donate=(0,))
def scanned_step(layers: Any, x: Any, y: Any) -> Any:
    """A training step that scans over its layers and computes them again on the way back."""

    def loss(layers: Any) -> Any:
        @jax.checkpoint
        def one(x: Any, w: Any) -> Any:
            return x + jax.nn.gelu(x @ w["up"]) @ w["down"], None

        return jnp.mean((jax.lax.scan(one, x, layers)[0].astype(jnp.float32) - y) ** 2)

    return jax.tree.map(lambda w, g: w - 0.01 * g, layers, jax.grad(loss)(layers))


@ordinary("haiku", f32(64, 64, 256), f32(512, 1024), f32(1024), capacity_mib=8)
def lstm(x: Any, w: Any, b: Any) -> Any:
    """A recurrent network over 64 steps."""

    def cell(carry: Any, now: Any) -> Any:
        h, c = carry
        i, g, f, o = jnp.split(jnp.concatenate([now, h], -1) @ w + b, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    start = jnp.zeros((64, 256))
    return jax.lax.scan(cell, (start, start), x)[1]


@ordinary("equinox", f32(8, 1024, 512), f32(512, 512), f32(512, 512), f32(512))
def linear_recurrence(x: Any, enter: Any, leave: Any, decay: Any) -> Any:
    """A state space layer by an associative scan."""

    def joined(a: Any, b: Any) -> Any:
        return a[0] * b[0], b[0] * a[1] + b[1]

    inputs = x @ enter
    rates = jnp.broadcast_to(jax.nn.sigmoid(decay), inputs.shape)
    return jax.nn.gelu(jax.lax.associative_scan(joined, (rates, inputs), axis=1)[1]) @ leave


@ordinary("mixer", spec(32, 196, 512), spec(196, 256), spec(256, 196), spec(512, 2048),
          spec(2048, 512), chip="v6e", capacity_mib=16)  # fmt: skip
def mixer_block(x: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Mixes patches, then channels."""
    x = x + jnp.einsum("bcs,st->btc", jax.nn.gelu(jnp.einsum("bpc,ps->bcs", x, a)), b)
    return x + jax.nn.gelu(rms(x) @ c) @ d
