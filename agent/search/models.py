"""What a search looks ahead with: the learned model, or the game itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mctx as _mctx

from agent.config import Config
from agent.networks import Model, Params, ValueScale, decode_reward, decode_value
from gamekit.environment import Environment, Spec, State, Step

# Its annotations are chex types, which type checkers do not understand.
mctx: Any = _mctx

# The logit that a predicted illegality takes off at most, and that of what is known to be illegal.
ILLEGAL_LOGIT, NEVER_LOGIT = -8.0, -1e9
# Observations are kept in half precision, which is what the networks learn from: they are most of
# the replay's memory.
OBSERVATION_DTYPE = jnp.float16


class TreeModel(NamedTuple):
    """How a tree grows.

    root: the embedding of the roots, from their latents [B, D].
    recurrent: mctx's recurrent function: (params, key, action [B], embedding) to an output and the
        next embedding. Rewards and values are in units of `ValueScale`.
    one_ply: from the parameters to the value of every action [B, A], its reward included, for a
        search that looks one move ahead in the game and needs no tree; None for others.
    """

    root: Callable[[jax.Array], Any]
    recurrent: Callable[..., tuple[Any, Any]]
    one_ply: Callable[[Params], jax.Array] | None = None


# From legal actions [B] to the states after them, and what they led to.
Play = Callable[[jax.Array], tuple[Any, Step]]


def tree_model(
    config: Config, game: Environment[State], state: State, scale: ValueScale
) -> tuple[TreeModel, Play]:
    """The model that `search.model` names, for searches from `state`, and how the game goes on from
    there: one ply has played all answers already."""
    play = functools.partial(game.step, state)
    if config.search.model == "learned":
        return learned_model(config, game.spec), play
    if config.search.max_depth == 1 and config.search.simulations:
        return one_ply_model(config, game, state, scale)
    return game_model(config, game, state, scale), play


def observe(game: Environment[State], state: State) -> jax.Array:
    """Float32 [B, F]: what the networks see of a state, in the precision of the replay."""
    return game.observe(state).astype(OBSERVATION_DTYPE).astype(jnp.float32)


def learned_model(config: Config, spec: Spec) -> TreeModel:
    """MuZero's: embeddings are latents [B, D].

    mctx masks illegal actions at the root only.  Inside the tree the predicted legality is added to
    the prior: an action predicted illegal keeps a prior near zero and is not expanded.
    """

    def recurrent(params: Params, key: jax.Array, action: jax.Array, latent: jax.Array):
        del key
        model = Model(config.network, spec, params)
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

    return TreeModel(lambda latent: latent, recurrent)


class Path(NamedTuple):
    """A node of a tree over the game: actions [B, D] from the root on, length [B] of these."""

    actions: jax.Array
    length: jax.Array


def game_model(
    config: Config, game: Environment[State], root: State, scale: ValueScale
) -> TreeModel:
    """AlphaZero's: steps of the game itself. Embeddings are paths, along which it is played again.

    A state is far larger than what a few moves change, so that playing them again from the root is
    cheaper than keeping, gathering and transposing a state for every node of the tree.
    """

    def start(latent: jax.Array) -> Path:
        games, depth = len(latent), config.search.max_depth
        return Path(jnp.zeros((games, depth), jnp.int32), jnp.zeros(games, jnp.int32))

    def recurrent(params: Params, key: jax.Array, action: jax.Array, path: Path):
        del key
        path = _extended(path, action)
        state, reward, headroom_lost = walk(game, root, path)
        model = Model(config.network, game.spec, params)
        prediction = model.predict(model.represent(observe(game, state)))
        output = mctx.RecurrentFnOutput(
            reward=scale.of_return(reward, game.instance(state), headroom_lost),
            discount=jnp.where(game.done(state), 0.0, 1.0),
            prior_logits=jnp.where(
                game.legal_actions(state), prediction.policy_logits, NEVER_LOGIT
            ),
            value=decode_value(prediction.value_logits),
        )
        return output, path

    return TreeModel(start, recurrent)


def one_ply_model(
    config: Config, game: Environment[State], root: State, scale: ValueScale
) -> tuple[TreeModel, Play]:
    """Looks at every answer in the game itself: all of all games are played as one batch.

    Where an action is not legal a legal one is played; its value means nothing.
    """
    count, legal = game.spec.num_actions, game.legal_actions(root)
    games = legal.shape[0]
    wide = jax.tree.map(lambda x: jnp.concatenate([x] * count, axis=-1) if x.ndim else x, root)
    actions = jnp.where(legal, jnp.arange(count), jnp.argmax(legal, axis=1)[:, None])
    after, step = game.step(wide, actions.T.reshape(-1).astype(jnp.int32))

    def values(params: Params) -> jax.Array:
        lost = game.headroom(wide) - game.headroom(after)
        model = Model(config.network, game.spec, params)
        prediction = model.predict(model.represent(observe(game, after)))
        ahead = jnp.where(game.done(after), 0.0, decode_value(prediction.value_logits))
        ahead += scale.of_return(step.reward, game.instance(after), lost)
        return ahead.reshape(count, games).T

    def play(action: jax.Array) -> tuple[State, Step]:
        def chosen(x: jax.Array) -> jax.Array:
            if not x.ndim:
                return x
            ways = [x[..., a * games : (a + 1) * games] for a in range(count)]
            return functools.reduce(
                lambda found, a: jnp.where(action == a, ways[a], found), range(1, count), ways[0]
            )

        return jax.tree.map(chosen, after), Step(*map(chosen, step))

    return game_model(config, game, root, scale)._replace(one_ply=values), play


def _extended(path: Path, action: jax.Array) -> Path:
    actions = path.actions.at[jnp.arange(len(action)), path.length].set(action)
    return Path(actions, path.length + 1)


def walk(game: Environment[State], root: State, path: Path) -> tuple[State, jax.Array, jax.Array]:
    """The state at the end of paths of at least one action, the reward of the last action [B], and
    the headroom that it lost [B]."""

    def move(state: State, action: jax.Array) -> tuple[State, jax.Array, jax.Array]:
        after, step = game.step(state, action)
        return after, step.reward, game.headroom(state) - game.headroom(after)

    def further(k: jax.Array, walked: tuple[State, jax.Array, jax.Array]):
        walks = k < path.length
        return jax.tree.map(
            functools.partial(jnp.where, walks), move(walked[0], path.actions[:, k]), walked
        )

    nothing = jnp.zeros(path.length.shape)
    return jax.lax.fori_loop(0, jnp.max(path.length), further, (root, nothing, nothing))
