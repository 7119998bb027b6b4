"""Playing with a trained agent: many games of one instance at once, the best one counts.

The first game takes the best action everywhere.  Of the others of the first round up to half follow
the instance's openings, answers that its domain works out without search; the rest sample as in
self-play, with noise that grows from game to game.  As long as there is time more rounds follow,
most of whose games are guided by the best game so far (`agent.selfplay.guidance`).  With time for
rounds nothing is searched: the network's policy plays several times as many games instead, and on
programs that were not trained on these find more (docs/results/unseen_programs.md).
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Sequence

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
from gamekit.checked import checked
from gamekit.environment import Environment, GuidingEnvironment, State

# Of the games of a later round those that are guided, and of these those that come back.
GUIDED, DEVIATING = 0.75, 0.75


@dataclasses.dataclass(frozen=True)
class Played:
    """The outcome for one instance.

    moves: int32 [n], the best game's on its final branch; backtracks: of that game.
    score: the best game's; greedy: the noiseless game's; every: each game's, round after round
        [K * rounds].
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
) -> Played:
    """Plays `games` games of an instance, by its number, and returns the best; the key is consumed.

    seconds: while they last, rounds of as many games follow, without search; with 0 there is one
        round, which searches as configured. One game then is the greedy policy.
    openings: int8 [Q] each, answers by the number of the question, as `Domain.openings`.
    """
    started = time.perf_counter()
    game = checked(environment)
    index = jnp.full(games, instance, jnp.int32)
    scale = _mean_scale(game, agent)
    headroom = float(game.headroom(game.init(index[:1]))[0])
    unasked = np.full(game.spec.num_questions, -1, np.int32)
    best = _BestGame(np.zeros(0, np.int32), unasked, -np.inf, 0)
    guides, noises, told = _openings(game, openings[: games // 2], games)
    rng = np.random.default_rng(0)
    every: list[np.ndarray] = []
    total_moves, took = 0, 0.0
    if seconds:
        search_nothing = dataclasses.replace(config.search, simulations=0)
        config = dataclasses.replace(config, search=search_nothing)
    while not every or seconds - (time.perf_counter() - started) > took:
        began = time.perf_counter()
        key, round_key, guides_key = jax.random.split(key, 3)
        guided = guides, jnp.broadcast_to(jnp.asarray(told), (games, told.shape[-1]))
        noise_now = jnp.asarray(noise * noises, jnp.float32)
        state, answers, count = _finish(
            config, game, agent, scale, index, noise_now, guided, round_key
        )
        score = np.asarray(game.score(state))
        total_moves += int(count) * games
        every.append(score)
        if score.max() > best.score:
            best = _best_of(game, state, answers, score)
            # What these games attain tells more of an unknown instance than others do.
            share = jnp.clip(best.score / max(headroom, 1e-9), 0.0, 1.0)
            scale = dataclasses.replace(scale, baseline=jnp.full_like(scale.baseline, share))
        # The first round may have had to compile, which says little about the next one.
        if len(every) > 1:
            took = time.perf_counter() - began
        guides, told = _guides(game, guides_key, best, games), best.answers
        noises = rng.random(games)
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


def _guides(game: GuidingEnvironment[State], key: jax.Array, best: _BestGame, games: int) -> Guides:
    """Guides of a later round's games; the key is consumed."""
    length = jnp.full(games, len(best.moves))
    declined = declined_arrivals(game, jnp.asarray(best.answers))
    declined = jnp.broadcast_to(declined, (games, len(declined)))
    return draw_guides(
        key, jnp.arange(games), length, declined, GUIDED, DEVIATING, game.spec.has_topics
    )


def _best_of(
    game: GuidingEnvironment[State], state: State, answers: jax.Array, score: np.ndarray
) -> _BestGame:
    best = int(np.argmax(score))
    history = game.history(state)
    moves = np.asarray(history.moves[best, : int(history.length[best])])
    backtracks = int(history.backtracks[best])
    return _BestGame(moves, np.asarray(answers[best]), float(score[best]), backtracks)


def _mean_scale(game: GuidingEnvironment[State], agent: Agent) -> ValueScale:
    """An instance that was not trained on has no scale of its own."""
    ones = jnp.ones(game.spec.num_instances)
    return ValueScale(agent.scale.baseline.mean() * ones, agent.scale.spread.mean() * ones)


@functools.partial(jax.jit, static_argnums=0)
def _finish(
    config: Config,
    game: GuidingEnvironment[State],
    agent: Agent,
    scale: ValueScale,
    index: jax.Array,
    noise: jax.Array,
    guided: tuple[Guides, jax.Array],
    key: jax.Array,
) -> tuple[State, jax.Array, jax.Array]:
    """Plays new games [K] to their end; returns their states, their answers by the number of the
    question [K, Q] (-1 without), and the number of steps.

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
    return state, answers, count
