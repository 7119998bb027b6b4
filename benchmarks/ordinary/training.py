"""Steps of training: gradients, optimizers, losses."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.ordinary.listed import ordinary
from mallocgame.suites.models.common import f32, ids, spec
from mallocgame.suites.models.everyday import rms

DENSE = [{"w": f32(1024, 1024), "b": f32(1024)} for _ in range(3)]
WIDE = [{"w": f32(768, 3072), "b": f32(3072)}, {"w": f32(3072, 768), "b": f32(768)}]


def dense(layers: Any, x: jax.Array) -> jax.Array:
    """A perceptron with GELU between its layers."""
    for number, layer in enumerate(layers):
        x = x @ layer["w"] + layer["b"]
        x = jax.nn.gelu(x) if number < len(layers) - 1 else x
    return x


def squared(layers: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Mean squared error."""
    return jnp.mean((dense(layers, x) - y) ** 2)


@ordinary("optax", DENSE, DENSE, DENSE, f32(), f32(256, 1024), f32(256, 1024), donate=(0, 1, 2))
def adamw_step(layers: Any, first: Any, second: Any, step: Any, x: Any, y: Any) -> Any:
    """One step of Adam with decoupled weight decay."""
    grads = jax.grad(squared)(layers, x, y)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
    second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, second, grads)
    step = step + 1

    def new(w: Any, m: Any, v: Any) -> Any:
        ahead = m / (1 - 0.9**step) / (jnp.sqrt(v / (1 - 0.99**step)) + 1e-8)
        return w - 1e-3 * (ahead + 1e-2 * w)

    return jax.tree.map(new, layers, first, second), first, second, step


@ordinary("optax", WIDE, WIDE, f32(512, 768), f32(512, 768), donate=(0, 1), capacity_mib=16)
def lion_step(layers: Any, slow: Any, x: Any, y: Any) -> Any:
    """One step of Lion: the sign of an average of gradients."""
    grads = jax.grad(squared)(layers, x, y)
    sign = jax.tree.map(lambda m, g: jnp.sign(0.9 * m + 0.1 * g), slow, grads)
    layers = jax.tree.map(lambda w, s: w - 1e-4 * s, layers, sign)
    return layers, jax.tree.map(lambda m, g: 0.99 * m + 0.01 * g, slow, grads)


@ordinary("optax", DENSE, DENSE, f32(512, 1024), f32(512, 1024), donate=(0, 1), chip="v5e")
def momentum_step(layers: Any, speed: Any, x: Any, y: Any) -> Any:
    """One step of momentum with gradients clipped by their common norm."""
    loss, grads = jax.value_and_grad(squared)(layers, x, y)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
    grads = jax.tree.map(lambda g: g * jnp.minimum(1.0, 1.0 / norm), grads)
    speed = jax.tree.map(lambda v, g: 0.9 * v + g, speed, grads)
    return loss, jax.tree.map(lambda w, v: w - 0.1 * v, layers, speed), speed


@ordinary("equinox", f32(8, 512, 1024), f32(8, 1024, 512), f32(256, 512))
def ensemble(up: Any, down: Any, x: Any) -> Any:
    """Mean and spread of eight perceptrons, mapped over their weights."""
    found = jax.vmap(lambda u, d: jax.nn.relu(x @ u) @ d)(up, down)
    return found.mean(0), found.std(0)


@ordinary("keras", f32(784, 512), f32(512, 64), f32(64, 512), f32(512, 784), f32(1024, 784),
          jax.eval_shape(lambda: jax.random.key(0)), capacity_mib=8)  # fmt: skip
def autoencoder_step(enter: Any, code: Any, back: Any, leave: Any, x: Any, key: Any) -> Any:
    """A step of a variational autoencoder, with noise."""

    def loss(weights: Any) -> Any:
        enter, code, back, leave = weights
        both = jax.nn.relu(x @ enter) @ code
        mean, logs = jnp.split(both, 2, -1)
        drawn = mean + jnp.exp(logs / 2) * jax.random.normal(key, mean.shape)
        pixels = jax.nn.relu(drawn @ back[:32]) @ leave
        prior = -0.5 * jnp.mean(1 + logs - mean**2 - jnp.exp(logs))
        return jnp.mean(jax.nn.softplus(pixels) - x * pixels) + prior

    weights = (enter, code, back, leave)
    return jax.tree.map(lambda w, g: w - 1e-3 * g, weights, jax.grad(loss)(weights))


@ordinary("flax", f32(1024, 1024), f32(1024, 4096), f32(4096, 1024), f32(512, 1024),
          jax.eval_shape(lambda: jax.random.key(0)))  # fmt: skip
def dropout_block(mix: Any, up: Any, down: Any, x: Any, key: Any) -> Any:
    """A gated block with dropout and a residual."""
    hidden = jax.nn.silu(x @ up)
    kept = jax.random.bernoulli(key, 0.9, hidden.shape)
    return rms(x @ mix + jnp.where(kept, hidden / 0.9, 0) @ down)


@ordinary("coax", [f32(256, 512), f32(512, 512), f32(512, 19)], f32(2048, 256), ids(2048),
          f32(2048), f32(2048), capacity_mib=4)  # fmt: skip
def policy_step(weights: Any, seen: Any, taken: Any, better: Any, before: Any) -> Any:
    """A clipped policy gradient with value loss and entropy."""

    def loss(weights: Any) -> Any:
        hidden = jnp.tanh(jnp.tanh(seen @ weights[0]) @ weights[1]) @ weights[2]
        logs = jax.nn.log_softmax(hidden[:, :18])
        chosen = jnp.take_along_axis(logs, taken[:, None], 1)[:, 0]
        ratio = jnp.exp(chosen - before)
        gain = jnp.minimum(ratio * better, jnp.clip(ratio, 0.8, 1.2) * better)
        entropy = -jnp.sum(jnp.exp(logs) * logs, -1)
        return jnp.mean(-gain - 0.01 * entropy + (hidden[:, 18] - better) ** 2)

    return jax.tree.map(lambda w, g: w - 3e-4 * g, weights, jax.grad(loss)(weights))


@ordinary("flax", spec(512, 768), spec(512, 768), spec(768, 2048), spec(2048, 512),
          spec(768, 2048), spec(2048, 512), chip="v6e")  # fmt: skip
def contrastive(texts: Any, images: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """The loss of two towers over all pairs, and its gradient."""

    def loss(weights: Any) -> Any:
        a, b, c, d = weights
        left, right = rms(jax.nn.gelu(texts @ a) @ b), rms(jax.nn.gelu(images @ c) @ d)
        pairs = (left @ right.T).astype(jnp.float32) / 20
        rows, columns = jax.nn.log_softmax(pairs, 0), jax.nn.log_softmax(pairs, 1)
        return -jnp.mean(jnp.diag(rows) + jnp.diag(columns))

    return jax.value_and_grad(loss)((a, b, c, d))
