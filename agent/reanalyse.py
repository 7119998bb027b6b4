"""Fresh targets for old positions (Schrittwieser et al., arXiv 2104.06294)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from agent.config import Config
from agent.networks import Params
from agent.rollout import Moves
from agent.search import Simulator, search
from agent.units import Units


def follow_slowly(target: Params, params: Params, rate: float) -> Params:
    """The target network after an update: a running mean of the parameters."""
    return jax.tree.map(lambda old, new: old + rate * (new - old), target, params)


def reanalyse(
    config: Config,
    target: Params,
    typical_advantage: jax.Array,
    units: Units,
    moves: Moves,
    value: jax.Array,
    policy: jax.Array,
    key: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Searches a share of the sampled positions anew with the target network.

    moves: [N, K]; value: unscaled targets [N, K]; policy: [N, K, A]. Samples are independent, so
    the first ones are as good as any. The key is consumed.

    Returns:
      Value and policy targets; the searched policy takes the place of the one when it was played,
      and the searched value counts for `reanalyse.value_weight`, the return that was come to in the
      game for the rest.
    """
    c = config.reanalyse
    count = round(c.fraction * len(value))
    old = jax.tree.map(lambda x: x[:count], moves)
    shape = old.action.shape

    def flat(x: jax.Array) -> jax.Array:
        return x.reshape(-1, *x.shape[2:])

    found = search(
        target,
        flat(old.observation).astype(jnp.float32),
        flat(old.legal),
        key,
        config=config,
        typical_advantage=typical_advantage,
        simulator=Simulator(None, None, units),
    )
    seen = units.to_return(found.value.reshape(shape), old.program, old.ahead)
    mixed = (1 - c.value_weight) * value[:count] + c.value_weight * seen
    searched = found.policy.reshape(*shape, -1)
    return value.at[:count].set(mixed), policy.at[:count].set(searched)
