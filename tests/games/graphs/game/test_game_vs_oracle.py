"""The JAX game and the oracle play the same games."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.graphs.game.environment import GraphGame, build_game
from games.graphs.game.options import GraphsConfig
from games.graphs.oracle.game import Oracle, by_rules
from games.graphs.problem import Problem
from games.graphs.synthetic.random_problems import random_problem

CONFIG = GraphsConfig(largest_group=6)


def problems(count: int, first_seed: int = 0) -> list[Problem]:
    """Small ones, with native tiles of 4 x 4, without squares of a tensor."""
    found: list[Problem] = []
    for seed in itertools.count(first_seed):
        problem = random_problem(np.random.default_rng(seed), 8, (2, 4, 8), 4, 2)
        matmuls = [problem.inputs[op] for op in range(problem.num_ops) if problem.is_matmul(op)]
        if all(left != right for left, right in matmuls):
            found.append(problem)
        if len(found) == count:
            return found
    raise AssertionError


def recorded(game: GraphGame, rng: np.random.Generator, last: float) -> list[dict[str, np.ndarray]]:
    """A game by chance of every problem, played together: what was seen before every move.

    last: how often the last answer is tried; 1 is as often as others.
    """

    def look(state: Any) -> dict[str, jax.Array]:
        return {
            "legal": game.legal_actions(state),
            "score": game.score(state),
            "headroom": game.headroom(state),
            "done": game.done(state),
        }

    @jax.jit
    def step(state: Any, action: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        state, _ = game.step(state, action)
        return state, look(state)

    state = jax.jit(game.init)(jnp.arange(game.spec.num_instances))
    seen = [jax.tree.map(np.asarray, jax.jit(look)(state))]
    while not seen[-1]["done"].all():
        # Most groups grow before they are closed.
        dice = rng.random(seen[-1]["legal"].shape) * np.array([0.8, 1, 1, 1, 1, 1, 1, last])
        action = np.argmax(np.where(seen[-1]["legal"], dice, -1), -1)
        seen[-1]["action"] = action
        state, after = step(state, jnp.asarray(action, jnp.int32))
        seen.append(jax.tree.map(np.asarray, after))
    return seen


def check(made: list[Problem], seed: int, last: float = 1.0) -> dict[str, int]:
    """Compares every question of every game; counts what was played."""
    seen = recorded(build_game(made, CONFIG), np.random.default_rng(seed), last)
    counts = dict.fromkeys(
        ("questions", "retained", "repeated", "grouped", "pages", "at_once", "late"), 0
    )
    for number, problem in enumerate(made):
        oracle = Oracle(problem, CONFIG, by_rules(problem))
        for row in seen:
            where = f"problem {number}, move {oracle.length}"
            assert oracle.legal == row["legal"][number].tolist(), where
            for name in ("score", "headroom"):
                expected = pytest.approx(getattr(oracle, name), abs=2e-5)
                assert row[name][number] == expected, (where, name)
            assert oracle.done == row["done"][number], where
            counts["questions"] += 1
            if oracle.done:
                break
            before = len(oracle.group)
            oracle.step(int(row["action"][number]))
            counts["pages"] += oracle.page > 0
            many = len([op for op in oracle.waiting if not oracle.group]) > 2 * len(oracle.answers)
            counts["late"] += many and oracle.length >= 2 * problem.num_ops + 4
            counts["at_once"] += before > 0 and len(oracle.group) > before + 2
        assert oracle.done
        counts["retained"] += sum(len(group.retain) for group in oracle.closed)
        counts["grouped"] += sum(len(group.ops) > 1 for group in oracle.closed)
        counts["repeated"] += sum(len(g.ops) for g in oracle.closed) > problem.num_ops
    return counts


def test_game_and_oracle_agree():
    counts = check(problems(40), seed=0)
    assert counts["questions"] > 250 and counts["retained"] > 5
    assert counts["grouped"] > 30 and counts["repeated"] > 3


def tree(leaves: int, capacity: int, adds_up: bool = True) -> Problem:
    """MatMuls, every other one of a left input of its own, whose outputs are added up in pairs."""
    side = 4
    inputs: list[tuple[int, ...]] = []
    tensors, made = 1, []
    for leaf in range(leaves):
        left = 0 if leaf % 2 else tensors
        tensors += left > 0
        inputs.append((left, tensors))
        made.append(tensors + 1)
        tensors += 2
    level, outputs = made, list(made)
    while adds_up and len(level) > 1:
        pairs = [tuple(level[i : i + 2]) for i in range(0, len(level) - 1, 2)]
        inputs += pairs
        sums = list(range(tensors, tensors + len(pairs)))
        tensors += len(pairs)
        outputs += sums
        level = sums + level[2 * len(pairs) :]
    adds = len(inputs) - leaves
    return Problem(
        "tree", (side,) * tensors, (side,) * tensors, tuple(inputs), tuple(outputs),
        (8.0,) * leaves + (2.0,) * adds, ("MatMul",) * leaves + ("Pointwise",) * adds,
        capacity, 1.0, (side, side),
    )  # fmt: skip


def test_they_agree_where_there_are_many_candidates():
    counts = check([tree(12, 10_000), tree(16, 200), tree(9, 10_000)], seed=2, last=3.0)
    assert counts["pages"] > 10 and counts["at_once"] > 2


def test_they_agree_when_the_moves_for_larger_groups_are_used_up():
    """Games that turn every page, and then have more candidates than there are answers."""
    counts = check([tree(60, 200, adds_up=False)], seed=3, last=50.0)
    assert counts["late"] > 10


@pytest.mark.slow
def test_game_and_oracle_agree_on_two_thousand_problems():
    counts = check(problems(2000, first_seed=10_000), seed=1)
    assert counts["questions"] > 12_000 and counts["retained"] > 400
    assert counts["grouped"] > 1000 and counts["repeated"] > 50
