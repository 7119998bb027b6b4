"""Schedules become games, and games schedules."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gamekit.errors import InputError
from games.cores.domain import DOMAIN
from games.cores.game.options import NUM_ACTIONS, CoresConfig
from games.cores.game.tables import moves_limit
from games.cores.judge import judge
from games.cores.mappers.registry import MAPPERS, compile_kernels
from games.cores.oracle.game import Facts, Oracle
from games.cores.problem import Weights
from games.cores.replay import first_candidates, moves_like, moves_of_schedule, schedule_of_moves
from games.cores.synthetic.fronts import cases
from games.cores.synthetic.random_problems import random_problem


@pytest.fixture(scope="module", autouse=True)
def compiled():
    compile_kernels()


def test_schedules_of_games_are_played_again():
    """Most of them: what a game refused for a while may not be asked at the same moment."""
    same = 0
    for seed in range(60):
        problem, rng = random_problem(seed), np.random.default_rng(seed)
        oracle = Oracle(problem)
        while not oracle.done:
            likely = np.array(oracle.legal) * 0.6 ** np.arange(NUM_ACTIONS)
            oracle.step(int(rng.choice(NUM_ACTIONS, p=likely / likely.sum())))
        moves = moves_of_schedule(problem, oracle.schedule())
        if moves is not None:
            again = judge(problem, schedule_of_moves(problem, moves))
            assert again.valid and again.cost == pytest.approx(1 - oracle.score, abs=1e-6)
            same += 1
    assert same >= 50


@pytest.mark.parametrize(("name", "least"), [("list", 21), ("heft", 20)])
def test_games_go_like_mappers_schedules(name, least):
    """The judge gives the game's score; where the peak does not count most games cost what the
    schedule costs, or less. One of each would be lost if all waited for the schedule's times."""
    same = kept = 0
    for seed in range(24):
        problem = dataclasses.replace(random_problem(seed), weights=Weights(1, 1, 0))
        facts = Facts(problem)
        made = MAPPERS[name](problem, 0.0, 0)
        moves, score = moves_like(problem, made.schedule, facts)
        found = judge(problem, schedule_of_moves(problem, moves))
        assert found.valid, (problem.name, found.violation)
        assert found.cost == pytest.approx(1 - score, abs=1e-6)
        exact = moves_of_schedule(problem, made.schedule, facts)
        if exact is not None:
            assert score >= 1 - made.cost - 1e-6
        same += exact is not None
        kept += score >= 1 - made.cost - 1e-6
    assert kept >= least and same >= 18


def test_the_game_lets_nothing_wait_that_a_schedule_lets_wait():
    """A schedule that comes a moment later is not the game's, but the game goes like it."""
    problem, _ = cases()["linear"]
    moves, score = first_candidates(problem)
    schedule = schedule_of_moves(problem, moves)
    assert moves_of_schedule(problem, schedule) == moves
    assert moves_of_schedule(problem, schedule.delayed(7)) is None
    assert moves_like(problem, schedule.delayed(7))[1] == score


def test_the_opening_is_the_game_of_the_first_candidates():
    (instance,) = DOMAIN.instances(["layered/layered_102"])
    game = DOMAIN.build([instance], CoresConfig())
    (opening,) = DOMAIN.openings(game, instance)
    moves, _ = first_candidates(instance.content)
    assert opening[: len(moves)].tolist() == moves and len(opening) == game.spec.num_questions


def test_lessons_are_whole_games():
    """Of the mapper's schedule; of the first candidates where the game cannot go like it."""
    for instance in DOMAIN.instances(["layered/layered_102", "fronts/drop@1,1,0", "generated:6:3"]):
        problem, facts = instance.content, Facts(instance.content)
        lessons = DOMAIN.lessons(instance, CoresConfig(), ["list", "naive"], 0.1, 0)
        _, simple = first_candidates(problem, facts)
        for name, lesson in zip(("list", "naive"), lessons, strict=True):
            assert lesson.shape == (moves_limit(problem),) and lesson.dtype == np.int8
            oracle = Oracle(problem, facts)
            for move in lesson[lesson >= 0].tolist():
                assert not oracle.done and oracle.legal[move]
                oracle.step(move)
            assert oracle.done
            _, alike = moves_like(problem, MAPPERS[name](problem, 0.1, 0).schedule, facts)
            assert oracle.score == max(simple, alike)
    with pytest.raises(InputError, match=r"demonstrations: must be of .*, got 'oracle'"):
        DOMAIN.lessons(DOMAIN.instances(["fronts/drop"])[0], CoresConfig(), ["oracle"], 1.0, 0)
