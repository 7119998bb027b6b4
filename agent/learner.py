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

from agent import networks
from agent.config import Config
from agent.networks import Model, Params
from agent.reanalyse import follow_slowly, reanalyse
from agent.replay import Replay, gather, init_replay, insert, sample
from agent.rollout import Best, Lanes, Moves, init_best, init_lanes, play_moves
from agent.schedule import exploration, learning_rate
from agent.targets import Targets, elite_cells, replay_targets
from agent.units import Units
from agent.weighting import cell_weights

AXIS = "games"
# Nearly all values lie within three standard deviations; when all games are alike, a share of the
# best return keeps the unit away from zero.
DEVIATIONS, MIN_SHARE, MIN_SCALE = 3.0, 0.02, 1e-4
# A fresh network knows no advantages: the running mean starts where noise cannot move the policy.
FIRST_ADVANTAGE, MIN_ADVANTAGE, ADVANTAGE_RATE = 0.05, 1e-3, 0.1


@struct.dataclass
class TrainState:
    """iteration; key; params; target, the network that reanalyses (None without); optimiser; units
    of the networks' values; typical_advantage, in these units; best games; games in progress;
    replay."""

    iteration: jax.Array
    key: jax.Array
    params: Params
    target: Params | None
    optimiser: Any
    units: Units
    typical_advantage: jax.Array
    best: Best
    lanes: Lanes
    replay: Replay


class Iteration(NamedTuple):
    """The jitted parts of an iteration, and how the state lies on the devices.

    init(game, key) -> state; play(game, state) -> state, metrics; learn(game, state) -> state,
    metrics.
    """

    init: Callable[..., TrainState]
    play: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    learn: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    abstract_state: TrainState


def make_optimiser(config: Config) -> optax.GradientTransformation:
    """AdamW after clipping."""
    c = config.learner
    rate = learning_rate(config.schedule, c.learning_rate, c.warmup, c.updates)
    return optax.chain(
        optax.clip_by_global_norm(c.max_gradient_norm),
        optax.adamw(rate, weight_decay=c.weight_decay),
    )


