"""Everything that a run needs to go on, in one pytree; checkpoints store it as it is."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Generic

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import PartitionSpec as P

from agent.config import Config
from agent.config.schedule import learning_rate
from agent.learning.replay import Replay, init_replay
from agent.networks import Agent, Params, ValueScale, fresh_agent
from agent.selfplay.best import Best, init_best
from agent.selfplay.rollout import Lanes, init_lanes, play_moves
from gamekit.environment import GuidingEnvironment, State

AXIS = "games"


@struct.dataclass
class TrainState(Generic[State]):
    """The state of a training.

    iteration: int32, how many have ended. key: of what is drawn next.
    params: of the networks. target: of the network that reanalyses, None without.
    optimiser: optax's state.
    scale: what the networks' values mean. typical_advantage: of a search, in its units.
    headroom: float32 [P], how much the score of each instance can grow from the start at most.
    lessons: int8 [P, Q], demonstrated answers by the number of the question, -1 without.
    best: the best games. lanes: the games in progress. replay: the newest moves of every game.
    """

    iteration: jax.Array
    key: jax.Array
    params: Params
    target: Params | None
    optimiser: Any
    scale: ValueScale
    typical_advantage: jax.Array
    headroom: jax.Array
    lessons: jax.Array
    best: Best
    lanes: Lanes[State]
    replay: Replay

    @property
    def agent(self) -> Agent:
        """Who plays."""
        return Agent(self.params, self.scale, self.typical_advantage)


def make_optimiser(config: Config) -> optax.GradientTransformation:
    """AdamW after clipping."""
    c = config.learner
    rate = learning_rate(config.schedule, c.learning_rate, c.warmup, c.updates)
    return optax.chain(
        optax.clip_by_global_norm(c.max_gradient_norm),
        optax.adamw(rate, weight_decay=c.weight_decay),
    )


def init_state(
    config: Config,
    game: GuidingEnvironment[State],
    key: jax.Array,
    local_games: int,
    first: jax.Array | int = 0,
) -> TrainState[State]:
    """The state of a device whose games' numbers begin with `first`; the key is consumed."""
    network_key, lanes_key, key = jax.random.split(key, 3)
    instances = game.spec.num_instances
    agent = fresh_agent(config, game.spec, network_key, instances)
    lanes = init_lanes(game, local_games, lanes_key, first)
    best = init_best(game.spec)
    play = functools.partial(play_moves, config)
    shapes = jax.eval_shape(play, game, agent, best, lanes, key)
    return TrainState(
        iteration=jnp.int32(0),
        key=key,
        params=agent.params,
        target=jax.tree.map(jnp.copy, agent.params) if config.reanalyse.every else None,
        optimiser=make_optimiser(config).init(agent.params),
        scale=agent.scale,
        typical_advantage=agent.typical_advantage,
        headroom=game.headroom(game.init(jnp.arange(instances))),
        lessons=jnp.full((instances, game.spec.num_questions), -1, jnp.int8),
        best=best,
        lanes=lanes,
        replay=init_replay(shapes[2], config.replay.moves),
    )


def state_specs(config: Config, game: GuidingEnvironment[State], devices: int) -> TrainState:
    """How each array of a TrainState is sharded over the mesh's axis `AXIS`.

    Games lie on the last axis of the environment's own arrays, on the first of the other arrays of
    lanes, on the second in the replay.
    """
    state = jax.eval_shape(
        lambda game, key: init_state(config, game, key, config.rollout.games // devices),
        game,
        jax.random.key_data(jax.random.key(0)),
    )
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
            instance=games,
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
