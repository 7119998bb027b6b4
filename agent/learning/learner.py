"""One training iteration: self-play, targets, updates; sharded over the games of all devices.

Everything a run needs to go on is in one `TrainState`; checkpoints store it as it is.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from agent.config import Config
from agent.config.schedule import exploration, learning_rate
from agent.learning.loss import Batch, loss_fn
from agent.learning.reanalyse import follow_slowly, reanalyse
from agent.learning.replay import Replay, gather, init_replay, insert
from agent.learning.sampling import Drawn, draw_cells, hand_out, make_urn
from agent.learning.targets import Targets, elite_cells, replay_targets
from agent.learning.weighting import cell_weights
from agent.networks import Params, networks
from agent.networks.units import Units
from agent.selfplay.measures import play_metrics, search_only
from agent.selfplay.rollout import Best, Lanes, Moves, init_best, init_lanes, play_moves
from gamekit.errors import InputError

AXIS = "games"
# Nearly all values lie within three standard deviations; when all games are alike, a share of the
# best return keeps the unit away from zero.
DEVIATIONS, MIN_SHARE, MIN_SCALE = 3.0, 0.02, 1e-4
# A fresh network knows no advantages: the running mean starts where noise cannot move the policy.
FIRST_ADVANTAGE, MIN_ADVANTAGE, ADVANTAGE_RATE = 0.05, 1e-3, 0.1


@struct.dataclass
class TrainState:
    """iteration; key; params; target, the network that reanalyses (None without); optimiser; units
    of the networks' values; typical_advantage, in these units; bound [P], what could be saved of
    each program at most; best games; games in progress; replay."""

    iteration: jax.Array
    key: jax.Array
    params: Params
    target: Params | None
    optimiser: Any
    units: Units
    typical_advantage: jax.Array
    bound: jax.Array
    best: Best
    lanes: Lanes
    replay: Replay


class Iteration(NamedTuple):
    """The jitted parts of an iteration, and how the state lies on the devices.

    init(game, key) -> state; play(game, state) -> state, metrics; learn(game, state) -> state,
    metrics; search(game, state, count): that many searches of every game and nothing else, to be
    timed.
    """

    init: Callable[..., TrainState]
    play: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    learn: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    search: Callable[..., jax.Array]
    abstract_state: TrainState


def make_optimiser(config: Config) -> optax.GradientTransformation:
    """AdamW after clipping."""
    c = config.learner
    rate = learning_rate(config.schedule, c.learning_rate, c.warmup, c.updates)
    return optax.chain(
        optax.clip_by_global_norm(c.max_gradient_norm),
        optax.adamw(rate, weight_decay=c.weight_decay),
    )


def make_iteration(config: Config, game: Any, mesh: Mesh) -> Iteration:
    """Compiles nothing yet; `game` only tells shapes.  `mesh` has one axis, `games`."""
    devices = mesh.size
    local_games, local_batch = config.rollout.games // devices, config.learner.batch_size // devices
    if config.reanalyse.every and local_batch % config.reanalyse.every:
        raise InputError(
            f"reanalyse.every: a device's {local_batch} samples are no multiple of "
            f"{config.reanalyse.every}"
        )
    optimiser = make_optimiser(config)
    specs = _specs(config, game, devices)
    shard = functools.partial(jax.shard_map, mesh=mesh, check_vma=False)

    def init(game: Any, key: jax.Array) -> TrainState:
        network_key, lanes_key, key = jax.random.split(key, 3)
        params = networks.init_params(config.network, game.observation_size, network_key)
        first = jax.lax.axis_index(AXIS) * local_games
        return _init_state(config, game, params, optimiser, lanes_key, key, local_games, first)

    def play(game: Any, state: TrainState) -> tuple[TrainState, Moves, jax.Array]:
        key, next_key = jax.random.split(state.key)
        lanes, best, moves, gaps = play_moves(
            config,
            game,
            state.params,
            state.units,
            state.typical_advantage,
            state.best,
            state.lanes,
            key,
            exploration(config.schedule, config.rollout.guided_fraction, state.iteration),
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

    def learn(game: Any, state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
        targets = replay_targets(state.replay, config.targets.td_lambda)
        state = dataclasses.replace(state, units=_units(state, targets))
        elite = elite_cells(
            state.replay.moves, targets, config.replay.elite_quantile, game.num_programs, AXIS
        )
        weights, importance = cell_weights(
            config.replay, state.replay.moves, targets, elite, state.units, AXIS
        )
        urn = make_urn(weights, AXIS)
        key, next_key = jax.random.split(state.key)
        ready = urn.games[-1] > 0

        def update(carry: tuple[Params, Params | None, Any], key: jax.Array):
            params, target, opt_state = carry
            cells_key, search_key = jax.random.split(key)
            drawn = draw_cells(urn, config.learner.batch_size, cells_key, AXIS)
            batch = _batch(config, state, targets, elite, importance, drawn)
            batch = hand_out(batch, drawn.here, AXIS)
            if target is not None:
                first = jax.lax.axis_index(AXIS) * local_batch
                batch = reanalyse(config, target, state, batch, search_key, first)
            (_, metrics), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
                params, config, batch, state.units
            )
            gradient, metrics = jax.lax.pmean((gradient, metrics), AXIS)
            metrics["gradient_norm"] = optax.global_norm(gradient)
            change, new_opt_state = optimiser.update(gradient, opt_state, params)
            new_params = optax.apply_updates(params, change)
            if target is not None:
                target = follow_slowly(target, new_params, config.reanalyse.target_rate)
            new = (new_params, target, new_opt_state)
            # Nothing is learned before the first game has ended.
            carry = jax.tree.map(lambda a, b: jnp.where(ready, a, b), new, carry)
            return carry, metrics

        keys = jax.random.split(key, config.learner.updates)
        learned = (state.params, state.target, state.optimiser)
        (params, target, opt_state), metrics = jax.lax.scan(update, learned, keys)
        is_finite = jnp.all(jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient_norm"]))
        metrics = jax.tree.map(lambda x: jnp.where(ready, jnp.mean(x), jnp.nan), metrics)
        metrics["reward_error"] = jnp.sqrt(metrics.pop("reward_square"))
        metrics["diverged"] = ready & ~is_finite
        usable = targets.usable
        difference = state.replay.moves.raw_value - targets.value
        squares, count = jax.lax.psum(
            (jnp.sum(jnp.where(usable, difference**2, 0.0)), jnp.sum(usable)), AXIS
        )
        metrics["value_error"] = jnp.sqrt(squares / jnp.maximum(count, 1))
        metrics["usable_share"] = count / (usable.size * devices)
        state = dataclasses.replace(
            state,
            key=next_key,
            params=params,
            target=target,
            optimiser=opt_state,
            iteration=state.iteration + 1,
        )
        return state, metrics

    moves_spec = specs.replay.moves
    sharded_play = shard(play, in_specs=(P(), specs), out_specs=(specs, moves_spec, P()))

    def play_with_metrics(game: Any, state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
        state, moves, gap = sharded_play(game, state)
        return state, play_metrics(moves, state.best.saved.shape[0]) | {"search_gap": gap}

    def search(game: Any, state: TrainState, count: int) -> jax.Array:
        function = functools.partial(search_only, config, count=count)
        return shard(function, in_specs=(P(), specs), out_specs=P(AXIS))(game, state)

    abstract = jax.eval_shape(
        shard(init, in_specs=P(), out_specs=specs), game, jax.random.key_data(jax.random.key(0))
    )
    abstract = jax.tree.map(
        lambda x, spec: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec)),
        abstract,
        specs,
    )
    return Iteration(
        init=jax.jit(shard(init, in_specs=P(), out_specs=specs)),
        play=jax.jit(play_with_metrics, donate_argnums=1),
        learn=jax.jit(
            shard(learn, in_specs=(P(), specs), out_specs=(specs, P())), donate_argnums=1
        ),
        search=jax.jit(search, static_argnums=2),
        abstract_state=abstract,
    )


def _init_state(
    config: Config,
    game: Any,
    params: Params,
    optimiser: optax.GradientTransformation,
    lanes_key: jax.Array,
    key: jax.Array,
    local_games: int,
    first: jax.Array | int = 0,
) -> TrainState:
    """The state of a device whose games' numbers begin with `first`."""
    lanes = init_lanes(game, local_games, lanes_key, first)
    best = init_best(game, lanes.state)
    units, typical = first_units(game.num_programs), jnp.float32(FIRST_ADVANTAGE)
    shapes = jax.eval_shape(
        functools.partial(play_moves, config), game, params, units, typical, best, lanes, key
    )
    return TrainState(
        iteration=jnp.int32(0),
        key=key,
        params=params,
        target=jax.tree.map(jnp.copy, params) if config.reanalyse.every else None,
        optimiser=optimiser.init(params),
        units=units,
        typical_advantage=typical,
        bound=game.remaining_bound(game.init(jnp.arange(game.num_programs))),
        best=best,
        lanes=lanes,
        replay=init_replay(shapes[2], config.replay.moves),
    )


