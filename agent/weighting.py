"""How often each cell of the replay is sampled: programs in balance, surprises more often."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from agent.config import ReplayConfig
from agent.rollout import Moves
from agent.targets import Targets
from agent.units import Units

# Of the mean error: what a cell without any counts as.
LEAST_ERROR = 0.1


def cell_weights(
    config: ReplayConfig,
    moves: Moves,
    targets: Targets,
    elite: jax.Array,
    units: Units,
    axis: str,
) -> tuple[jax.Array, jax.Array]:
    """Weights of the cells, and what each counts for in the loss: float32 [T, B] each.

    Weights sum to 1 over all devices of the mesh's `axis`.  `balance` divides a cell's weight by
    the number of usable cells of its program, to that power.  With `priority` a the weight grows
    with |error of the value when it was played| ** a (Schaul et al., ICLR 2016); the importance
    takes back the share `correction` (their beta) of the bias; its mean over samples is 1.
    """

    def normalised(x: jax.Array) -> jax.Array:
        return x / jnp.maximum(jax.lax.psum(jnp.sum(x), axis), 1e-30)

    usable = targets.usable.astype(jnp.float32)
    counts = jnp.zeros_like(units.scale).at[moves.program].add(usable)
    counts = jnp.maximum(jax.lax.psum(counts, axis), 1.0)
    share = counts[moves.program] ** -config.balance
    base = (1 - config.elite_fraction) * normalised(usable * share)
    base += config.elite_fraction * normalised(elite * share)
    if not config.priority:
        return base, jnp.ones_like(base)
    error = jnp.abs(moves.raw_value - targets.value) / units.scale[moves.program]
    mean = jax.lax.psum(jnp.sum(base * error), axis)
    weights = normalised(base * (error + LEAST_ERROR * mean) ** config.priority)
    importance = (base / jnp.maximum(weights, 1e-30)) ** config.correction
    importance /= jnp.maximum(jax.lax.psum(jnp.sum(weights * importance), axis), 1e-30)
    return weights, importance
