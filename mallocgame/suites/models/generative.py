"""Generative networks: WaveNet, diffusion U-Net, diffusion transformer, GAN, NeRF."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from mallocgame.suites.models.attention import Network, SelfAttention, Shape
from mallocgame.suites.models.common import (
    BF16,
    Conv,
    ConvTranspose,
    Dense,
    Embed,
    GroupNorm,
    cross_entropy,
    ids,
    inference,
    spec,
    squared_error,
    training,
    variables_of,
)
from mallocgame.xla.workload import Workload


class WaveNet(nn.Module):
    """Past samples [B, T] to logits [B, T, 256]: dilated causal convolutions, gated."""

    cycles: int = 2
    layers: int = 10
    width: int = 128
    skip: int = 256

    @nn.compact
    def __call__(self, samples: jax.Array) -> jax.Array:
        x = Embed(256, self.width)(samples)
        total = jnp.zeros((), BF16)
        for k in range(self.cycles * self.layers):
            dilation = 2 ** (k % self.layers)
            y = Conv(2 * self.width, (2,), kernel_dilation=dilation, padding=((dilation, 0),))(x)
            a, b = jnp.split(y, 2, axis=-1)
            y = jnp.tanh(a) * nn.sigmoid(b)
            total = total + Dense(self.skip)(y)
            x = x + Dense(self.width)(y)
        return Dense(256)(nn.relu(Dense(self.skip)(nn.relu(total))))


def wavenet(batch: int, length: int = 8192, train: bool = False) -> Workload:
    """All positions at once, as in scoring and training."""
    source = "own definition; after van den Oord et al., arXiv 1609.03499"
    samples = ids(batch, length)
    if train:
        return training(WaveNet(), [samples], samples, loss=cross_entropy, source=source)
    return inference(WaveNet(), samples, source=source)


def _wave_embedding(time: jax.Array, width: int) -> jax.Array:
    """Sines and cosines of a time [B], to [B, width]."""
    frequency = jnp.exp(-jnp.log(10_000.0) * jnp.arange(width // 2) / (width // 2))
    angle = time[:, None].astype(jnp.float32) * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1).astype(BF16)


class _ResBlock(nn.Module):
    """Two normalised convolutions, the time added between; [B, N, N, C] to [B, N, N, width]."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array, time: jax.Array) -> jax.Array:
        y = Conv(self.width, (3, 3))(nn.silu(GroupNorm()(x)))
        y = y + Dense(self.width)(nn.silu(time))[:, None, None, :]
        y = Conv(self.width, (3, 3))(nn.silu(GroupNorm()(y)))
        return (x if x.shape[-1] == self.width else Conv(self.width, (1, 1))(x)) + y


class _PixelAttention(nn.Module):
    """Self-attention over all pixels of [B, N, N, C]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = Shape(width=x.shape[-1], heads=max(1, x.shape[-1] // 64), hidden=0)
        y = GroupNorm()(x).reshape(x.shape[0], -1, x.shape[-1])
        return x + SelfAttention(shape)(y)[0].reshape(x.shape)


class DiffusionUNet(nn.Module):
    """Noisy images [B, N, N, C] and times [B] to the noise [B, N, N, C]."""

    width: int = 128
    factors: Sequence[int] = (1, 2, 2, 2)
    blocks: int = 2
    attention: Sequence[int] = (1,)

    @nn.compact
    def __call__(self, x: jax.Array, time: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        embedding = Dense(4 * self.width)(_wave_embedding(time, self.width))
        embedding = Dense(4 * self.width)(nn.silu(embedding))
        x = Conv(self.width, (3, 3))(x)
        skips = [x]
        for level, factor in enumerate(self.factors):
            for _ in range(self.blocks):
                x = _ResBlock(self.width * factor)(x, embedding)
                x = _PixelAttention()(x) if level in self.attention else x
                skips.append(x)
            if level + 1 < len(self.factors):
                x = Conv(x.shape[-1], (3, 3), strides=2)(x)
                skips.append(x)
        x = _ResBlock(x.shape[-1])(x, embedding)
        x = _ResBlock(x.shape[-1])(_PixelAttention()(x), embedding)
        for level, factor in reversed(list(enumerate(self.factors))):
            for _ in range(self.blocks + 1):
                x = jnp.concatenate([x, skips.pop()], axis=-1)
                x = _ResBlock(self.width * factor)(x, embedding)
                x = _PixelAttention()(x) if level in self.attention else x
            if level:
                x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
                x = Conv(x.shape[-1], (3, 3))(x)
        return Conv(channels, (3, 3))(nn.silu(GroupNorm()(x)))


def diffusion(batch: int, size: int = 32, width: int = 128, train: bool = False) -> Workload:
    """DDPM's network for CIFAR-10, or a smaller one in training."""
    source = "own definition; after Ho et al., arXiv 2006.11239"
    image, time = spec(batch, size, size, 3), ids(batch)
    model = DiffusionUNet(width)
    if train:
        return training(model, [image, time], image, loss=squared_error, source=source)
    return inference(model, image, time, source=source)


