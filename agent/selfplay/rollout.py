"""Self-play: games in lockstep inside one scan, finished ones replaced at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from agent.config import Config, RolloutConfig
from agent.config.schedule import Exploration
from agent.networks import Params
from agent.networks.units import Units
from agent.search.search import OBSERVATION_DTYPE, Simulator, observe, search
from agent.selfplay.guidance import Guides, ask, declined_arrivals, draw_guides, follow, no_guides
from agent.selfplay.randomness import draw


@struct.dataclass
class Moves:
    """One move a cell; leading axes [T, B] in a rollout and in the replay.

    observation [.., F]; legal [.., A]; action, reward (unscaled), done (the move ended its game);
    program [..]; index [..]: moves on the branch before this one; kept [..]: the move undid those
    with this index or a later one (index + 1 where it undid none, not even itself);
    policy [.., A], value and raw_value (unscaled): the search's; saved: saved fraction after it;
    branched [..]: the move left the best game and was not the game's own; ahead [..]: what could
    still be saved before the move, at most, and past [..]: by how much the move reduced that.
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
    branched: jax.Array
    ahead: jax.Array
    past: jax.Array


@struct.dataclass
class Best:
    """The best finished game of each of P programs: saved [P], log [P, L], length [P]; answers
    [P, Q]: its answers by the number of the question, -1 where it was not asked; move [P]: the move
    of the newest rollout with which it ended, -1 if it is older."""

    saved: jax.Array
    log: jax.Array
    length: jax.Array
    answers: jax.Array
    move: jax.Array


@struct.dataclass
class Lanes:
    """Games in progress: the game's state, the program of each [B], how each follows the program's
    best game, its answers so far by the number of the question [B, Q], -1 without, and the number
    of each among all games of the run [B], to which its random numbers belong."""

    state: Any
    program: jax.Array
    guides: Guides
    answers: jax.Array
    number: jax.Array


def init_best(game: Any, state: Any) -> Best:
    """No game finished yet; `state` tells the length of a log."""
    length = game.action_log(state).shape[-1]
    programs = game.num_programs
    return Best(
        saved=jnp.full(programs, -jnp.inf),
        log=jnp.zeros((programs, length), jnp.int8),
        length=jnp.zeros(programs, jnp.int32),
        answers=jnp.full((programs, game.num_questions), -1, jnp.int8),
        move=jnp.full(programs, -1, jnp.int32),
    )


def init_lanes(game: Any, games: int, key: jax.Array, first: jax.Array | int = 0) -> Lanes:
    """Starts `games` games of random programs, numbered from `first` on; the key is consumed."""
    number = first + jnp.arange(games, dtype=jnp.int32)
    program = draw(lambda k: jax.random.randint(k, (), 0, game.num_programs), key, number)
    none = jnp.full((games, game.num_questions), -1, jnp.int8)
    return Lanes(game.init(program), program, no_guides(games), none, number)


def update_best(
    best: Best,
    saved: jax.Array,
    ended: jax.Array,
    program: jax.Array,
    log: jax.Array,
    length: jax.Array,
    answers: jax.Array,
    move: jax.Array,
) -> Best:
    """Keeps the best of the games [B] that ended with this move; the first one wins a tie."""
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
        answers=jnp.where(better[:, None], answers[winner], best.answers),
        move=jnp.where(better, move, best.move),
    )


