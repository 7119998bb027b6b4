"""Vision networks that the libraries lack: AlexNet, U-Net, ViT, MLP-Mixer, CLIP."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from mallocgame.suites.models.attention import Shape, Stack
from mallocgame.suites.models.common import (
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Embed,
    LayerNorm,
    cross_entropy,
    ids,
    inference,
    spec,
    training,
)
from mallocgame.xla.workload import Workload


class AlexNet(nn.Module):
    """Images [B, 224, 224, 3] to class logits [B, 1000]; the single-column version of 2014."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(Conv(64, (11, 11), strides=4, padding=2)(x))
        x = nn.max_pool(x, (3, 3), (2, 2))
        x = nn.relu(Conv(192, (5, 5), padding=2)(x))
        x = nn.max_pool(x, (3, 3), (2, 2))
        for width in (384, 256, 256):
            x = nn.relu(Conv(width, (3, 3), padding=1)(x))
        x = nn.max_pool(x, (3, 3), (2, 2))
        x = x.reshape(x.shape[0], -1)
        for _ in range(2):
            x = nn.relu(Dense(4096)(x))
        return Dense(1000)(x)


def alexnet(batch: int, train: bool = False) -> Workload:
    """ImageNet classification."""
    source = "own definition; after Krizhevsky, arXiv 1404.5997"
    image = spec(batch, 224, 224, 3)
    if train:
        return training(AlexNet(), [image], ids(batch), loss=cross_entropy, source=source)
    return inference(AlexNet(), image, source=source)


class UNet(nn.Module):
    """Images [B, N, N, 3] to logits [B, N, N, classes], four levels down and up."""

    width: int = 64
    classes: int = 21
    train: bool = False

    def _double(self, x: jax.Array, width: int) -> jax.Array:
        for _ in range(2):
            x = Conv(width, (3, 3), use_bias=False)(x)
            x = nn.relu(BatchNorm(use_running_average=not self.train)(x))
        return x

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        skips = []
        for level in range(4):
            x = self._double(x, self.width << level)
            skips.append(x)
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = self._double(x, self.width << 4)
        for level in reversed(range(4)):
            x = ConvTranspose(self.width << level, (2, 2), strides=(2, 2))(x)
            x = self._double(jnp.concatenate([skips[level], x], axis=-1), self.width << level)
        return Conv(self.classes, (1, 1))(x)


def unet(batch: int, size: int = 256, width: int = 64, train: bool = False) -> Workload:
    """Segmentation with long skip connections."""
    source = "own definition; after Ronneberger et al., arXiv 1505.04597, with batch norm"
    image = spec(batch, size, size, 3)
    model = UNet(width, train=train)
    if train:
        target = ids(batch, size, size)
        return training(model, [image], target, loss=cross_entropy, source=source)
    return inference(model, image, source=source)


class Patches(nn.Module):
    """Images [B, N, N, 3] to one vector a patch, [B, P, width]."""

    width: int
    size: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Conv(self.width, (self.size, self.size), strides=self.size, padding="VALID")(x)
        return x.reshape(x.shape[0], -1, self.width)


class VisionTransformer(nn.Module):
    """Images [B, N, N, 3] to logits [B, outputs], read from a class token."""

    shape: Shape
    layers: int = 12
    patch: int = 16
    outputs: int = 1000
    scan: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Patches(self.shape.width, self.patch)(x)
        start = self.param("class_token", nn.initializers.zeros, (1, 1, self.shape.width))
        start = jnp.broadcast_to(start.astype(x.dtype), (x.shape[0], 1, self.shape.width))
        x = jnp.concatenate([start, x], axis=1)
        x = x + Embed(x.shape[1], self.shape.width)(jnp.arange(x.shape[1]))
        return Dense(self.outputs)(Stack(self.shape, self.layers, self.scan)(x)[:, 0])


VIT_SMALL = Shape(width=384, heads=6, hidden=1536)


def vit_train(batch: int) -> Workload:
    """ViT-S/16, an Adam step; the layers are a loop."""
    source = "own definition; after Dosovitskiy et al., arXiv 2010.11929"
    model = VisionTransformer(VIT_SMALL, scan=True)
    image = spec(batch, 224, 224, 3)
    return training(model, [image], ids(batch), loss=cross_entropy, source=source, optimizer="adam")


class _MixerNetwork(nn.Module):
    """Two dense layers over the last axis."""

    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return Dense(x.shape[-1])(nn.gelu(Dense(self.hidden)(x)))


class Mixer(nn.Module):
    """Images [B, N, N, 3] to logits [B, 1000]; networks over patches and channels in turn."""

    width: int = 512
    layers: int = 8
    patch: int = 16

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Patches(self.width, self.patch)(x)
        for _ in range(self.layers):
            y = LayerNorm()(x).swapaxes(1, 2)
            x = x + _MixerNetwork(self.width // 2)(y).swapaxes(1, 2)
            x = x + _MixerNetwork(self.width * 4)(LayerNorm()(x))
        return Dense(1000)(jnp.mean(LayerNorm()(x), axis=1))


def mixer(batch: int) -> Workload:
    """Mixer-S/16."""
    source = "own definition; after Tolstikhin et al., arXiv 2105.01601"
    return inference(Mixer(), spec(batch, 224, 224, 3), source=source)


class Clip(nn.Module):
    """Images [B, N, N, 3] and tokens [C, T] to scores [B, C] of every pair."""

    image: Shape = Shape(width=768, heads=12, hidden=3072)
    text: Shape = Shape(width=512, heads=8, hidden=2048, causal=True)
    layers: int = 12
    patch: int = 32
    scan: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, tokens: jax.Array) -> jax.Array:
        seen = VisionTransformer(self.image, self.layers, self.patch, outputs=512, scan=self.scan)
        x = Embed(49_408, self.text.width)(tokens)
        x = x + Embed(tokens.shape[1], self.text.width)(jnp.arange(tokens.shape[1]))
        x = Stack(self.text, self.layers, self.scan)(x)
        # The end of text is the last position here.
        read = Dense(512, use_bias=False)(x[:, -1])
        scale = self.param("scale", nn.initializers.constant(2.659), ())
        pair = [_unit(seen(images)), _unit(read)]
        scores = jnp.einsum("id,td->it", *pair, preferred_element_type=jnp.float32)
        return scores * jnp.exp(scale.astype(jnp.float32))


def _unit(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True))


def _contrast(scores: jax.Array, labels: jax.Array) -> jax.Array:
    return (cross_entropy(scores, labels) + cross_entropy(scores.T, labels)) / 2


def clip(batch: int, texts: int = 8, train: bool = False) -> Workload:
    """CLIP ViT-B/32: an image tower and a text tower; in training the layers are loops."""
    source = "own definition; after Radford et al., arXiv 2103.00020"
    inputs = [spec(batch, 224, 224, 3), ids(texts, 77)]
    if train:
        model = Clip(layers=6, scan=True)
        return training(model, inputs, ids(batch), loss=_contrast, source=source)
    return inference(Clip(), *inputs, source=source)
