"""The agent solves little programs of the real game, each of which asks for one insight."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from agent.learning.learner import make_iteration
from agent.run.play import play
from mallocgame.game.environment import Game, build_game
from tests.support.agent_setup import one_device, small_config
from tests.support.probe_programs import PAPER, PROBES, every_game

MOVES = 12


@pytest.fixture(scope="module")
def every() -> tuple[Game, np.ndarray]:
    """The probes as one game, and what all its games save."""
    game = build_game([make() for make in PROBES], PAPER)
    return game, every_game(game, MOVES)


@pytest.mark.parametrize("probe", range(len(PROBES)), ids=lambda n: PROBES[n].__name__)
def test_the_optimum_is_neither_yes_nor_no_to_everything(every, probe):
    _, saved = every
    best = saved[probe].max()
    assert saved[probe, 0] == 0.0  # all DROP
    assert saved[probe, -1] < best - 0.01
    # Chance finds it in one game of eight at most.
    assert (saved[probe] > best - 1e-6).mean() <= 1 / 8


@pytest.mark.slow
def test_the_probes_are_solved(every):
    _, saved = every
    game = build_game([make() for make in PROBES], PAPER)
    config = small_config(
        rollout={"games": 64, "moves": 16, "guided_fraction": 0.5},
        replay={"moves": 320},
        targets={"td_lambda": 1.0},
        search={"advantage_logits": 2.0},
        learner={"unroll": 3},
    )
    iteration = make_iteration(config, game, one_device())
    state = iteration.init(game, jax.random.key_data(jax.random.key(config.seed)))
    for _ in range(240):
        state, _ = iteration.play(game, state)
        state, _ = iteration.learn(game, state)
    for number, make in enumerate(PROBES):
        played = play(game, state.agent, config, number, jax.random.key(0), games=4)
        assert played.greedy == pytest.approx(saved[number].max(), abs=1e-6), make.__name__
