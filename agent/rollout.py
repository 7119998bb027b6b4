"""Self-play: games in lockstep inside one scan, finished ones replaced at once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from agent.config import Config
from agent.networks import Params
from agent.search import search

# Observations are kept in half precision: they are most of the replay's memory.
OBSERVATION_DTYPE = jnp.float16


@struct.dataclass
class Moves:
    """One move a cell; leading axes [T, B] in a rollout and in the replay.

    observation [.., F]; legal [.., A]; action, reward (unscaled), done (the move ended its game);
    program [..]; index [..]: moves on the branch before this one; kept [..]: the move undid those
    with this index or a later one (index + 1 where it undid none, not even itself);
    policy [.., A], value and raw_value (unscaled): the search's; saved: saved fraction after it.
    """

    observation: jax.Array
    legal: jax.Array
    action: jax.Array
    reward: jax.Array
    done: jax.Array
    program: jax.Array
    index: jax.Array
    kept: jax.Array
    policy: jax.Array
    value: jax.Array
    raw_value: jax.Array
    saved: jax.Array


@struct.dataclass
class Best:
    """The best finished game of each of P programs: saved [P], log [P, L], length [P]."""

    saved: jax.Array
    log: jax.Array
    length: jax.Array


@struct.dataclass
class Lanes:
    """Games in progress: the game's state, the program of each [B], and how many decisions of the
    program's best game each still follows [B] (0: none)."""

    state: Any
    program: jax.Array
    guide: jax.Array


def init_best(game: Any, state: Any) -> Best:
    """No game finished yet; `state` tells the length of a log."""
    length = game.action_log(state).shape[-1]
    programs = game.num_programs
    return Best(
        saved=jnp.full(programs, -jnp.inf),
        log=jnp.zeros((programs, length), jnp.int8),
        length=jnp.zeros(programs, jnp.int32),
    )


def init_lanes(game: Any, games: int, key: jax.Array) -> Lanes:
    """Starts `games` games of random programs; the key is consumed."""
    program = jax.random.randint(key, (games,), 0, game.num_programs)
    return Lanes(game.init(program), program, jnp.zeros(games, jnp.int32))


def update_best(
    best: Best,
    saved: jax.Array,
    ended: jax.Array,
    program: jax.Array,
    log: jax.Array,
    length: jax.Array,
) -> Best:
    """Keeps the best of the games [B] that have ended; the first one wins a tie."""
    programs = jnp.arange(best.saved.shape[0])
    mine = ended[None, :] & (program[None, :] == programs[:, None])  # [P, B]
    saved = jnp.where(mine, saved[None, :], -jnp.inf)
    winner = jnp.argmax(saved, axis=1)
    top = jnp.max(saved, axis=1)
    better = top > best.saved
    return Best(
        saved=jnp.where(better, top, best.saved),
        log=jnp.where(better[:, None], log[winner].astype(best.log.dtype), best.log),
        length=jnp.where(better, length[winner], best.length),
    )


def play_moves(
    config: Config,
    game: Any,
    params: Params,
    scale: jax.Array,
    typical_advantage: jax.Array,
    best: Best,
    lanes: Lanes,
    key: jax.Array,
) -> tuple[Lanes, Best, Moves, jax.Array]:
    """Plays `rollout.moves` moves of every game.

    scale: return scale of each program [P]. The key is consumed.

    Returns:
      Lanes and best games afterwards, the moves [T, B], and the root-mean-square gap between the
      searched values of legal actions (where there are two), as sum of squares and count [2].
    """

    def step(carry: tuple[Lanes, Best], key: jax.Array):
        lanes, best = carry
        search_key, reset_key = jax.random.split(key)
        state, program = lanes.state, lanes.program
        observation = game.observe(state).astype(OBSERVATION_DTYPE)
        legal = game.legal_actions(state)
        index = game.decision_index(state)
        result = search(
            params,
            observation.astype(jnp.float32),
            legal,
            search_key,
            config=config,
            typical_advantage=typical_advantage,
        )
        action, guide = _follow(best, lanes, index, legal, result.action)
        state, reward = game.step(state, action)
        done = game.done(state)
        saved = game.saved_fraction(state)
        best = jax.lax.cond(
            jnp.any(done & (saved > best.saved[program])),
            lambda: update_best(
                best, saved, done, program, game.action_log(state), game.decision_index(state)
            ),
            lambda: best,
        )
        moves = Moves(
            observation=observation,
            legal=legal,
            action=action.astype(jnp.int8),
            reward=reward,
            done=done,
            program=program,
            index=index,
            kept=game.kept_index(state),
            policy=result.policy,
            value=result.value * scale[program],
            raw_value=result.raw_value * scale[program],
            saved=saved,
        )
        lanes = _restart(config, game, best, Lanes(state, program, guide), done, reset_key)
        gaps = result.advantage
        return (lanes, best), (moves, jnp.stack([jnp.sum(gaps**2), jnp.sum(gaps > 0)]))

    keys = jax.random.split(key, config.rollout.moves)
    (lanes, best), (moves, gaps) = jax.lax.scan(step, (lanes, best), keys)
    return lanes, best, moves, jnp.sum(gaps, axis=0)


def _follow(
    best: Best, lanes: Lanes, index: jax.Array, legal: jax.Array, action: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The action [B] of a guided game is the best game's as long as it is to be followed."""
    told = best.log[lanes.program, jnp.minimum(index, best.log.shape[1] - 1)].astype(jnp.int32)
    allowed = jnp.take_along_axis(legal, told[:, None], axis=1)[:, 0]
    follows = (index < lanes.guide) & allowed
    return jnp.where(follows, told, action), jnp.where(follows, lanes.guide, 0)


def _restart(
    config: Config, game: Any, best: Best, lanes: Lanes, done: jax.Array, key: jax.Array
) -> Lanes:
    """Replaces finished games by new ones of random programs."""
    program_key, guided_key, length_key = jax.random.split(key, 3)
    fresh = jax.random.randint(program_key, done.shape, 0, game.num_programs)
    program = jnp.where(done, fresh, lanes.program)
    guided = jax.random.uniform(guided_key, done.shape) < config.rollout.guided_fraction
    share = jax.random.uniform(length_key, done.shape)
    guide = jnp.where(guided, (share * best.length[program]).astype(jnp.int32), 0)
    return Lanes(
        state=game.reset(lanes.state, done, program),
        program=program,
        guide=jnp.where(done, guide, lanes.guide),
    )
