"""One search per game: the learned model, or the game itself, in mctx.

mctx masks illegal actions at the root only.  Inside the tree the learned model's own prediction of
legality is added to the prior: an action predicted illegal keeps a prior near zero and is not
expanded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mctx as _mctx

from agent.config import Config
from agent.networks import Model, Params, decode_reward, decode_value
from agent.units import Units

# Its annotations are chex types, which type checkers do not understand.
mctx: Any = _mctx

ILLEGAL_LOGIT, NEVER_LOGIT = -8.0, -1e9


# Observations are kept in half precision, which is what the networks learn from: they are most of
# the replay's memory.
OBSERVATION_DTYPE = jnp.float16


class Simulator(NamedTuple):
    """The games at the roots: the game, its state (batch axis last), and the networks' units."""

    game: Any
    state: Any
    units: Units


def observe(game: Any, state: Any) -> jax.Array:
    """Float32 [B, F]: what the networks see of a state, in the precision of the replay."""
    return game.observe(state).astype(OBSERVATION_DTYPE).astype(jnp.float32)


class SearchResult(NamedTuple):
    """action [B]; policy [B, A], the improved policy; value [B], its value; raw_value [B], the
    network's; advantage [B], the largest gap between values of legal actions. Values are in units
    of `rollout.Units`."""

    action: jax.Array
    policy: jax.Array
    value: jax.Array
    raw_value: jax.Array
    advantage: jax.Array


def search(
    params: Params,
    observation: jax.Array,
    legal: jax.Array,
    key: jax.Array,
    *,
    config: Config,
    typical_advantage: jax.Array,
    simulator: Simulator,
    noise: jax.Array | float = 1.0,
) -> SearchResult:
    """Searches from observations [B, F] under masks [B, A] with at least one legal action each.

    typical_advantage: scalar that an advantage is compared with (see `SearchConfig`).
    simulator: the games searched; only `search.model = "game"` looks at them.
    noise: [B] or scalar; 1 samples actions as in self-play, 0 takes the best.
    The key is consumed.
    """
    model = Model(config.network, params)
    latent = model.represent(observation)
    prediction = model.predict(latent)
    root_value = decode_value(prediction.value_logits)
    if config.search.model == "game":
        embedding, recurrent = _batch_first(simulator.state), _play(config, simulator)
    else:
        embedding, recurrent = latent, _imagine(config)
    root = mctx.RootFnOutput(
        prior_logits=prediction.policy_logits, value=root_value, embedding=embedding
    )
    settings = config.search
    noise = jnp.broadcast_to(jnp.asarray(noise, jnp.float32), legal.shape[:1])[:, None]
    if settings.algorithm == "gumbel":
        scale = settings.advantage_logits / typical_advantage
        output = mctx.gumbel_muzero_policy(
            params,
            key,
            root,
            recurrent,
            settings.simulations,
            invalid_actions=~legal,
            max_depth=settings.max_depth,
            qtransform=functools.partial(_scaled_values, scale=scale),
            gumbel_scale=noise,
        )
        action = output.action
    else:
        search_key, action_key = jax.random.split(key)
        output = mctx.muzero_policy(
            params,
            search_key,
            root,
            recurrent,
            settings.simulations,
            invalid_actions=~legal,
            max_depth=settings.max_depth,
            dirichlet_fraction=settings.dirichlet_fraction,
        )
        # The visits are sampled here, so that each game has its own noise.
        gumbel = jax.random.gumbel(action_key, legal.shape) * noise
        logits = jnp.log(jnp.maximum(output.action_weights, 1e-9)) + gumbel
        action = jnp.argmax(jnp.where(legal, logits, -jnp.inf), axis=-1).astype(jnp.int32)
    summary = output.search_tree.summary()
    visited = legal & (summary.visit_counts > 0)
    values = jnp.where(visited, summary.qvalues, root_value[:, None])
    gap = jnp.max(jnp.where(visited, values, -jnp.inf), axis=-1) - jnp.min(
        jnp.where(visited, values, jnp.inf), axis=-1
    )
    return SearchResult(
        action=action,
        policy=output.action_weights,
        value=jnp.sum(output.action_weights * values, axis=-1),
        raw_value=root_value,
        advantage=jnp.where(jnp.sum(visited, axis=-1) > 1, gap, 0.0),
    )


def _imagine(config: Config) -> Callable[..., Any]:
    """Steps of the learned model; embeddings are latents [B, D]."""

    def recurrent(params: Params, key: jax.Array, action: jax.Array, latent: jax.Array):
        del key
        model = Model(config.network, params)
        latent, reward_logits = model.dynamics(latent, action)
        prediction = model.predict(latent)
        legality = jax.nn.log_sigmoid(prediction.legal_logits)
        output = mctx.RecurrentFnOutput(
            reward=decode_reward(reward_logits),
            discount=jnp.ones_like(action, jnp.float32),
            prior_logits=prediction.policy_logits + jnp.maximum(legality, ILLEGAL_LOGIT),
            value=decode_value(prediction.value_logits),
        )
        return output, latent

    return recurrent


def _play(config: Config, simulator: Simulator) -> Callable[..., Any]:
    """Steps of the game itself; embeddings are its states, batch axis first as mctx has it."""
    game, units = simulator.game, simulator.units

    def recurrent(params: Params, key: jax.Array, action: jax.Array, embedding: Any):
        del key
        before = jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), embedding)
        state, reward = game.step(before, action)
        past = game.remaining_bound(before) - game.remaining_bound(state)
        model = Model(config.network, params)
        prediction = model.predict(model.represent(observe(game, state)))
        done = game.done(state)
        output = mctx.RecurrentFnOutput(
            reward=units.of_return(reward, state.program, past),
            discount=jnp.where(done, 0.0, 1.0),
            prior_logits=jnp.where(
                game.legal_actions(state), prediction.policy_logits, NEVER_LOGIT
            ),
            value=decode_value(prediction.value_logits),
        )
        return output, _batch_first(state)

    return recurrent


def _batch_first(state: Any) -> Any:
    return jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), state)


def _scaled_values(tree: Any, node_index: jax.Array, *, scale: jax.Array) -> jax.Array:
    """Completed action values [A] as logits: a fixed multiple of the advantage.

    mctx's default stretches every node's values to [0, 1], so that at a decision that hardly
    matters the noise of the value network counts as much as at one that does.
    """
    values = mctx.qtransform_completed_by_mix_value(
        tree, node_index, value_scale=1.0, maxvisit_init=1.0, rescale_values=False
    )
    values /= 1.0 + jnp.max(tree.children_visits[node_index])  # mctx's factor of the visits
    return scale * (values - tree.raw_values[node_index])
