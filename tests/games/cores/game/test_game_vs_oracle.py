"""The JAX game and the oracle play the same games."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.cores.game.environment import CoresGame, build_game
from games.cores.judge import judge
from games.cores.oracle.game import Oracle
from games.cores.problem import Problem
from games.cores.synthetic.random_problems import Size, random_problem


def recorded(game: CoresGame, rng: np.random.Generator) -> list[dict[str, np.ndarray]]:
    """A game by chance of every problem, played together: what was seen before every move."""

    def look(state: Any) -> dict[str, jax.Array]:
        return {
            "legal": game.legal_actions(state),
            "score": game.score(state),
            "headroom": game.headroom(state),
            "done": game.done(state),
            "stuck": state.stuck,
            "now": state.now,
        }

    @jax.jit
    def step(state: Any, action: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        state, _ = game.step(state, action)
        return state, look(state)

    state = jax.jit(game.init)(jnp.arange(game.spec.num_instances))
    seen = [jax.tree.map(np.asarray, jax.jit(look)(state))]
    while not seen[-1]["done"].all():
        # Some games hardly ever refuse, others often.
        eager = np.linspace(0.1, 1.3, game.spec.num_instances)[:, None]
        dice = rng.random(seen[-1]["legal"].shape) * np.append(eager, np.ones((len(eager), 7)), 1)
        action = np.argmax(np.where(seen[-1]["legal"], dice, -1), -1)
        seen[-1]["action"] = action
        state, after = step(state, jnp.asarray(action, jnp.int32))
        seen.append(jax.tree.map(np.asarray, after))
    return seen


def check(made: list[Problem], seed: int) -> dict[str, int]:
    """Compares every question of every game, and has its schedule judged; counts what was
    played."""
    seen = recorded(build_game(made), np.random.default_rng(seed))
    counts = {"questions": 0, "dropped": 0, "stuck": 0, "forced": 0}
    for number, problem in enumerate(made):
        oracle = Oracle(problem)
        for row in seen:
            where = f"problem {number}, {problem.name}, move {oracle.length}"
            assert oracle.done == row["done"][number], where
            assert oracle.stuck == row["stuck"][number], where
            assert oracle.now == row["now"][number], where
            assert oracle.legal == row["legal"][number].tolist(), where
            for name in ("score", "headroom"):
                expected = pytest.approx(getattr(oracle, name), abs=3e-5)
                assert row[name][number] == expected, (where, name)
            counts["questions"] += 1
            if oracle.done:
                break
            counts["dropped"] += oracle.pending is not None
            counts["forced"] += oracle.must
            oracle.step(int(row["action"][number]))
        assert oracle.done
        counts["stuck"] += oracle.stuck
        found = judge(problem, oracle.schedule())
        assert found.valid, (problem.name, found.violation)
        assert 1 - found.cost == pytest.approx(oracle.score, abs=1e-9)
    return counts


def test_game_and_oracle_agree():
    counts = check([random_problem(seed) for seed in range(40)], seed=0)
    assert counts["questions"] > 500, counts
    assert counts["dropped"] > 10 and counts["stuck"] > 0 and counts["forced"] > 10, counts


@pytest.mark.slow
def test_game_and_oracle_agree_on_two_thousand_problems():
    size = Size((2, 12), (1, 4))
    for begin in range(0, 2000, 250):
        check([random_problem(10_000 + begin + i, size) for i in range(250)], seed=begin)
