"""Decoder language models: GPT-2, Llama with grouped queries, a mixture of experts."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from mallocgame.suites.models.attention import Block, Cache, SelfAttention, Shape, Stack
from mallocgame.suites.models.common import (
    Dense,
    Embed,
    cast,
    cross_entropy,
    ids,
    inference,
    training,
    variables_of,
)
from mallocgame.xla.workload import Workload

GPT2 = Shape(width=768, heads=12, hidden=3072, causal=True)
LLAMA = Shape(
    width=2048, heads=32, hidden=8192, kv_heads=8, causal=True, rotary=True, gated=True, rms=True
)
GPT2_SOURCE = "own definition; sizes of GPT-2 small, Radford et al. 2019"
LLAMA_SOURCE = "own definition; sizes of Llama 3.2 1B, fewer layers; arXiv 2407.21783"


class Decoder(nn.Module):
    """Tokens [B, T] at positions index.. to logits [B, T, vocabulary] and the caches.

    Learned positions unless the blocks are rotary; the output shares the embedding.
    """

    shape: Shape
    layers: int
    vocabulary: int
    length: int = 1024
    last_only: bool = False

    @nn.compact
    def __call__(
        self, tokens: jax.Array, caches: list[Cache] | None = None, index: jax.Array | int = 0
    ) -> tuple[jax.Array, list[Cache]]:
        embed = Embed(self.vocabulary, self.shape.width)
        x = embed(tokens)
        if not self.shape.rotary:
            positions = index + jnp.arange(tokens.shape[1])
            x = x + Embed(self.length, self.shape.width)(positions)
        new = []
        for k in range(self.layers):
            x, cache = Block(self.shape)(x, None if caches is None else caches[k], index)
            new.append(cache)
        x = x[:, -1:] if self.last_only else x
        return embed.attend(self.shape.norm()(x)), new


def _decode(model: Decoder, batch: int, steps: int, source: str) -> Workload:
    """`steps` greedy tokens with donated caches; a loop if there is more than one."""
    variables = cast(variables_of(model, ids(batch, 1)))
    caches = [model.shape.cache(batch, model.length) for _ in range(model.layers)]

    def one(variables: Any, caches: Any, token: jax.Array, index: jax.Array) -> Any:
        logits, caches = model.apply(variables, token, caches, index)
        return caches, jnp.argmax(logits, axis=-1).astype(jnp.int32)

    def many(variables: Any, caches: Any, token: jax.Array, index: jax.Array) -> Any:
        def body(carry: Any, offset: jax.Array) -> Any:
            caches, token = carry
            caches, token = one(variables, caches, token, index + offset)
            return (caches, token), token

        (caches, _), tokens = jax.lax.scan(body, (caches, token), jnp.arange(steps))
        return caches, tokens

    function = one if steps == 1 else many
    return Workload(function, (variables, caches, ids(batch, 1), ids()), (1,), source)


def gpt2_prefill(batch: int, length: int = 256) -> Workload:
    """A prompt in one pass: logits of the last position, and the caches."""
    model = Decoder(GPT2, layers=12, vocabulary=50_257, last_only=True)
    return inference(model, ids(batch, length), source=GPT2_SOURCE)


def gpt2_decode(batch: int, layers: int = 12, steps: int = 1) -> Workload:
    """Greedy decoding with caches of 1,024 positions updated in place."""
    model = Decoder(GPT2, layers=layers, vocabulary=50_257)
    return _decode(model, batch, steps, GPT2_SOURCE)


class ScannedLanguageModel(nn.Module):
    """Tokens [B, T] to logits [B, T, vocabulary]; the layers are one loop over stacked weights."""

    shape: Shape
    layers: int
    vocabulary: int

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = Embed(self.vocabulary, self.shape.width)(tokens)
        if not self.shape.rotary:
            x = x + Embed(tokens.shape[1], self.shape.width)(jnp.arange(tokens.shape[1]))
        x = Stack(self.shape, self.layers, scan=True)(x)
        return Dense(self.vocabulary, use_bias=False)(x)


def gpt2_train(batch: int, length: int = 256, layers: int = 12) -> Workload:
    """An Adam step; the layers are a loop, forward and back."""
    model = ScannedLanguageModel(GPT2, layers, 50_257)
    tokens = ids(batch, length)
    return training(
        model, [tokens], tokens, loss=cross_entropy, source=GPT2_SOURCE, optimizer="adam"
    )


def llama_prefill(batch: int, length: int = 512, layers: int = 4) -> Workload:
    """A prompt in one pass, grouped queries and rotary positions."""
    model = Decoder(LLAMA, layers, vocabulary=32_000, last_only=True)
    return inference(model, ids(batch, length), source=LLAMA_SOURCE)


def llama_decode(batch: int, layers: int = 8, steps: int = 1) -> Workload:
    """Greedy decoding with caches of 2,048 positions updated in place."""
    model = Decoder(LLAMA, layers, vocabulary=32_000, length=2048)
    return _decode(model, batch, steps, LLAMA_SOURCE)


def llama_train(batch: int, length: int = 512, layers: int = 4) -> Workload:
    """A training step, smaller; the layers are a loop."""
    shape = dataclasses.replace(LLAMA, width=1024, heads=16, hidden=2816, kv_heads=4)
    tokens = ids(batch, length)
    model = ScannedLanguageModel(shape, layers, 32_000)
    return training(model, [tokens], tokens, loss=cross_entropy, source=LLAMA_SOURCE)


class Experts(nn.Module):
    """Two of E gated networks for each token, dispatched by one-hot products with a fixed capacity.

    After Shazeer et al., arXiv 1701.06538, and Lepikhin et al., arXiv 2006.16668 (GShard).  Tokens
    above an expert's capacity take only the residual path.
    """

    shape: Shape
    experts: int
    capacity_factor: float = 1.5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        tokens = x.reshape(-1, x.shape[-1])
        capacity = int(self.capacity_factor * 2 * tokens.shape[0] / self.experts)
        gates = jax.nn.softmax(Dense(self.experts, dtype=jnp.float32)(tokens), axis=-1)
        first = jax.nn.one_hot(jnp.argmax(gates, axis=-1), self.experts)
        second = jax.nn.one_hot(jnp.argmax(gates * (1 - first), axis=-1), self.experts)
        slots = jnp.cumsum(jnp.concatenate([first, second]), axis=0) - 1
        combine = jnp.zeros(())
        for chosen, slot in zip((first, second), jnp.split(slots, 2), strict=True):
            place = jnp.sum(chosen * slot, axis=-1).astype(jnp.int32)
            # one_hot is zero for a place at or above the capacity.
            where = jax.nn.one_hot(place, capacity)
            combine = combine + (gates * chosen)[:, :, None] * where[:, None, :]
        combine = combine.astype(x.dtype)
        dispatch = (combine > 0).astype(x.dtype)
        inputs = jnp.einsum("tec,td->ecd", dispatch, tokens)
        y = nn.silu(self._matmul("gate", inputs, self.shape.hidden))
        y = y * self._matmul("up", inputs, self.shape.hidden)
        y = self._matmul("down", y, x.shape[-1])
        return jnp.einsum("tec,ecd->td", combine, y).reshape(x.shape)

    def _matmul(self, name: str, x: jax.Array, width: int) -> jax.Array:
        shape = (self.experts, x.shape[-1], width)
        weights = self.param(name, nn.initializers.lecun_normal(), shape).astype(x.dtype)
        return jnp.einsum("ecd,edf->ecf", x, weights)


class MixtureLanguageModel(nn.Module):
    """Tokens [B, T] to logits of the last position [B, vocabulary]."""

    shape: Shape
    layers: int
    experts: int
    vocabulary: int = 32_000

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = Embed(self.vocabulary, self.shape.width)(tokens)
        for _ in range(self.layers):
            y, _ = SelfAttention(self.shape)(self.shape.norm()(x))
            x = x + y
            x = x + Experts(self.shape, self.experts)(self.shape.norm()(x))
        return Dense(self.vocabulary, use_bias=False)(self.shape.norm()(x[:, -1]))


def moe(batch: int, length: int = 256, layers: int = 4) -> Workload:
    """Mixtral's architecture in a smaller size: eight experts, two for each token."""
    source = "own definition; after Jiang et al., arXiv 2401.04088, smaller"
    shape = dataclasses.replace(LLAMA, width=1024, heads=16, hidden=1792, kv_heads=4)
    model = MixtureLanguageModel(shape, layers, experts=8)
    return inference(model, ids(batch, length), source=source)
