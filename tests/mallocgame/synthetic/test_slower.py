"""Variants of programs some of whose accesses are slower in fast memory."""

from __future__ import annotations

import pytest

from mallocgame.judge import simulate
from mallocgame.program import Access, Program, validate
from mallocgame.program.mapping import all_slow
from mallocgame.suites import load_programs
from mallocgame.synthetic.variants import floor_saved, with_bandwidth


@pytest.fixture(scope="module")
def program() -> Program:
    return load_programs(["tpu_v4/attention_b4_inference"])[0]


def is_slower(a: Access) -> bool:
    return (a.slow_s or 0.0) < (a.fast_s or 0.0)


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_bandwidth_leaves_such_an_access_as_it_is(program, factor):
    changed = with_bandwidth(program, factor)
    validate(changed)
    pairs = list(zip(program.accesses, changed.accesses, strict=True))
    assert sum(is_slower(a) for a in program.accesses) == 3
    assert all((a == b) == (is_slower(a) or a.slow_s == a.fast_s) for a, b in pairs)


def test_the_floor_has_such_an_access_in_slow_memory(program):
    found = simulate(program, all_slow(program))
    assert floor_saved(program) == pytest.approx(
        1 - found.floor_latency_s / found.all_slow_latency_s
    )
