"""The agent's networks and its training step as workloads of the suite tpu_v4.

They belong neither to `mallocgame`, which knows no agent, nor to `agent`, which knows no compiler.
They are importable from the root of a clone only, where `build-suite` is run.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType

from agent.config import NetworkConfig, config_from_record
from agent.learning.learner import make_iteration
from agent.learning.state import AXIS
from agent.networks import Model, encode_reward, encode_value, init_params
from gamekit.environment import Spec
from gamekit.observation import plain
from mallocgame.game.environment import ACTION_NAMES, build_game
from mallocgame.suites.models.common import f32, ids, soft_cross_entropy
from mallocgame.synthetic.random_programs import sized_program
from mallocgame.xla.workload import Workload

OBSERVATION = 256  # features
# The networks depend on nothing else of a game.
GAME = Spec("workload", 1, 1, ACTION_NAMES, None, 1, 1, plain(OBSERVATION))


def _muzero_params(config: NetworkConfig) -> Any:
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(lambda k: init_params(config, GAME, k), key)


def muzero(batch: int, unroll: int = 5) -> Workload:
    """A representation and `unroll` steps of dynamics and prediction, as a line of search makes."""
    config = NetworkConfig(latent=512, hidden=1024)

    def function(params: Any, observation: jax.Array, actions: jax.Array) -> Any:
        model = Model(config, GAME, params)
        latent = model.represent(observation)
        outputs: list[Any] = [model.predict(latent)]
        for k in range(unroll):
            latent, reward = model.dynamics(latent, actions[:, k])
            outputs.append((reward, model.predict(latent)))
        return latent, outputs

    arguments = (_muzero_params(config), f32(batch, OBSERVATION), ids(batch, unroll))
    return Workload(function, arguments, source="agent/networks.py")


def muzero_train(batch: int, unroll: int = 5) -> Workload:
    """A training step of the networks: policy, value and reward along `unroll` steps."""
    config = NetworkConfig(latent=256, hidden=512)
    update = optax.chain(optax.clip_by_global_norm(5.0), optax.adamw(1e-3))

    def loss(params: Any, observation, actions, policy, value, reward) -> jax.Array:
        model = Model(config, GAME, params)
        latent = model.represent(observation)
        total = jnp.zeros(())
        for k in range(unroll + 1):
            if k:
                latent, logits = model.dynamics(latent, actions[:, k - 1])
                total += soft_cross_entropy(logits, encode_reward(reward[:, k - 1], config.atoms))
            seen = model.predict(latent)
            total += soft_cross_entropy(seen.policy_logits, policy[:, k])
            total += soft_cross_entropy(seen.value_logits, encode_value(value[:, k], config.atoms))
        return total

    def step(params: Any, state: Any, *sample: jax.Array) -> Any:
        value, gradient = jax.value_and_grad(loss)(params, *sample)
        change, state = update.update(gradient, state, params)
        return optax.apply_updates(params, change), state, value

    params = _muzero_params(config)
    sample = (
        f32(batch, OBSERVATION),
        ids(batch, unroll),
        f32(batch, unroll + 1, GAME.num_actions),
        f32(batch, unroll + 1),
        f32(batch, unroll),
    )
    arguments = (params, jax.eval_shape(update.init, params), *sample)
    return Workload(step, arguments, donate=(0, 1), source="agent/networks.py")


def own_training_step(
    games: int = 64, accesses: int = 400, updates: int = 4, whole: bool = False
) -> Workload:
    """The agent's own training step: replay targets, samples and updates of the networks.

    Args:
      games, accesses: games played at once, and accesses of the program they play.
      updates: of the networks in a step.
      whole: whether to play the games first, as a whole training iteration does.
    """
    record = {
        "name": "own",
        "network": {"latent": 256, "hidden": 512},
        "rollout": {"games": games, "moves": 64},
        "replay": {"moves": 512},
        "learner": {"batch_size": 256, "unroll": 4, "updates": updates},
    }
    config = config_from_record(record, "own_training_step")
    program = sized_program(np.random.default_rng(0), accesses=accesses)
    game = build_game([program], config.game.options)
    mesh = jax.make_mesh((1,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    iteration = make_iteration(config, game, mesh)

    def step(game: Any, state: Any) -> Any:
        if whole:
            state, _ = iteration.play(game, state)
        state, metrics = iteration.learn(game, state)
        return state, metrics["loss"]

    def shapes(tree: Any) -> Any:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)

    arguments = (shapes(game), shapes(iteration.abstract_state))
    return Workload(step, arguments, donate=(1,), source="agent/learner.py")
