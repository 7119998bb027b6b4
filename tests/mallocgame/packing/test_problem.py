"""What a right packing is, on problems small enough to see it."""

from __future__ import annotations

import numpy as np
import pytest

from mallocgame.packing.generator import cut_problem
from mallocgame.packing.problem import PackingProblem, check, live_bytes, simple_problem

# Item 0 in slots [0, 2) and [4, 6), item 1 in [2, 4), item 2, with floor 2, in [5, 7).
PAIR = PackingProblem(5, [3, 4, 2], [0, 0, 2], [0, 0, 1, 2], [0, 4, 2, 5], [2, 6, 4, 7])


@pytest.mark.parametrize(
    ("offsets", "sentence"),
    [
        ([0, 0, 3], None),
        ([0, 1, 3], None),
        ([0, 2, 3], "Item 1 ends at 6, above the capacity 5."),
        ([0, -1, 3], "Item 1 has no place."),
        ([2, 0, 0], "Item 2 is at 0, below its floor 2."),
        ([0, 0, 2], "Items 0 and 2 share bytes in slot 5."),
        ([0, 0], "There are 3 items and 2 offsets."),
    ],
)
def test_check_names_the_broken_rule(offsets, sentence):
    assert check(PAIR, np.array(offsets)) == sentence


def test_intervals_are_half_open():
    assert check(simple_problem(1, [1, 1], [0, 3], [3, 5]), np.array([0, 0])) is None
    broken = check(simple_problem(1, [1, 1], [0, 2], [3, 5]), np.array([0, 0]))
    assert broken == "Items 0 and 1 share bytes in slot 2."


def test_what_takes_no_room_is_at_0():
    problem = simple_problem(4, [0, 4, 4], [0, 0, 3], [3, 3, 3])
    assert check(problem, np.array([0, 0, 0])) is None
    assert check(problem, np.array([1, 0, 0])) == "Item 0 takes no room and must be at 0, not at 1."


def test_live_bytes_counts_floors():
    assert live_bytes(PAIR) == 5
    assert live_bytes(simple_problem(9, [3, 4], [0, 1], [2, 3])) == 7
    # Only item 1 must lie above 6; item 0 may lie below it.
    assert live_bytes(simple_problem(9, [3, 2], [0, 1], [2, 3], [0, 6])) == 8
    assert live_bytes(simple_problem(9, [3, 2], [0, 1], [2, 3], [6, 6])) == 11
    assert live_bytes(simple_problem(9, [], [], [])) == 0


def test_an_item_counts_once_where_its_intervals_overlap():
    assert live_bytes(PackingProblem(4, [4], [0], [0, 0], [0, 1], [2, 3])) == 4


@pytest.mark.parametrize(
    ("field", "value"),
    [("floor", [0]), ("upper", [1]), ("item", [0, 0, 3, 1]), ("size", [1, -1, 1])],
)
def test_a_problem_that_makes_no_sense_is_refused(field, value):
    fields = {n: getattr(PAIR, n) for n in ("capacity", "size", "floor", "item", "lower", "upper")}
    with pytest.raises(ValueError, match=field):
        PackingProblem(**{**fields, field: value})


@pytest.mark.parametrize("options", [{}, {"gaps": 0.2, "floors": 3, "pairs": 5}], ids=str)
def test_the_generator_knows_an_answer(options):
    for seed in range(5):
        problem, offsets = cut_problem(seed, 60, **options)
        assert check(problem, offsets) is None
        assert live_bytes(problem) <= problem.capacity


def test_cut_problems_have_no_slack_and_what_was_asked():
    problem, _ = cut_problem(0, 60, slots=64, units=32, unit=8)
    assert problem.capacity == live_bytes(problem) == 256
    assert (problem.size * (problem.upper - problem.lower)).sum() == 64 * 256
    paired, _ = cut_problem(0, 60, slots=64, units=32, pairs=5)
    assert (np.bincount(paired.item) == 2).sum() == 5
    reserved, _ = cut_problem(0, 60, slots=64, units=32, floors=3)
    assert len(reserved.size) == 57 and reserved.floor.any()
    assert len(cut_problem(0, 60, gaps=0.5)[0].size) < 45
    assert cut_problem(0, 60, slack=0.25)[0].capacity == 1.25 * cut_problem(0, 60)[0].capacity
