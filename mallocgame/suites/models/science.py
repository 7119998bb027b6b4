"""Networks of the sciences: an Evoformer block, AlphaTensor's torso."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from mallocgame.suites.models.attention import Network, Shape, attend
from mallocgame.suites.models.common import BF16, Dense, LayerNorm, inference, spec
from mallocgame.xla.workload import Workload


class GatedAttention(nn.Module):
    """Attention over the second axis of [R, S, C] with a gate and a bias [1, H, 1, S, S]."""

    heads: int
    width: int = 32

    @nn.compact
    def __call__(self, x: jax.Array, bias: jax.Array | None = None) -> jax.Array:
        rows, length, channels = x.shape
        inner = self.heads * self.width
        q, k, v = (
            Dense(inner, use_bias=False)(x).reshape(rows, length, self.heads, self.width)
            for _ in range(3)
        )
        y = attend(q, k.swapaxes(1, 2), v.swapaxes(1, 2), bias)
        return Dense(channels)(nn.sigmoid(Dense(inner)(x)) * y)


class TriangleProduct(nn.Module):
    """Updates edge ij of [N, N, C] from edges ik and jk (outgoing) or ki and kj (incoming)."""

    outgoing: bool

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        z = LayerNorm()(z)
        width = z.shape[-1]
        a, b = (Dense(width)(z) * nn.sigmoid(Dense(width)(z)) for _ in range(2))
        sides = "ikc,jkc->ijc" if self.outgoing else "kic,kjc->ijc"
        y = LayerNorm()(jnp.einsum(sides, a, b))
        return Dense(width)(y) * nn.sigmoid(Dense(width)(z))


class EvoformerBlock(nn.Module):
    """Alignment [S, N, 256] and pairs [N, N, 128], each updated by the other."""

    @nn.compact
    def __call__(self, msa: jax.Array, pair: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = LayerNorm()(msa)
        msa = msa + GatedAttention(8)(y, self._bias(pair, 8))
        y = LayerNorm()(msa).swapaxes(0, 1)
        msa = msa + GatedAttention(8)(y).swapaxes(0, 1)
        msa = msa + self._network(msa)
        a, b = (Dense(32)(LayerNorm()(msa)) for _ in range(2))
        outer = jnp.einsum("sic,sjd->ijcd", a, b) * (1 / msa.shape[0])
        pair = pair + Dense(pair.shape[-1])(outer.reshape(*pair.shape[:2], -1))
        pair = pair + TriangleProduct(outgoing=True)(pair)
        pair = pair + TriangleProduct(outgoing=False)(pair)
        y = LayerNorm()(pair)
        pair = pair + GatedAttention(4)(y, self._bias(y, 4))
        y = LayerNorm()(pair).swapaxes(0, 1)
        pair = pair + GatedAttention(4)(y, self._bias(y, 4)).swapaxes(0, 1)
        return msa, pair + self._network(pair)

    def _bias(self, pair: jax.Array, heads: int) -> jax.Array:
        bias = Dense(heads, use_bias=False)(LayerNorm()(pair))
        return bias.transpose(2, 0, 1)[None, :, None].astype(jnp.float32)

    def _network(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        return Network(Shape(width, heads=1, hidden=4 * width))(LayerNorm()(x))


class _EvoformerLayer(nn.Module):
    """A block as the body of a loop."""

    @nn.compact
    def __call__(self, carry: tuple[jax.Array, jax.Array], _: None):
        return EvoformerBlock()(*carry), None


class Evoformer(nn.Module):
    """Blocks over alignment and pairs; with `scan` one loop over stacked weights."""

    blocks: int
    scan: bool

    @nn.compact
    def __call__(self, msa: jax.Array, pair: jax.Array) -> tuple[jax.Array, jax.Array]:
        if not self.scan:
            for _ in range(self.blocks):
                msa, pair = EvoformerBlock()(msa, pair)
            return msa, pair
        loop = nn.scan(
            _EvoformerLayer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=self.blocks,
        )
        return loop()((msa, pair), None)[0]


def evoformer(residues: int, sequences: int = 128, blocks: int = 1, scan: bool = False) -> Workload:
    """The trunk of AlphaFold 2; the attentions' biases come from the pairs."""
    source = "own definition; after Jumper et al., Nature 596 (2021), supplement 1.6"
    msa, pair = spec(sequences, residues, 256), spec(residues, residues, 128)
    return inference(Evoformer(blocks, scan), msa, pair, source=source)


class AttentiveModes(nn.Module):
    """Three grids [B, S, S, C]; each pair attends along the rows it shares."""

    heads: int = 16

    @nn.compact
    def __call__(self, grids: list[jax.Array]) -> list[jax.Array]:
        batch, size, _, width = grids[0].shape
        grids = list(grids)
        for first, second in ((0, 1), (2, 0), (1, 2)):
            # Row i of the first and column i of the second grid have one index in common.
            rows = jnp.concatenate([grids[first], grids[second].swapaxes(1, 2)], axis=2)
            x = rows.reshape(batch * size, 2 * size, width)
            x = x + GatedAttention(self.heads, width // self.heads)(LayerNorm()(x))
            x = x + Network(Shape(width, heads=1, hidden=4 * width))(LayerNorm()(x))
            x = x.reshape(batch, size, 2 * size, width)
            grids[first] = x[:, :, :size]
            grids[second] = x[:, :, size:].swapaxes(1, 2)
        return grids


class AlphaTensor(nn.Module):
    """Tensors and past actions [B, S, S, S, P] to features [B, 3 S S, C] and a value [B, 8]."""

    width: int = 512
    layers: int = 8

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        batch, size = x.shape[:2]
        grids = []
        for axis in (1, 2, 3):
            flat = jnp.moveaxis(x, axis, 3).reshape(batch, size, size, -1)
            grids.append(Dense(self.width)(flat))
        for _ in range(self.layers):
            grids = AttentiveModes()(grids)
        out = jnp.concatenate([g.reshape(batch, -1, self.width) for g in grids], axis=1)
        value = jnp.mean(out, axis=1)
        for _ in range(3):
            value = nn.relu(Dense(self.width)(value))
        return out, Dense(8)(value).astype(BF16)


def alphatensor(batch: int, size: int = 16, layers: int = 8) -> Workload:
    """Torso and value head for multiplying 4 x 4 matrices, with the last seven actions."""
    source = "own definition; after Fawzi et al., Nature 610 (2022), supplement"
    return inference(AlphaTensor(layers=layers), spec(batch, size, size, size, 8), source=source)
