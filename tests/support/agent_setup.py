"""Small configurations for tests of the agent."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

from agent.config import Config, config_from_record, save_config
from agent.learning.learner import make_iteration
from agent.learning.state import AXIS, TrainState
from agent.networks import Agent, Params, init_params
from agent.run.checkpoint import SPEC_KEY, Checkpointer, Counters
from agent.run.journal import CLOCK_FIELDS, TrainedInstance
from agent.run.loaded import flatten
from agent.run.play import play
from agent.selfplay.rollout import Moves
from gamekit.environment import Environment, Spec, spec_record
from gamekit.observation import plain
from gamekit.probe import ACTION_NAMES, DECLINE

PROBE_GAME = "gamekit.probe:DOMAIN"


def small_config(**sections: Any) -> Config:
    """A configuration that compiles and runs in seconds; sections update its own."""
    record: dict[str, Any] = {
        "name": "test",
        "game": {"name": PROBE_GAME},
        "network": {"latent": 32, "hidden": 32, "representation_blocks": 1, "atoms": 32},
        "search": {"simulations": 8, "max_depth": 4, "advantage_logits": 1.0},
        "rollout": {"games": 32, "moves": 24, "guided_fraction": 0.0, "deviating": 0.0},
        "replay": {"moves": 192},
        "targets": {"td_lambda": 0.95},
        "learner": {"batch_size": 128, "unroll": 3, "warmup": 20},
        "train": {"iterations": 4, "checkpoint_every": 2},
    }
    for name, section in sections.items():
        is_section = isinstance(section, dict)
        record[name] = record.get(name, {}) | section if is_section else section
    return config_from_record(record, "test")


def small_spec(features: int = 5) -> Spec:
    """A game of which nothing is known but its actions and the size of its observation."""
    return Spec("test", 1, 1, ACTION_NAMES, DECLINE, 8, 8, plain(features))


def disturbed(config: Config, spec: Spec, by: float = 0.3) -> Params:
    """Parameters with opinions: the heads of fresh networks are flat."""
    return jax.tree.map(
        lambda x: x + by * jax.random.normal(jax.random.key(x.size), x.shape),
        init_params(config.network, spec, jax.random.key(0)),
    )


def save_run(folder: Path, config: Config, agent: Agent, spec: Spec, step: int = 1) -> Path:
    """A training run's folder with an agent, and without what only training needs."""
    folder.mkdir()
    save_config(config, folder / "config.yaml")
    counters = Counters(moves=10, games=2, wall_s=1800.0, instances=("a",))
    metadata = dataclasses.asdict(counters) | {"instances": ["a"], SPEC_KEY: spec_record(spec)}
    with Checkpointer((folder / "checkpoints").absolute()) as checkpointer:
        checkpointer.save_checkpointables(step, {"agent": flatten(agent)}, custom_metadata=metadata)
    return folder


def one_device() -> Mesh:
    """A mesh of one device."""
    return jax.make_mesh((1,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])


def learn(
    game: Environment[Any], config: Config, iterations: int
) -> tuple[TrainState, list[dict[str, float]]]:
    """The state after some iterations, and the figures of each."""
    iteration = make_iteration(config, game, one_device())
    state = iteration.init(game, jax.random.key_data(jax.random.key(config.seed)))
    lines = []
    for _ in range(iterations):
        state, played = iteration.play(game, state)
        state, learned = iteration.learn(game, state)
        figures = (played | learned).items()
        lines.append({k: float(v) for k, v in figures if v.ndim == 0})
    return state, lines


def greedy(game: Environment[Any], config: Config, state: TrainState, instance: int = 0) -> float:
    """The score of the trained agent's noiseless game."""
    played = play(game, state.agent, config, instance, jax.random.key(0), games=4)
    assert played.score == played.every.max() >= played.greedy
    return played.greedy


def make_moves(reward, done, index, undone_from, value, score=None, branched=None) -> Moves:
    """Moves [T, B] from lists; what targets do not read is left empty."""
    reward = np.asarray(reward, np.float32)
    shape = reward.shape
    return Moves(
        observation=jnp.zeros((*shape, 2)),
        legal=jnp.ones((*shape, 3), bool),
        action=jnp.zeros(shape, jnp.int32),
        reward=jnp.asarray(reward),
        done=jnp.asarray(done, bool),
        instance=jnp.zeros(shape, jnp.int32),
        index=jnp.asarray(index, jnp.int32),
        undone_from=jnp.asarray(undone_from, jnp.int32),
        policy=jnp.zeros((*shape, 3)),
        value=jnp.asarray(value, jnp.float32),
        raw_value=jnp.asarray(value, jnp.float32),
        score=jnp.asarray(np.zeros(shape) if score is None else score, jnp.float32),
        branched=jnp.asarray(np.zeros(shape) if branched is None else branched, bool),
        headroom=jnp.zeros(shape),
        headroom_lost=jnp.zeros(shape),
    )


PROBE = (TrainedInstance("probe"),)


def without_clock(rows: list[dict]) -> list[dict]:
    """Lines of metrics.jsonl without what depends on the clock."""
    return [{k: v for k, v in row.items() if k not in CLOCK_FIELDS} for row in rows]
