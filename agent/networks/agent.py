"""Who plays: what self-play, checkpoints and play share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from agent.config import Config
from agent.networks.networks import Params, init_params
from agent.networks.value_scale import ValueScale
from gamekit.environment import Spec

# A fresh network knows no advantages: the running mean starts where noise cannot move the policy.
FIRST_ADVANTAGE = 0.05


@struct.dataclass
class Agent:
    """params: of the networks. scale: what their values mean. typical_advantage: scalar, the
    root-mean-square gap between the searched values of a state, in units of the scale."""

    params: Params
    scale: ValueScale
    typical_advantage: jax.Array


def fresh_agent(config: Config, spec: Spec, key: jax.Array, instances: int) -> Agent:
    """An untrained agent, before any game has ended; the key is consumed."""
    scale = ValueScale(jnp.zeros(instances), jnp.ones(instances))
    params = init_params(config.network, spec, key)
    return Agent(params, scale, jnp.float32(FIRST_ADVANTAGE))
