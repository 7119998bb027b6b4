"""The everyday programs do what they are named after, by independent computations."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mallocgame.suites.models import everyday


def test_adam_is_the_one_of_optax():
    random = np.random.default_rng(0)
    weights = [jnp.asarray(random.normal(size=(3, 2)), jnp.float32)]
    zero = jax.tree.map(jnp.zeros_like, weights)
    update = optax.adam(1e-3)
    theirs: Any = weights
    state, first, second, step = update.init(weights), zero, zero, jnp.zeros(())
    for _ in range(3):
        grads = [jnp.asarray(random.normal(size=(3, 2)), jnp.float32)]
        change, state = update.update(grads, state)
        theirs = optax.apply_updates(theirs, change)
        weights, first, second, step = everyday.adam(weights, first, second, step, grads)
    np.testing.assert_allclose(weights[0], theirs[0], atol=2e-6)


def test_the_kernel_is_a_product():
    x, w = (jax.random.normal(jax.random.key(k), (16, 16)) for k in (0, 1))
    np.testing.assert_allclose(everyday.product(x, w, 8, interpret=True), x @ w, atol=1e-5)


def test_the_filter_is_the_posterior_of_a_gaussian():
    random = np.random.default_rng(0)
    move, look = random.normal(size=(3, 3)) / 2, random.normal(size=(2, 3))
    noise, mean, y = np.eye(3) * 0.5, random.normal(size=3), random.normal(size=2)
    state = jnp.asarray(mean), jnp.eye(3)
    got = everyday.kalman_step(
        jnp.asarray(move), jnp.asarray(look), jnp.asarray(noise), state, jnp.asarray(y)
    )
    prior = move @ move.T + noise
    precision = np.linalg.inv(prior) + look.T @ look
    posterior = np.linalg.inv(precision)
    expected = posterior @ (np.linalg.inv(prior) @ move @ mean + look.T @ y)
    np.testing.assert_allclose(got[0], expected, atol=1e-4)
    np.testing.assert_allclose(got[1], posterior, atol=1e-4)


def test_two_bodies_fall_towards_each_other():
    place = jnp.array([[0.0, 0, 0], [2, 0, 0]])
    moved, speed = everyday.gravity(place, jnp.zeros((2, 3)), jnp.array([1.0, 3.0]))
    assert speed[0, 0] == pytest.approx(0.01 * 3 / 4, rel=1e-3)
    assert speed[1, 0] == pytest.approx(-0.01 * 1 / 4, rel=1e-3)
    np.testing.assert_allclose(moved, place + 0.01 * speed, atol=1e-7)


def test_the_laplacian_of_a_network_by_differences():
    infer = everyday.laplacian(points=2, width=4).function
    random = np.random.default_rng(0)
    layers = [
        {"w": jnp.asarray(random.normal(size=(n, m))), "b": jnp.zeros(m)}
        for n, m in ((3, 4), (4, 1))
    ]
    x = jnp.asarray(random.normal(size=(2, 3)))
    value, step = lambda p: np.asarray(everyday.perceptron(layers, p)[:, 0], float), 1e-1
    total = sum(
        (value(x + step * unit) - 2 * value(x) + value(x - step * unit)) / step**2
        for unit in np.eye(3)
    )
    np.testing.assert_allclose(infer(layers, x), total, rtol=0.05, atol=0.05)


def test_rows_of_root_mean_square_one():
    x = 5 * jax.random.normal(jax.random.key(0), (4, 64))
    np.testing.assert_allclose(np.square(everyday.rms(x)).mean(-1), 1, rtol=1e-4)
