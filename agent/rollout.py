"""Self-play: games in lockstep inside one scan, finished ones replaced at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from agent.config import Config
from agent.networks import Params
from agent.randomness import draw
from agent.schedule import Exploration
from agent.search import OBSERVATION_DTYPE, Simulator, observe, search
from agent.units import Units
from mallocgame.state import DROP

# Expected number of decisions that a deviating game answers otherwise.
DEVIATIONS = 3
# Share of the deviating games that instead answer all further questions of one value alike.
BY_VALUE = 0.5
# `Lanes.topic` of games that have no such value, and of those that have not come to theirs.
NO_TOPIC, OPEN_TOPIC = -2, -1


@struct.dataclass
class Moves:
    """One move a cell; leading axes [T, B] in a rollout and in the replay.

    observation [.., F]; legal [.., A]; action, reward (unscaled), done (the move ended its game);
    program [..]; index [..]: moves on the branch before this one; kept [..]: the move undid those
    with this index or a later one (index + 1 where it undid none, not even itself);
    policy [.., A], value and raw_value (unscaled): the search's; saved: saved fraction after it;
    branched [..]: the move was drawn at random to leave the best game; ahead [..]: what could still
    be saved before the move, at most, and past [..]: by how much the move reduced that.
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
    """Games in progress: the game's state, the program of each [B], the decision at which each
    leaves the program's best game [B], which it follows up to there (-1: it follows none), the
    number of decisions from there on among which it deviates [B] (0: it does not come back to the
    best game), the value whose questions it answers alike from there on [B] (`NO_TOPIC`,
    `OPEN_TOPIC`) and whether with yes [B], its answers so far by the number of the question [B, Q],
    -1 without, and the number of each among all games of the run [B], to which its random numbers
    belong."""

    state: Any
    program: jax.Array
    guide: jax.Array
    width: jax.Array
    topic: jax.Array
    accepts: jax.Array
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
    guide, width = jnp.full(games, -1, jnp.int32), jnp.zeros(games, jnp.int32)
    topic, accepts = jnp.full(games, NO_TOPIC, jnp.int32), jnp.zeros(games, bool)
    return Lanes(game.init(program), program, guide, width, topic, accepts, none, number)


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
        index = game.decision_index(state)
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
        question = game.question_index(state)
        value = game.question(state)[1]
        lanes, action, branched = _follow(
            known, lanes, index, question, value, legal, result.action, branch_key
        )
        answers = lanes.answers.at[jnp.arange(len(action)), question].set(action.astype(jnp.int8))
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
            index=index,
            kept=game.kept_index(state),
            policy=result.policy,
            value=units.to_return(result.value, program, ahead),
            raw_value=units.to_return(result.raw_value, program, ahead),
            saved=saved,
            branched=branched,
            ahead=ahead,
            past=ahead - game.remaining_bound(state),
        )
        lanes = dataclasses.replace(lanes, state=state, answers=answers)
        lanes = _restart(
            config.rollout.deviating, explore.guided, game, known, lanes, done, reset_key
        )
        gaps = result.advantage
        return (lanes, best), (moves, jnp.stack([jnp.sum(gaps**2), jnp.sum(gaps > 0)]))

    keys = jax.random.split(key, config.rollout.moves)
    times = jnp.arange(config.rollout.moves)
    best = dataclasses.replace(best, move=jnp.full_like(best.move, -1))
    (lanes, best), (moves, gaps) = jax.lax.scan(step, (lanes, best), (times, keys))
    return lanes, best, moves, jnp.sum(gaps, axis=0)