def play_moves(
    config: Config,
    game: Any,
    params: Params,
    units: Units,
    typical_advantage: jax.Array,
    best: Best,
    lanes: Lanes,
    key: jax.Array,
    exploration: Exploration | None = None,
) -> tuple[Lanes, Best, Moves, jax.Array]:
    """Plays `rollout.moves` moves of every game.

    units: what the networks' values of each program mean. The key is consumed. Guided games follow
    the best games from before the rollout, whatever the others find in the meantime: they may be
    played on other devices.
    exploration: the configuration's without a schedule.

    Returns:
      Lanes and best games afterwards, the moves [T, B], and the root-mean-square gap between the
      searched values of legal actions (where there are two), as sum of squares and count [2].
    """

    explore = exploration or Exploration(1.0, config.rollout.guided_fraction)
    known = best

    def step(carry: tuple[Lanes, Best], now: tuple[jax.Array, jax.Array]):
        lanes, best = carry
        number, (time, key) = lanes.number, now
        search_key, branch_key, reset_key = jax.random.split(key, 3)
        state, program = lanes.state, lanes.program
        observation = observe(game, state)
        legal = game.legal_actions(state)
        result = search(
            params,
            observation,
            legal,
            search_key,
            config=config,
            typical_advantage=typical_advantage,
            simulator=Simulator(game, state, units),
            noise=explore.noise,
            number=number,
        )
        asked = ask(game, state, program, legal, lanes.guides)
        told = known.answers[program, asked.question]
        guides, action, branched = follow(
            lanes.guides, asked, told, result.action, branch_key, number
        )
        games = jnp.arange(len(action))
        answers = lanes.answers.at[games, asked.question].set(action.astype(jnp.int8))
        ahead = game.remaining_bound(state)
        state, reward = game.step(state, action)
        done = game.done(state)
        saved = game.saved_fraction(state)
        best = jax.lax.cond(
            jnp.any(done & (saved > best.saved[program])),
            lambda: update_best(
                best,
                saved,
                done,
                program,
                game.action_log(state),
                game.decision_index(state),
                answers,
                time,
            ),
            lambda: best,
        )
        moves = Moves(
            observation=observation.astype(OBSERVATION_DTYPE),
            legal=legal,
            action=action.astype(jnp.int8),
            reward=reward,
            done=done,
            program=program,
            index=asked.decision,
            kept=game.kept_index(state),
            policy=result.policy,
            value=units.to_return(result.value, program, ahead),
            raw_value=units.to_return(result.raw_value, program, ahead),
            saved=saved,
            branched=branched,
            ahead=ahead,
            past=ahead - game.remaining_bound(state),
        )
        lanes = Lanes(state, program, guides, answers, number)
        lanes = _restart(config.rollout, explore.guided, game, known, lanes, done, reset_key)
        gaps = result.advantage
        return (lanes, best), (moves, jnp.stack([jnp.sum(gaps**2), jnp.sum(gaps > 0)]))

    keys = jax.random.split(key, config.rollout.moves)
    times = jnp.arange(config.rollout.moves)
    best = dataclasses.replace(best, move=jnp.full_like(best.move, -1))
    (lanes, best), (moves, gaps) = jax.lax.scan(step, (lanes, best), (times, keys))
    return lanes, best, moves, jnp.sum(gaps, axis=0)


def draw_programs(
    key: jax.Array, number: jax.Array, length: jax.Array, balance: float
) -> jax.Array:
    """Programs [B] of new games.

    number: [B], the games' numbers, to which their random numbers belong; the key is consumed.
    length: [P], decisions of each program's best game, 0 where none is known: as the others' mean.
    balance: 0 draws every program equally often, 1 so that all are played for as many moves.
    """
    known = length > 0
    mean = jnp.sum(length) / jnp.maximum(jnp.sum(known), 1)
    odds = -balance * jnp.log(jnp.maximum(jnp.where(known, length, mean), 1.0))
    return draw(lambda k: jax.random.categorical(k, odds), key, number).astype(jnp.int32)


def _restart(
    config: RolloutConfig,
    guided_fraction: jax.Array | float,
    game: Any,
    best: Best,
    lanes: Lanes,
    done: jax.Array,
    key: jax.Array,
) -> Lanes:
    """Replaces finished games by new ones of random programs."""
    program_key, guides_key = jax.random.split(key)
    number = lanes.number
    fresh = draw_programs(program_key, number, best.length, config.balance)
    program = jnp.where(done, fresh, lanes.program)

    def new_guides() -> Guides:
        length, declined = best.length[program], declined_arrivals(game, best.answers)[program]
        new = draw_guides(guides_key, number, length, declined, guided_fraction, config.deviating)
        return jax.tree.map(lambda new, old: jnp.where(done, new, old), new, lanes.guides)

    return Lanes(
        state=game.reset(lanes.state, done, program),
        program=program,
        guides=jax.lax.cond(jnp.any(done), new_guides, lambda: lanes.guides),
        answers=jnp.where(done[:, None], -1, lanes.answers).astype(jnp.int8),
        number=number,
    )
