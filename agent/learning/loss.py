"""The MuZero loss."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from agent import networks
from agent.config import Config
from agent.networks import Model, Params, Prediction, ValueScale
from agent.selfplay.measures import policy_entropy
from agent.selfplay.rollout import Moves
from gamekit.environment import Spec

# What the parts count for in the sum: legality is easy, and only inside the tree of use.
WEIGHTS = {"policy": 1.0, "value": 1.0, "reward": 1.0, "legal": 0.2}


class Batch(NamedTuple):
    """Positions to learn from, N samples unrolled over K steps.

    moves: [N, K+1]. value: targets as unscaled returns [N, K+1]. usable: bool [N, K+1].
    importance: weights of the samples [N].
    dropout: keys of the samples [N], None without dropout.
    """

    moves: Moves
    value: jax.Array
    usable: jax.Array
    importance: jax.Array
    dropout: jax.Array | None = None


class _Scaled(NamedTuple):
    """Targets [N, K+1] in the networks' units, 0 behind the end; `inside`: not behind it."""

    value: jax.Array
    reward: jax.Array
    inside: jax.Array


def loss_fn(
    params: Params, config: Config, spec: Spec, batch: Batch, scale: ValueScale
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The MuZero loss over unrolls of K steps from N sampled moves; with K = 0 AlphaZero's, which
    has no model to learn and no errors of one to tell.

    Behind a game's end value and reward are 0, as for any absorbing state; what was undone, and the
    policy behind the end, count for nothing.
    """
    moves = batch.moves
    model = Model(config.network, spec, params, config.learner.dropout, batch.dropout)
    unroll = moves.reward.shape[1] - 1
    target = _scaled(batch, scale)
    latent = _unrolled(model, moves)
    prediction = model.predict(latent)
    reward_logits = model.predict_reward(latent[:, 1:])
    step_weights = jnp.array([1.0] + [1.0 / max(unroll, 1)] * unroll)
    weight = batch.importance[:, None] * step_weights  # [N, K+1]
    parts = _parts(config, batch, target, prediction, reward_logits, weight)
    total = sum((WEIGHTS[name] * part for name, part in parts.items()), jnp.zeros(()))
    losses = {f"loss_{name}": part for name, part in parts.items()}
    errors = _errors(batch, target, prediction, reward_logits, scale)
    return total, losses | errors | {"loss": total}


def _scaled(batch: Batch, scale: ValueScale) -> _Scaled:
    moves = batch.moves
    ends = jnp.cumsum(moves.done, axis=1)
    inside = jnp.concatenate([jnp.ones_like(ends[:, :1]), ends[:, :-1] == 0], axis=1) > 0
    value = scale.of_return(batch.value, moves.instance, moves.headroom)
    reward = scale.of_return(moves.reward, moves.instance, moves.headroom_lost)
    return _Scaled(jnp.where(inside, value, 0.0), jnp.where(inside, reward, 0.0), inside)


def _unrolled(model: Model, moves: Moves) -> jax.Array:
    """Latents [N, K+1, D] along the moves."""
    latents = [model.represent(moves.observation[:, 0].astype(jnp.float32))]
    for k in range(moves.reward.shape[1] - 1):
        latent, _ = model.dynamics(latents[-1], moves.action[:, k])
        # Half the gradient: the dynamics sees every step of the unroll (MuZero, appendix G).
        latents.append(0.5 * latent + 0.5 * jax.lax.stop_gradient(latent))
    return jnp.stack(latents, axis=1)


def _parts(
    config: Config,
    batch: Batch,
    target: _Scaled,
    prediction: Prediction,
    reward_logits: jax.Array,
    weight: jax.Array,
) -> dict[str, jax.Array]:
    """The parts of the loss by name."""
    moves, inside = batch.moves, target.inside
    usable = batch.usable & inside
    counted = jnp.where(inside, usable, True)
    entropy, atoms = optax.softmax_cross_entropy, config.network.atoms
    logits = jnp.where(moves.legal, prediction.policy_logits, -1e9)
    legality = optax.sigmoid_binary_cross_entropy(
        prediction.legal_logits[:, 1:], moves.legal[:, 1:].astype(jnp.float32)
    )
    divergence = entropy(logits, moves.policy) - policy_entropy(moves.policy)
    return {
        "policy": _mean(divergence, usable, weight),
        "value": _mean(
            entropy(prediction.value_logits, networks.encode_value(target.value, atoms)),
            counted,
            weight,
        ),
        "reward": _mean(
            entropy(reward_logits, networks.encode_reward(target.reward[:, :-1], atoms)),
            counted[:, :-1],
            weight[:, 1:],
        ),
        "legal": _mean(jnp.sum(legality, axis=-1), inside[:, 1:], weight[:, 1:]),
    }


def _errors(
    batch: Batch,
    target: _Scaled,
    prediction: Prediction,
    reward_logits: jax.Array,
    scale: ValueScale,
) -> dict[str, jax.Array]:
    """How wrong the learned model is about rewards (mean square, unscaled) and legality (share)."""
    moves, inside = batch.moves, target.inside
    counted = jnp.where(inside, batch.usable, True)[:, :-1]
    spread = scale.spread[moves.instance[:, :-1]]
    error = (networks.decode_reward(reward_logits) - target.reward[:, :-1]) * spread
    wrong = (prediction.legal_logits[:, 1:] > 0) != moves.legal[:, 1:]
    # Where nothing is counted there is no error: the mean must not depend on the number counted.
    return {
        "reward_square": jnp.mean(jnp.where(counted, error**2, 0.0)),
        "legality_error": jnp.mean(jnp.where(inside[:, 1:, None], wrong, False)),
    }


def _mean(x: jax.Array, mask: jax.Array, weight: jax.Array) -> jax.Array:
    """Weighted sum over steps, mean over samples: x, mask and weight [N, K]."""
    # Over the batch and not over the mask: a sample's weight does not depend on its neighbours.
    return jnp.mean(jnp.sum(jnp.where(mask, x, 0.0) * weight, axis=1))
