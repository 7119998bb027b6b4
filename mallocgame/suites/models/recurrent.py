"""Recurrent networks: every time step is an iteration of one loop."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from mallocgame.suites.models.common import (
    BF16,
    Conv,
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


class _LstmCell(nn.Module):
    """Hochreiter and Schmidhuber's cell with a forget gate; the four gates share one product."""

    @nn.compact
    def __call__(self, carry: tuple[jax.Array, jax.Array], x: jax.Array):
        cell, hidden = carry
        width = cell.shape[-1]
        gates = Dense(4 * width)(jnp.concatenate([x, hidden], axis=-1))
        i, f, g, o = jnp.split(gates.astype(jnp.float32), 4, axis=-1)
        cell = nn.sigmoid(f + 1.0) * cell + nn.sigmoid(i) * jnp.tanh(g)
        hidden = (nn.sigmoid(o) * jnp.tanh(cell)).astype(BF16)
        return (cell, hidden), hidden


class _LstmStack(nn.Module):
    """One time step of all layers, with residual connections between them."""

    layers: int

    @nn.compact
    def __call__(self, carries: list[tuple[jax.Array, jax.Array]], x: jax.Array):
        new = []
        for k in range(self.layers):
            carry, y = _LstmCell(name=f"layer_{k}")(carries[k], x)
            new.append(carry)
            x = y if k == 0 else x + y
        return new, x


class LstmLanguageModel(nn.Module):
    """Tokens [B, T] to logits [B, T, vocabulary]; one loop over T steps of all layers."""

    vocabulary: int = 10_000
    width: int = 1024
    layers: int = 4
    unroll: int = 1

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = Embed(self.vocabulary, self.width)(tokens)
        batch = tokens.shape[0]
        zero = (jnp.zeros((batch, self.width)), jnp.zeros((batch, self.width), BF16))
        scan = nn.scan(
            _LstmStack,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
            unroll=self.unroll,
        )
        _, x = scan(self.layers)([zero] * self.layers, x)
        return Dense(self.vocabulary)(x)


def lstm(batch: int, steps: int = 64, unroll: int = 1, train: bool = False) -> Workload:
    """A word-level language model; an iteration of the loop takes `unroll` steps."""
    source = "own definition; after Zaremba et al., arXiv 1409.2329, four layers of 1,024 units"
    tokens = ids(batch, steps)
    model = LstmLanguageModel(unroll=unroll)
    if train:
        return training(model, [tokens], tokens, loss=cross_entropy, source=source)
    return inference(model, tokens, source=source)


class _GruStep(nn.Module):
    """One step of a WaveRNN: two gated recurrent layers, two dense layers, the next sample.

    The noise of the Gumbel trick, which makes argmax a draw, is an input.
    """

    width: int
    levels: int

    @nn.compact
    def __call__(self, carry, inputs: tuple[jax.Array, jax.Array]):
        first, second, sample = carry
        features, noise = inputs
        x = jnp.concatenate([jax.nn.one_hot(sample, self.levels, dtype=BF16), features], axis=-1)
        x = Dense(self.width)(x)
        first = _gru(self.width, "gru_0", x, first)
        x = x + first
        second = _gru(self.width, "gru_1", jnp.concatenate([x, features], axis=-1), second)
        x = nn.relu(Dense(self.width)(x + second))
        x = nn.relu(Dense(self.width)(jnp.concatenate([x, features], axis=-1)))
        logits = Dense(self.levels)(x).astype(jnp.float32)
        sample = jnp.argmax(logits + noise, axis=-1).astype(jnp.int32)
        return (first, second, sample), sample


def _gru(width: int, name: str, x: jax.Array, hidden: jax.Array) -> jax.Array:
    """Cho et al.'s unit, with the reset gate after the product as in cuDNN."""
    a = Dense(3 * width, name=f"{name}_input")(x).astype(jnp.float32)
    b = Dense(3 * width, name=f"{name}_hidden")(hidden).astype(jnp.float32)
    ra, za, na = jnp.split(a, 3, axis=-1)
    rb, zb, nb = jnp.split(b, 3, axis=-1)
    update = nn.sigmoid(za + zb)
    new = jnp.tanh(na + nn.sigmoid(ra + rb) * nb)
    return (update * hidden + (1 - update) * new).astype(BF16)


class WaveRnn(nn.Module):
    """Mel frames [B, F, 80] and noise [B, F * hop, levels] to samples [B, F * hop]."""

    width: int = 896
    levels: int = 512
    hop: int = 16
    unroll: int = 1

    @nn.compact
    def __call__(self, mel: jax.Array, noise: jax.Array) -> jax.Array:
        x = Conv(128, (5,))(mel)
        for _ in range(4):
            y = nn.relu(LayerNorm()(Conv(128, (1,))(x)))
            x = x + Conv(128, (1,))(y)
        features = jnp.repeat(x, self.hop, axis=1)
        batch = mel.shape[0]
        hidden = jnp.zeros((batch, self.width), BF16)
        scan = nn.scan(
            _GruStep,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
            unroll=self.unroll,
        )
        start = (hidden, hidden, jnp.zeros((batch,), jnp.int32))
        return scan(self.width, self.levels)(start, (features, noise))[1]


def wavernn(batch: int, frames: int = 32, unroll: int = 1) -> Workload:
    """Sample by sample, as in deployment; an iteration of the loop makes `unroll` samples."""
    model = WaveRnn(unroll=unroll)
    noise = spec(batch, frames * model.hop, model.levels, dtype=jnp.float32)
    source = "own definition; after Kalchbrenner et al., arXiv 1802.08435"
    return inference(model, spec(batch, frames, 80), noise, source=source)


class _Encoder(nn.Module):
    """One direction of a bidirectional layer: [B, T, C] to [B, T, width]."""

    width: int
    reverse: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        zero = (jnp.zeros((x.shape[0], self.width)), jnp.zeros((x.shape[0], self.width), BF16))
        scan = nn.scan(
            _LstmCell,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
            reverse=self.reverse,
        )
        return scan()(zero, x)[1]


class DeepSpeech(nn.Module):
    """Spectrogram [B, T, F] to character logits: convolution in time, bidirectional layers."""

    layers: int = 3
    width: int = 800

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(Conv(640, (11,), strides=2)(x))
        for _ in range(self.layers):
            both = [_Encoder(self.width, reverse)(x) for reverse in (False, True)]
            x = LayerNorm()(both[0] + both[1])
        return Dense(29)(x)


def deepspeech(batch: int, frames: int = 200) -> Workload:
    """Speech recognition with bidirectional recurrent layers."""
    source = "own definition; after Amodei et al., arXiv 1512.02595, one convolution"
    return inference(DeepSpeech(), spec(batch, frames, 161), source=source)
