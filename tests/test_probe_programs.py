"""The agent solves little programs of the real game, each of which asks for one insight."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agent.learning.learner import make_iteration
from agent.run.play import play
from mallocgame.game.environment import Game, build_game
from mallocgame.game.state import COPY, NO_COPY
from tests.support.agent_setup import one_device, small_config
from tests.support.handmade import FREE
from tests.support.probe_programs import (
    PROBES,
    alias_trap,
    burst,
    every_game,
    evict_in_time,
    hold_or_drop,
)

MOVES = 10


@pytest.fixture(scope="module")
def every() -> tuple[Game, np.ndarray, np.ndarray]:
    """The probes as one game, and all its games: what they save, and their backups."""
    game = build_game([make() for make in PROBES], FREE)
    return game, *every_game(game, MOVES)


@pytest.mark.parametrize("probe", range(len(PROBES)), ids=lambda n: PROBES[n].__name__)
def test_the_optimum_is_neither_yes_nor_no_to_everything(every, probe):
    _, saved, _ = every
    best = saved[probe].max()
    assert saved[probe, 0] == 0.0  # all DROP
    assert saved[probe, -1] < best - 0.01
    # Chance finds it in one game of eight at most.
    assert (saved[probe] > best - 1e-6).mean() <= 1 / 8


def test_the_trap_is_one_that_only_a_backup_escapes(every):
    game, saved, backups = every
    trap = PROBES.index(alias_trap)
    assert (backups[[n for n in range(len(PROBES)) if n != trap]] == 0).all()
    sprung = backups[trap] > 0
    assert sprung.mean() > 0.1 and saved[trap][sprung].max() < saved[trap].max() - 0.1
    # The move that lets q in springs it: nothing is left to be played before the backup.
    state = game.init(jnp.array([trap]))
    for action in (COPY, NO_COPY):  # p at the loop's entry, q
        assert bool(game.legal_actions(state)[0, action])
        assert int(game.history(state).backtracks[0]) == 0
        state, _ = jax.jit(Game.step)(game, state, jnp.array([action]))
    assert int(game.history(state).backtracks[0]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "unroll", "probes", "iterations"),
    [
        ("learned", 3, (hold_or_drop, burst, evict_in_time), 240),
        # What a backup undoes is masked out of the targets, so that a learned model hears nothing
        # of the trap; a search in the game itself sees the refund.
        ("game", 0, (alias_trap,), 20),
    ],
)
def test_the_probes_are_solved(every, model, unroll, probes, iterations):
    _, saved, _ = every
    game = build_game([make() for make in probes], FREE)
    config = small_config(
        rollout={"games": 64, "moves": 16, "guided_fraction": 0.5},
        replay={"moves": 320},
        targets={"td_lambda": 1.0},
        search={"advantage_logits": 2.0, "model": model},
        learner={"unroll": unroll},
    )
    iteration = make_iteration(config, game, one_device())
    state = iteration.init(game, jax.random.key_data(jax.random.key(config.seed)))
    for _ in range(iterations):
        state, _ = iteration.play(game, state)
        state, _ = iteration.learn(game, state)
    for number, make in enumerate(probes):
        played = play(game, state.agent, config, number, jax.random.key(0), games=4)
        best = saved[PROBES.index(make)].max()
        assert played.greedy == pytest.approx(best, abs=1e-6), make.__name__
