"""Networks of agents that play: MuZero's own (this project's), AlphaZero's, IMPALA's."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from agent.config import NetworkConfig
from agent.networks import NUM_ACTIONS, Model, encode_reward, encode_value, init_params
from mallocgame.suites.models.common import (
    BatchNorm,
    Conv,
    Dense,
    ids,
    inference,
    spec,
    training,
)
from mallocgame.xla.workload import Workload

OBSERVATION = 256


def _muzero_params(config: NetworkConfig) -> Any:
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(lambda k: init_params(config, OBSERVATION, k), key)


def _f32(*shape: int) -> jax.ShapeDtypeStruct:
    return spec(*shape, dtype=jnp.float32)


def muzero(batch: int, unroll: int = 5) -> Workload:
    """Represent, then `unroll` steps of dynamics and prediction, as along a line of the search."""
    config = NetworkConfig(latent=512, hidden=1024)

    def function(params: Any, observation: jax.Array, actions: jax.Array) -> Any:
        model = Model(config, params)
        latent = model.represent(observation)
        outputs = [model.predict(latent)]
        for k in range(unroll):
            latent, reward = model.dynamics(latent, actions[:, k])
            outputs.append((reward, model.predict(latent)))
        return latent, outputs

    arguments = (_muzero_params(config), _f32(batch, OBSERVATION), ids(batch, unroll))
    return Workload(function, arguments, source="agent/networks.py")


def muzero_train(batch: int, unroll: int = 5) -> Workload:
    """A training step of this project's networks: policy, value and reward along `unroll` steps."""
    config = NetworkConfig(latent=256, hidden=512)
    update = optax.chain(optax.clip_by_global_norm(5.0), optax.adamw(1e-3))

    def loss(params: Any, observation, actions, policy, value, reward) -> jax.Array:
        model = Model(config, params)
        latent = model.represent(observation)
        total = jnp.zeros(())
        for k in range(unroll + 1):
            if k:
                latent, logits = model.dynamics(latent, actions[:, k - 1])
                total += _soft_loss(logits, encode_reward(reward[:, k - 1], config.atoms))
            seen = model.predict(latent)
            total += _soft_loss(seen.policy_logits, policy[:, k])
            total += _soft_loss(seen.value_logits, encode_value(value[:, k], config.atoms))
        return total

    def step(params: Any, state: Any, *sample: jax.Array) -> Any:
        value, gradient = jax.value_and_grad(loss)(params, *sample)
        change, state = update.update(gradient, state, params)
        return optax.apply_updates(params, change), state, value

    params = _muzero_params(config)
    sample = (
        _f32(batch, OBSERVATION),
        ids(batch, unroll),
        _f32(batch, unroll + 1, NUM_ACTIONS),
        _f32(batch, unroll + 1),
        _f32(batch, unroll),
    )
    arguments = (params, jax.eval_shape(update.init, params), *sample)
    return Workload(step, arguments, donate=(0, 1), source="agent/networks.py")


def _soft_loss(logits: jax.Array, target: jax.Array) -> jax.Array:
    return -jnp.mean(jnp.sum(target * jax.nn.log_softmax(logits), axis=-1))


class AlphaZero(nn.Module):
    """Boards [B, 19, 19, 17] to move logits [B, 362] and value [B]: a tower of residual blocks."""

    blocks: int = 10
    width: int = 256
    train: bool = False

    def _conv(self, x: jax.Array, width: int, size: int) -> jax.Array:
        x = Conv(width, (size, size), use_bias=False)(x)
        return BatchNorm(use_running_average=not self.train)(x)

    @nn.compact
    def __call__(self, board: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = nn.relu(self._conv(board, self.width, 3))
        for _ in range(self.blocks):
            y = nn.relu(self._conv(x, self.width, 3))
            x = nn.relu(x + self._conv(y, self.width, 3))
        policy = nn.relu(self._conv(x, 2, 1)).reshape(x.shape[0], -1)
        value = nn.relu(self._conv(x, 1, 1)).reshape(x.shape[0], -1)
        value = Dense(1)(nn.relu(Dense(256)(value)))
        return Dense(362)(policy), jnp.tanh(value[:, 0])


def _play_loss(output: tuple[jax.Array, jax.Array], target: tuple[jax.Array, jax.Array]):
    policy, value = (x.astype(jnp.float32) for x in output)
    return _soft_loss(policy, target[0]) + jnp.mean(jnp.square(value - target[1]))


def alphazero(batch: int, train: bool = False) -> Workload:
    """The Go network with ten residual blocks."""
    source = "own definition; after Silver et al., Nature 550 (2017)"
    board = spec(batch, 19, 19, 17)
    if train:
        target = (_f32(batch, 362), _f32(batch))
        model = AlphaZero(blocks=5, train=True)
        return training(model, [board], target, loss=_play_loss, source=source)
    return inference(AlphaZero(), board, source=source)
