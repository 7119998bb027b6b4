"""Targets and replay against plain loops over lists."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agent.learning.replay import gather, init_replay, insert
from agent.learning.targets import compute_targets, replay_targets
from agent.selfplay.rollout import Moves
from tests.support.agent_setup import make_moves


def random_games(seed: int, steps: int, backups: bool) -> Moves:
    """One lane of games that end and back up at random."""
    rng = np.random.default_rng(seed)
    rows = []
    index, total = 0, 0.0
    for _ in range(steps):
        reward = float(rng.normal())
        undone_from = index + 1
        if backups and index > 0 and rng.random() < 0.25:
            undone_from = int(rng.integers(0, index + 1))
        done = rng.random() < 0.1
        total += reward
        rows.append((reward, done, index, undone_from, float(rng.normal()), total))
        # The first question undone is answered anew, which is a move of the new branch.
        after = undone_from if undone_from == index + 1 else undone_from + 1
        index, total = (0, 0.0) if done else (after, total)
    return make_moves(*[np.array(column)[:, None] for column in zip(*rows, strict=True)])


def plain_targets(moves: Moves, lam: float):
    """Each move's target from the definition, quadratic in the length."""
    reward, done, index, undone_from, value = (
        np.asarray(x)[:, 0]
        for x in (moves.reward, moves.done, moves.index, moves.undone_from, moves.value)
    )
    steps = len(reward)
    targets, usable = np.zeros(steps), np.zeros(steps, bool)
    for t in range(steps):
        ends = [u for u in range(t, steps) if done[u]]
        if not ends:
            continue
        end = ends[0]
        if any(index[t] >= undone_from[u] for u in range(t, end + 1)):
            continue
        usable[t] = True
        alive = [
            u
            for u in range(t, end + 1)
            if all(index[u] < undone_from[w] for w in range(u, end + 1))
        ]
        assert alive[0] == t
        stops = [*alive[1:], end + 1]
        total, weight, paid, at = 0.0, 1.0, 0.0, t
        for n, stop in enumerate(stops):
            paid += reward[at:stop].sum()
            at = stop
            if n == len(stops) - 1:
                total += weight * paid
            else:
                total += weight * (1 - lam) * (paid + value[stop])
                weight *= lam
        targets[t] = total
    return targets, usable


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("backups", [False, True])
def test_targets_equal_a_plain_loop(lam, backups):
    for seed in range(5):
        moves = random_games(seed, 80, backups)
        targets = compute_targets(moves, jnp.ones((80, 1), bool), lam)
        value, usable = plain_targets(moves, lam)
        np.testing.assert_array_equal(np.asarray(targets.usable)[:, 0], usable)
        assert usable.any() and (not backups or not usable.all())
        got = np.asarray(targets.value)[:, 0][usable]
        np.testing.assert_allclose(got, value[usable], rtol=1e-5, atol=1e-5)


def test_full_returns_telescope_across_a_backup():
    # Moves 1 and 2 are undone by the second move of index 2; the refund is the reward -0.5.
    moves = make_moves(
        reward=[[0.1], [0.3], [-0.3], [0.2], [0.4]],
        done=[[0], [0], [0], [0], [1]],
        index=[[0], [1], [2], [2], [3]],
        undone_from=[[1], [2], [1], [3], [4]],
        value=np.zeros((5, 1)),
        score=[[0], [0], [0], [0], [0.7]],
    )
    targets = compute_targets(moves, jnp.ones((5, 1), bool), 1.0)
    assert np.asarray(targets.usable)[:, 0].tolist() == [True, False, False, True, True]
    np.testing.assert_allclose(np.asarray(targets.value)[[0, 3, 4], 0], [0.7, 0.6, 0.4], rtol=1e-6)


def test_a_backup_in_the_last_move_masks_what_it_undid():
    moves = make_moves(
        reward=[[0.1], [0.1], [0.1]],
        done=[[0], [0], [1]],
        index=[[0], [1], [2]],
        undone_from=[[1], [2], [1]],
        value=np.zeros((3, 1)),
    )
    targets = compute_targets(moves, jnp.ones((3, 1), bool), 1.0)
    assert np.asarray(targets.usable)[:, 0].tolist() == [True, False, False]


def test_unfinished_and_unwritten_moves_are_not_used():
    moves = random_games(3, 40, backups=False)
    moves = moves.replace(done=moves.done.at[-5:].set(False))
    written = jnp.ones((40, 1), bool).at[:4].set(False)
    targets = compute_targets(moves, written, 1.0)
    assert not np.asarray(targets.usable)[:4].any()
    assert not np.asarray(targets.usable)[-5:].any()
    assert np.asarray(targets.usable).any()


def test_replay_wraps_around_and_keeps_the_newest():
    chunks = [random_games(seed, 20, backups=True) for seed in range(5)]
    replay = init_replay(chunks[0], 60)
    for chunk in chunks:
        replay = insert(replay, chunk)
    newest = jax.tree.map(lambda *x: jnp.concatenate(x), *chunks[2:])
    expected = compute_targets(newest, jnp.ones((60, 1), bool), 0.9)
    got = replay_targets(replay, 0.9)
    shift = int(replay.cursor)
    assert shift == 40
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.roll(np.asarray(a), -shift, axis=0), np.asarray(b), rtol=1e-6)
    window = gather(replay, jnp.array([58]), jnp.array([0]), 4)
    ring = np.asarray(replay.moves.reward)[:, 0]
    np.testing.assert_array_equal(np.asarray(window.reward)[0], ring[[58, 59, 0, 1]])


def test_a_random_move_counts_only_if_it_turned_out_well():
    # One game of four moves of reward 1; before the second the search expected 2, it brought 3 in
    # all; before the third it expected 5, which is more than the 2 that came.
    column = np.ones((4, 1))
    moves = make_moves(
        column,
        np.array([[0], [0], [0], [1]]),
        np.arange(4)[:, None],
        np.arange(1, 5)[:, None],
        np.array([[9.0], [2.0], [5.0], [9.0]]),
        branched=np.array([[0], [0], [1], [0]]),
    )
    found = compute_targets(moves, jnp.ones((4, 1), bool), 1.0)
    np.testing.assert_allclose(np.asarray(found.value)[:, 0], [7.0, 6.0, 5.0, 1.0])
    well = dataclasses.replace(moves, branched=jnp.array([[0], [1], [0], [0]], bool))
    found = compute_targets(well, jnp.ones((4, 1), bool), 1.0)
    np.testing.assert_allclose(np.asarray(found.value)[:, 0], [4.0, 3.0, 2.0, 1.0])
