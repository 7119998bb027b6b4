"""What is measured about self-play: returns, shape of the policy, the searches alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from agent.config import Config
from agent.search.search import Simulator, observe, search
from agent.selfplay.rollout import Moves


def play_metrics(moves: Moves, programs: int) -> dict[str, jax.Array]:
    """Counts, returns of finished games (also [P]), and the shape of the policy."""
    done, saved = moves.done, moves.saved
    zeros = jnp.zeros(programs)
    count = zeros.at[moves.program].add(done)
    total = zeros.at[moves.program].add(jnp.where(done, saved, 0.0))
    games = jnp.sum(done)
    legal = jnp.sum(moves.legal, axis=-1)
    actions = jnp.mean(moves.action[..., None] == jnp.arange(moves.legal.shape[-1]), axis=(0, 1))
    return {
        "finished": games,
        "return_mean": jnp.where(games > 0, jnp.sum(jnp.where(done, saved, 0.0)) / games, jnp.nan),
        "return_min": jnp.where(games > 0, jnp.min(jnp.where(done, saved, jnp.inf)), jnp.nan),
        "return_max": jnp.where(games > 0, jnp.max(jnp.where(done, saved, -jnp.inf)), jnp.nan),
        "return_by_program": jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.nan),
        "policy_entropy": jnp.mean(policy_entropy(moves.policy)),
        "legal_actions": jnp.mean(legal),
        "share_copy": actions[0],
        "share_no_copy": actions[1],
        "share_drop": actions[2],
        "undone_share": jnp.mean(moves.kept <= moves.index),
    }


def policy_entropy(policy: jax.Array) -> jax.Array:
    """Entropy [...] of policies [..., A], in nats."""
    return -jnp.sum(policy * jnp.log(jnp.maximum(policy, 1e-9)), axis=-1)


def search_only(config: Config, game: Any, state: Any, count: int) -> jax.Array:
    """Searches from every game's state `count` times, [B]: what of self-play is not the game.

    state: a `learner.TrainState`.
    """
    lanes = state.lanes
    observation, legal = observe(game, lanes.state), game.legal_actions(lanes.state)

    # The games change places, or the compiler would take the root's networks out of the loop.
    def step(seen: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[Any, jax.Array]:
        result = search(
            state.params,
            *seen,
            key,
            config=config,
            typical_advantage=state.typical_advantage,
            simulator=Simulator(game, lanes.state, state.units),
            number=lanes.number,
        )
        found = jnp.sum(result.policy, axis=-1) + result.value + result.action
        return jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), seen), found

    keys = jax.random.split(state.key, count)
    return jnp.sum(jax.lax.scan(step, (observation, legal), keys)[1], axis=0)
