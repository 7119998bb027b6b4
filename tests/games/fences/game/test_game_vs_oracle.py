"""The jitted game against the oracle in plain Python, move for move, and both against the judge."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamekit.conformance import check_domain, check_environment
from gamekit.domain import NoOptions
from games.fences.domain import DOMAIN
from games.fences.game.environment import Game
from games.fences.oracle.oracle import Oracle

MANY = 100


@jax.jit
def _begin(game: Game, instance):
    state = game.init(instance)
    return state, game.legal_actions(state), game.headroom(state)


@jax.jit
def _move(game: Game, state, action):
    after, step = game.step(state, action)
    seen = game.legal_actions(after), game.score(after), game.done(after), game.headroom(after)
    return after, step.reward, seen, game.observe(after)


@pytest.fixture(scope="module")
def instances():
    return DOMAIN.instances([f"generated/5-12/0-{MANY - 1}", "worked", "handmade"])


def test_the_game_plays_as_the_oracle(instances):
    game = DOMAIN.build(instances, NoOptions())
    oracles = [Oracle(instance.content) for instance in instances]
    rng = np.random.default_rng(0)
    state, *seen = _begin(game, jnp.arange(len(instances)))
    legal, headroom = map(np.asarray, seen)
    bounds = [1 - oracle.rest() / oracle.naive for oracle in oracles]
    np.testing.assert_allclose(headroom, bounds, atol=1e-5)
    paid, score, asked = np.zeros(len(instances)), np.zeros(len(instances)), 0
    while not all(oracle.done for oracle in oracles):
        assert (legal == [oracle.legal() for oracle in oracles]).all()
        action = np.argmax(np.where(legal, rng.random(legal.shape), -1.0), axis=-1)
        for oracle, one in zip(oracles, action, strict=True):
            oracle.play(int(one))
        state, reward, seen, observed = _move(game, state, jnp.asarray(action, jnp.int32))
        legal, score, done, headroom = (np.asarray(x) for x in seen)
        paid += np.asarray(reward)
        asked += sum(oracle.pending is not None for oracle in oracles)
        assert (done == [oracle.done for oracle in oracles]).all()
        np.testing.assert_allclose(score, [oracle.score() for oracle in oracles], atol=2e-5)
        np.testing.assert_allclose(paid, score, atol=2e-5)
        assert not headroom.any() and np.isfinite(np.asarray(observed)).all()
    assert asked > len(instances) / 8, "questions about fences must come up"
    lengths = np.asarray(state.length)
    for i, instance in enumerate(instances):
        moves = np.asarray(state.log[: lengths[i], i])
        verdict = DOMAIN.judge(instance, DOMAIN.solution(game, instance, i, moves).solution)
        assert verdict.valid, verdict.why
        assert verdict.score == pytest.approx(float(score[i]), abs=2e-5)
        assert verdict.figures["cost"] == pytest.approx(oracles[i].cost())


def test_the_optimum_can_be_played(instances):
    """Some moves make whatever schedule the exhaustive search finds: the oracle is led to it."""
    from games.fences.mappers.exhaustive import exhaustive

    for instance in instances:
        found = exhaustive(instance.content)
        oracle = Oracle(instance.content)
        for it in found.placements:
            _place(oracle, it.operation, it.device, it.fences_after)
        assert oracle.done and oracle.cost() == pytest.approx(found.cost)


def _place(oracle: Oracle, operation: int, device: int, fences: tuple[int, ...]) -> None:
    at = oracle.ready().index(operation)
    for _ in range(at // 3):
        oracle.play(6)
    oracle.play(2 * (at % 3) + device)
    while oracle.pending is not None:
        oracle.play(7 if (oracle.pending.point,) == fences else 6)
    assert oracle.placed[-1].behind == (fences[0] if fences else None)


@pytest.mark.slow
def test_the_environment_keeps_the_protocol():
    instances = DOMAIN.instances(["worked", "handmade/two_conditions", "generated/9/6"])
    check_environment(DOMAIN.build(instances, NoOptions()))


def test_the_judge_agrees_with_games_by_chance():
    instances = DOMAIN.instances(["worked", "handmade/two_conditions"])
    check_domain(DOMAIN, instances, NoOptions())


def test_a_program_that_costs_nothing_is_refused(tmp_path):
    from gamekit.errors import InputError

    path = tmp_path / "free.txt"
    path.write_text("x = input()\nweights instruction 0 time 0\n")
    with pytest.raises(InputError, match="free: its naive schedule costs nothing"):
        DOMAIN.instances([str(path)])
