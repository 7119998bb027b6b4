"""Solvers, simulations, transforms."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.ordinary.listed import ordinary
from mallocgame.suites.models.common import f32


@ordinary("jax-cfd", f32(1024, 1024), f32(1024, 1024))
def heat(field: Any, source: Any) -> Any:
    """Twenty explicit steps of the heat equation."""

    def step(_: Any, u: Any) -> Any:
        around = sum(jnp.roll(u, n, axis) for n in (-1, 1) for axis in (0, 1))
        return u + 0.1 * (around - 4 * u) + 0.01 * source

    return jax.lax.fori_loop(0, 20, step, field)


@ordinary("jaxopt", f32(1024, 1024), f32(1024), capacity_mib=8)
def conjugate_gradient(matrix: Any, right: Any) -> Any:
    """Solves until the residual is small."""

    def going(state: Any) -> Any:
        return (state[3] > 1e-6) & (state[4] < 50)

    def step(state: Any) -> Any:
        x, r, p, norm, count = state
        image = matrix @ p
        much = norm / (p @ image)
        r = r - much * image
        new = r @ r
        return x + much * p, r, r + new / norm * p, new, count + 1

    start = (jnp.zeros_like(right), right, right, right @ right, 0)
    return jax.lax.while_loop(going, step, start)[0]


@ordinary("jax-md", f32(1024, 3), f32(1024, 3), f32(1024), capacity_mib=4)
def bodies(place: Any, speed: Any, mass: Any) -> Any:
    """Four steps of bodies that attract each other."""
    for _ in range(4):
        apart = place[None] - place[:, None]
        inverse = jax.lax.rsqrt(jnp.sum(apart**2, -1) + 1e-3) ** 3
        speed = speed + 0.01 * jnp.einsum("ijk,ij,j->ik", apart, inverse, mass)
        place = place + 0.01 * speed
    return place, speed


@ordinary("jax-cfd", f32(512, 512), f32(512, 257))
def spectral(field: Any, damping: Any) -> Any:
    """A step in Fourier space."""
    return jnp.fft.irfft2(jnp.fft.rfft2(field) * damping, s=field.shape)


@ordinary("gpjax", f32(512, 16), f32(512), f32(1024, 16))
def gaussian_process(seen: Any, y: Any, new: Any) -> Any:
    """The posterior mean of a Gaussian process."""

    def kernel(a: Any, b: Any) -> Any:
        far = jnp.sum(a**2, 1)[:, None] + jnp.sum(b**2, 1)[None] - 2 * a @ b.T
        return jnp.exp(-0.5 * far)

    factor = jnp.linalg.cholesky(kernel(seen, seen) + 1e-2 * jnp.eye(512))
    return kernel(new, seen) @ jax.scipy.linalg.cho_solve((factor, True), y)


@ordinary("dynamax", f32(64, 128), f32(256, 256), f32(128, 256), f32(256, 256))
def kalman(seen: Any, move: Any, look: Any, noise: Any) -> Any:
    """A Kalman filter over 64 steps, with a fixed gain by matrix inverse of Newton's kind."""

    def step(state: Any, y: Any) -> Any:
        mean, spread = state
        mean, spread = move @ mean, move @ spread @ move.T + noise
        inner = look @ spread @ look.T + jnp.eye(128)
        inverse = 2 * jnp.eye(128) / jnp.trace(inner)
        for _ in range(4):
            inverse = inverse @ (2 * jnp.eye(128) - inner @ inverse)
        gain = spread @ look.T @ inverse
        return (mean + gain @ (y - look @ mean), spread - gain @ look @ spread), mean

    return jax.lax.scan(step, (jnp.zeros(256), noise), seen)[1]


@ordinary("deepxde", [f32(3, 512), f32(512, 512), f32(512, 512), f32(512, 1)], f32(2048, 3))
def second_derivatives(weights: Any, points: Any) -> Any:
    """The Laplacian of a small network."""

    def network(point: Any) -> Any:
        for w in weights[:-1]:
            point = jnp.tanh(point @ w)
        return (point @ weights[-1])[0]

    return jax.vmap(lambda p: jnp.trace(jax.hessian(network)(p)))(points)


@ordinary("nerf", f32(4096, 63), f32(63, 256), [f32(256, 256)] * 5, f32(256, 4), capacity_mib=16)
def radiance(points: Any, first: Any, middle: Any, last: Any) -> Any:
    """A network of fields along rays, and its sum along them."""
    x = jax.nn.relu(points @ first)
    for w in middle:
        x = jax.nn.relu(x @ w)
    out = x @ last
    dense = jax.nn.softplus(out[:, 3]).reshape(64, 64)
    left = jnp.exp(-jnp.cumsum(dense, 1))
    colour = jax.nn.sigmoid(out[:, :3]).reshape(64, 64, 3)
    return jnp.einsum("rs,rsc->rc", left * (1 - jnp.exp(-dense)), colour)
