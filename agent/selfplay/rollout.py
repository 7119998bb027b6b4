"""Self-play: games in lockstep inside one scan, finished ones replaced at once."""

from __future__ import annotations

import dataclasses
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from agent.config import Config, RolloutConfig
from agent.config.schedule import Exploration
from agent.networks import Agent
from agent.randomness import draw
from agent.search import OBSERVATION_DTYPE, SearchResult, observe, search, tree_model
from agent.selfplay.best import Best, update_best
from agent.selfplay.guidance import (
    Asked,
    Guides,
    ask,
    declined_arrivals,
    draw_guides,
    follow,
    no_guides,
    or_another,
)
from gamekit.environment import GuidingEnvironment, State, Step


@struct.dataclass
class Moves:
    """One move a cell; leading axes [T, B] in a rollout and in the replay.

    observation [.., F], legal [.., A]: of the state in which the move was made.
    action, reward (unscaled), done (the move ended its game), instance [..].
    index [..]: moves on the branch before this one.
    undone_from [..]: first move that this move undid (index + 1 where it undid none).
    policy [.., A], value and raw_value [..]: the search's; values as unscaled returns.
    score [..]: after the move.
    branched [..]: the move left the best game and was not the game's own.
    headroom [..]: before the move; headroom_lost [..]: by how much the move reduced it.
    """

    observation: jax.Array
    legal: jax.Array
    action: jax.Array
    reward: jax.Array
    done: jax.Array
    instance: jax.Array
    index: jax.Array
    undone_from: jax.Array
    policy: jax.Array
    value: jax.Array
    raw_value: jax.Array
    score: jax.Array
    branched: jax.Array
    headroom: jax.Array
    headroom_lost: jax.Array


@struct.dataclass
class Lanes(Generic[State]):
    """Games in progress.

    state: the environment's, batch axis last. instance [B]: of each game.
    guides: how each follows the instance's best game.
    answers [B, Q]: so far, by the number of the question, -1 without.
    number [B]: of each game among all of the run, to which its random numbers belong.
    """

    state: State
    instance: jax.Array
    guides: Guides
    answers: jax.Array
    number: jax.Array


class _Decision(NamedTuple):
    """What a lane's next move is made from (see `Moves`), and the state that it leads to."""

    observation: jax.Array
    legal: jax.Array
    result: SearchResult
    asked: Asked
    guides: Guides
    action: jax.Array
    branched: jax.Array
    after: Any
    step: Step


def init_lanes(
    game: GuidingEnvironment[State], games: int, key: jax.Array, first: jax.Array | int = 0
) -> Lanes[State]:
    """Starts `games` games of random instances, numbered from `first` on; the key is consumed."""
    number = first + jnp.arange(games, dtype=jnp.int32)
    count = game.spec.num_instances
    instance = draw(lambda k: jax.random.randint(k, (), 0, count), key, number)
    none = jnp.full((games, game.spec.num_questions), -1, jnp.int32)
    return Lanes(game.init(instance), instance, no_guides(games), none, number)


def play_moves(
    config: Config,
    game: GuidingEnvironment[State],
    agent: Agent,
    best: Best,
    lanes: Lanes[State],
    key: jax.Array,
    exploration: Exploration | None = None,
    lessons: jax.Array | None = None,
) -> tuple[Lanes[State], Best, Moves, jax.Array]:
    """Plays `rollout.moves` moves of every game; the key is consumed.

    Guided games follow the best games from before the rollout, whatever the others find in the
    meantime: they may be played on other devices.
    exploration: the configuration's without a schedule, and nothing is taught.
    lessons: int8 [P, Q], demonstrated answers by the number of the question, -1 without.

    Returns:
      Lanes and best games afterwards, the moves [T, B], and the root-mean-square gap between the
      searched values of legal actions (where there are two), as sum of squares and count [2].
    """
    explore = exploration or Exploration(1.0, config.rollout.guided_fraction)
    known = best

    def step(carry: tuple[Lanes[State], Best], now: tuple[jax.Array, jax.Array]):
        lanes, best = carry
        time, key = now
        search_key, follow_key, restart_key = jax.random.split(key, 3)
        decision = _decide(
            config, game, agent, known, lanes, explore, lessons, search_key, follow_key
        )
        lanes, best, moves = _play(game, agent, best, lanes, decision, time)
        lanes = _restart(
            config.rollout, explore.guided, game, known, lanes, moves.done, restart_key
        )
        gaps = decision.result.advantage
        return (lanes, best), (moves, jnp.stack([jnp.sum(gaps**2), jnp.sum(gaps > 0)]))

    keys = jax.random.split(key, config.rollout.moves)
    times = jnp.arange(config.rollout.moves)
    best = dataclasses.replace(best, ended_at=jnp.full_like(best.ended_at, -1))
    (lanes, best), (moves, gaps) = jax.lax.scan(step, (lanes, best), (times, keys))
    return lanes, best, moves, jnp.sum(gaps, axis=0)


