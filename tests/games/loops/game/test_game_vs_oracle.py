"""The jitted game against the oracle in plain Python, move for move, and both against the judge."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamekit.conformance import check_domain, check_environment
from gamekit.errors import InputError
from games.loops.domain import DOMAIN
from games.loops.game.environment import Game
from games.loops.game.options import ACTION_NAMES, FIRST_SPLIT, STOP, LoopsConfig
from games.loops.oracle.oracle import Game as Oracle
from games.loops.oracle.oracle import legal
from games.loops.program.cost import least_seconds, seconds
from tests.support.loops import KINDS, MM, played

OPTIONS = LoopsConfig(moves=14)


@jax.jit
def _move(game: Game, state, action):
    after, step = game.step(state, action)
    seen = game.legal_actions(after), game.score(after), game.done(after), game.headroom(after)
    return after, step.reward, seen, game.observe(after)


@pytest.fixture(scope="module")
def instances():
    return DOMAIN.instances([*KINDS, "mixed", "mm64_256_16/test/0-14"])


def test_the_game_plays_as_the_oracle(instances):
    games = 4 * len(instances)
    game = DOMAIN.build(instances, OPTIONS)
    which = np.arange(games) % len(instances)
    oracles = [Oracle(instances[i].content, seconds, OPTIONS.moves) for i in which]
    rng = np.random.default_rng(0)
    state = game.init(jnp.asarray(which, jnp.int32))
    mask, paid = np.asarray(game.legal_actions(state)), np.zeros(games)
    used = np.zeros(len(ACTION_NAMES), int)
    for _ in range(OPTIONS.moves):
        assert (mask == [oracle.legal() for oracle in oracles]).all()
        dice = np.where(mask, rng.random(mask.shape), -1.0)
        dice[:, STOP] *= 0.2
        action = np.argmax(dice, axis=-1)
        running = np.array([not oracle.done for oracle in oracles])
        used += np.bincount(action[running], minlength=len(ACTION_NAMES))
        for oracle, one in zip(oracles, action, strict=True):
            oracle.play(int(one))
        state, reward, seen, observed = _move(game, state, jnp.asarray(action, jnp.int32))
        mask, score, done, headroom = (np.asarray(x) for x in seen)
        paid += np.asarray(reward)
        assert (done == [oracle.done for oracle in oracles]).all()
        np.testing.assert_allclose(score, [oracle.score() for oracle in oracles], atol=2e-5)
        np.testing.assert_allclose(paid, score, atol=2e-5)
        left = [
            0
            if o.done
            else np.log2(seconds(o.computation, o.at.nest) / least_seconds(o.computation))
            for o in oracles
        ]
        np.testing.assert_allclose(headroom, left, atol=2e-5)
        assert np.isfinite(np.asarray(observed)).all()
    assert done.all() and (used > 0).all(), f"every action must come up: {used}"
    for number, index in enumerate(which):
        moves = np.asarray(state.log[: int(state.length[number]), number])
        solution = DOMAIN.solution(game, instances[index], int(index), moves).solution
        verdict = DOMAIN.judge(instances[index], solution)
        assert verdict.valid, verdict.why
        assert verdict.score == pytest.approx(float(score[number]), abs=2e-5)


def test_the_observation_says_what_each_move_would_gain(instances):
    game = DOMAIN.build(instances[:4], OPTIONS)
    state = game.init(jnp.arange(4, dtype=jnp.int32))
    at = game.spec.observation.slices["gains"]
    gains, mask = np.asarray(game.observe(state))[:, at], np.asarray(game.legal_actions(state))
    for action in range(FIRST_SPLIT, len(ACTION_NAMES)):
        actions = jnp.full(4, action, jnp.int32)
        reward = np.asarray(_move(game, state, actions)[1])
        np.testing.assert_allclose(
            gains[mask[:, action], action], reward[mask[:, action]], atol=1e-5
        )
    assert not gains[~mask].any()


def names(at) -> set[str]:
    return {n for n, can in zip(ACTION_NAMES, legal(MM, at), strict=True) if can}


def test_moves_of_a_handmade_nest():
    """m 6 (shared), k 5, n 16; n 16 around the write."""
    at = played(MM, "")
    assert names(at) == {"down", "swap_down", "split_2", "split_4", "unroll", "stop"}
    # The innermost loop has to have a size of 1 or of a multiple of 8: no swap of k and n.
    at = played(MM, "down")
    assert names(at) == {"up", "down", "swap_up", "split_2", "split_4", "unroll", "stop"}
    at = played(MM, "down down")
    assert names(at) == {"up", "down", "split_8", "split_16", "vectorize", "stop"}
    at = played(MM, "down down down")
    assert at.cursor == (1, 1)
    assert names(at) == {"up", "swap_up", *(f"split_{n}" for n in (2, 4, 8, 16)), "stop"}


def test_swaps_splits_and_merges():
    at = played(MM, "swap_down")  # m goes inside of k: the nests share nothing any more
    assert [x.variable for x in at.nest.compute] == ["k", "m", "n"]
    assert at.nest.shared == 0 and at.cursor == (0, 1) and len(at.nest.lines(MM)) == 5
    assert played(MM, "swap_down swap_up") == played(MM, "")
    at = played(MM, "split_2")  # a shared loop is split in both nests
    assert [x.place for x in at.nest.compute[:2]] == [("m", 2), ("m", 1)]
    assert at.nest.shared == 2 and at.nest.write[:2] == at.nest.compute[:2]
    assert "swap_down" not in names(at), "loops of one variable do not change places"
    assert played(MM, "split_2 down merge") == played(MM, "")
    at = played(MM, "unroll")
    assert at.nest.compute[0].unroll and played(MM, "unroll unroll") == played(MM, "")
    assert not any(x.unroll for x in played(MM, "unroll split_2").nest.compute)
    assert played(MM, "down down split_8").nest.extents(MM)[2:] == [16, 8]


def test_unrolled_loops_make_at_most_64_copies():
    at = played(MM, "unroll down unroll")
    assert sum(x.unroll for x in at.nest.compute) == 2
    big = DOMAIN.instances(["mm16_16_16"])[0].content
    at = played(big, "unroll down")
    assert not legal(big, at)[ACTION_NAMES.index("unroll")], "16 x 16 copies are too many"


@pytest.mark.slow
def test_the_environment_keeps_the_protocol():
    instances = DOMAIN.instances(["mm64_80_96", "conv2d16_16_32_8_3_3", "bmm4_64_48_32"])
    check_environment(DOMAIN.build(instances, OPTIONS))


@pytest.mark.slow
def test_the_judge_agrees_with_games_by_chance():
    check_domain(DOMAIN, DOMAIN.instances(["mm64_80_96", "conv1d8_16_4_3"]), LoopsConfig(moves=8))


@pytest.mark.parametrize("moves", [0, 65, True, 2.5, "3"])
def test_options_out_of_range(moves):
    with pytest.raises(InputError, match=r"moves: must be an integer in 1\.\.64"):
        LoopsConfig(moves)
