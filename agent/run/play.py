"""Playing with a trained agent: many games of one instance at once, the best one counts.

The first game takes the best action everywhere.  Of the others of the first round up to half follow
the instance's openings, answers that its domain works out without search; the rest sample as in
self-play, with noise that grows from game to game.  As long as there is time more rounds follow,
most of whose games are guided by the best game so far (`agent.selfplay.guidance`).  With time for
rounds nothing is searched: the network's policy plays several times as many games instead, and on
programs that were not trained on these find more (docs/results/unseen_programs.md).

Where the judge may give a solution more than its game had, the games that promise most are judged,
and the best one is the judge's.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agent.config import Config
from agent.networks import Agent, ValueScale
from agent.search import observe, search, tree_model
from agent.selfplay.guidance import (
    Guides,
    Plan,
    ask,
    declined_arrivals,
    draw_guides,
    follow,
    no_guides,
)
from gamekit.checked import Checked, checked
from gamekit.environment import Environment, GuidingEnvironment, History, State

# Of the games of a later round those that are guided, and of these those that come back.
GUIDED, DEVIATING = 0.75, 0.75
# How many games of a round are judged, of those with the highest estimates and of those with the
# highest scores.
JUDGED = 4

# The judge's score of what the moves of a finished game, int32 [n], make.
Judge = Callable[[np.ndarray], float]


@dataclasses.dataclass(frozen=True)
class Played:
    """The outcome for one instance.

    moves: int32 [n], the best game's on its final branch; backtracks: of that game.
    score: the best game's, the judge's if there was one; greedy: the noiseless game's; every: each
        game's, round after round [K * rounds].
    total_moves, seconds: of all games together.
    """

    moves: np.ndarray
    score: float
    greedy: float
    every: np.ndarray
    backtracks: int
    total_moves: int
    seconds: float
    rounds: int


@dataclasses.dataclass(frozen=True)
class _BestGame:
    """moves: int32 [n]. answers: int32 [Q], by the number of the question, -1 without."""

    moves: np.ndarray
    answers: np.ndarray
    score: float
    backtracks: int


class _Finished(NamedTuple):
    """K games at their end.

    score, estimate: [K]. answers: int32 [K, Q], by the number of the question, -1 without. steps:
        those that all took together.
    """

    score: jax.Array
    estimate: jax.Array
    history: History
    answers: jax.Array
    steps: jax.Array


def play(
    environment: Environment[State],
    agent: Agent,
    config: Config,
    instance: int,
    key: jax.Array,
    *,
    games: int = 32,
    noise: float = 1.0,
    seconds: float = 0.0,
    openings: Sequence[np.ndarray] = (),
    judge: Judge | None = None,
) -> Played:
    """Plays `games` games of an instance, by its number, and returns the best; the key is consumed.

    seconds: while they last, rounds of as many games follow, without search; with 0 there is one
        round, which searches as configured. One game then is the greedy policy.
    openings: int8 [Q] each, answers by the number of the question, as `Domain.openings`.
    judge: decides which game is the best one; without it the games' scores do.
    """
    started = time.perf_counter()
    game = checked(environment)
    index = np.full(games, instance, np.int32)
    scale, headroom = _prospects(game, agent, index[:1])
    unasked = np.full(game.spec.num_questions, -1, np.int32)
    best = _BestGame(np.zeros(0, np.int32), unasked, -np.inf, 0)
    guides, noises, told = _openings(game, openings[: games // 2], games)
    rng = np.random.default_rng(0)
    every: list[np.ndarray] = []
    judged: set[bytes] = set()
    total_moves, took = 0, 0.0
    if seconds:
        search_nothing = dataclasses.replace(config.search, simulations=0)
        config = dataclasses.replace(config, search=search_nothing)
    while not every or seconds - (time.perf_counter() - started) > took:
        began = time.perf_counter()
        key, round_key, guides_key = jax.random.split(key, 3)
        finished = _finish(
            config, game, agent, scale, index, np.float32(noise * noises), (guides, told), round_key
        )
        score = np.asarray(finished.score)
        total_moves += int(finished.steps) * games
        every.append(score)
        found = _best_of(finished) if judge is None else _judged(finished, judge, best, judged)
        if found.score > best.score:
            best = found
            # What these games attain tells more of an unknown instance than others do.
            share = np.clip(best.score / max(float(headroom), 1e-9), 0.0, 1.0)
            baseline = np.full(scale.baseline.shape, share, scale.baseline.dtype)
            scale = dataclasses.replace(scale, baseline=baseline)
        # The first round may have had to compile, which says little about the next one.
        if len(every) > 1:
            took = time.perf_counter() - began
        if seconds:
            noises, told = rng.random(games), np.broadcast_to(best.answers, told.shape)
            length = np.full(games, len(best.moves), np.int32)
            guides = _guides(game, guides_key, best.answers, length)
    return Played(
        moves=best.moves,
        score=best.score,
        greedy=float(every[0][0]),
        every=np.concatenate(every),
        backtracks=best.backtracks,
        total_moves=total_moves,
        seconds=time.perf_counter() - started,
        rounds=len(every),
    )


def _openings(
    game: GuidingEnvironment[State], openings: Sequence[np.ndarray], games: int
) -> tuple[Guides, np.ndarray, np.ndarray]:
    """Guides of the first round, its games' noise [K], and what they are told [K, Q]."""
    told = np.full((games, game.spec.num_questions), -1, np.int32)
    for k, opening in enumerate(openings, start=1):
        told[k, : len(opening)] = opening
    follows = (told >= 0).any(axis=1)
    noises = np.where(follows, 0.0, np.linspace(0.0, 1.0, games))
    plan = jnp.where(jnp.asarray(follows), int(Plan.FOLLOW), int(Plan.NONE)).astype(jnp.int32)
    return dataclasses.replace(no_guides(games), plan=plan), noises, told


