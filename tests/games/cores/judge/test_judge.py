"""The judge names the rule that an event breaks; figures are counted by hand."""

from __future__ import annotations

import pytest

from games.cores.judge import judge
from games.cores.problem import Drop, Schedule, Start, Transfer
from games.cores.synthetic.chains import Branches, chain_problem
from games.cores.synthetic.random_problems import random_problem

# x (500 bits) to y in external memory by way of one core's memory; op (4000, 1000).
SINGLE = chain_problem("single", Branches(0, 1), 1, [(4000, 1000.0)])
GOOD = (Transfer(0, 0, 0), Start(1000, 0), Transfer(5000, 1, 1))


def test_figures_of_a_schedule():
    found = judge(SINGLE, Schedule(GOOD))
    assert found.valid
    # 1,000 to fetch, 4,000 to run, 1,000 to store; 2,000 + 1,000 + 2,000.
    assert (found.time, found.energy, found.peaks) == (6000, 5000.0, (0, 1000))
    assert found.cost == pytest.approx(1.0)
    assert judge(SINGLE, Schedule(GOOD).delayed(600)).cost == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("events", "rule"),
    [
        ((Start(0, 0),), "available: 'x' is not in 'memory 0'"),
        ((GOOD[0], Start(999, 0)), "available: 'x' is still on its way to 'memory 0'"),
        ((GOOD[0], Transfer(0, 1, 0)), "twice: 'x' is in 'external'"),
        ((GOOD[0], Transfer(500, 0, 0)), "twice: 'x' is on its way to 'memory 0'"),
        ((*GOOD[:2], Start(6000, 0)), "once: 'y' has been started"),
        ((*GOOD[:2], Transfer(2000, 0, 0)), "dead: nothing needs 'x' any more"),
        ((GOOD[0], Drop(1000, 0, 1)), "unread: 'x' in 'memory 0' was never read"),
        ((GOOD[0], Drop(500, 0, 0)), "locked: 'x' in 'external' is being read"),
        ((*GOOD[:2], Drop(6000, 1, 1)), "unread: 'y' in 'memory 0'"),
        ((GOOD[0], Start(1000, 0), Transfer(500, 1, 1)), "order: it must be at 1000 or later"),
        (GOOD[:2], "wanted: 'y' must be in 'external' at the end"),
    ],
)
def test_a_broken_rule_is_named(events, rule):
    found = judge(SINGLE, Schedule(events))
    assert found.violation is not None and rule in found.violation


def test_groups_and_room():
    two = chain_problem("two", Branches(1, 2), 1, [(10, 1.0)])
    busy = (Transfer(0, 0, 0), Start(1000, 0), Start(1005, 1))
    found = judge(two, Schedule(busy))
    assert found.violation is not None and "group: 'core 0' is busy until 1010" in found.violation
    small = chain_problem("small", Branches(1, 2, 500, 500), 1, [(10, 1.0)], 1500)
    loads = tuple(Transfer(1000 * i, 0, v) for i, v in enumerate((0, 1, 3)))
    full = judge(small, Schedule((*loads, Start(3000, 0))))
    assert full.violation is not None
    assert "room: 'memory 0' of 1500 bits must hold 2000" in full.violation


def test_the_reference_takes_what_it_says():
    for seed in range(60):
        problem = random_problem(seed)
        found, naive = judge(problem, problem.naive.schedule), problem.naive
        assert found.valid, (seed, found.violation)
        assert (found.time, found.peak) == (naive.time, naive.peak)
        assert found.energy == pytest.approx(naive.energy)
        assert sum(naive.times) == naive.time