def _specs(config: Config, game: Any, devices: int) -> TrainState:
    """How each array of a TrainState is sharded: games lie on the last axis of the game's own
    arrays, on the first of the other arrays of lanes, on the second in the replay."""

    def abstract(game: Any, key: jax.Array) -> TrainState:
        params = networks.init_params(config.network, game.observation_size, key)
        return _init_state(
            config, game, params, make_optimiser(config), key, key, config.rollout.games // devices
        )

    state = jax.eval_shape(abstract, game, jax.random.key_data(jax.random.key(0)))
    specs: Any = jax.tree.map(lambda _: P(), state)
    games: Any = P(AXIS)
    along_time: Any = P(None, AXIS)
    nowhere: Any = P()
    return dataclasses.replace(
        specs,
        lanes=Lanes(
            state=jax.tree.map(
                lambda x: P(*(None,) * (x.ndim - 1), AXIS) if x.ndim else P(), state.lanes.state
            ),
            program=games,
            guides=jax.tree.map(lambda _: games, state.lanes.guides),
            answers=games,
            number=games,
        ),
        replay=Replay(
            moves=jax.tree.map(lambda _: along_time, state.replay.moves),
            written=along_time,
            cursor=nowhere,
        ),
    )


def first_units(programs: int) -> Units:
    """The units before any game has ended."""
    return Units(jnp.zeros(programs), jnp.ones(programs))


