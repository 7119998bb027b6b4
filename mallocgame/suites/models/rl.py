"""Networks of agents that play: MuZero's own (this project's), AlphaZero's, IMPALA's."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import AxisType

from agent.config import NetworkConfig, config_from_record
from agent.learning.learner import AXIS, make_iteration
from agent.networks import NUM_ACTIONS, Model, encode_reward, encode_value, init_params
from mallocgame.game.environment import build_game
from mallocgame.suites.models.common import (
    BF16,
    BatchNorm,
    Conv,
    Dense,
    ids,
    inference,
    spec,
    training,
)
from mallocgame.synthetic.random_programs import sized_program
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
        outputs: list[Any] = [model.predict(latent)]
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


def own_training_step(
    games: int = 64, accesses: int = 400, updates: int = 4, whole: bool = False
) -> Workload:
    """The agent's own training step: targets of the replay, samples, updates of the networks.

    whole: the whole iteration, which plays `moves` of every game first.
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
    game = build_game([program], config.game)
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


class _ResStage(nn.Module):
    """Convolution, pooling and two residual blocks of IMPALA's deep network."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.max_pool(Conv(self.width, (3, 3))(x), (3, 3), (2, 2), "SAME")
        for _ in range(2):
            y = Conv(self.width, (3, 3))(nn.relu(x))
            x = x + Conv(self.width, (3, 3))(nn.relu(y))
        return x


class Impala(nn.Module):
    """Frames [T, B, 72, 96, 3] to action logits [T, B, A] and values [T, B], with a memory."""

    actions: int = 9
    width: int = 256

    @nn.compact
    def __call__(self, frames: jax.Array) -> tuple[jax.Array, jax.Array]:
        steps, batch = frames.shape[:2]
        x = frames.reshape(steps * batch, *frames.shape[2:])
        for width in (16, 32, 32):
            x = _ResStage(width)(x)
        x = nn.relu(Dense(self.width)(nn.relu(x).reshape(steps, batch, -1)))
        scan = nn.scan(
            nn.OptimizedLSTMCell, variable_broadcast="params", split_rngs={"params": False}
        )
        zero = jnp.zeros((batch, self.width), BF16)
        _, x = scan(self.width, dtype=BF16)((zero, zero), x)
        return Dense(self.actions)(x), Dense(1)(x)[..., 0]


def v_trace(
    values: jax.Array, rewards: jax.Array, discounts: jax.Array, ratios: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Off-policy targets [T - 1, B] and advantages, from values [T, B] (the last bootstraps).

    Espeholt et al., arXiv 1802.01561, equation 1, ratios [T - 1, B] clipped at one; backwards.
    """
    clipped = jnp.minimum(ratios, 1.0)
    errors = clipped * (rewards + discounts * values[1:] - values[:-1])

    def body(later: jax.Array, now: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        error, discount, trace = now
        gain = error + discount * trace * later
        return gain, gain

    start = jnp.zeros_like(values[0])
    _, gains = jax.lax.scan(body, start, (errors, discounts, clipped), reverse=True)
    targets = values[:-1] + gains
    after = jnp.concatenate([targets[1:], values[-1:]])
    return targets, clipped * (rewards + discounts * after - values[:-1])


def _actor_critic_loss(output: tuple[jax.Array, jax.Array], played: tuple[jax.Array, ...]):
    logits, values = (x.astype(jnp.float32) for x in output)
    actions, behaviour, rewards, discounts = played
    log_policy = jax.nn.log_softmax(logits[:-1])
    chosen = jnp.sum(jax.nn.one_hot(actions, logits.shape[-1]) * log_policy, axis=-1)
    ratios = jnp.exp(jax.lax.stop_gradient(chosen) - behaviour)
    targets, advantages = v_trace(jax.lax.stop_gradient(values), rewards, discounts, ratios)
    entropy = -jnp.mean(jnp.sum(jnp.exp(log_policy) * log_policy, axis=-1))
    critic = jnp.mean(jnp.square(targets - values[:-1]))
    return critic / 2 - jnp.mean(advantages * chosen) - 0.01 * entropy


def impala(batch: int, steps: int = 20, train: bool = False) -> Workload:
    """IMPALA's deep network on DeepMind Lab's frames; in training the loss is V-trace."""
    source = "own definition; after Espeholt et al., arXiv 1802.01561"
    frames = spec(steps + train, batch, 72, 96, 3)
    if train:
        played = (ids(steps, batch), *(_f32(steps, batch) for _ in range(3)))
        return training(Impala(), [frames], played, loss=_actor_critic_loss, source=source)
    return inference(Impala(), frames, source=source)
