"""Small configurations for tests of the agent."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import AxisType, Mesh

from agent.config import Config, config_from_record
from agent.learner import AXIS
from agent.search import Simulator

# For searches with the learned model, which never look at the game.
NO_GAME = Simulator(None, None, None)


def small_config(**sections: Any) -> Config:
    """A configuration that compiles and runs in seconds; sections update its own."""
    record: dict[str, Any] = {
        "name": "test",
        "network": {"latent": 32, "hidden": 32, "representation_blocks": 1, "atoms": 32},
        "search": {"simulations": 8, "max_depth": 4, "advantage_logits": 1.0},
        "rollout": {"games": 32, "moves": 24, "guided_fraction": 0.0, "deviating": 0.0},
        "replay": {"moves": 192},
        "targets": {"td_lambda": 0.95},
        "learner": {"batch_size": 128, "unroll": 3, "warmup": 20, "consistency_weight": 0.5},
        "train": {"iterations": 4, "checkpoint_every": 2},
    }
    for name, section in sections.items():
        is_section = isinstance(section, dict)
        record[name] = record.get(name, {}) | section if is_section else section
    return config_from_record(record, "test")


def one_device() -> Mesh:
    """A mesh of one device."""
    return jax.make_mesh((1,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