def _follow(
    best: Best,
    lanes: Lanes,
    index: jax.Array,
    question: jax.Array,
    value: jax.Array,
    legal: jax.Array,
    action: jax.Array,
    key: jax.Array,
) -> tuple[Lanes, jax.Array, jax.Array]:
    """The actions [B] of guided games; `question` is about `value` [B].

    Up to where it is left, they are the best game's, and there a random other one. A game that does
    not deviate plays on by itself from there, as one does whose followed action is not legal. One
    that does goes on with the best game's answers, where they are legal, but for about `DEVIATIONS`
    of the `Lanes.width` decisions from there on, which it answers otherwise or by itself; or, if it
    has a topic, but for all questions about the value it meets there, which it answers as the best
    game did not.

    Returns:
      Lanes, of which `guide`, `topic` and `accepts` have changed, actions, and which actions were
      drawn at random.
    """
    told = best.answers[lanes.program, question].astype(jnp.int32)
    allowed = jnp.take_along_axis(legal, jnp.maximum(told, 0)[:, None], axis=1)[:, 0] & (told >= 0)
    others = legal & (told[:, None] != jnp.arange(legal.shape[1]))
    actions = legal.shape[1]
    noise = draw(lambda k: jax.random.uniform(k, (actions + 2,)), key, lanes.number)
    other = jnp.argmax(jnp.where(others, noise[:, :actions], -1.0), axis=1)
    deviates, guided = lanes.width > 0, allowed & (lanes.guide >= 0)

    begins = (lanes.topic == OPEN_TOPIC) & guided & (index >= lanes.guide)
    topic = jnp.where(begins, value, lanes.topic)
    accepts = jnp.where(begins, told == DROP, lanes.accepts)
    on_topic = (topic == value) & (lanes.guide >= 0)
    yes = jnp.argmax(legal[:, :DROP], axis=1)
    wanted = jnp.where(accepts & jnp.any(legal[:, :DROP], axis=1), yes, DROP)

    near = (index >= lanes.guide) & (index < lanes.guide + lanes.width) & (topic == NO_TOPIC)
    often = noise[:, actions] * jnp.maximum(lanes.width, 2 * DEVIATIONS) < DEVIATIONS
    leaves = jnp.where(deviates, near & often, index == lanes.guide)
    at_random = ~deviates | (noise[:, actions + 1] < 0.5)
    follows = guided & ~leaves & (deviates | (index < lanes.guide))
    branched = guided & leaves & at_random & jnp.any(others, axis=1)
    action = jnp.where(follows, told, jnp.where(branched, other, action))
    action = jnp.where(on_topic, wanted, action)
    branched |= on_topic & (wanted != told)
    guide = jnp.where(follows | deviates, lanes.guide, -1)
    return dataclasses.replace(lanes, guide=guide, topic=topic, accepts=accepts), action, branched


def _restart(
    deviating: float,
    guided_fraction: jax.Array | float,
    game: Any,
    best: Best,
    lanes: Lanes,
    done: jax.Array,
    key: jax.Array,
) -> Lanes:
    """Replaces finished games by new ones of random programs."""
    program_key, guided_key, length_key, width_key = jax.random.split(key, 4)
    number = lanes.number
    fresh = draw(lambda k: jax.random.randint(k, (), 0, game.num_programs), program_key, number)
    program = jnp.where(done, fresh, lanes.program)
    guided = draw(jax.random.uniform, guided_key, number) < guided_fraction
    share = draw(jax.random.uniform, length_key, number)
    length = best.length[program]
    guided &= length > 0
    guide = jnp.where(guided, (share * length).astype(jnp.int32), -1)
    # Windows of all lengths, from a few decisions to the whole game, each equally likely.
    mark = draw(lambda k: jax.random.uniform(k, (3,)), width_key, number)
    width = jnp.maximum(length, 2).astype(jnp.float32) ** mark[:, 0]
    width = jnp.where(guided & (mark[:, 1] < deviating), 1 + width.astype(jnp.int32), 0)
    topic = jnp.where((width > 0) & (mark[:, 2] < BY_VALUE), OPEN_TOPIC, NO_TOPIC)
    centred = (width > 0) & (topic == NO_TOPIC)
    guide = jnp.where(centred, jnp.maximum(guide - width // 2, 0), guide)
    return Lanes(
        state=game.reset(lanes.state, done, program),
        program=program,
        guide=jnp.where(done, guide, lanes.guide),
        width=jnp.where(done, width, lanes.width),
        topic=jnp.where(done, topic, lanes.topic),
        accepts=lanes.accepts,
        answers=jnp.where(done[:, None], -1, lanes.answers).astype(jnp.int8),
        number=number,
    )
