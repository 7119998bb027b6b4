"""BERT and T5 in training, and the decoders of T5 and Whisper with caches updated in place."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from mallocgame.suites.models.attention import Block, Cache, Shape, Stack
from mallocgame.suites.models.common import (
    Dense,
    Embed,
    LayerNorm,
    cast,
    cross_entropy,
    ids,
    training,
    variables_of,
)
from mallocgame.xla.workload import Workload

BERT = Shape(width=768, heads=12, hidden=3072, post_norm=True)
T5 = Shape(width=512, heads=8, hidden=2048, rms=True)
WHISPER = Shape(width=512, heads=8, hidden=2048)
WHISPER_FRAMES = 1500
WHISPER_LENGTH = 448


class Bert(nn.Module):
    """Tokens and segments [B, T] to vocabulary logits [B, T, vocabulary]."""

    layers: int = 12
    vocabulary: int = 30_522

    @nn.compact
    def __call__(self, tokens: jax.Array, segments: jax.Array) -> jax.Array:
        embed = Embed(self.vocabulary, BERT.width)
        x = embed(tokens) + Embed(2, BERT.width)(segments)
        x = x + Embed(tokens.shape[1], BERT.width)(jnp.arange(tokens.shape[1]))
        x = Stack(BERT, self.layers, scan=True)(LayerNorm()(x))
        return embed.attend(LayerNorm()(nn.gelu(Dense(BERT.width)(x))))


def bert_train(batch: int, length: int = 128, layers: int = 12) -> Workload:
    """BERT base with its masked-word head, an Adam step; the layers are a loop."""
    source = "own definition; after Devlin et al., arXiv 1810.04805"
    tokens = ids(batch, length)
    return training(
        Bert(layers),
        [tokens, tokens],
        tokens,
        loss=cross_entropy,
        source=source,
        optimizer="adam",
    )


class RelativeBias(nn.Module):
    """T5's learned bias [H, 1, T, S] by bucketed distance (arXiv 1910.10683, section 2.1)."""

    heads: int
    both_ways: bool
    buckets: int = 32
    farthest: int = 128

    @nn.compact
    def __call__(self, new: int, length: int, index: jax.Array | int = 0) -> jax.Array:
        distance = jnp.arange(length) - (index + jnp.arange(new))[:, None]
        half = self.buckets // 2 if self.both_ways else self.buckets
        start = jnp.where(distance > 0, half, 0) if self.both_ways else 0
        distance = jnp.abs(distance) if self.both_ways else jnp.maximum(-distance, 0)
        exact = half // 2
        ratio = jnp.log(jnp.maximum(distance, 1) / exact) / jnp.log(self.farthest / exact)
        far = jnp.minimum(exact + (ratio * (half - exact)).astype(jnp.int32), half - 1)
        bucket = start + jnp.where(distance < exact, distance, far)
        table = Embed(self.buckets, self.heads)
        return table(bucket).astype(jnp.float32).transpose(2, 0, 1)[:, None]


class T5Encoder(nn.Module):
    """Embedded tokens [B, S, D] to a memory of the same shape."""

    layers: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        bias = RelativeBias(T5.heads, both_ways=True)(x.shape[1], x.shape[1])
        for _ in range(self.layers):
            x, _ = Block(T5)(x, bias=bias)
        return T5.norm()(x)


class T5Decoder(nn.Module):
    """Embedded tokens [B, T, D] over a memory (one for all layers, or keys and values of each)."""

    layers: int

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        memories: list[Any],
        caches: list[Cache] | None = None,
        index: jax.Array | int = 0,
    ) -> tuple[jax.Array, list[Cache]]:
        length = x.shape[1] if caches is None else caches[0][0].shape[2]
        bias = RelativeBias(T5.heads, both_ways=False)(x.shape[1], length, index)
        later = jnp.arange(length) > index + jnp.arange(x.shape[1])[:, None]
        bias = jnp.where(later, -1e9, bias)
        new = []
        for k, memory in enumerate(memories):
            cache = None if caches is None else caches[k]
            x, cache = Block(T5)(x, cache, index, memory, bias)
            new.append(cache)
        return T5.norm()(x), new