class _DitBlock(nn.Module):
    """A transformer block whose norms are scaled and gated by the condition [B, D]."""

    shape: Shape

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        parts = Dense(6 * self.shape.width)(nn.silu(condition))[:, None, :]
        shift, scale, gate, shift2, scale2, gate2 = jnp.split(parts, 6, axis=-1)
        norm = self.shape.norm
        x = x + gate * SelfAttention(self.shape)(norm()(x) * (1 + scale) + shift)[0]
        return x + gate2 * Network(self.shape)(norm()(x) * (1 + scale2) + shift2)


class Dit(nn.Module):
    """Latents [B, 32, 32, 4], times [B] and classes [B] to noise and variance [B, 32, 32, 8]."""

    shape: Shape = Shape(width=384, heads=6, hidden=1536)
    layers: int = 12

    @nn.compact
    def __call__(self, x: jax.Array, time: jax.Array, label: jax.Array) -> jax.Array:
        batch, size, _, channels = x.shape
        width = self.shape.width
        condition = Dense(width)(nn.silu(Dense(width)(_wave_embedding(time, 256))))
        condition = condition + Embed(1001, width)(label)
        x = Conv(width, (2, 2), strides=2)(x).reshape(batch, -1, width)
        x = x + Embed(x.shape[1], width)(jnp.arange(x.shape[1]))
        for _ in range(self.layers):
            x = _DitBlock(self.shape)(x, condition)
        x = Dense(2 * 2 * 2 * channels)(self.shape.norm()(x))
        x = x.reshape(batch, size // 2, size // 2, 2, 2, 2 * channels).swapaxes(2, 3)
        return x.reshape(batch, size, size, 2 * channels)


def dit(batch: int) -> Workload:
    """DiT-S/2 on the latents of 256 x 256 images."""
    source = "own definition; after Peebles and Xie, arXiv 2212.09748"
    return inference(Dit(), spec(batch, 32, 32, 4), ids(batch), ids(batch), source=source)


class Generator(nn.Module):
    """Noise [B, 128] to images [B, 64, 64, 3]."""

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        x = Dense(4 * 4 * 1024)(z).reshape(z.shape[0], 4, 4, 1024)
        for width in (512, 256, 128):
            x = ConvTranspose(width, (4, 4), strides=(2, 2))(nn.relu(GroupNorm()(x)))
        return jnp.tanh(ConvTranspose(3, (4, 4), strides=(2, 2))(nn.relu(GroupNorm()(x))))


class Discriminator(nn.Module):
    """Images [B, 64, 64, 3] to logits [B]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in (128, 256, 512, 1024):
            x = nn.leaky_relu(Conv(width, (4, 4), strides=2)(x), 0.2)
        return Dense(1)(x.reshape(x.shape[0], -1))[:, 0].astype(jnp.float32)


def gan_train(batch: int) -> Workload:
    """One step of both players; the only data are images."""
    # Any: a module may also return its changed collections, which these two do not.
    maker: Any = Generator()
    critic: Any = Discriminator()
    update = optax.adam(2e-4, b1=0.5)

    def step(made: Any, judged: Any, states: Any, image: jax.Array, noise: jax.Array) -> Any:
        def judge_loss(judged: Any, fake: jax.Array) -> jax.Array:
            real = critic.apply({"params": judged}, image)
            false = critic.apply({"params": judged}, fake)
            return jnp.mean(nn.softplus(-real)) + jnp.mean(nn.softplus(false))

        def make_loss(made: Any) -> tuple[jax.Array, jax.Array]:
            fake = maker.apply({"params": made}, noise)
            return jnp.mean(nn.softplus(-critic.apply({"params": judged}, fake))), fake

        (value, fake), gradient = jax.value_and_grad(make_loss, has_aux=True)(made)
        change, first = update.update(gradient, states[0], made)
        other, gradient = jax.value_and_grad(judge_loss)(judged, jax.lax.stop_gradient(fake))
        change2, second = update.update(gradient, states[1], judged)
        made, judged = optax.apply_updates(made, change), optax.apply_updates(judged, change2)
        return made, judged, (first, second), (value, other)

    image, noise = spec(batch, 64, 64, 3), spec(batch, 128)
    params = [variables_of(m, x)["params"] for m, x in ((maker, noise), (critic, image))]
    states = tuple(jax.eval_shape(update.init, p) for p in params)
    source = "own definition; after Radford et al., arXiv 1511.06434, with group norm"
    return Workload(step, (*params, states, image, noise), (0, 1, 2), source)


def _octaves(x: jax.Array, count: int) -> jax.Array:
    """[..., C] to sines and cosines at `count` octaves, [..., 2 C count]."""
    scaled = x[..., None, :] * (2.0 ** jnp.arange(count))[:, None]
    waves = jnp.concatenate([jnp.sin(scaled), jnp.cos(scaled)], axis=-1)
    return waves.reshape(*x.shape[:-1], -1).astype(BF16)


class Nerf(nn.Module):
    """Points [R, S, 3] along rays, directions [R, 3], gaps [R, S] to colours [R, 3]."""

    width: int = 256

    @nn.compact
    def __call__(self, points: jax.Array, directions: jax.Array, gaps: jax.Array) -> jax.Array:
        start = x = _octaves(points, 10)
        for k in range(8):
            x = nn.relu(Dense(self.width)(x))
            x = jnp.concatenate([x, start], axis=-1) if k == 4 else x
        density = nn.relu(Dense(1)(x))[..., 0].astype(jnp.float32)
        seen = _octaves(directions, 4)[:, None, :]
        seen = jnp.broadcast_to(seen, (*points.shape[:2], seen.shape[-1]))
        x = jnp.concatenate([Dense(self.width)(x), seen], axis=-1)
        colour = nn.sigmoid(Dense(3)(nn.relu(Dense(self.width // 2)(x)))).astype(jnp.float32)
        depth = jnp.cumsum(density * gaps, axis=-1)
        passed = jnp.exp(-(depth - density * gaps))
        weight = passed * (1 - jnp.exp(-density * gaps))
        return jnp.sum(weight[..., None] * colour, axis=1)


def nerf(rays: int, samples: int = 64, train: bool = False) -> Workload:
    """Volume rendering of a field; the samples along the rays are inputs."""
    source = "own definition; after Mildenhall et al., arXiv 2003.08934, coarse network"
    shapes = [(rays, samples, 3), (rays, 3), (rays, samples)]
    inputs = [spec(*shape, dtype=jnp.float32) for shape in shapes]
    if train:
        target = spec(rays, 3, dtype=jnp.float32)
        return training(Nerf(), inputs, target, loss=squared_error, source=source, optimizer="adam")
    return inference(Nerf(), *inputs, source=source)
