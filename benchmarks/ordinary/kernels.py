"""Pallas kernels, quantized weights, odd types."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from benchmarks.ordinary.listed import ordinary
from mallocgame.suites.models.common import f32, spec
from mallocgame.suites.models.everyday import product, rms


@ordinary("pallas", spec(1024, 1024), spec(1024, 2048), spec(2048, 1024), spec(1024, 1024))
def kernel_chain(x: Any, a: Any, b: Any, c: Any) -> Any:
    """Two kernels between ordinary instructions."""
    return jax.nn.relu(product(jax.nn.gelu(product(x, a)), b)) @ c


def _softmax(x_ref: Any, out_ref: Any) -> None:
    x = x_ref[...]
    raised = jnp.exp(x - x.max(-1, keepdims=True))
    out_ref[...] = raised / raised.sum(-1, keepdims=True)


@ordinary("pallas", f32(2048, 512), f32(512, 1024), f32(1024, 512), chip="v5e")
def kernel_softmax(x: Any, a: Any, b: Any) -> Any:
    """A softmax by a kernel."""
    scores = x @ a
    tile = pl.BlockSpec((256, 1024), lambda i: (i, 0))
    shape = jax.ShapeDtypeStruct(scores.shape, scores.dtype)
    found = pl.pallas_call(_softmax, grid=(8,), in_specs=[tile], out_specs=tile, out_shape=shape)(
        scores
    )
    return found @ b


INT8 = jax.ShapeDtypeStruct((2048, 2048), jnp.int8)


@ordinary("qwix", spec(128, 2048), [INT8] * 4, [spec(2048)] * 4)
def quantized(x: Any, weights: Any, scales: Any) -> Any:
    """Layers with weights of eight bits."""
    for w, scale in zip(weights, scales, strict=True):
        x = jax.nn.relu((rms(x) @ w.astype(jnp.bfloat16)) * scale)
    return x


@ordinary("jax", spec(64, 1024), [spec(1024, 1024)] * 8, capacity_mib=8)
def deep_inference(x: Any, weights: Any) -> Any:
    """Eight layers whose weights do not all fit."""
    for w in weights:
        x = jax.nn.relu(rms(x) @ w)
    return x


@ordinary("jax", spec(64, 1024), [spec(1024, 1024)] * 8, chip="v6e", capacity_mib=8)
def deep_inference_v6e(x: Any, weights: Any) -> Any:
    """The same for another chip."""
    return deep_inference(x, weights)


@ordinary("jax", f32(1024, 1024), f32(1024, 1024), f32(1024, 1024), chip="tpu7x")
def matrix_functions(a: Any, b: Any, c: Any) -> Any:
    """Products that share their factors."""
    ab, bc = a @ b, b @ c
    return jnp.tanh(ab @ bc) + ab - bc, jnp.linalg.norm(ab - c)


@ordinary("jax", spec(256, 1024), spec(1024, 4096), spec(4096, 1024), spec(1024, 4096),
          spec(4096, 1024), chip="v5p", capacity_mib=16)  # fmt: skip
def two_blocks_v5p(x: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Two feed-forward blocks."""
    x = x + jax.nn.gelu(rms(x) @ a) @ b
    return x + jax.nn.gelu(rms(x) @ c) @ d
