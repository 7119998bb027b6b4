"""Parts of the linear model against all placements, one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mallocgame.program import Value
from mallocgame.relaxation.bound import lower_bound
from mallocgame.relaxation.relaxation import relax
from mallocgame.relaxation.rows import surplus, tightened
from mallocgame.synthetic.random_programs import random_program
from tests.support.judged import program


@pytest.mark.parametrize("seed", range(40))
def test_tightened_rows_hold_everywhere_and_are_exact_with_few_in_fast_memory(seed):
    """A column is 1 in slow memory; `above` is what the instruction takes over its floor."""
    rng = np.random.default_rng(seed)
    slowed = [(i, float(rng.integers(1, 9))) for i in range(int(rng.integers(0, 6)))]
    fast = float(rng.integers(0, 6))
    floor = fast + float(rng.integers(0, 12))
    rows = tightened(slowed, fast, floor)
    for x in itertools.product((0, 1), repeat=len(slowed)):
        above = max(0.0, fast + sum(f for i, f in slowed if x[i]) - floor)
        told = [sum(f * x[i] for i, f in terms) - right for terms, right in rows]
        assert max(told, default=0.0) <= above + 1e-9
        if above and x.count(0) <= 2:
            assert max(told) == pytest.approx(above)


def test_many_accesses_have_a_row_for_each_one_in_fast_memory():
    """Seven accesses: one row for all, and one without each of them."""
    slowed = [(i, 2.0) for i in range(7)]
    assert len(tightened(slowed, 0.0, 1.0)) == 1 + 7
    assert len(tightened(slowed[:6], 0.0, 1.0)) == 1 + 6 + 15


@pytest.mark.parametrize("floor", [0.0, 100.0, 7.0])
@pytest.mark.parametrize("seed", range(20))
def test_the_surplus_of_the_bus_is_the_most_of_all_placements(seed, floor):
    """Exact where the floor or one side tells the elapsed time in every placement."""
    rng = np.random.default_rng(seed)
    bus_terms = [(i, float(rng.integers(0, 9))) for i in range(5)]
    slowed = [(i, float(rng.integers(0, 9))) for i in range(5)]
    bus, side = float(rng.integers(95, 120)), float(rng.integers(8, 20))

    def elapsed(x: tuple[int, ...]) -> float:
        return max(floor, side + sum(f for i, f in slowed if x[i]))

    most = max(
        max(0.0, bus + sum(f for i, f in bus_terms if x[i]) - elapsed(x))
        for x in itertools.product((0, 1), repeat=5)
    )
    assert surplus(bus, bus_terms, {True: side}, {True: slowed}, floor) == pytest.approx(most)


@pytest.mark.parametrize(("idle", "slots"), [(5, 2), (4, 3), (10, 1), (1, 4)])
def test_a_copy_may_take_as_many_slots_as_it_needs(idle, slots):
    """A copy of 10 s: a way for each number of slots, the one without any included; there are four
    slots before the read."""
    p = program([idle] * 4 + [1], [Value("w", 100, is_input=True)], reads=[(4, 0)])
    model = relax(p)
    assert model is not None
    ways, *_ = model.ways.values()  # of the prefetch; those of the eviction come after it
    assert len(ways) == 1 + slots


@pytest.mark.parametrize(("seed", "ratio"), [(0, 1.154544), (3, 1.150767), (7, 2.144337)])
def test_the_bound_is_as_tight_as_it_was(seed, ratio):
    """A row that is missing leaves the bound valid, and nothing else notices.  A tighter model
    passes."""
    bound = lower_bound(random_program(np.random.default_rng(seed), instructions=30, values=12))
    assert bound.latency_s / bound.floor_s > ratio - 1e-5