def _units(state: TrainState, targets: Targets) -> Units:
    """Compares returns with the best game's share of the bound, in units of their deviation."""
    best = jnp.where(jnp.isfinite(state.best.saved), state.best.saved, 0.0)
    share = jnp.clip(best / jnp.maximum(state.bound, MIN_SCALE), 0.0, 1.0)
    moves = state.replay.moves
    excess = targets.value - share[moves.program] * moves.ahead
    zeros = jnp.zeros_like(best)
    squares = zeros.at[moves.program].add(jnp.where(targets.usable, excess**2, 0.0))
    count = zeros.at[moves.program].add(targets.usable)
    squares, count = jax.lax.psum((squares, count), AXIS)
    scale = DEVIATIONS * jnp.sqrt(squares / jnp.maximum(count, 1))
    scale = jnp.maximum(scale, jnp.maximum(MIN_SHARE * best, MIN_SCALE))
    return Units(share, jnp.where(count > 0, scale, state.units.scale))


def _merge_best(best: Best) -> Best:
    """The best games over all devices; of equal ones the first that ended, as on one device."""
    everyone = jax.lax.all_gather(best, AXIS)
    is_best = everyone.saved == jnp.max(everyone.saved, axis=0)
    winner = jnp.argmin(jnp.where(is_best, everyone.move, jnp.iinfo(jnp.int32).max), axis=0)  # [P]
    return jax.tree.map(
        lambda x: jnp.take_along_axis(x, winner.reshape(1, -1, *(1,) * (x.ndim - 2)), axis=0)[0],
        everyone,
    )


def _batch(
    config: Config,
    state: TrainState,
    targets: Targets,
    elite: jax.Array,
    importance: jax.Array,
    drawn: Drawn,
) -> Batch:
    """What `loss_fn` learns from, for cells of this device; importance: [T, B]."""
    length = config.learner.unroll + 1
    moves = gather(state.replay, drawn.time, drawn.game, length)
    at = (drawn.time[:, None] + jnp.arange(length)) % targets.usable.shape[0]
    across = drawn.game[:, None]
    imitation = config.targets.imitation * elite[at, across][..., None]
    played = jax.nn.one_hot(moves.action, moves.legal.shape[-1])
    policy = (1 - imitation) * moves.policy + imitation * played
    value, usable = targets.value[at, across], targets.usable[at, across]
    return Batch(moves, value, usable, policy, importance[drawn.time, drawn.game])