def loss_fn(
    params: Params,
    config: Config,
    moves: Moves,
    value: jax.Array,
    usable: jax.Array,
    policy: jax.Array,
    importance: jax.Array,
    units: Units,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The MuZero loss over unrolls of K steps from N sampled moves.

    moves: [N, K+1]; value: unscaled value targets [N, K+1]; usable [N, K+1]; policy: policy
    targets [N, K+1, A]; importance: weights of the samples [N]. Behind a game's end value and
    reward are 0, as for any absorbing state; what was undone, and the policy behind the end, count
    for nothing.
    """
    c = config.learner
    model = Model(config.network, params)
    atoms = config.network.atoms
    unroll = moves.reward.shape[1] - 1
    ends = jnp.cumsum(moves.done, axis=1)
    inside = jnp.concatenate([jnp.ones_like(ends[:, :1]), ends[:, :-1] == 0], axis=1) > 0
    usable = usable & inside
    counted = jnp.where(inside, usable, True)
    value = units.of_return(value, moves.program, moves.ahead)
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
    weight = importance[:, None] * jnp.array([1.0] + [1.0 / unroll] * unroll)  # [N, K+1]
    parts = {
        "policy": _mean(entropy(logits, policy) - _entropy(policy), usable, weight),
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
    return total, {f"loss_{name}": part for name, part in parts.items()} | {"loss": total}


def _mean(x: jax.Array, mask: jax.Array, weight: jax.Array) -> jax.Array:
    """Weighted sum over steps, mean over samples: x, mask and weight [N, K]."""
    # Over the batch and not over the mask: a sample's weight does not depend on its neighbours.
    return jnp.mean(jnp.sum(jnp.where(mask, x, 0.0) * weight, axis=1))


def _entropy(policy: jax.Array) -> jax.Array:
    return -jnp.sum(policy * jnp.log(jnp.maximum(policy, 1e-9)), axis=-1)


def make_iteration(config: Config, game: Any, mesh: Mesh) -> Iteration:
    """Compiles nothing yet; `game` only tells shapes.  `mesh` has one axis, `games`."""
    devices = mesh.size
    local_games, local_batch = config.rollout.games // devices, config.learner.batch_size // devices
    optimiser = make_optimiser(config)
    specs = _specs(config, game, devices)
    shard = functools.partial(jax.shard_map, mesh=mesh, check_vma=False)

    def init(game: Any, key: jax.Array) -> TrainState:
        network_key, lanes_key, key = jax.random.split(key, 3)
        params = networks.init_params(config.network, game.observation_size, network_key)
        return _init_state(config, game, params, optimiser, lanes_key, key, local_games)

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
            jax.random.fold_in(key, jax.lax.axis_index(AXIS)),
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
        state = dataclasses.replace(state, units=_units(game, state, targets))
        elite = elite_cells(
            state.replay.moves, targets, config.replay.elite_quantile, game.num_programs
        )
        weights = cell_weights(config.replay, state.replay.moves, targets, elite, state.units, AXIS)
        key, next_key = jax.random.split(state.key)
        key = jax.random.fold_in(key, jax.lax.axis_index(AXIS))
        ready = jax.lax.pmin(jnp.any(targets.usable).astype(jnp.int32), AXIS) > 0

        def update(carry: tuple[Params, Params | None, Any], key: jax.Array):
            params, target, opt_state = carry
            batch = _sample_batch(config, state, target, targets, elite, weights, local_batch, key)
            (_, metrics), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
                params, config, *batch
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
        return state, _play_metrics(moves) | {"search_gap": gap}

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
) -> TrainState:
    lanes = init_lanes(game, local_games, lanes_key)
    best = init_best(game, lanes.state)
    units, typical = first_units(game.num_programs), jnp.float32(FIRST_ADVANTAGE)
    shapes = jax.eval_shape(
        functools.partial(play_moves, config), game, params, units, typical, best, lanes, key
    )
    return TrainState(
        iteration=jnp.int32(0),
        key=key,
        params=params,
        target=jax.tree.map(jnp.copy, params) if config.reanalyse.fraction else None,
        optimiser=optimiser.init(params),
        units=units,
        typical_advantage=typical,
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
            guide=games,
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


def _units(game: Any, state: TrainState, targets: Targets) -> Units:
    """Compares returns with the best game's share of the bound, in units of their deviation."""
    programs = jnp.arange(game.num_programs)
    bound = game.remaining_bound(game.init(programs))
    best = jnp.where(jnp.isfinite(state.best.saved), state.best.saved, 0.0)
    share = jnp.clip(best / jnp.maximum(bound, MIN_SCALE), 0.0, 1.0)
    moves = state.replay.moves
    excess = targets.value - share[moves.program] * moves.ahead
    zeros = jnp.zeros(game.num_programs)
    squares = zeros.at[moves.program].add(jnp.where(targets.usable, excess**2, 0.0))
    count = zeros.at[moves.program].add(targets.usable)
    squares, count = jax.lax.psum((squares, count), AXIS)
    scale = DEVIATIONS * jnp.sqrt(squares / jnp.maximum(count, 1))
    scale = jnp.maximum(scale, jnp.maximum(MIN_SHARE * best, MIN_SCALE))
    return Units(share, jnp.where(count > 0, scale, state.units.scale))


def _merge_best(best: Best) -> Best:
    """The best games over all devices."""
    everyone = jax.lax.all_gather(best, AXIS)
    winner = jnp.argmax(everyone.saved, axis=0)  # [P]
    return jax.tree.map(
        lambda x: jnp.take_along_axis(x, winner.reshape(1, -1, *(1,) * (x.ndim - 2)), axis=0)[0],
        everyone,
    )


def _sample_batch(
    config: Config,
    state: TrainState,
    target: Params | None,
    targets: Targets,
    elite: jax.Array,
    weights: tuple[jax.Array, jax.Array],
    count: int,
    key: jax.Array,
) -> tuple[Moves, jax.Array, jax.Array, jax.Array, jax.Array, Units]:
    """What `loss_fn` takes; `weights` are those of `cell_weights`."""
    sample_key, search_key = jax.random.split(key)
    time, game = sample(weights[0], count, sample_key)
    length = config.learner.unroll + 1
    moves = gather(state.replay, time, game, length)
    at = (time[:, None] + jnp.arange(length)) % targets.usable.shape[0]
    across = game[:, None]
    value, policy = targets.value[at, across], moves.policy
    if target is not None:
        value, policy = reanalyse(
            config, target, state.typical_advantage, state.units, moves, value, policy, search_key
        )
    imitation = config.targets.imitation * elite[at, across][..., None]
    played = jax.nn.one_hot(moves.action, moves.legal.shape[-1])
    policy = (1 - imitation) * policy + imitation * played
    usable, importance = targets.usable[at, across], weights[1][time, game]
    return moves, value, usable, policy, importance, state.units


def _play_metrics(moves: Moves) -> dict[str, jax.Array]:
    """Counts, returns of finished games, and the shape of the policy."""
    done, saved = moves.done, moves.saved
    games = jnp.sum(done)
    legal = jnp.sum(moves.legal, axis=-1)
    actions = jnp.mean(moves.action[..., None] == jnp.arange(moves.legal.shape[-1]), axis=(0, 1))
    return {
        "finished": games,
        "return_mean": jnp.where(games > 0, jnp.sum(jnp.where(done, saved, 0.0)) / games, jnp.nan),
        "return_min": jnp.where(games > 0, jnp.min(jnp.where(done, saved, jnp.inf)), jnp.nan),
        "return_max": jnp.where(games > 0, jnp.max(jnp.where(done, saved, -jnp.inf)), jnp.nan),
        "policy_entropy": jnp.mean(_entropy(moves.policy)),
        "legal_actions": jnp.mean(legal),
        "share_copy": actions[0],
        "share_no_copy": actions[1],
        "share_drop": actions[2],
        "undone_share": jnp.mean(moves.kept <= moves.index),
    }
