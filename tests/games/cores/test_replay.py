"""Schedules become games, and games schedules."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from gamekit.errors import InputError
from games.cores.domain import DOMAIN
from games.cores.game.options import CoresConfig
from games.cores.judge import judge
from games.cores.mappers.local_search import local_search
from games.cores.mappers.registry import MAPPERS, compile_kernels
from games.cores.oracle.game import Facts
from games.cores.problem import Weights
from games.cores.replay import first_candidates, moves_like, moves_of_schedule, schedule_of_moves
from games.cores.synthetic.fronts import cases
from games.cores.synthetic.random_problems import random_problem


@pytest.fixture(scope="module", autouse=True)
def compiled():
    compile_kernels()


def test_schedules_of_games_are_played_again():
    """Chance plays them; the reference, which it returns where it finds nothing, is no game."""
    played = 0
    for seed in range(16):
        problem = dataclasses.replace(random_problem(seed), weights=Weights(1, 1, 0))
        made = MAPPERS["random_games"](problem, 0.05, 0)
        if made.schedule == problem.naive.schedule:
            continue
        moves = moves_of_schedule(problem, made.schedule)
        assert moves is not None, problem.name
        again = judge(problem, schedule_of_moves(problem, moves))
        assert again.valid and again.cost == pytest.approx(made.cost, abs=1e-9)
        _, score = moves_like(problem, made.schedule)
        assert 1 - score <= made.cost + 1e-9
        played += 1
    assert played >= 12


def test_games_go_like_local_searchs_schedules():
    """The judge gives the game's score; where the peak does not count most games cost what the
    schedule costs."""
    same = kept = 0
    for seed in range(24):
        problem = dataclasses.replace(random_problem(seed), weights=Weights(1, 1, 0))
        facts = Facts(problem)
        made = local_search(problem, 0.1, 0)
        moves, score = moves_like(problem, made.schedule, facts)
        found = judge(problem, schedule_of_moves(problem, moves))
        assert found.valid, (problem.name, found.violation)
        assert found.cost == pytest.approx(1 - score, abs=1e-6)
        exact = moves_of_schedule(problem, made.schedule, facts)
        if exact is not None:
            assert score >= 1 - made.cost - 1e-6
        same += exact is not None
        kept += score >= 1 - made.cost - 1e-6
    assert kept >= 20 > same


def test_the_game_lets_nothing_wait_that_a_schedule_lets_wait():
    """A schedule that comes a moment later is not the game's, but the game goes like it."""
    problem, _ = cases()["linear"]
    moves, score = first_candidates(problem)
    schedule = schedule_of_moves(problem, moves)
    assert moves_of_schedule(problem, schedule) == moves
    assert moves_of_schedule(problem, schedule.delayed(7)) is None
    assert moves_like(problem, schedule.delayed(7))[1] == score


def test_lessons_are_games_of_the_environment():
    instances = DOMAIN.instances(["layered/layered_102", "fronts/drop@1,1,0"])
    game = DOMAIN.build(instances, CoresConfig())
    step = jax.jit(game.step)
    for number, instance in enumerate(instances):
        first, second = DOMAIN.lessons(instance, CoresConfig(), ["list", "naive"], 0.1, 0)
        _, simple = first_candidates(instance.content)
        for lesson in (first, second):
            state = game.init(jnp.array([number]))
            for move in lesson[lesson >= 0].tolist():
                assert not game.done(state)[0] and game.legal_actions(state)[0, move]
                state, _ = step(state, jnp.array([move]))
            assert game.done(state)[0]
            assert float(game.score(state)[0]) >= simple - 1e-5
    with pytest.raises(InputError, match=r"demonstrations: must be of .*, got 'oracle'"):
        DOMAIN.lessons(instances[0], CoresConfig(), ["oracle"], 1.0, 0)
