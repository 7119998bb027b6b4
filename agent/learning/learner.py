"""One training iteration: self-play, targets, updates; sharded over the games of all devices."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from agent.config import Config
from agent.config.schedule import exploration
from agent.learning.loss import Batch, loss_fn
from agent.learning.reanalyse import follow_slowly, reanalyse
from agent.learning.replay import gather, insert
from agent.learning.sampling import Drawn, Urn, draw_cells, hand_out, make_urn
from agent.learning.state import AXIS, TrainState, init_state, make_optimiser, state_specs
from agent.learning.targets import Targets, replay_targets
from agent.learning.weighting import cell_weights
from agent.networks import Params, ValueScale
from agent.randomness import keys_of
from agent.selfplay.best import Best
from agent.selfplay.measures import play_metrics, search_only
from agent.selfplay.rollout import Moves, play_moves
from gamekit.checked import checked
from gamekit.environment import Environment, GuidingEnvironment, State
from gamekit.errors import InputError

# Nearly all values lie within three standard deviations; when all games are alike, a share of the
# best score keeps the spread away from zero.
DEVIATIONS, MIN_SHARE, MIN_SPREAD = 3.0, 0.02, 1e-4
MIN_ADVANTAGE, ADVANTAGE_RATE = 1e-3, 0.1

Metrics = dict[str, jax.Array]
# What an update changes: the networks, the network that reanalyses, the optimiser's state.
Learned = tuple[Params, Params | None, Any]


class Iteration(NamedTuple):
    """The jitted parts of an iteration, and how the state lies on the devices.

    init(game, key) -> state; play(game, state) -> state, metrics; learn(game, state) -> state,
    metrics; search(game, state, count): that many searches of every game and nothing else, to be
    timed.
    """

    init: Callable[..., TrainState]
    play: Callable[..., tuple[TrainState, Metrics]]
    learn: Callable[..., tuple[TrainState, Metrics]]
    search: Callable[..., jax.Array]
    abstract_state: TrainState


def make_iteration(config: Config, game: Environment[State], mesh: Mesh) -> Iteration:
    """Compiles nothing yet; `game` only tells shapes.  `mesh` has one axis, `AXIS`."""
    devices, guiding = mesh.size, checked(game)
    local_games, local_batch = config.rollout.games // devices, config.learner.batch_size // devices
    if config.reanalyse.every and local_batch % config.reanalyse.every:
        raise InputError(
            f"reanalyse.every must divide the samples of a device, {local_batch}, got "
            f"{config.reanalyse.every}"
        )
    specs = state_specs(config, guiding, devices)
    shard = functools.partial(jax.shard_map, mesh=mesh, check_vma=False)

    def init(game: Environment[State], key: jax.Array) -> TrainState[State]:
        first = jax.lax.axis_index(AXIS) * local_games
        return init_state(config, checked(game), key, local_games, first)

    play = shard(
        lambda game, state: _play(config, checked(game), state),
        in_specs=(P(), specs),
        out_specs=(specs, specs.replay.moves, P()),
    )
    learn = shard(
        lambda game, state: _learn(config, checked(game), state, local_batch),
        in_specs=(P(), specs),
        out_specs=(specs, P()),
    )

    def play_with_metrics(
        game: Environment[State], state: TrainState[State]
    ) -> tuple[TrainState[State], Metrics]:
        state, moves, gap = play(game, state)
        return state, play_metrics(moves, game.spec) | {"search_gap": gap}

    def search(game: Environment[State], state: TrainState[State], count: int) -> jax.Array:
        def only(game: Environment[State], state: TrainState[State]) -> jax.Array:
            return search_only(config, checked(game), state.agent, state.lanes, state.key, count)

        return shard(only, in_specs=(P(), specs), out_specs=P(AXIS))(game, state)

    init = shard(init, in_specs=P(), out_specs=specs)
    return Iteration(
        init=jax.jit(init),
        play=jax.jit(play_with_metrics, donate_argnums=1),
        learn=jax.jit(learn, donate_argnums=1),
        search=jax.jit(search, static_argnums=2),
        abstract_state=_abstract(jax.eval_shape(init, game, _some_key()), specs, mesh),
    )


def _some_key() -> jax.Array:
    return jax.random.key_data(jax.random.key(0))


def _abstract(state: TrainState, specs: TrainState, mesh: Mesh) -> TrainState:
    """Shapes, dtypes and shardings of a state."""
    return jax.tree.map(
        lambda x, spec: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec)),
        state,
        specs,
    )


def _play(
    config: Config, game: GuidingEnvironment[State], state: TrainState[State]
) -> tuple[TrainState[State], Moves, jax.Array]:
    """Self-play on one device: the state afterwards, the moves, the typical gap of a search."""
    key, next_key = jax.random.split(state.key)
    taught = config.targets.taught
    explore = exploration(config.schedule, config.rollout.guided_fraction, state.iteration, taught)
    lessons = state.lessons if taught else None
    lanes, best, moves, gaps = play_moves(
        config, game, state.agent, state.best, state.lanes, key, explore, lessons
    )
    best = _merge_best(best)
    squares, count = jax.lax.psum(gaps, AXIS)
    gap = jnp.sqrt(squares / jnp.maximum(count, 1))
    typical = state.typical_advantage + ADVANTAGE_RATE * (gap - state.typical_advantage)
    state = dataclasses.replace(
        state,
        key=next_key,
        best=best,
        lanes=lanes,
        replay=insert(state.replay, moves),
        typical_advantage=jnp.maximum(typical, MIN_ADVANTAGE),
    )
    return state, moves, gap


def _merge_best(best: Best) -> Best:
    """The best games over all devices; of equal ones the first that ended, as on one device."""
    everyone = jax.lax.all_gather(best, AXIS)
    is_best = everyone.score == jnp.max(everyone.score, axis=0)
    ended = jnp.where(is_best, everyone.ended_at, jnp.iinfo(jnp.int32).max)
    winner = jnp.argmin(ended, axis=0)  # [P]
    return jax.tree.map(
        lambda x: jnp.take_along_axis(x, winner.reshape(1, -1, *(1,) * (x.ndim - 2)), axis=0)[0],
        everyone,
    )


def _learn(
    config: Config, game: GuidingEnvironment[State], state: TrainState[State], local_batch: int
) -> tuple[TrainState[State], Metrics]:
    """Learning on one device: targets of the whole replay, then updates from samples of it."""
    targets = replay_targets(state.replay, config.targets.td_lambda)
    state = dataclasses.replace(state, scale=_scale(state, targets))
    weights, importance = cell_weights(
        config.replay, state.replay.moves, targets, state.scale, AXIS
    )
    urn = make_urn(weights, AXIS)
    key, next_key = jax.random.split(state.key)
    ready = urn.games[-1] > 0
    draw = functools.partial(
        _draw_batch, config, game, state, targets, importance, urn, local_batch
    )

    def update(learned: Learned, key: jax.Array) -> tuple[Learned, Metrics]:
        batch = draw(learned[1], key)
        new, metrics = _update(config, game, state.scale, learned, batch)
        # Nothing is learned before the first game has ended.
        return jax.tree.map(lambda a, b: jnp.where(ready, a, b), new, learned), metrics

    keys = jax.random.split(key, config.learner.updates)
    learned = (state.params, state.target, state.optimiser)
    (params, target, optimiser), metrics = jax.lax.scan(update, learned, keys)
    metrics = _summed_up(metrics, ready) | _value_metrics(state, targets)
    state = dataclasses.replace(
        state,
        key=next_key,
        params=params,
        target=target,
        optimiser=optimiser,
        iteration=state.iteration + 1,
    )
    return state, metrics


def _update(
    config: Config,
    game: GuidingEnvironment[State],
    scale: ValueScale,
    learned: Learned,
    batch: Batch,
) -> tuple[Learned, Metrics]:
    """One step of the optimiser, on the mean gradient of all devices."""
    params, target, optimiser = learned
    (_, metrics), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
        params, config, game.spec, batch, scale
    )
    gradient, metrics = jax.lax.pmean((gradient, metrics), AXIS)
    metrics["gradient_norm"] = optax.global_norm(gradient)
    change, optimiser = make_optimiser(config).update(gradient, optimiser, params)
    params = optax.apply_updates(params, change)
    if target is not None:
        target = follow_slowly(target, params, config.reanalyse.target_rate)
    return (params, target, optimiser), metrics


def _draw_batch(
    config: Config,
    game: GuidingEnvironment[State],
    state: TrainState[State],
    targets: Targets,
    importance: jax.Array,
    urn: Urn,
    local_batch: int,
    target: Params | None,
    key: jax.Array,
) -> Batch:
    """This device's samples of one update; importance: [T, B]; the key is consumed."""
    cells_key, search_key, dropout_key = jax.random.split(key, 3)
    drawn = draw_cells(urn, config.learner.batch_size, cells_key, AXIS)
    batch = hand_out(_batch(config, state, targets, importance, drawn), drawn.here, AXIS)
    first = jax.lax.axis_index(AXIS) * local_batch
    if config.learner.dropout:
        number = first + jnp.arange(local_batch)
        batch = batch._replace(dropout=keys_of(dropout_key, number))
    if target is None:
        return batch
    scale, typical = state.scale, state.typical_advantage
    return reanalyse(config, game.spec, target, scale, typical, batch, search_key, first)


