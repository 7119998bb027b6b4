"""Fresh targets for old positions (Schrittwieser et al., arXiv 2104.06294)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from agent.config import Config
from agent.learning.loss import Batch
from agent.networks import Params, ValueScale
from agent.search import learned_model, search
from gamekit.environment import Spec


def follow_slowly(target: Params, params: Params, rate: float) -> Params:
    """The target network after an update: a running mean of the parameters."""
    return jax.tree.map(lambda old, new: old + rate * (new - old), target, params)


def reanalyse(
    config: Config,
    spec: Spec,
    target: Params,
    scale: ValueScale,
    typical_advantage: jax.Array,
    batch: Batch,
    key: jax.Array,
    first: jax.Array | int,
) -> Batch:
    """Searches every `reanalyse.every`-th sample anew with the target network.

    The searched policy takes the place of the target; the searched value counts for
    `reanalyse.value_weight`, the return of the game for the rest.

    first: the number of the batch's first sample, a multiple of `every`, to which the search's
        random numbers belong. The key is consumed.
    """
    c = config.reanalyse
    old = jax.tree.map(lambda x: x[:: c.every], batch.moves)
    shape = old.action.shape

    def flat(x: jax.Array) -> jax.Array:
        return x.reshape(-1, *x.shape[2:])

    found = search(
        target,
        flat(old.observation).astype(jnp.float32),
        flat(old.legal),
        key,
        config=config,
        spec=spec,
        model=learned_model(config, spec),
        typical_advantage=typical_advantage,
        number=first // c.every * shape[1] + jnp.arange(shape[0] * shape[1]),
    )
    seen = scale.to_return(found.value.reshape(shape), old.instance, old.headroom)
    value = (1 - c.value_weight) * batch.value[:: c.every] + c.value_weight * seen
    policy = batch.moves.policy.at[:: c.every].set(found.policy.reshape(*shape, -1))
    return batch._replace(
        moves=dataclasses.replace(batch.moves, policy=policy),
        value=batch.value.at[:: c.every].set(value),
    )
