"""Convolutions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.ordinary.listed import ordinary
from mallocgame.suites.models.common import f32, spec


def conv(x: jax.Array, w: jax.Array, stride: int = 1, groups: int = 1) -> jax.Array:
    """Two-dimensional, channels last, padded to keep the size."""
    return jax.lax.conv_general_dilated(
        x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )  # fmt: skip


def grouped(x: jax.Array, groups: int = 8) -> jax.Array:
    """Group normalization."""
    parts = x.reshape(*x.shape[:3], groups, -1).astype(jnp.float32)
    mean = parts.mean((1, 2, 4), keepdims=True)
    spread = parts.var((1, 2, 4), keepdims=True)
    return ((parts - mean) * jax.lax.rsqrt(spread + 1e-5)).reshape(x.shape).astype(x.dtype)


RESIDUAL = [{"a": spec(1, 1, 256, 64), "b": spec(3, 3, 64, 64), "c": spec(1, 1, 64, 256)}] * 3


@ordinary("flax", spec(8, 56, 56, 256), RESIDUAL, capacity_mib=16)
def bottlenecks(x: Any, layers: Any) -> Any:
    """Three residual blocks."""
    for w in layers:
        x = jax.nn.relu(x + conv(jax.nn.relu(conv(jax.nn.relu(conv(x, w["a"])), w["b"])), w["c"]))
    return x


@ordinary("flax", spec(8, 56, 56, 256), RESIDUAL[:1], spec(8, 56, 56, 256), donate=(1,))
def bottleneck_step(x: Any, layers: Any, y: Any) -> Any:
    """The gradient of one residual block."""

    def loss(w: Any) -> Any:
        return jnp.mean((bottlenecks(x, w) - y).astype(jnp.float32) ** 2)

    return jax.tree.map(lambda w, g: w - 0.1 * g, layers, jax.grad(loss)(layers))


@ordinary("keras", spec(4, 56, 56, 96), spec(1, 1, 96, 384), spec(3, 3, 1, 384),
          spec(1, 1, 384, 96), capacity_mib=8)  # fmt: skip
def inverted_residual(x: Any, widen: Any, each: Any, narrow: Any) -> Any:
    """Widens, filters each channel, narrows."""
    wide = jax.nn.relu6(conv(x, widen))
    return x + conv(jax.nn.relu6(conv(wide, each, groups=384)), narrow)


@ordinary("diffusers", spec(2, 32, 32, 128), spec(3, 3, 128, 128), spec(3, 3, 128, 256),
          spec(3, 3, 256, 256), spec(3, 3, 384, 128), chip="v5e", capacity_mib=8)  # fmt: skip
def small_unet(x: Any, same: Any, down: Any, middle: Any, up: Any) -> Any:
    """Down, middle, up, with a skip connection."""
    kept = x + conv(jax.nn.silu(grouped(x)), same)
    low = conv(jax.nn.silu(grouped(kept)), down, 2)
    low = low + conv(jax.nn.silu(grouped(low)), middle)
    high = jnp.repeat(jnp.repeat(low, 2, 1), 2, 2)
    return conv(jax.nn.silu(jnp.concatenate([kept, high], -1)), up)


@ordinary("haiku", f32(4, 4096, 64), [f32(2, 64, 128)] * 4, [f32(64, 64)] * 4)
def dilated_audio(x: Any, filters: Any, mixes: Any) -> Any:
    """Gated dilated convolutions with skip connections."""
    total = jnp.zeros_like(x)
    for power, (w, mix) in enumerate(zip(filters, mixes, strict=True)):
        wide = jax.lax.conv_general_dilated(
            x, w, (1,), [(2**power, 0)], rhs_dilation=(2**power,),
            dimension_numbers=("NWC", "WIO", "NWC"),
        )  # fmt: skip
        a, b = jnp.split(wide, 2, -1)
        gated = jnp.tanh(a) * jax.nn.sigmoid(b)
        total, x = total + gated, x + gated @ mix
    return total


@ordinary("keras", f32(16, 64, 64, 32), f32(3, 3, 32, 64), f32(3, 3, 64, 64), f32(16384, 10))
def small_classifier(x: Any, a: Any, b: Any, last: Any) -> Any:
    """Convolutions, pooling, a dense layer."""
    for w in (a, b):
        x = jax.nn.relu(conv(x, w))
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return jax.nn.log_softmax(x.reshape(16, -1) @ last)
