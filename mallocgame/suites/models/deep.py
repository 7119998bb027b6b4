"""Deep networks with every layer written out: programs of 5,000 and more accesses."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from mallocgame.suites.models.common import (
    BatchNorm,
    Conv,
    Dense,
    cross_entropy,
    ids,
    inference,
    spec,
    squared_error,
    training,
)
from mallocgame.suites.models.generative import DiffusionUNet
from mallocgame.suites.models.language import GPT2, LLAMA, Decoder, MixtureLanguageModel
from mallocgame.xla.workload import Workload

# Blocks of each stage, by the number of layers (He et al., table 1).
RESNETS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class Bottleneck(nn.Module):
    """[B, N, N, C] to [B, N / stride, N / stride, 4 x width]."""

    width: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def step(y: jax.Array, width: int, kernel: int, stride: int = 1) -> jax.Array:
            y = Conv(width, (kernel, kernel), strides=stride, use_bias=False)(y)
            return BatchNorm(use_running_average=False)(y)

        y = nn.relu(step(x, self.width, 1))
        y = nn.relu(step(y, self.width, 3, self.stride))
        y = step(y, 4 * self.width, 1)
        if x.shape != y.shape:
            x = step(x, 4 * self.width, 1, self.stride)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Images [B, N, N, 3] to class logits [B, 1000]; batch statistics are of the batch."""

    blocks: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Conv(64, (7, 7), strides=2, use_bias=False)(x)
        x = nn.relu(BatchNorm(use_running_average=False)(x))
        x = nn.max_pool(x, (3, 3), (2, 2), padding="SAME")
        for stage, count in enumerate(self.blocks):
            for block in range(count):
                stride = 2 if stage and not block else 1
                x = Bottleneck(64 << stage, stride)(x)
        return Dense(1000)(jnp.mean(x, axis=(1, 2)))


def resnet_train(batch: int, layers: int = 152, size: int = 224) -> Workload:
    """A step of momentum on ImageNet's classes."""
    source = "own definition; after He et al., arXiv 1512.03385"
    model = ResNet(RESNETS[layers])
    image = spec(batch, size, size, 3)
    return training(model, [image], ids(batch), loss=cross_entropy, source=source)


class _Logits(nn.Module):
    """A decoder without its caches: tokens [B, T] to logits [B, T, vocabulary]."""

    decoder: Decoder

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        return self.decoder(tokens)[0]


def gpt2_train(batch: int, length: int = 256, layers: int = 48, width: int = 768) -> Workload:
    """An Adam step of a deep GPT-2 whose layers are written out."""
    source = "own definition; blocks of GPT-2 small, layers of GPT-2 XL, Radford et al. 2019"
    shape = dataclasses.replace(GPT2, width=width, heads=width // 64, hidden=4 * width)
    model = _Logits(Decoder(shape, layers, vocabulary=50_257))
    tokens = ids(batch, length)
    return training(model, [tokens], tokens, loss=cross_entropy, source=source, optimizer="adam")


def moe_prefill(batch: int, length: int = 256, layers: int = 40) -> Workload:
    """A narrower Mixtral with more layers: eight experts in each of 40."""
    source = "own definition; after Jiang et al., arXiv 2401.04088, narrower"
    shape = dataclasses.replace(LLAMA, width=512, heads=8, hidden=896, kv_heads=2)
    model = MixtureLanguageModel(shape, layers, experts=8)
    return inference(model, ids(batch, length), source=source)


def diffusion_train(batch: int, size: int = 32, blocks: int = 4) -> Workload:
    """A step of a diffusion U-Net with twice the blocks of DDPM's and more attention."""
    source = "own definition; after Dhariwal and Nichol, arXiv 2105.05233, at 32 x 32"
    model = DiffusionUNet(width=128, blocks=blocks, attention=(1, 2, 3))
    image, time = spec(batch, size, size, 3), ids(batch)
    return training(model, [image, time], image, loss=squared_error, source=source)