class T5Model(nn.Module):
    """Source tokens [B, S] and target tokens [B, T] to logits [B, T, vocabulary]."""

    layers: int = 6
    vocabulary: int = 32_128

    @nn.compact
    def __call__(self, source: jax.Array, target: jax.Array) -> jax.Array:
        embed = Embed(self.vocabulary, T5.width)
        memory = T5Encoder(self.layers)(embed(source))
        x, _ = T5Decoder(self.layers)(embed(target), [memory] * self.layers)
        return embed.attend(x * T5.width**-0.5)


T5_SOURCE = "own definition; sizes of T5 small, Raffel et al., arXiv 1910.10683"


def t5_train(batch: int, length: int = 256, answer: int = 64, layers: int = 2) -> Workload:
    """A training step of encoder and decoder with fewer layers."""
    inputs = [ids(batch, length), ids(batch, answer)]
    return training(T5Model(layers), inputs, inputs[1], loss=cross_entropy, source=T5_SOURCE)


class T5Step(nn.Module):
    """One token [B, 1] of decoding, to its logits and the caches."""

    layers: int = 6
    vocabulary: int = 32_128

    @nn.compact
    def __call__(
        self, token: jax.Array, memories: list[Cache], caches: list[Cache], index: jax.Array
    ) -> tuple[jax.Array, list[Cache]]:
        embed = Embed(self.vocabulary, T5.width)
        x, caches = T5Decoder(self.layers)(embed(token), memories, caches, index)
        return embed.attend(x * T5.width**-0.5), caches


def t5_decode(batch: int, length: int = 512, answer: int = 256) -> Workload:
    """A greedy step over the source's keys and values and the decoder's own caches, in place."""
    model = T5Step()
    memories = [T5.cache(batch, length) for _ in range(model.layers)]
    caches = [T5.cache(batch, answer) for _ in range(model.layers)]
    return _step(model, memories, caches, batch, T5_SOURCE)


def _step(
    model: nn.Module, memories: list[Any], caches: list[Any], batch: int, source: str
) -> Workload:
    variables = cast(variables_of(model, ids(batch, 1), memories, caches, ids()))

    def function(variables: Any, caches: Any, memories: Any, token: jax.Array, index: jax.Array):
        logits, caches = model.apply(variables, token, memories, caches, index)
        return caches, jnp.argmax(logits, axis=-1).astype(jnp.int32)

    arguments = (variables, caches, memories, ids(batch, 1), ids())
    return Workload(function, arguments, (1,), source)


WHISPER_SOURCE = "own definition; sizes of Whisper base, Radford et al., arXiv 2212.04356"


class WhisperStep(nn.Module):
    """One token [B, 1] of decoding over the sound's keys and values, and the caches."""

    layers: int = 6
    vocabulary: int = 51_865

    @nn.compact
    def __call__(
        self, token: jax.Array, memories: list[Cache], caches: list[Cache], index: jax.Array
    ) -> tuple[jax.Array, list[Cache]]:
        embed = Embed(self.vocabulary, WHISPER.width)
        place = Embed(WHISPER_LENGTH, WHISPER.width)(index + jnp.arange(token.shape[1]))
        shape = dataclasses.replace(WHISPER, causal=True)
        x, new = embed(token) + place, []
        for memory, cache in zip(memories, caches, strict=True):
            x, cache = Block(shape)(x, cache, index, memory)
            new.append(cache)
        return embed.attend(LayerNorm()(x)), new


def whisper_decode(batch: int) -> Workload:
    """A greedy step of transcription; the sound's keys and values are inputs."""
    model = WhisperStep()
    memories = [WHISPER.cache(batch, WHISPER_FRAMES) for _ in range(model.layers)]
    caches = [WHISPER.cache(batch, WHISPER_LENGTH) for _ in range(model.layers)]
    return _step(model, memories, caches, batch, WHISPER_SOURCE)
