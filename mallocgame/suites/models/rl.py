"""Networks of agents that play games: AlphaZero's and IMPALA's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from mallocgame.suites.models.common import (
    BF16,
    BatchNorm,
    Conv,
    Dense,
    f32,
    ids,
    inference,
    soft_cross_entropy,
    spec,
    training,
)
from mallocgame.xla.workload import Workload


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
    return soft_cross_entropy(policy, target[0]) + jnp.mean(jnp.square(value - target[1]))


def alphazero(batch: int, train: bool = False) -> Workload:
    """The Go network with ten residual blocks."""
    source = "own definition; after Silver et al., Nature 550 (2017)"
    board = spec(batch, 19, 19, 17)
    if train:
        target = (f32(batch, 362), f32(batch))
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
        played = (ids(steps, batch), *(f32(steps, batch) for _ in range(3)))
        return training(Impala(), [frames], played, loss=_actor_critic_loss, source=source)
    return inference(Impala(), frames, source=source)
