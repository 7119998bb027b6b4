"""Everyday programs in plain JAX: losses and optimizers written out, kernels, simulations."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from mallocgame.suites.models.common import BF16, cross_entropy, f32, ids, spec
from mallocgame.xla.workload import Workload

OWN = "own definition"


def rms(x: jax.Array) -> jax.Array:
    """Rows of root mean square one, [..., N]."""
    wide = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.mean(wide * wide, -1, keepdims=True) + 1e-6).astype(x.dtype)


def perceptron(layers: Any, x: jax.Array) -> jax.Array:
    """Dense layers [{w, b}] with tanh between them, [B, N] to [B, M]."""
    for layer in layers[:-1]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x @ layers[-1]["w"] + layers[-1]["b"]


def dense(*widths: int) -> list[dict[str, jax.ShapeDtypeStruct]]:
    """Shapes of the layers of a perceptron."""
    pairs = itertools.pairwise(widths)
    return [{"w": f32(n, m), "b": f32(m)} for n, m in pairs]


def adam(weights: Any, first: Any, second: Any, step: jax.Array, grads: Any) -> tuple[Any, ...]:
    """One step of Adam: new weights, both moments, and the count."""
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, grads)
    step = step + 1
    scale = 1e-3 * jnp.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    moved = jax.tree.map(
        lambda w, m, v: w - scale * m / (jnp.sqrt(v) + 1e-8), weights, first, second
    )
    return moved, first, second, step


def regression_train(batch: int = 512, width: int = 1024, layers: int = 4) -> Workload:
    """A training step of a perceptron whose optimizer is written out."""
    shapes = dense(*[width] * (layers + 1))

    def step(weights: Any, first: Any, second: Any, count: Any, x: Any, y: Any) -> Any:
        def loss(weights: Any) -> jax.Array:
            return jnp.mean((perceptron(weights, x) - y) ** 2)

        value, grads = jax.value_and_grad(loss)(weights)
        return value, adam(weights, first, second, count, grads)

    arguments = (shapes, shapes, shapes, f32(), f32(batch, width), f32(batch, width))
    return Workload(step, arguments, donate=(0, 1, 2), source=OWN)


def autoencoder_train(batch: int = 1024, pixels: int = 784, code: int = 32) -> Workload:
    """A training step of a variational autoencoder, with its noise."""
    weights = (dense(pixels, 512, 2 * code), dense(code, 512, pixels))
    key = jax.eval_shape(lambda: jax.random.key(0))

    def step(weights: Any, x: Any, key: Any) -> Any:
        def loss(weights: Any) -> jax.Array:
            mean, logs = jnp.split(perceptron(weights[0], x), 2, -1)
            drawn = mean + jnp.exp(logs / 2) * jax.random.normal(key, mean.shape)
            found = perceptron(weights[1], drawn)
            prior = -0.5 * jnp.mean(1 + logs - mean**2 - jnp.exp(logs))
            return jnp.mean(jax.nn.softplus(found) - x * found) + prior

        value, grads = jax.value_and_grad(loss)(weights)
        return value, jax.tree.map(lambda w, g: w - 1e-3 * g, weights, grads)

    return Workload(step, (weights, f32(batch, pixels), key), donate=(0,), source=OWN)


def policy_train(batch: int = 2048, seen: int = 256, actions: int = 18) -> Workload:
    """A step of proximal policy optimization: clipped ratio, value loss, entropy."""
    source = "own definition; after Schulman et al., arXiv 1707.06347"
    weights = dense(seen, 512, 512, actions + 1)

    def step(weights: Any, x: Any, taken: Any, better: Any, before: Any, returns: Any) -> Any:
        def loss(weights: Any) -> jax.Array:
            out = perceptron(weights, x)
            logs = jax.nn.log_softmax(out[:, :actions])
            chosen = jnp.sum(jax.nn.one_hot(taken, actions) * logs, -1)
            ratio = jnp.exp(chosen - before)
            gain = jnp.minimum(ratio * better, jnp.clip(ratio, 0.8, 1.2) * better)
            entropy = -jnp.sum(jnp.exp(logs) * logs, -1)
            return jnp.mean((out[:, actions] - returns) ** 2 - gain - 0.01 * entropy)

        value, grads = jax.value_and_grad(loss)(weights)
        return value, jax.tree.map(lambda w, g: w - 3e-4 * g, weights, grads)

    vectors = [f32(batch)] * 3
    arguments = (weights, f32(batch, seen), ids(batch), *vectors)
    return Workload(step, arguments, donate=(0,), source=source)


def remat_train(tokens: int = 2048, width: int = 512, layers: int = 6) -> Workload:
    """A training step that computes its layers again on the way back, in a loop over them."""
    weights = {"up": spec(layers, width, 4 * width), "down": spec(layers, 4 * width, width)}

    def step(weights: Any, x: Any, y: Any) -> Any:
        @jax.checkpoint
        def layer(x: jax.Array, w: Any) -> tuple[jax.Array, None]:
            return x + jax.nn.gelu(x @ w["up"]) @ w["down"], None

        def loss(weights: Any) -> jax.Array:
            out = jax.lax.scan(layer, x, weights)[0]
            return jnp.mean((out.astype(jnp.float32) - y) ** 2)

        value, grads = jax.value_and_grad(loss)(weights)
        return value, jax.tree.map(lambda w, g: w - 0.01 * g, weights, grads)

    arguments = (weights, spec(tokens, width), f32(tokens, width))
    return Workload(step, arguments, donate=(0,), source=OWN)


def contrastive_train(batch: int = 1024, width: int = 768, code: int = 512) -> Workload:
    """The loss of two towers over all pairs of a batch, and a step along its gradient."""
    tower = [spec(width, 4 * code), spec(4 * code, code)]

    def step(towers: Any, texts: Any, images: Any) -> Any:
        def loss(towers: Any) -> jax.Array:
            sides = zip(towers, (texts, images), strict=True)
            left, right = (rms(jax.nn.gelu(x @ up) @ down) for (up, down), x in sides)
            pairs = (left @ right.T).astype(jnp.float32) / code**0.5
            own = jnp.arange(batch)
            return cross_entropy(pairs, own) + cross_entropy(pairs.T, own)

        value, grads = jax.value_and_grad(loss)(towers)
        return value, jax.tree.map(lambda w, g: w - 1e-2 * g, towers, grads)

    arguments = ([tower, tower], spec(batch, width), spec(batch, width))
    return Workload(step, arguments, donate=(0,), source=OWN)


def embeddings_train(rows: int = 100_000, width: int = 64, batch: int = 2048) -> Workload:
    """Looks up 26 embeddings an example and scatters their gradients back into the table."""
    slots = 26

    def step(table: Any, w: Any, ids: Any, y: Any) -> Any:
        def loss(table: Any, w: Any) -> jax.Array:
            looked = jax.nn.relu(table[ids].reshape(ids.shape[0], -1))
            return jnp.mean((looked @ w - y) ** 2)

        value, (on_table, on_w) = jax.value_and_grad(loss, (0, 1))(table, w)
        return value, table - 0.1 * on_table, w - 0.1 * on_w

    arguments = (f32(rows, width), f32(slots * width, 1), ids(batch, slots), f32(batch, 1))
    return Workload(step, arguments, donate=(0, 1), source=OWN)


def attention_block(batch: int = 4, length: int = 512, width: int = 1024) -> Workload:
    """Two blocks of a language model by `jax.nn.dot_product_attention`, whole sequences."""
    sizes = {"q": 1, "k": 1, "v": 1, "o": 1, "up": 4, "down": 4}
    layer = {
        name: spec(times * width, width) if name == "down" else spec(width, times * width)
        for name, times in sizes.items()
    }

    def blocks(x: Any, layers: Any) -> jax.Array:
        for w in layers:
            normal = rms(x)
            q, k, v = ((normal @ w[n]).reshape(batch, length, 8, -1) for n in "qkv")
            seen = jax.nn.dot_product_attention(q, k, v, is_causal=True)
            x = x + seen.reshape(x.shape) @ w["o"]
            x = x + jax.nn.silu(rms(x) @ w["up"]) @ w["down"]
        return x

    return Workload(blocks, (spec(batch, length, width), [layer] * 2), source=OWN)


def quantized(batch: int = 128, width: int = 2048, layers: int = 6) -> Workload:
    """Dense layers with weights of eight bits, scaled after each product."""
    weight = jax.ShapeDtypeStruct((width, width), jnp.int8)

    def infer(x: Any, weights: Any, scales: Any) -> jax.Array:
        for w, scale in zip(weights, scales, strict=True):
            x = jax.nn.relu((rms(x) @ w.astype(BF16)) * scale)
        return x

    arguments = (spec(batch, width), [weight] * layers, [spec(width)] * layers)
    return Workload(infer, arguments, source=OWN)


def _product_kernel(x_ref: Any, w_ref: Any, out_ref: Any) -> None:
    found = jnp.dot(x_ref[...], w_ref[...], preferred_element_type=jnp.float32)
    out_ref[...] = found.astype(out_ref.dtype)


def product(x: jax.Array, w: jax.Array, tile: int = 256, interpret: bool = False) -> jax.Array:
    """x [N, K] times w [K, M] by a Pallas kernel; N and M are multiples of `tile`."""
    rows, inner = x.shape
    return pl.pallas_call(
        _product_kernel,
        grid=(rows // tile, w.shape[1] // tile),
        in_specs=[
            pl.BlockSpec((tile, inner), lambda i, j: (i, 0)),
            pl.BlockSpec((inner, tile), lambda i, j: (0, j)),
        ],
        out_specs=pl.BlockSpec((tile, tile), lambda i, j: (i, j)),
        out_shape=jax.ShapeDtypeStruct((rows, w.shape[1]), x.dtype),
        interpret=interpret,
    )(x, w)


def kernels(tokens: int = 1024, width: int = 1024) -> Workload:
    """Feed-forward blocks, one of whose products is a Pallas kernel."""

    def blocks(x: Any, layers: Any) -> jax.Array:
        for up, down in layers:
            x = x + product(jax.nn.gelu(rms(x) @ up), down)
        return x

    layer = (spec(width, 2 * width), spec(2 * width, width))
    return Workload(blocks, (spec(tokens, width), [layer] * 3), source=OWN)


def kalman_step(
    move: jax.Array, look: jax.Array, noise: jax.Array, state: tuple[jax.Array, jax.Array], y: Any
) -> tuple[jax.Array, jax.Array]:
    """Mean [N] and covariance [N, N] after one observation y [M] with unit noise."""
    mean, spread = state
    mean, spread = move @ mean, move @ spread @ move.T + noise
    inner = look @ spread @ look.T + jnp.eye(len(y))
    # Newton's iteration for the inverse of a symmetric positive matrix.
    inverse = jnp.eye(len(y)) / jnp.trace(inner)
    for _ in range(12):
        inverse = inverse @ (2 * jnp.eye(len(y)) - inner @ inverse)
    gain = spread @ look.T @ inverse
    return mean + gain @ (y - look @ mean), spread - gain @ look @ spread


def kalman(steps: int = 64, state: int = 256, seen: int = 128) -> Workload:
    """A Kalman filter: a loop over observations that carries mean and covariance."""

    def run(observed: Any, move: Any, look: Any, noise: Any) -> jax.Array:
        def body(now: Any, y: Any) -> Any:
            now = kalman_step(move, look, noise, now, y)
            return now, now[0]

        return jax.lax.scan(body, (jnp.zeros(state), noise), observed)[1]

    square = f32(state, state)
    return Workload(run, (f32(steps, seen), square, f32(seen, state), square), source=OWN)


def laplacian(points: int = 2048, width: int = 512) -> Workload:
    """The Laplacian of a small network at points in space, as physics-informed networks need it."""

    def infer(layers: Any, x: Any) -> jax.Array:
        hessian = jax.hessian(lambda point: perceptron(layers, point)[0])
        return jax.vmap(lambda point: jnp.trace(hessian(point)))(x)

    return Workload(infer, (dense(3, width, width, 1), f32(points, 3)), source=OWN)


def gravity(
    place: jax.Array, speed: jax.Array, mass: jax.Array, seconds: float = 0.01
) -> tuple[jax.Array, jax.Array]:
    """A step of bodies [N, 3] that attract each other: new places and speeds."""
    apart = place[None] - place[:, None]
    inverse = jax.lax.rsqrt(jnp.sum(apart**2, -1) + 1e-3) ** 3
    speed = speed + seconds * jnp.einsum("ijk,ij,j->ik", apart, inverse, mass)
    return place + seconds * speed, speed


def bodies(count: int = 1024, steps: int = 4) -> Workload:
    """Steps of bodies that attract each other, each pair written out."""

    def simulate(place: Any, speed: Any, mass: Any) -> Any:
        one = functools.partial(gravity, mass=mass)
        for _ in range(steps):
            place, speed = one(place, speed)
        return place, speed

    return Workload(simulate, (f32(count, 3), f32(count, 3), f32(count)), source=OWN)
