"""Playing with a trained agent: many games of one program at once, the best one counts.

The first game takes the best action everywhere, the others of the first round sample as in
self-play, with noise that grows from game to game.  As long as there is time more rounds follow:
most of their games are guided by the best game so far (`agent.selfplay.guidance`); and when a round
brings nothing and time allows, the next one searches with more simulations.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from agent.config import Config, SearchConfig
from agent.networks.units import Units
from agent.run.checkpoint import Agent
from agent.search.search import Simulator, observe, search
from agent.selfplay.guidance import Guides, ask, declined_arrivals, draw_guides, follow, no_guides

# Of the games of a later round those that are guided, and of these those that come back.
GUIDED, DEVIATING = 0.75, 0.75
# Growth and limit of the simulations, and seconds that compiling a new search may take.
MORE, MOST, COMPILE_S = 4, 128, 20.0


@dataclasses.dataclass(frozen=True)
class Played:
    """The outcome for one program.

    actions: the best game's moves on its final branch, int8 [n].
    saved: what it saves; greedy: what the noiseless game saves; every: what each game saves, round
        after round [K * rounds].
    backups: Drop-backups of the best game; moves and seconds: of all games together.
    simulations: of the last round's searches.
    """

    actions: np.ndarray
    saved: float
    greedy: float
    every: np.ndarray
    backups: int
    moves: int
    seconds: float
    rounds: int
    simulations: int


def play(
    game: Any,
    agent: Agent,
    config: Config,
    program: int,
    key: jax.Array,
    *,
    games: int = 32,
    noise: float = 1.0,
    seconds: float = 0.0,
) -> Played:
    """Plays `games` games of program number `program` and returns the best; the key is consumed.

    seconds: while they last, more rounds of as many games follow; with 0 there is one round. One
        game without a budget is the greedy policy.
    """
    started = time.perf_counter()
    index = jnp.full(games, program, jnp.int32)
    units = _mean_units(game, agent)
    bound = float(game.remaining_bound(game.init(index[:1]))[0])
    none = np.full(game.num_questions, -1, np.int8)
    best = _Best(np.zeros(0, np.int8), none, -np.inf, 0)
    guides, noises = no_guides(games), np.linspace(0.0, 1.0, games)
    rng = np.random.default_rng(0)
    every: list[np.ndarray] = []
    moves, took, known = 0, 0.0, 0
    while not every or seconds - (time.perf_counter() - started) > took:
        began = time.perf_counter()
        key, round_key, guides_key = jax.random.split(key, 3)
        guided = guides, jnp.asarray(best.answers)
        noise_now = jnp.asarray(noise * noises, jnp.float32)
        state, answers, count = _finish(
            config, game, agent, units, index, noise_now, guided, round_key
        )
        saved = np.asarray(game.saved_fraction(state))
        moves += int(count) * games
        every.append(saved)
        improved = saved.max() > best.saved
        if improved:
            best = _best_of(game, state, answers, saved)
            # What these games attain tells more of an unknown program than others' programs do.
            share = jnp.clip(best.saved / max(bound, 1e-9), 0.0, 1.0)
            units = dataclasses.replace(units, share=jnp.full_like(units.share, share))
        # A round that had to compile says little about the next one.
        if known == config.search.simulations:
            took = time.perf_counter() - began
        known = config.search.simulations
        remaining = seconds - (time.perf_counter() - started)
        if not improved and 0 < known * MORE <= MOST and 2 * (MORE * took + COMPILE_S) < remaining:
            config = dataclasses.replace(config, search=_larger(config.search))
        length = jnp.full(games, len(best.actions))
        declined = declined_arrivals(game, jnp.asarray(best.answers))
        declined = jnp.broadcast_to(declined, (games, len(declined)))
        guides = draw_guides(guides_key, jnp.arange(games), length, declined, GUIDED, DEVIATING)
        noises = rng.random(games)
    return Played(
        actions=best.actions,
        saved=best.saved,
        greedy=float(every[0][0]),
        every=np.concatenate(every),
        backups=best.backups,
        moves=moves,
        seconds=time.perf_counter() - started,
        rounds=len(every),
        simulations=known,
    )


def _larger(search: SearchConfig) -> SearchConfig:
    """Deeper only with the game as model: the learned one is no good beyond what it was trained."""
    deeper = search.max_depth + (search.model == "game")
    return dataclasses.replace(search, simulations=search.simulations * MORE, max_depth=deeper)


@dataclasses.dataclass(frozen=True)
class _Best:
    """The best game so far: its moves, its answers by the number of the question (-1 without), what
    it saves, its Drop-backups."""

    actions: np.ndarray
    answers: np.ndarray
    saved: float
    backups: int


def _best_of(game: Any, state: Any, answers: jax.Array, saved: np.ndarray) -> _Best:
    best = int(np.argmax(saved))
    length = int(game.decision_index(state)[best])
    actions = np.asarray(game.action_log(state)[best][:length])
    backups = int(np.asarray(game.backups(state))[best])
    return _Best(actions, np.asarray(answers[best]), float(saved[best]), backups)


def _mean_units(game: Any, agent: Agent) -> Units:
    """A program that was not trained on has no units of its own."""
    programs = jnp.ones(game.num_programs)
    return Units(agent.units.share.mean() * programs, agent.units.scale.mean() * programs)


@functools.partial(jax.jit, static_argnums=0)
def _finish(
    config: Config,
    game: Any,
    agent: Agent,
    units: Units,
    index: jax.Array,
    noise: jax.Array,
    guided: tuple[Guides, jax.Array],
    key: jax.Array,
) -> tuple[Any, jax.Array, jax.Array]:
    """Plays new games [K] to their end; returns their states, their answers by the number of the
    question [K, Q] (-1 without), and the number of steps.

    guided: how each game follows the best one, and that one's answers [Q].
    """
    guides, best = guided
    games = jnp.arange(len(index))

    def running(carry: tuple) -> jax.Array:
        return ~jnp.all(game.done(carry[0]))

    def move(carry: tuple) -> tuple:
        state, guides, answers, key, count = carry
        key, search_key, follow_key = jax.random.split(key, 3)
        legal = game.legal_actions(state)
        result = search(
            agent.params,
            observe(game, state),
            legal,
            search_key,
            config=config,
            typical_advantage=agent.typical_advantage,
            simulator=Simulator(game, state, units),
            noise=noise,
        )
        asked = ask(game, state, index, legal, guides)
        told = best[asked.question]
        guides, action, _ = follow(guides, asked, told, result.action, follow_key, games)
        answered = answers[games, asked.question]
        answered = jnp.where(game.done(state), answered, action.astype(jnp.int8))
        answers = answers.at[games, asked.question].set(answered)
        return game.step(state, action)[0], guides, answers, key, count + 1

    answers = jnp.full((len(index), len(best)), -1, jnp.int8)
    start = (game.init(index), guides, answers, key, jnp.int32(0))
    state, _, answers, _, count = jax.lax.while_loop(running, move, start)
    return state, answers, count
