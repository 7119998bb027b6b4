"""Fine-tuning: a new run that begins with the networks of another one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from agent.config import Config, load_config
from agent.learning.learner import TrainState
from agent.networks.units import Units
from agent.run.checkpoint import load_agent
from gamekit.errors import InputError


def start_from(config: Config, observation_size: int, state: TrainState) -> TrainState:
    """A fresh state with the networks of the run `train.start_from`.

    Its typical advantage comes along, and the mean of its units until games of the new run have
    ended. Optimiser, replay and best games begin anew.

    Raises:
      InputError: there is no such run, or its networks or their observations are others.
    """
    source = Path(config.train.start_from)
    if not (source / "config.yaml").is_file():
        raise InputError(f"train.start_from: {source}: no training run (it has no config.yaml)")
    other = load_config(source / "config.yaml")
    ours, theirs = (
        {"game.observation": c.game.observation}
        | {f"network.{key}": value for key, value in dataclasses.asdict(c.network).items()}
        for c in (config, other)
    )
    if keys := [key for key in ours if ours[key] != theirs[key]]:
        key = keys[0]
        raise InputError(
            f"train.start_from: {source}: its networks are others "
            f"({key} is {theirs[key]!r} there, {ours[key]!r} here)"
        )
    agent, _ = load_agent(source, observation_size)
    ones = jnp.ones_like(state.units.share)
    units = Units(jnp.mean(agent.units.share) * ones, jnp.mean(agent.units.scale) * ones)
    target = None if state.target is None else jax.tree.map(jnp.copy, agent.params)
    new = (agent.params, target, units, agent.typical_advantage)
    old = (state.params, state.target, state.units, state.typical_advantage)
    params, target, units, typical = jax.tree.map(
        lambda x, like: jax.device_put(np.asarray(x), like.sharding), new, old
    )
    return dataclasses.replace(
        state, params=params, target=target, units=units, typical_advantage=typical
    )
