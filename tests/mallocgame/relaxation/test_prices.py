"""Shadow prices: every value's own best plan adds up to the optimum, and small cases by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mallocgame.judge import simulate
from mallocgame.program import Access, Instruction, Program, Value
from mallocgame.program.machine import Machine
from mallocgame.program.mapping import all_slow
from mallocgame.relaxation.bound import solve
from mallocgame.relaxation.prices import (
    Prices,
    plan_costs,
    prices_of,
    reduced_costs,
    shadow_prices,
    worn,
)
from mallocgame.relaxation.relaxation import relax
from mallocgame.synthetic.random_programs import random_program, sized_program


@pytest.mark.parametrize("seed", range(40))
def test_plans_at_the_prices_add_up_to_the_optimum(seed):
    """Strong duality: the shortest paths, and what is priced away, are the relaxation's optimum."""
    program = random_program(np.random.default_rng([17, seed]))
    model = relax(program)
    if model is None:
        pytest.skip("the program takes no time")
    model = worn(model)
    solution = solve(model, 60.0)
    assert solution is not None
    reduced = reduced_costs(model, solution)
    shared = ~model.conserved
    total = model.constant + model.b_ub @ np.minimum(solution.of_ub, 0.0)
    total += model.b_eq[shared] @ solution.of_eq[shared]
    total += float((np.minimum(reduced, 0.0) * model.upper)[~model.flows].sum())
    total += sum(plan_costs(program, model, life, reduced)[3] for life in model.lives)
    assert total == pytest.approx(model.constant + model.cost @ solution.x, abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_prices_are_shares_and_the_limit_is_proven(seed):
    program = sized_program(np.random.default_rng([18, seed]), accesses=60)
    prices = _solved(program)
    count = len(program.instructions)
    for each in (prices.memory, prices.due, prices.released, prices.used):
        assert each.shape == (count,)
        assert (each >= 0).all()
    assert (prices.used <= 1).all()
    assert prices.saved.shape == (count + 1,)
    assert (np.diff(prices.saved) <= 1e-12).all()
    assert prices.saved[-1] == 0
    slow = simulate(program, all_slow(program))
    assert prices.saved[0] <= 1 - slow.floor_latency_s / slow.all_slow_latency_s + 1e-9
    assert prices.limit <= 1 - slow.floor_latency_s / slow.all_slow_latency_s + 1e-9


def _solved(program: Program) -> Prices:
    prices = shadow_prices(program, 60.0)
    assert prices is not None
    return prices


def _contest(capacity: int) -> Program:
    """`a` is written first and read last, `b` is written and read in between; 8 bytes each."""

    def access(t: int, v: int, kind: str) -> Access:
        return Access(t, v, kind, (0,), bytes=8, defines=kind == "write")

    machine = Machine(
        name="toy",
        fast_capacity_bytes=capacity,
        alignment_bytes=1,
        slow_bandwidth=1.0,
        fast_bandwidth=8.0,
    )
    return Program(
        name="contest",
        machine=machine,
        values=(Value("a", 8), Value("b", 8)),
        instructions=tuple(Instruction(f"i{t}") for t in range(4)),
        accesses=(
            access(0, 0, "write"),
            access(1, 1, "write"),
            access(2, 1, "read"),
            access(3, 0, "read"),
        ),
    )


def test_memory_has_a_price_only_where_it_is_short():
    roomy, tight = (_solved(_contest(capacity)) for capacity in (16, 8))
    assert roomy.memory.max() == pytest.approx(0, abs=1e-9)
    assert tight.memory.max() > 0.01
    assert tight.limit < roomy.limit - 0.01
    # A yes to `b` saves 7 of 32 seconds at its write and 7 at its read. After a no to `a`, a copy
    # that waits 6 seconds, as two of its 8 lie in idle time, would still save one at its read.
    worths = {0: 13 / 32, 1: 14 / 32}
    for value, worth in worths.items():
        found = roomy.arrivals[value, value]
        assert found.clean == found.dirty == pytest.approx(worth, abs=1e-6)
        assert found.planned == pytest.approx(1)
    assert roomy.stays[1, 1].clean == pytest.approx(7 / 32, abs=1e-6)
    assert roomy.stays[0, 0].clean == pytest.approx(6 / 32, abs=1e-6)
    np.testing.assert_allclose(roomy.saved, np.array([28, 21, 14, 7, 0]) / 32, rtol=0.01)


def test_a_solver_out_of_time_leaves_everything_free_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr("mallocgame.relaxation.prices.solve", lambda *_: None)
    assert shadow_prices(_contest(8), 60.0) is None
    # No other test has this capacity, so that nothing is remembered.
    prices = prices_of(_contest(11))
    error = capsys.readouterr().err
    assert error.startswith("contest: the linear relaxation was not solved in 60 s;")
    assert error.count("\n") == 1
    assert not prices.memory.any()
    assert not prices.arrivals
    assert prices.limit == pytest.approx(28 / 32)
