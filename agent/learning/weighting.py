"""How often each cell of the replay is sampled: instances in balance, surprises more often."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from agent.config import ReplayConfig
from agent.learning.targets import Targets
from agent.networks import ValueScale
from agent.selfplay.rollout import Moves

# In units of the value: what is added to a cell's error, so that none is never sampled.
LEAST_ERROR = 0.02
# Priorities are rounded to so many steps an octave.
STEPS = 8


def cell_weights(
    config: ReplayConfig,
    moves: Moves,
    targets: Targets,
    scale: ValueScale,
    axis: str,
) -> tuple[jax.Array, jax.Array]:
    """How often each cell is sampled, in proportion, and what it counts for in the loss: [T, B].

    `balance` divides a cell's weight by the number of usable cells of its instance, to that power.
    With `priority` a the weight grows with |error of the value when it was played| ** a (Schaul et
    al., ICLR 2016); the importance takes back the share `correction` (their beta) of the bias; its
    mean over samples is 1.  The weights are the same however the games are spread over the devices
    of the mesh's `axis`: they are made of numbers of cells and of rounded priorities.
    """
    usable = targets.usable.astype(jnp.float32)

    def total(x: jax.Array) -> jax.Array:
        return jax.lax.psum(x, axis)

    def of_instances(mask: jax.Array) -> jax.Array:
        return total(jnp.zeros_like(scale.spread).at[moves.instance].add(mask))

    counts = of_instances(usable)
    share = jnp.maximum(counts, 1.0) ** -config.balance
    every = 1.0 / jnp.maximum(jnp.sum(counts * share), 1e-30)
    base = share[moves.instance] * (every * usable)
    if not config.priority:
        return base, jnp.ones_like(base)
    error = jnp.abs(moves.raw_value - targets.value) / scale.spread[moves.instance]
    octaves = config.priority * jnp.log2(error + LEAST_ERROR)
    weights = base * jnp.exp2(jnp.round(STEPS * octaves) / STEPS)
    fair = base / total(jnp.sum(base)).clip(1e-30)
    taken = weights / total(jnp.sum(weights)).clip(1e-30)
    importance = (fair / jnp.maximum(taken, 1e-30)) ** config.correction
    return weights, importance / total(jnp.sum(taken * importance)).clip(1e-30)
