"""The agent learns small games with known values to those values."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agent.networks import Model, decode_value
from gamekit.probe import FIRST, delayed, legality, tiny_advantages, together, trap
from tests.support.agent_setup import greedy, learn, small_config

MUZERO: dict[str, Any] = {}
ONE_PLY = {
    "search": {"model": "game", "simulations": 2, "max_depth": 1},
    "learner": {"unroll": 0, "batch_size": 256},
}


@pytest.mark.parametrize("sections", [MUZERO, ONE_PLY], ids=["muzero", "one_ply"])
def test_three_instances_are_learned_to_their_values(sections: dict[str, Any]):
    game = together(delayed(seed=0), legality(), delayed(seed=1))
    rollout = {"games": 48, "guided_fraction": 0.5}
    config = small_config(targets={"td_lambda": 1.0}, rollout=rollout, **sections)
    state, lines = learn(game, config, 60)
    assert np.isfinite(lines[-1]["loss"])
    assert np.isfinite(lines[-1]["reward_error"]) == (config.learner.unroll > 0)
    assert lines[0]["return_mean"] == pytest.approx(0.12, abs=0.02)  # the score of random moves

    @jax.jit
    def expected(instance: jax.Array) -> jax.Array:
        start = game.init(instance)
        model = Model(config.network, game.spec, state.params)
        value = decode_value(model.predict(model.represent(game.observe(start))).value_logits)
        return state.scale.to_return(value, instance, game.headroom(start))

    assert expected(jnp.arange(3)).tolist() == pytest.approx(3 * [0.22], abs=0.04)
    for number in range(3):
        assert greedy(game, config, state, number) >= 0.2 - 1e-6  # of 0.24
    # The tempting action of the second one is never legal.
    moves = state.replay.moves
    assert not bool(jnp.any((moves.instance == 1) & (moves.action == FIRST)))


def test_a_trap_is_not_paid_for():
    game = together(trap())
    config = small_config(rollout={"moves": 12}, replay={"moves": 96})
    state, lines = learn(game, config, 30)
    assert lines[0]["undone_share"] > 0.02
    # Springing the trap ends in the same return as avoiding it, and never in what it refunds.
    assert float(state.best.score[0]) == pytest.approx(0.5, abs=1e-6)
    assert greedy(game, config, state) == pytest.approx(0.5, abs=1e-6)
    assert np.isfinite(lines[-1]["loss"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sections", "iterations", "enough"),
    [
        ({}, 120, 0.13),
        ({"search": {"model": "game", "simulations": 2, "max_depth": 1}, "learner": {"unroll": 0}},
         60, 0.13),
    ],
    ids=["muzero", "one_ply"],
)  # fmt: skip
def test_tiny_advantages(sections: dict[str, Any], iterations: int, enough: float):
    game = together(tiny_advantages())
    base: dict[str, Any] = {
        "rollout": {"games": 32, "moves": 100, "guided_fraction": 0.3},
        "replay": {"moves": 800},
        "learner": {"batch_size": 256, "updates": 32},
        "targets": {"td_lambda": 1.0},
        "search": {"advantage_logits": 2.0},
    }
    for name, section in sections.items():
        base[name] = base[name] | section
    config = small_config(**base)
    state, lines = learn(game, config, iterations)
    assert lines[0]["return_mean"] == pytest.approx(0.1, abs=0.005)
    assert greedy(game, config, state) > enough  # of 0.15
