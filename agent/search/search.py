"""One search for every game of a batch: Gumbel MuZero, in mctx."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from agent.config import Config
from agent.networks import Model, Params, decode_value
from agent.randomness import keys_of
from agent.search.models import TreeModel, mctx
from gamekit.environment import Spec

# Finite, so that differences of such logits are numbers too.
LOWEST = float(jnp.finfo(jnp.float32).min)


class SearchResult(NamedTuple):
    """What a search found for each of B games; values are in units of `agent.networks.ValueScale`.

    action: int32 [B]. policy: [B, A], the improved policy. value: [B], its value.
    raw_value: [B], the network's. advantage: [B], the largest gap between values of legal actions.
    """

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
    spec: Spec,
    model: TreeModel,
    typical_advantage: jax.Array,
    noise: jax.Array | float = 1.0,
    number: jax.Array | None = None,
) -> SearchResult:
    """Searches from observations [B, F] under masks [B, A] with at least one legal action each.

    spec: of the game. model: what the tree is built with.
    typical_advantage: scalar that an advantage is compared with (see `SearchConfig`).
    noise: [B] or scalar; 1 samples actions as in self-play, 0 takes the best.
    number: [B], the games' numbers, to which their random numbers belong; 0, 1, ... without.
    The key is consumed.
    """
    networks = Model(config.network, spec, params)
    latent = networks.represent(observation)
    prediction = networks.predict(latent)
    root_value = decode_value(prediction.value_logits)
    root = mctx.RootFnOutput(
        prior_logits=_masked(prediction.policy_logits, legal),
        value=root_value,
        embedding=model.root(latent),
    )
    number = jnp.arange(legal.shape[0]) if number is None else number
    noise = jnp.broadcast_to(jnp.asarray(noise, jnp.float32), legal.shape[:1])[:, None]
    keys = keys_of(key, number)
    gumbel = noise * jax.vmap(lambda key: jax.random.gumbel(key, legal.shape[1:]))(keys)
    scores = functools.partial(
        scaled_values, scale=config.search.advantage_logits / typical_advantage
    )
    if not config.search.simulations:
        values = jnp.broadcast_to(root_value[:, None], legal.shape)
        return _at_once(root.prior_logits, root_value, values, legal, gumbel)
    if model.one_ply is not None:
        values = model.one_ply(params)
        scale = config.search.advantage_logits / typical_advantage
        logits = root.prior_logits + scale * (values - root_value[:, None])
        return _at_once(logits, root_value, values, legal, gumbel)
    tree = _grow(config, params, root, model, legal, gumbel, scores, keys[0])
    action, policy = _choose(root.prior_logits, legal, gumbel, scores, tree)
    summary = tree.summary()
    visited = legal & (summary.visit_counts > 0)
    values = jnp.where(visited, summary.qvalues, root_value[:, None])
    return _result(action, policy, root_value, values, visited)


def _at_once(
    logits: jax.Array, raw_value: jax.Array, values: jax.Array, legal: jax.Array, gumbel: jax.Array
) -> SearchResult:
    """The result where the values [B, A] of all actions are known without a tree."""
    action = jnp.argmax(jnp.where(legal, gumbel + logits, -jnp.inf), axis=-1).astype(jnp.int32)
    return _result(action, jax.nn.softmax(_masked(logits, legal)), raw_value, values, legal)


def _grow(
    config: Config,
    params: Params,
    root: Any,
    model: TreeModel,
    legal: jax.Array,
    gumbel: jax.Array,
    scores: Any,
    key: jax.Array,
) -> Any:
    """The tree of `mctx.gumbel_muzero_policy`, with noise [B, A] that is given and not drawn.

    mctx draws from one key for the batch; here a game's noise must not depend on its neighbours.
    Nothing is drawn from `key`.
    """
    settings = config.search
    return mctx.search(
        params,
        key,
        root=root,
        recurrent_fn=model.recurrent,
        root_action_selection_fn=functools.partial(
            mctx.gumbel_muzero_root_action_selection,
            num_simulations=settings.simulations,
            max_num_considered_actions=legal.shape[1],
            qtransform=scores,
        ),
        interior_action_selection_fn=functools.partial(
            mctx.gumbel_muzero_interior_action_selection, qtransform=scores
        ),
        num_simulations=settings.simulations,
        max_depth=settings.max_depth,
        invalid_actions=~legal,
        extra_data=mctx.GumbelMuZeroExtraData(root_gumbel=gumbel),
    )


def _choose(
    logits: jax.Array, legal: jax.Array, gumbel: jax.Array, scores: Any, tree: Any
) -> tuple[jax.Array, jax.Array]:
    """Actions [B] and improved policies [B, A] (Danihelka et al., ICLR 2022)."""
    improved = logits + jax.vmap(scores, in_axes=(0, None))(tree, tree.ROOT_INDEX)
    visits = tree.summary().visit_counts
    candidates = legal & (visits == jnp.max(visits, axis=-1, keepdims=True))
    action = jnp.argmax(jnp.where(candidates, gumbel + improved, -jnp.inf), axis=-1)
    return action.astype(jnp.int32), jax.nn.softmax(_masked(improved, legal))


def _result(
    action: jax.Array, policy: jax.Array, raw_value: jax.Array, values: jax.Array, known: jax.Array
) -> SearchResult:
    """values [B, A], of which those of the actions `known` [B, A] were looked at."""
    gap = jnp.max(jnp.where(known, values, -jnp.inf), axis=-1) - jnp.min(
        jnp.where(known, values, jnp.inf), axis=-1
    )
    return SearchResult(
        action=action,
        policy=policy,
        value=jnp.sum(policy * values, axis=-1),
        raw_value=raw_value,
        advantage=jnp.where(jnp.sum(known, axis=-1) > 1, gap, 0.0),
    )


def _masked(logits: jax.Array, legal: jax.Array) -> jax.Array:
    """Logits [B, A], at most 0, with a vanishing probability of illegal actions."""
    return jnp.where(legal, logits - jnp.max(logits, axis=-1, keepdims=True), LOWEST)


def scaled_values(tree: Any, node_index: jax.Array, *, scale: jax.Array) -> jax.Array:
    """Completed action values [A] as logits: a fixed multiple of the advantage.

    mctx's default stretches every node's values to [0, 1], so that at a decision that hardly
    matters the noise of the value network counts as much as at one that does.
    """
    values = mctx.qtransform_completed_by_mix_value(
        tree, node_index, value_scale=1.0, maxvisit_init=1.0, rescale_values=False
    )
    values /= 1.0 + jnp.max(tree.children_visits[node_index])  # mctx's factor of the visits
    return scale * (values - tree.raw_values[node_index])