def _batch(
    config: Config, state: TrainState, targets: Targets, importance: jax.Array, drawn: Drawn
) -> Batch:
    """What `loss_fn` learns from, for cells of this device."""
    length = config.learner.unroll + 1
    moves = gather(state.replay, drawn.time, drawn.game, length)
    at = (drawn.time[:, None] + jnp.arange(length)) % targets.usable.shape[0]
    across = drawn.game[:, None]
    value, usable = targets.value[at, across], targets.usable[at, across]
    return Batch(moves, value, usable, importance[drawn.time, drawn.game])


def _scale(state: TrainState, targets: Targets) -> ValueScale:
    """The baseline is the best game's share of the headroom, the spread three deviations."""
    best = jnp.where(jnp.isfinite(state.best.score), state.best.score, 0.0)
    baseline = jnp.clip(best / jnp.maximum(state.headroom, MIN_SPREAD), 0.0, 1.0)
    moves = state.replay.moves
    excess = targets.value - baseline[moves.instance] * moves.headroom
    zeros = jnp.zeros_like(best)
    squares = zeros.at[moves.instance].add(jnp.where(targets.usable, excess**2, 0.0))
    count = zeros.at[moves.instance].add(targets.usable)
    squares, count = jax.lax.psum((squares, count), AXIS)
    spread = DEVIATIONS * jnp.sqrt(squares / jnp.maximum(count, 1))
    spread = jnp.maximum(spread, jnp.maximum(MIN_SHARE * best, MIN_SPREAD))
    return ValueScale(baseline, jnp.where(count > 0, spread, state.scale.spread))


def _summed_up(metrics: Metrics, ready: jax.Array) -> Metrics:
    """Means over the updates, NaN before anything is learned, and whether a loss is no number."""
    is_finite = jnp.all(jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient_norm"]))
    metrics = jax.tree.map(lambda x: jnp.where(ready, jnp.mean(x), jnp.nan), metrics)
    metrics["reward_error"] = jnp.sqrt(metrics.pop("reward_square"))
    metrics["diverged"] = ready & ~is_finite
    return metrics


def _value_metrics(state: TrainState, targets: Targets) -> Metrics:
    """How far off the values were when they were played, and the share of moves with targets."""
    usable = targets.usable
    difference = state.replay.moves.raw_value - targets.value
    squares, count, cells = jax.lax.psum(
        (jnp.sum(jnp.where(usable, difference**2, 0.0)), jnp.sum(usable), usable.size), AXIS
    )
    return {
        "value_error": jnp.sqrt(squares / jnp.maximum(count, 1)),
        "usable_share": count / cells,
    }
