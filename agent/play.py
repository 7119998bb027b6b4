"""Playing with a trained agent: many games of one program at once, the best one counts.

The first game takes the best action everywhere, the others sample as in self-play, with noise that
grows from game to game.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from agent.checkpoint import Agent
from agent.config import Config
from agent.search import Simulator, observe, search
from agent.units import Units


@dataclasses.dataclass(frozen=True)
class Played:
    """The outcome for one program.

    actions: the best game's moves on its final branch, int8 [n].
    saved: what it saves; greedy: what the noiseless game saves; every: what each game saves [K].
    backups: Drop-backups of the best game; moves and seconds: of all games together.
    """

    actions: np.ndarray
    saved: float
    greedy: float
    every: np.ndarray
    backups: int
    moves: int
    seconds: float


def play(
    game: Any,
    agent: Agent,
    config: Config,
    program: int,
    key: jax.Array,
    *,
    games: int = 32,
    noise: float = 1.0,
) -> Played:
    """Plays `games` games of program number `program` and returns the best; the key is consumed."""
    started = time.perf_counter()
    index = jnp.full(games, program, jnp.int32)
    noises = noise * jnp.linspace(0.0, 1.0, games)
    state, moves = _finish(config, game, agent, index, noises, key)
    saved = np.asarray(game.saved_fraction(state))
    best = int(np.argmax(saved))
    length = int(game.decision_index(state)[best])
    return Played(
        actions=np.asarray(game.action_log(state)[best][:length]),
        saved=float(saved[best]),
        greedy=float(saved[0]),
        every=saved,
        backups=int(np.asarray(game.backups(state))[best]),
        moves=int(moves) * games,
        seconds=time.perf_counter() - started,
    )


@functools.partial(jax.jit, static_argnums=0)
def _finish(
    config: Config, game: Any, agent: Agent, index: jax.Array, noise: jax.Array, key: jax.Array
) -> tuple[Any, jax.Array]:
    """Plays new games [K] to their end; returns their states and the number of steps."""
    # A program that was not trained on has no units of its own.
    programs = jnp.ones(game.num_programs)
    units = Units(agent.units.share.mean() * programs, agent.units.scale.mean() * programs)

    def running(carry: tuple) -> jax.Array:
        return ~jnp.all(game.done(carry[0]))

    def move(carry: tuple) -> tuple:
        state, key, count = carry
        key, search_key = jax.random.split(key)
        result = search(
            agent.params,
            observe(game, state),
            game.legal_actions(state),
            search_key,
            config=config,
            typical_advantage=agent.typical_advantage,
            simulator=Simulator(game, state, units),
            noise=noise,
        )
        return game.step(state, result.action)[0], key, count + 1

    state, _, count = jax.lax.while_loop(running, move, (game.init(index), key, jnp.int32(0)))
    return state, count
