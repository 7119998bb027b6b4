"""The exact front: what the prototype's tests expect, and what the game reaches."""

from __future__ import annotations

import dataclasses

import pytest

from games.cores.judge import judge
from games.cores.mappers.exact import exact_front
from games.cores.mappers.in_game import random_games
from games.cores.problem import Weights
from games.cores.replay import moves_of_schedule, schedule_of_moves
from games.cores.synthetic.fronts import cases
from games.cores.synthetic.random_problems import Size, random_problem

CASES = cases()
# Their exact schedules fill a memory in an order that the game does not offer.
OTHER_ORDER = ("drop", "drop_single")


@pytest.mark.parametrize("name", CASES)
def test_fronts_are_those_of_the_prototype_and_the_game_reaches_them(name):
    problem, front = CASES[name]
    found = exact_front(problem)
    assert found.proven
    assert tuple((p.time, p.energy) for p in found.points) == front
    for point in found.points:
        judged = judge(problem, point.schedule)
        assert judged.valid and (judged.time, judged.energy) == (point.time, point.energy)
        if name not in OTHER_ORDER:
            moves = moves_of_schedule(problem, point.schedule)
            assert moves is not None
            played = judge(problem, schedule_of_moves(problem, moves))
            assert played.valid and (played.time, played.energy) == (point.time, point.energy)


@pytest.mark.parametrize("weights", [Weights(1, 0, 0), Weights(1, 1, 0)])
def test_random_games_reach_the_front_of_a_small_memory(weights):
    problem = dataclasses.replace(CASES["drop_single"].problem, weights=weights)
    judged = judge(problem, random_games(problem, 2.0, 0).schedule)
    assert (judged.time, judged.energy) in CASES["drop_single"].front


def test_what_takes_no_time_leaves_its_group_to_others():
    """Once the search missed a schedule of 32."""
    found = exact_front(random_problem(11, Size((3, 6), (1, 2))))
    assert found.proven and found.points[0].time <= 32


def test_no_game_by_chance_is_outside_the_front():
    for seed in range(12):
        problem = random_problem(seed, Size((2, 4), (1, 2)))
        front = exact_front(problem, 5.0)
        if not front.proven:
            continue
        judged = judge(problem, random_games(problem, 0.1, seed).schedule)
        assert any(
            p.time <= judged.time and p.energy <= judged.energy + 1e-9 for p in front.points
        ), problem.name


def test_a_search_without_time_is_not_proven():
    assert not exact_front(CASES["split"].problem, 0.0).proven
