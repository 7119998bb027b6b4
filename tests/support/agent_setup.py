"""Small configurations for tests of the agent."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

from agent.config import Config, config_from_record
from agent.learning.learner import AXIS, TrainState, make_iteration
from agent.run.checkpoint import Agent
from agent.run.journal import CLOCK_FIELDS, Entry
from agent.run.play import play
from agent.search.search import Simulator
from agent.selfplay.rollout import Moves
from tests.support.probe_games import ProbeGame

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


def learn(game: ProbeGame, config: Config, iterations: int) -> tuple[TrainState, list[dict]]:
    iteration = make_iteration(config, game, one_device())
    state = iteration.init(game, jax.random.key_data(jax.random.key(config.seed)))
    lines = []
    for _ in range(iterations):
        state, played = iteration.play(game, state)
        state, learned = iteration.learn(game, state)
        figures = (played | learned).items()
        lines.append({k: float(v) for k, v in figures if v.ndim == 0})
    return state, lines


def greedy(game: ProbeGame, config: Config, state: TrainState, program: int = 0) -> float:
    agent = Agent(state.params, state.typical_advantage, state.units)
    played = play(game, agent, config, program, jax.random.key(0), games=4)
    assert played.saved == played.every.max() >= played.greedy
    return played.greedy


def make_moves(reward, done, index, kept, value, saved=None, branched=None) -> Moves:
    """Moves [T, B] from lists; what targets do not read is left empty."""
    reward = np.asarray(reward, np.float32)
    shape = reward.shape
    return Moves(
        observation=jnp.zeros((*shape, 2)),
        legal=jnp.ones((*shape, 3), bool),
        action=jnp.zeros(shape, jnp.int8),
        reward=jnp.asarray(reward),
        done=jnp.asarray(done, bool),
        program=jnp.zeros(shape, jnp.int32),
        index=jnp.asarray(index, jnp.int32),
        kept=jnp.asarray(kept, jnp.int32),
        policy=jnp.zeros((*shape, 3)),
        value=jnp.asarray(value, jnp.float32),
        raw_value=jnp.asarray(value, jnp.float32),
        ahead=jnp.zeros(shape),
        past=jnp.zeros(shape),
        saved=jnp.asarray(np.zeros(shape) if saved is None else saved, jnp.float32),
        branched=jnp.asarray(np.zeros(shape) if branched is None else branched, bool),
    )


PROBE = (Entry("probe"),)


def without_clock(rows: list[dict]) -> list[dict]:
    """Lines of metrics.jsonl without what depends on the clock."""
    return [{k: v for k, v in row.items() if k not in CLOCK_FIELDS} for row in rows]
