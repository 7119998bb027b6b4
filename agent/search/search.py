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

from agent.config import Config, SearchConfig
from agent.networks import NUM_ACTIONS, Model, Params, decode_reward, decode_value
from agent.networks.units import Units
from agent.selfplay.randomness import keys_of

# Its annotations are chex types, which type checkers do not understand.
mctx: Any = _mctx

ILLEGAL_LOGIT, NEVER_LOGIT = -8.0, -1e9
DIRICHLET_ALPHA = 0.3
# Finite, so that differences of such logits are numbers too.
TINY, LOWEST = float(jnp.finfo(jnp.float32).tiny), float(jnp.finfo(jnp.float32).min)


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
    of `agent.networks.units.Units`."""

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
    number: jax.Array | None = None,
) -> SearchResult:
    """Searches from observations [B, F] under masks [B, A] with at least one legal action each.

    typical_advantage: scalar that an advantage is compared with (see `SearchConfig`).
    simulator: the games searched; only `search.model = "game"` looks at them.
    noise: [B] or scalar; 1 samples actions as in self-play, 0 takes the best.
    number: [B], the games' numbers, to which their random numbers belong; 0, 1, ... without.
    The key is consumed.
    """
    model = Model(config.network, params)
    latent = model.represent(observation)
    prediction = model.predict(latent)
    root_value = decode_value(prediction.value_logits)
    if config.search.model == "game":
        embedding = _root_path(len(legal), config.search.max_depth)
        recurrent = _play(config, simulator)
    else:
        embedding, recurrent = latent, imagine(config)
    root = mctx.RootFnOutput(
        prior_logits=prediction.policy_logits, value=root_value, embedding=embedding
    )
    if number is None:
        number = jnp.arange(legal.shape[0])
    noise = jnp.broadcast_to(jnp.asarray(noise, jnp.float32), legal.shape[:1])[:, None]
    if not config.search.simulations:
        return _without_tree(
            prediction.policy_logits, root_value, legal, keys_of(key, number), noise
        )
    run = _gumbel if config.search.algorithm == "gumbel" else _puct
    action, policy, tree = run(
        config.search,
        params,
        root,
        recurrent,
        legal,
        keys_of(key, number),
        noise,
        typical_advantage,
    )
    summary = tree.summary()
    visited = legal & (summary.visit_counts > 0)
    values = jnp.where(visited, summary.qvalues, root_value[:, None])
    gap = jnp.max(jnp.where(visited, values, -jnp.inf), axis=-1) - jnp.min(
        jnp.where(visited, values, jnp.inf), axis=-1
    )
    return SearchResult(
        action=action,
        policy=policy,
        value=jnp.sum(policy * values, axis=-1),
        raw_value=root_value,
        advantage=jnp.where(jnp.sum(visited, axis=-1) > 1, gap, 0.0),
    )


def _without_tree(
    logits: jax.Array, value: jax.Array, legal: jax.Array, keys: jax.Array, noise: jax.Array
) -> SearchResult:
    """The policy and the value of the networks, as they are."""
    logits = _masked(logits, legal)
    gumbel = noise * jax.vmap(lambda key: jax.random.gumbel(key, legal.shape[1:]))(keys)
    action = jnp.argmax(jnp.where(legal, logits + gumbel, -jnp.inf), axis=-1)
    nothing = jnp.zeros_like(value)
    return SearchResult(action.astype(jnp.int32), jax.nn.softmax(logits), value, value, nothing)


def _gumbel(
    settings: SearchConfig,
    params: Params,
    root: Any,
    recurrent: Callable[..., Any],
    legal: jax.Array,
    keys: jax.Array,
    noise: jax.Array,
    typical_advantage: jax.Array,
) -> tuple[jax.Array, jax.Array, Any]:
    """Gumbel MuZero (Danihelka et al., ICLR 2022): actions [B], improved policies [B, A], tree.

    `mctx.gumbel_muzero_policy` with noise from a key a game, [B], and not from one for the batch.
    """
    scores = functools.partial(_scaled_values, scale=settings.advantage_logits / typical_advantage)
    logits = _masked(root.prior_logits, legal)
    gumbel = noise * jax.vmap(lambda key: jax.random.gumbel(key, legal.shape[1:]))(keys)
    tree = mctx.search(
        params,
        keys[0],  # nothing is drawn from it
        root=root.replace(prior_logits=logits),
        recurrent_fn=recurrent,
        root_action_selection_fn=functools.partial(
            mctx.gumbel_muzero_root_action_selection,
            num_simulations=settings.simulations,
            max_num_considered_actions=NUM_ACTIONS,
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
    improved = logits + jax.vmap(scores, in_axes=(0, None))(tree, tree.ROOT_INDEX)
    visits = tree.summary().visit_counts
    candidates = legal & (visits == jnp.max(visits, axis=-1, keepdims=True))
    action = jnp.argmax(jnp.where(candidates, gumbel + improved, -jnp.inf), axis=-1)
    return action.astype(jnp.int32), jax.nn.softmax(_masked(improved, legal)), tree


def _puct(
    settings: SearchConfig,
    params: Params,
    root: Any,
    recurrent: Callable[..., Any],
    legal: jax.Array,
    keys: jax.Array,
    noise: jax.Array,
    typical_advantage: jax.Array,
) -> tuple[jax.Array, jax.Array, Any]:
    """MuZero's search (Schrittwieser et al., Nature 588, 2020): actions, shares of visits, tree.

    `mctx.muzero_policy` with random numbers from a key a game; also where it breaks ties.
    """
    del typical_advantage
    keys = jax.vmap(lambda key: jax.random.split(key, 3))(keys)
    flat = jnp.full(legal.shape[1:], DIRICHLET_ALPHA)
    dirichlet = jax.vmap(lambda key: jax.random.dirichlet(key, flat))(keys[:, 0])
    share = settings.dirichlet_fraction
    prior = (1 - share) * jax.nn.softmax(root.prior_logits) + share * dirichlet

    def select(key: jax.Array, tree: Any, node: jax.Array, depth: jax.Array | int) -> jax.Array:
        del key
        key = jax.random.fold_in(tree.extra_data, tree.node_visits[node])
        return mctx.muzero_action_selection(key, tree, node, depth)

    tree = mctx.search(
        params,
        keys[0, 0],  # nothing is drawn from it
        root=root.replace(prior_logits=_masked(jnp.log(jnp.maximum(prior, TINY)), legal)),
        recurrent_fn=recurrent,
        root_action_selection_fn=functools.partial(select, depth=0),
        interior_action_selection_fn=select,
        num_simulations=settings.simulations,
        max_depth=settings.max_depth,
        invalid_actions=~legal,
        extra_data=keys[:, 1],
    )
    visits = tree.summary().visit_probs
    gumbel = jax.vmap(lambda key: jax.random.gumbel(key, legal.shape[1:]))(keys[:, 2]) * noise
    logits = jnp.log(jnp.maximum(visits, 1e-9)) + gumbel
    action = jnp.argmax(jnp.where(legal, logits, -jnp.inf), axis=-1)
    return action.astype(jnp.int32), visits, tree


def _masked(logits: jax.Array, legal: jax.Array) -> jax.Array:
    """Logits [B, A], at most 0, with a vanishing probability of illegal actions."""
    return jnp.where(legal, logits - jnp.max(logits, axis=-1, keepdims=True), LOWEST)


def imagine(config: Config) -> Callable[..., Any]:
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


class Path(NamedTuple):
    """A node of a tree over the game: actions [B, D] from the root on, length [B] of these."""

    actions: jax.Array
    length: jax.Array


def _play(config: Config, simulator: Simulator) -> Callable[..., Any]:
    """Steps of the game itself; embeddings are paths, along which the game is played again.

    A state is far larger than what a few moves change, so that playing them again from the root is
    cheaper than keeping, gathering and transposing a state for every node of the tree.
    """
    game, units = simulator.game, simulator.units

    def recurrent(params: Params, key: jax.Array, action: jax.Array, path: Path):
        del key
        path = _extended(path, action)
        state, reward, past = _walk(game, simulator.state, path)
        model = Model(config.network, params)
        prediction = model.predict(model.represent(observe(game, state)))
        output = mctx.RecurrentFnOutput(
            reward=units.of_return(reward, state.program, past),
            discount=jnp.where(game.done(state), 0.0, 1.0),
            prior_logits=jnp.where(
                game.legal_actions(state), prediction.policy_logits, NEVER_LOGIT
            ),
            value=decode_value(prediction.value_logits),
        )
        return output, path

    return recurrent


def _root_path(games: int, max_depth: int) -> Path:
    return Path(jnp.zeros((games, max_depth), jnp.int32), jnp.zeros(games, jnp.int32))


def _extended(path: Path, action: jax.Array) -> Path:
    actions = path.actions.at[jnp.arange(len(action)), path.length].set(action)
    return Path(actions, path.length + 1)


def _walk(game: Any, root: Any, path: Path) -> tuple[Any, jax.Array, jax.Array]:
    """The state at the end of paths of at least one action, the reward of the last action [B], and
    by how much it reduced what could still be saved [B]."""

    def move(state: Any, action: jax.Array):
        after, reward = game.step(state, action)
        return after, reward, game.remaining_bound(state) - game.remaining_bound(after)

    def further(k: jax.Array, walked: tuple[Any, jax.Array, jax.Array]):
        walks = k < path.length
        return jax.tree.map(
            functools.partial(jnp.where, walks), move(walked[0], path.actions[:, k]), walked
        )

    nothing = jnp.zeros(path.length.shape)
    return jax.lax.fori_loop(0, jnp.max(path.length), further, (root, nothing, nothing))


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
