"""Recommenders: large embedding tables, small dense networks."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from mallocgame.suites.models.common import (
    Dense,
    Embed,
    cross_entropy,
    ids,
    inference,
    spec,
    training,
)
from mallocgame.xla.workload import Workload

# Rows of the 26 categorical features of Criteo's display advertising data, capped.
CRITEO_ROWS = (
    *(1460, 583, 100_000, 100_000, 305, 24, 12_517, 633, 3, 93_145, 5683, 100_000, 3194),
    *(27, 14_992, 100_000, 10, 5652, 2173, 4, 100_000, 18, 15, 100_000, 105, 100_000),
)


def _mlp(x: jax.Array, widths: Sequence[int]) -> jax.Array:
    for width in widths:
        x = nn.relu(Dense(width)(x))
    return x


class Dlrm(nn.Module):
    """Dense features [B, 13] and one row number per table [B, 26] to a click's logit [B, 1]."""

    rows: Sequence[int] = CRITEO_ROWS
    width: int = 64

    @nn.compact
    def __call__(self, dense: jax.Array, sparse: jax.Array) -> jax.Array:
        bottom = _mlp(dense, (512, 256, self.width))
        vectors = [Embed(n, self.width)(sparse[:, k]) for k, n in enumerate(self.rows)]
        stacked = jnp.stack([bottom, *vectors], axis=1)
        products = jnp.einsum("bid,bjd->bij", stacked, stacked)
        upper = np.triu_indices(stacked.shape[1], 1)
        x = jnp.concatenate([bottom, products[:, upper[0], upper[1]]], axis=-1)
        return Dense(1)(_mlp(x, (1024, 1024, 512, 256)))


def _click_loss(logit: jax.Array, label: jax.Array) -> jax.Array:
    logit = logit[:, 0].astype(jnp.float32)
    return jnp.mean(nn.softplus(logit) - logit * label)


def dlrm(batch: int, train: bool = False) -> Workload:
    """Click prediction on 26 tables."""
    source = "own definition; after Naumov et al., arXiv 1906.00091"
    inputs = [spec(batch, 13), ids(batch, len(CRITEO_ROWS))]
    if train:
        label = spec(batch, dtype=jnp.float32)
        return training(Dlrm(), inputs, label, loss=_click_loss, source=source)
    return inference(Dlrm(), *inputs, source=source)


# Rows of the features of a user (number, country, language, device, age) and, besides its number,
# of an item (author, category, language, length).
USER_ROWS = (100_000, 250, 120, 60, 12)
ITEM_ROWS = (50_000, 5_000, 120, 30)


class TwoTower(nn.Module):
    """Users and items to scores [B, B] of every user for every item.

    users [B, 5] and items [B, 4] are row numbers of features, history [B, H] and item [B] numbers
    of items.
    """

    items: int = 200_000
    width: int = 128

    @nn.compact
    def __call__(
        self, users: jax.Array, history: jax.Array, item: jax.Array, items: jax.Array
    ) -> jax.Array:
        table = Embed(self.items, self.width)
        user_parts = [jnp.mean(table(history), axis=1), *self._features(users, USER_ROWS)]
        item_parts = [table(item), *self._features(items, ITEM_ROWS)]
        towers = [self._tower(jnp.concatenate(p, axis=-1)) for p in (user_parts, item_parts)]
        return jnp.einsum("ud,id->ui", *towers, preferred_element_type=jnp.float32)

    def _features(self, numbers: jax.Array, rows: Sequence[int]) -> list[jax.Array]:
        return [Embed(n, 64)(numbers[:, k]) for k, n in enumerate(rows)]

    def _tower(self, x: jax.Array) -> jax.Array:
        x = Dense(self.width)(_mlp(x, (1024, 512, 256)))
        return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + 1e-6)


def two_tower(batch: int, train: bool = False) -> Workload:
    """Retrieval with the other items of the batch as negatives."""
    source = "own definition; after Yi et al., RecSys 2019"
    inputs = [
        ids(batch, len(USER_ROWS)),
        ids(batch, 50),
        ids(batch),
        ids(batch, len(ITEM_ROWS)),
    ]
    if train:
        return training(TwoTower(), inputs, ids(batch), loss=cross_entropy, source=source)
    return inference(TwoTower(), *inputs, source=source)


class DeepAndCross(nn.Module):
    """Click prediction with low-rank cross layers beside a deep network."""

    rows: Sequence[int] = CRITEO_ROWS
    width: int = 39
    crosses: int = 4

    @nn.compact
    def __call__(self, dense: jax.Array, sparse: jax.Array) -> jax.Array:
        vectors = [Embed(n, self.width)(sparse[:, k]) for k, n in enumerate(self.rows)]
        x0 = jnp.concatenate([dense, *vectors], axis=-1)
        x = x0
        for _ in range(self.crosses):
            x = x0 * Dense(x0.shape[-1])(Dense(256, use_bias=False)(x)) + x
        return Dense(1)(jnp.concatenate([x, _mlp(x0, (768, 768))], axis=-1))


def dcn(batch: int) -> Workload:
    """Deep and cross network, second version."""
    source = "own definition; after Wang et al., arXiv 2008.13535"
    inputs = (spec(batch, 13), ids(batch, len(CRITEO_ROWS)))
    return inference(DeepAndCross(), *inputs, source=source)