@jax.jit
def _guides(
    game: GuidingEnvironment[State], key: jax.Array, answers: jax.Array, length: jax.Array
) -> Guides:
    """Guides of a later round's games; the key is consumed.

    answers: int32 [Q], the best game's; length: int32 [K], its moves.
    """
    games = len(length)
    declined = declined_arrivals(game, answers)
    declined = jnp.broadcast_to(declined, (games, len(declined)))
    return draw_guides(
        key, jnp.arange(games), length, declined, GUIDED, DEVIATING, game.spec.has_topics
    )


def _best_of(finished: _Finished) -> _BestGame:
    score = np.asarray(finished.score)
    best = int(np.argmax(score))
    return _game(finished, best, float(score[best]))


def _judged(finished: _Finished, judge: Judge, best: _BestGame, judged: set[bytes]) -> _BestGame:
    """The best game so far, or a better one of a round; `judged` are the moves of games that the
    judge has seen, and grows."""
    finished = jax.device_get(finished)
    estimate, score = finished.estimate, finished.score
    picks = np.argsort(-estimate, stable=True)[:JUDGED], np.argsort(-score, stable=True)[:JUDGED]
    for k in dict.fromkeys(np.concatenate(picks).tolist()):
        if estimate[k] <= best.score:
            continue
        game = _game(finished, k, 0.0)
        if game.moves.tobytes() not in judged:
            judged.add(game.moves.tobytes())
            if (worth := judge(game.moves)) > best.score:
                best = dataclasses.replace(game, score=worth)
    return best


def _game(finished: _Finished, k: int, score: float) -> _BestGame:
    history = finished.history
    moves = np.asarray(history.moves)[k, : int(np.asarray(history.length)[k])]
    backtracks = int(np.asarray(history.backtracks)[k])
    return _BestGame(moves, np.asarray(finished.answers)[k], score, backtracks)


@jax.jit
def _prospects(
    game: GuidingEnvironment[State], agent: Agent, index: jax.Array
) -> tuple[ValueScale, jax.Array]:
    """The scale of an instance that was not trained on, which has none of its own, and its
    headroom; index: int32 [1]."""
    ones = jnp.ones(game.spec.num_instances)
    scale = ValueScale(agent.scale.baseline.mean() * ones, agent.scale.spread.mean() * ones)
    return scale, game.headroom(game.init(index))[0]


@functools.partial(jax.jit, static_argnums=0)
def _finish(
    config: Config,
    game: Checked[State],
    agent: Agent,
    scale: ValueScale,
    index: jax.Array,
    noise: jax.Array,
    guided: tuple[Guides, jax.Array],
    key: jax.Array,
) -> _Finished:
    """Plays new games [K] to their end.

    guided: how each game follows another one, and that one's answers [K, Q].
    """
    guides, told = guided
    games = jnp.arange(len(index))

    def running(carry: tuple) -> jax.Array:
        return ~jnp.all(game.done(carry[0]))

    def move(carry: tuple) -> tuple:
        state, guides, answers, key, count = carry
        key, search_key, follow_key = jax.random.split(key, 3)
        legal = game.legal_actions(state)
        model, play = tree_model(config, game, state, scale)
        result = search(
            agent.params,
            observe(game, state),
            legal,
            search_key,
            config=config,
            spec=game.spec,
            model=model,
            typical_advantage=agent.typical_advantage,
            noise=noise,
        )
        asked = ask(game, state, legal, guides)
        number = asked.question.number
        guides, action, _ = follow(
            game.spec,
            guides,
            asked,
            told[games, number],
            result.action,
            follow_key,
            games,
        )
        answered = jnp.where(game.done(state), answers[games, number], action)
        answers = answers.at[games, number].set(answered)
        return play(action)[0], guides, answers, key, count + 1

    answers = jnp.full(told.shape, -1, jnp.int32)
    start = (game.init(index), guides, answers, key, jnp.int32(0))
    state, _, answers, _, count = jax.lax.while_loop(running, move, start)
    return _Finished(game.score(state), game.estimate(state), game.history(state), answers, count)
