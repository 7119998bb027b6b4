"""What is measured about self-play: returns, shape of the policy, the searches alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from agent.config import Config
from agent.networks import Agent
from agent.search import observe, search, tree_model
from agent.selfplay.rollout import Lanes, Moves
from gamekit.environment import GuidingEnvironment, Spec, State


def play_metrics(moves: Moves, spec: Spec) -> dict[str, jax.Array]:
    """Counts, returns of finished games (also [P]), and the shape of the policy."""
    done, score = moves.done, moves.score
    zeros = jnp.zeros(spec.num_instances)
    count = zeros.at[moves.instance].add(done)
    total = zeros.at[moves.instance].add(jnp.where(done, score, 0.0))
    games = jnp.sum(done)
    legal = jnp.sum(moves.legal, axis=-1)
    shares = jnp.mean(moves.action[..., None] == jnp.arange(spec.num_actions), axis=(0, 1))
    return {
        "finished": games,
        "return_mean": jnp.where(games > 0, jnp.sum(jnp.where(done, score, 0.0)) / games, jnp.nan),
        "return_min": jnp.where(games > 0, jnp.min(jnp.where(done, score, jnp.inf)), jnp.nan),
        "return_max": jnp.where(games > 0, jnp.max(jnp.where(done, score, -jnp.inf)), jnp.nan),
        "return_by_instance": jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.nan),
        "policy_entropy": jnp.mean(policy_entropy(moves.policy)),
        "legal_actions": jnp.mean(legal),
        **{f"share_{name}": share for name, share in zip(spec.action_names, shares, strict=True)},
        "undone_share": jnp.mean(moves.undone_from <= moves.index),
    }


def policy_entropy(policy: jax.Array) -> jax.Array:
    """Entropy [...] of policies [..., A], in nats."""
    return -jnp.sum(policy * jnp.log(jnp.maximum(policy, 1e-9)), axis=-1)


def search_only(
    config: Config,
    game: GuidingEnvironment[State],
    agent: Agent,
    lanes: Lanes[State],
    key: jax.Array,
    count: int,
) -> jax.Array:
    """Searches from every game's state `count` times, [B]: what of self-play is not the game."""
    observation, legal = observe(game, lanes.state), game.legal_actions(lanes.state)

    # The games change places, or the compiler would take the root's networks out of the loop.
    def step(seen: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[Any, jax.Array]:
        result = search(
            agent.params,
            *seen,
            key,
            config=config,
            spec=game.spec,
            model=tree_model(config, game, lanes.state, agent.scale)[0],
            typical_advantage=agent.typical_advantage,
            number=lanes.number,
        )
        found = jnp.sum(result.policy, axis=-1) + result.value + result.action
        return jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), seen), found

    keys = jax.random.split(key, count)
    return jnp.sum(jax.lax.scan(step, (observation, legal), keys)[1], axis=0)