def _decide(
    config: Config,
    game: GuidingEnvironment[State],
    agent: Agent,
    known: Best,
    lanes: Lanes[State],
    explore: Exploration,
    lessons: jax.Array | None,
    search_key: jax.Array,
    follow_key: jax.Array,
) -> _Decision:
    """Searches, and follows the best game where the lane is guided."""
    observation, legal = observe(game, lanes.state), game.legal_actions(lanes.state)
    model, play = tree_model(config, game, lanes.state, agent.scale)
    result = search(
        agent.params,
        observation,
        legal,
        search_key,
        config=config,
        spec=game.spec,
        model=model,
        typical_advantage=agent.typical_advantage,
        noise=explore.noise,
        number=lanes.number,
    )
    asked = ask(game, lanes.state, legal, lanes.guides)
    answer = known.answers[lanes.instance, asked.question.number]
    guides, action, branched = follow(
        game.spec, lanes.guides, asked, answer, result.action, follow_key, lanes.number
    )
    if lessons is not None:
        shown = lessons[lanes.instance, asked.question.number].astype(jnp.int32)
        best = answer
        if not game.spec.guides:
            # The questions are the moves, and mean something else in another game.
            best = jnp.where(_has_followed(known.answers, lanes, asked.move), answer, -1)
            shown = jnp.where(_has_followed(lessons, lanes, asked.move), shown, -1)
        shown = or_another(game.spec, legal, jnp.where(best >= 0, best, shown))
        given = jax.nn.one_hot(shown, game.spec.num_actions)
        share = jnp.where(shown >= 0, explore.taught, 0.0)[:, None]
        result = result._replace(policy=(1 - share) * result.policy + share * given)
    after, step = play(action)
    return _Decision(observation, legal, result, asked, guides, action, branched, after, step)


def _has_followed(shown: jax.Array, lanes: Lanes[State], move: jax.Array) -> jax.Array:
    """Which games [B] have answered all moves before this one as [P, Q] says of their instance."""
    before = jnp.arange(shown.shape[1]) < move[:, None]
    return jnp.all(~before | (lanes.answers == shown[lanes.instance]), axis=1)


def _play(
    game: GuidingEnvironment[State],
    agent: Agent,
    best: Best,
    lanes: Lanes[State],
    decision: _Decision,
    time: jax.Array,
) -> tuple[Lanes[State], Best, Moves]:
    """Plays the moves that were decided on."""
    scale, result = agent.scale, decision.result
    instance, action = lanes.instance, decision.action
    games = jnp.arange(len(action))
    answers = lanes.answers.at[games, decision.asked.question.number].set(action)
    headroom = game.headroom(lanes.state)
    state, step = decision.after, decision.step
    score = game.score(state)

    def with_new() -> Best:
        history = game.history(state)
        return update_best(
            best, score, step.done, instance, history.moves, history.length, answers, time
        )

    best = jax.lax.cond(jnp.any(step.done & (score > best.score[instance])), with_new, lambda: best)
    moves = Moves(
        observation=decision.observation.astype(OBSERVATION_DTYPE),
        legal=decision.legal,
        action=action,
        reward=step.reward,
        done=step.done,
        instance=instance,
        index=decision.asked.move,
        undone_from=step.undone_from,
        policy=result.policy,
        value=scale.to_return(result.value, instance, headroom),
        raw_value=scale.to_return(result.raw_value, instance, headroom),
        score=score,
        branched=decision.branched,
        headroom=headroom,
        headroom_lost=headroom - game.headroom(state),
    )
    return Lanes(state, instance, decision.guides, answers, lanes.number), best, moves


def draw_instances(
    key: jax.Array, number: jax.Array, length: jax.Array, balance: float
) -> jax.Array:
    """Instances [B] of new games.

    number: [B], the games' numbers, to which their random numbers belong; the key is consumed.
    length: [P], moves of each instance's best game, 0 where none is known: as the others' mean.
    balance: 0 draws every instance equally often, 1 so that all are played for as many moves.
    """
    known = length > 0
    mean = jnp.sum(length) / jnp.maximum(jnp.sum(known), 1)
    odds = -balance * jnp.log(jnp.maximum(jnp.where(known, length, mean), 1.0))
    return draw(lambda k: jax.random.categorical(k, odds), key, number).astype(jnp.int32)


def _restart(
    config: RolloutConfig,
    guided_fraction: jax.Array | float,
    game: GuidingEnvironment[State],
    best: Best,
    lanes: Lanes[State],
    done: jax.Array,
    key: jax.Array,
) -> Lanes[State]:
    """Replaces finished games by new ones of random instances."""
    instance_key, guides_key = jax.random.split(key)
    number = lanes.number
    fresh = draw_instances(instance_key, number, best.length, config.balance)
    instance = jnp.where(done, fresh, lanes.instance)

    def new_guides() -> Guides:
        length, declined = best.length[instance], declined_arrivals(game, best.answers)[instance]
        new = draw_guides(
            guides_key,
            number,
            length,
            declined,
            guided_fraction,
            config.deviating,
            game.spec.has_topics,
        )
        return jax.tree.map(lambda new, old: jnp.where(done, new, old), new, lanes.guides)

    return Lanes(
        state=game.reset(lanes.state, done, instance),
        instance=instance,
        guides=jax.lax.cond(jnp.any(done), new_guides, lambda: lanes.guides),
        answers=jnp.where(done[:, None], -1, lanes.answers),
        number=number,
    )
