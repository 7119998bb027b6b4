"""The MuZero loss."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from agent.config import Config
from agent.networks import Model, Params, networks
from agent.networks.units import Units
from agent.selfplay.measures import policy_entropy
from agent.selfplay.rollout import Moves


class Batch(NamedTuple):
    """Positions to learn from, N samples unrolled over K steps.

    moves: [N, K+1]; value: unscaled targets [N, K+1]; usable [N, K+1]; policy: targets
    [N, K+1, A]; importance: weights of the samples [N].
    """

    moves: Moves
    value: jax.Array
    usable: jax.Array
    policy: jax.Array
    importance: jax.Array


def loss_fn(
    params: Params, config: Config, batch: Batch, units: Units
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The MuZero loss over unrolls of K steps from N sampled moves; with K = 0 AlphaZero's, which
    has no model to learn and no errors of one to tell.

    Behind a game's end value and reward are 0, as for any absorbing state; what was undone, and the
    policy behind the end, count for nothing.
    """
    moves, policy = batch.moves, batch.policy
    c = config.learner
    model = Model(config.network, params)
    atoms = config.network.atoms
    unroll = moves.reward.shape[1] - 1
    ends = jnp.cumsum(moves.done, axis=1)
    inside = jnp.concatenate([jnp.ones_like(ends[:, :1]), ends[:, :-1] == 0], axis=1) > 0
    usable = batch.usable & inside
    counted = jnp.where(inside, usable, True)
    value = units.of_return(batch.value, moves.program, moves.ahead)
    reward = units.of_return(moves.reward, moves.program, moves.past)
    value, reward = jnp.where(inside, value, 0.0), jnp.where(inside, reward, 0.0)
    observation = moves.observation.astype(jnp.float32)

    latents = [model.represent(observation[:, 0])]
    for k in range(unroll):
        action = moves.action[:, k].astype(jnp.int32)
        latent, _ = model.dynamics(latents[-1], action)
        # Half the gradient: the dynamics sees every step of the unroll (MuZero, appendix G).
        latents.append(0.5 * latent + 0.5 * jax.lax.stop_gradient(latent))
    latent = jnp.stack(latents, axis=1)  # [N, K+1, D]
    prediction = model.predict(latent)
    reward_logits = model.predict_reward(latent[:, 1:])
    logits = jnp.where(moves.legal, prediction.policy_logits, -1e9)
    entropy = optax.softmax_cross_entropy
    step_weights = jnp.array([1.0] + [1.0 / max(unroll, 1)] * unroll)
    weight = batch.importance[:, None] * step_weights  # [N, K+1]
    parts = {
        "policy": _mean(entropy(logits, policy) - policy_entropy(policy), usable, weight),
        "value": _mean(
            entropy(prediction.value_logits, networks.encode_value(value, atoms)), counted, weight
        ),
        "reward": _mean(
            entropy(reward_logits, networks.encode_reward(reward[:, :-1], atoms)),
            counted[:, :-1],
            weight[:, 1:],
        ),
        "legal": _mean(
            jnp.sum(
                optax.sigmoid_binary_cross_entropy(
                    prediction.legal_logits[:, 1:], moves.legal[:, 1:].astype(jnp.float32)
                ),
                axis=-1,
            ),
            inside[:, 1:],
            weight[:, 1:],
        ),
    }
    if c.consistency_weight:
        seen = jax.lax.stop_gradient(model.represent(observation[:, 1:]))
        likeness = optax.cosine_similarity(model.project(latent[:, 1:]), seen, epsilon=1e-6)
        parts["consistency"] = _mean(1 - likeness, usable[:, 1:], weight[:, 1:])
    weights = dataclasses.asdict(c)
    total = sum((weights[f"{name}_weight"] * part for name, part in parts.items()), jnp.zeros(()))
    # Where nothing is counted there is no error: the mean must not depend on the number counted.
    error = (networks.decode_reward(reward_logits) - reward[:, :-1]) * units.scale[
        moves.program[:, :-1]
    ]
    wrong = (prediction.legal_logits[:, 1:] > 0) != moves.legal[:, 1:]
    judged = {
        "reward_square": jnp.mean(jnp.where(counted[:, :-1], error**2, 0.0)),
        "legality_error": jnp.mean(jnp.where(inside[:, 1:, None], wrong, False)),
    }
    losses = {f"loss_{name}": part for name, part in parts.items()}
    return total, losses | judged | {"loss": total}


def _mean(x: jax.Array, mask: jax.Array, weight: jax.Array) -> jax.Array:
    """Weighted sum over steps, mean over samples: x, mask and weight [N, K]."""
    # Over the batch and not over the mask: a sample's weight does not depend on its neighbours.
    return jnp.mean(jnp.sum(jnp.where(mask, x, 0.0) * weight, axis=1))
