"""Schedules, priorities, balance, reanalyse: each against a plain account, then all together."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agent.config import ReanalyseConfig, ReplayConfig
from agent.config.schedule import ScheduleConfig, exploration
from agent.learning.learner import make_iteration
from agent.learning.loss import Batch
from agent.learning.reanalyse import reanalyse
from agent.learning.state import make_optimiser
from agent.learning.targets import Targets
from agent.learning.weighting import LEAST_ERROR, cell_weights
from agent.networks import ValueScale
from agent.run.loop import train
from agent.search import learned_model, search
from gamekit.errors import InputError
from gamekit.probe import DOMAIN, delayed, together, trap
from tests.support.agent_setup import (
    PROBE,
    disturbed,
    greedy,
    learn,
    make_moves,
    one_device,
    small_config,
    without_clock,
)

EVERYTHING: dict[str, Any] = {
    "reanalyse": {"every": 4, "value_weight": 0.5, "target_rate": 0.1},
    "replay": {"priority": 0.6},
    "schedule": {"iterations": 20, "noise": 0.5, "guided": 2.0, "learning_rate": 0.5},
    "rollout": {"guided_fraction": 0.25},
}


def test_schedules_go_linearly_to_their_ends_and_stay():
    schedule = ScheduleConfig(iterations=10, noise=0.5, guided=3.0, taught=0.2, learning_rate=0.1)
    found = [exploration(schedule, 0.4, jnp.int32(i), 0.5) for i in (0, 5, 10, 99)]
    expected = [(1.0, 0.4, 0.5), (0.75, 0.8, 0.3), (0.5, 1.0, 0.1), (0.5, 1.0, 0.1)]
    np.testing.assert_allclose(np.array(found), expected, rtol=1e-6)
    constant = exploration(ScheduleConfig(), 0.4, jnp.int32(7))
    assert (float(constant.noise), float(constant.guided)) == (1.0, pytest.approx(0.4))
    assert float(constant.taught) == 0.0


def test_the_learning_rate_warms_up_and_falls_by_the_iteration():
    config = small_config(
        schedule={"iterations": 4, "learning_rate": 0.5},
        learner={"updates": 10, "warmup": 5, "learning_rate": 1e-2, "weight_decay": 0.0},
    )
    optimiser = make_optimiser(config)
    params = jnp.zeros(())
    state = optimiser.init(params)
    sizes = []
    for _ in range(60):
        # Adam's step for a constant gradient is the rate itself.
        change, state = optimiser.update(jnp.ones(()), state, params)
        sizes.append(-float(change))
    expected = [1e-2 * min(n / 5, 1) * (1 - 0.5 * min(n / 40, 1)) for n in range(60)]
    np.testing.assert_allclose(sizes, expected, rtol=1e-4, atol=1e-8)


def cells(shape: tuple[int, int], instance: np.ndarray, value: np.ndarray, target: np.ndarray):
    """Moves and targets [T, B] of two devices with one game each."""
    steps = np.zeros(shape)
    moves = make_moves(steps, steps, steps, steps, value)
    moves = dataclasses.replace(moves, instance=jnp.asarray(instance))
    return moves, Targets(jnp.asarray(target), jnp.ones(shape, bool))


def weigh(config: ReplayConfig, instance, value, target, usable, spread) -> tuple:
    """The weights of two devices, [2, T, 1] each."""

    def one(instance, value, target, usable):
        moves, targets = cells(usable.shape, instance, value, target)
        targets = dataclasses.replace(targets, usable=usable)
        return cell_weights(config, moves, targets, ValueScale(jnp.zeros(2), spread), "games")

    weights = jax.vmap(one, axis_name="games")(instance, value, target, usable)
    return np.asarray(weights[0]), np.asarray(weights[1])


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_short_instances_are_sampled_as_often_as_long_ones(balance):
    # 30 cells of instance 0 and 6 of instance 1 over both devices, some of which do not count.
    instance = jnp.asarray(np.r_[[0] * 16, [1] * 4, [0] * 16, [1] * 4].reshape(2, 20, 1))
    usable = jnp.ones((2, 20, 1), bool).at[:, 0].set(False).at[:, -1].set(False)
    zeros = jnp.zeros((2, 20, 1))
    weights, importance = weigh(
        ReplayConfig(balance=balance), instance, zeros, zeros, usable, jnp.ones(2)
    )
    totals = [weights[np.asarray(instance) == p].sum() for p in (0, 1)]
    expected = np.array([30.0, 6.0]) ** (1 - balance)
    np.testing.assert_allclose(totals, expected / expected.sum(), rtol=1e-5)
    assert (weights[~np.asarray(usable)] == 0).all()
    assert (importance == 1).all()


def test_priorities_follow_the_error_and_their_bias_is_taken_back():
    rng = np.random.default_rng(0)
    shape = (2, 30, 1)
    value, target = rng.normal(size=shape), rng.normal(size=shape)
    instance = rng.integers(0, 2, shape)
    usable = rng.random(shape) < 0.7
    spread = np.array([1.0, 4.0])
    config = ReplayConfig(balance=0.0, priority=0.6, correction=1.0)
    arrays = [jnp.asarray(x) for x in (instance, value, target, usable, spread)]
    weights, importance = weigh(config, *arrays)
    error = np.abs(value - target) / spread[instance]
    expected = (error + LEAST_ERROR) ** 0.6 * usable
    # Rounded by up to a sixteenth of an octave.
    ratio = weights[usable] / weights.sum() / (expected[usable] / expected.sum())
    assert abs(np.log2(ratio)).max() < 1 / 8 and (weights[~usable] == 0).all()
    weights = weights / weights.sum()
    # With the whole correction every mean over samples is that of uniform sampling.
    mean = (weights * importance * error).sum()
    assert mean == pytest.approx(error[usable].mean(), rel=1e-4)
    half = dataclasses.replace(config, correction=0.5)
    weights, importance = weigh(half, *arrays)
    weights = weights / weights.sum()
    assert (weights * importance).sum() == pytest.approx(1.0, rel=1e-4)
    assert (weights * importance * error).sum() > mean + 0.01


def test_reanalyse_searches_every_second_sample_anew():
    config = small_config(reanalyse={"every": 2, "value_weight": 0.25})
    spec = together(delayed(6)).spec
    params = disturbed(config, spec)
    rng = np.random.default_rng(0)
    shape = (8, 4)
    zeros = np.zeros(shape)
    moves = dataclasses.replace(
        make_moves(zeros, zeros, zeros, zeros, zeros),
        observation=jnp.asarray(rng.random((*shape, spec.observation.size)), jnp.float16),
        legal=jnp.asarray(rng.random((*shape, 3)) < 0.5).at[..., 2].set(True),
        instance=jnp.asarray(rng.integers(0, 2, shape)),
        policy=jnp.full((*shape, 3), 1 / 3),
        headroom=jnp.asarray(rng.random(shape), jnp.float32),
    )
    baseline, spread = np.array([0.3, 0.7]), np.array([2.0, 0.5])
    scale, typical = ValueScale(jnp.asarray(baseline), jnp.asarray(spread)), jnp.float32(0.1)
    value = jnp.asarray(rng.random(shape), jnp.float32)
    batch = Batch(moves, value, jnp.ones(shape, bool), jnp.ones(8))
    key = jax.random.key(5)

    @jax.jit
    def run(batch: Batch, first: int) -> Batch:
        return reanalyse(config, spec, params, scale, typical, batch, key, first)

    whole = run(batch, 0)
    np.testing.assert_array_equal(whole.value[1::2], value[1::2])
    policy = whole.moves.policy
    np.testing.assert_array_equal(policy[1::2], moves.policy[1::2])
    look = jax.jit(
        functools.partial(search, config=config, spec=spec, model=learned_model(config, spec))
    )
    found = look(
        params,
        moves.observation[::2].reshape(16, -1).astype(jnp.float32),
        moves.legal[::2].reshape(16, -1),
        key,
        typical_advantage=typical,
    )
    np.testing.assert_allclose(policy[::2].reshape(16, 3), found.policy, rtol=1e-5)
    assert float(jnp.max(jnp.abs(policy[::2] - 1 / 3))) > 0.05
    instance = np.asarray(moves.instance)[::2]
    returns = np.asarray(found.value).reshape(4, 4) * spread[instance]
    returns += baseline[instance] * np.asarray(moves.headroom)[::2]
    expected = 0.75 * np.asarray(value)[::2] + 0.25 * returns
    np.testing.assert_allclose(whole.value[::2], expected, rtol=1e-4)
    # A device that has the second half of the samples makes the same of them.
    half = jax.tree.map(lambda x: x[4:], batch)
    part = run(half, 4)
    np.testing.assert_allclose(part.moves.policy, policy[4:], rtol=1e-4)
    np.testing.assert_allclose(part.value, whole.value[4:], rtol=1e-4)


def test_the_target_network_follows_slowly():
    game = together(delayed(5))
    config = small_config(reanalyse={"every": 4, "target_rate": 0.0})
    iteration = make_iteration(config, game, one_device())
    state = iteration.init(game, jax.random.key_data(jax.random.key(0)))
    first = jax.tree.map(np.asarray, state.params)
    for _ in range(2):
        state, _ = iteration.play(game, state)
        state, metrics = iteration.learn(game, state)
    assert np.isfinite(float(metrics["loss"]))
    same = [
        (np.array_equal(a, b), np.array_equal(a, c))
        for a, b, c in zip(*map(jax.tree.leaves, (first, state.target, state.params)), strict=True)
    ]
    assert all(target for target, _ in same) and not all(params for _, params in same)


@pytest.mark.slow
def test_everything_together_learns_and_heeds_the_trap():
    game = together(trap())
    config = small_config(
        **{**EVERYTHING, "rollout": {"moves": 12, "guided_fraction": 0.25}},
    )
    config = dataclasses.replace(config, replay=dataclasses.replace(config.replay, moves=96))
    state, lines = learn(game, config, 30)
    assert lines[0]["undone_share"] > 0.02
    assert greedy(game, config, state) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.slow
def test_a_continued_run_repeats_the_whole_one(tmp_path):
    game = together(delayed(5))
    rows = {}
    for name, stops in (("whole", (6,)), ("parts", (2, 5, 6))):
        for iterations in stops:
            config = small_config(
                **EVERYTHING, train={"iterations": iterations, "checkpoint_every": 2}
            )
            train(config, DOMAIN, game, tmp_path / name, one_device(), PROBE)
        text = (tmp_path / name / "metrics.jsonl").read_text()
        rows[name] = without_clock([json.loads(line) for line in text.splitlines()])
    assert len(rows["whole"]) == 6
    assert rows["whole"] == rows["parts"]


def test_a_reanalysed_share_needs_a_learned_model():
    with pytest.raises(Exception, match=r"reanalyse\.every: must be 0 for search\.model = 'game'"):
        small_config(reanalyse={"every": 4}, search={"model": "game"})
    with pytest.raises(ValueError, match=r"value_weight: must be in \[0, 1\], got 2"):
        ReanalyseConfig(value_weight=2)
    with pytest.raises(InputError, match=r"reanalyse\.every must divide .*, 128, got 7"):
        make_iteration(small_config(reanalyse={"every": 7}), together(delayed(5)), one_device())
