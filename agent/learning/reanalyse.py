"""Fresh targets for old positions (Schrittwieser et al., arXiv 2104.06294)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from agent.config import Config
from agent.learning.loss import Batch
from agent.networks import Params
from agent.search.search import Simulator, search


def follow_slowly(target: Params, params: Params, rate: float) -> Params:
    """The target network after an update: a running mean of the parameters."""
    return jax.tree.map(lambda old, new: old + rate * (new - old), target, params)


def reanalyse(
    config: Config, target: Params, state: Any, batch: Batch, key: jax.Array, first: jax.Array | int
) -> Batch:
    """Searches every `reanalyse.every`-th sample anew with the target network.

    The searched policy takes the place of the target; the searched value counts for
    `reanalyse.value_weight`, the return that the game came to for the rest.

    state: a `learner.TrainState`; first: the number of the batch's first sample, a multiple of
        `every`, to which the search's random numbers belong. The key is consumed.
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
        typical_advantage=state.typical_advantage,
        simulator=Simulator(None, None, state.units),
        number=first // c.every * shape[1] + jnp.arange(shape[0] * shape[1]),
    )
    seen = state.units.to_return(found.value.reshape(shape), old.program, old.ahead)
    value = (1 - c.value_weight) * batch.value[:: c.every] + c.value_weight * seen
    policy = found.policy.reshape(*shape, -1)
    return batch._replace(
        value=batch.value.at[:: c.every].set(value),
        policy=batch.policy.at[:: c.every].set(policy),
    )
