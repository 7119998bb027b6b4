"""What a violation says: the slot, the copy and the reason are the right ones."""

from __future__ import annotations

from typing import Any

import pytest

from mallocgame.judge import verify
from mallocgame.program import Value
from mallocgame.program.mapping import DEFINED
from tests.support.judged import STRAIGHT, mapping, program

UPDATED = program([1] * 6, [Value("a", 10)], reads=[(5, 0)], writes=[(0, 0)], updates=[(3, 0)])


def only(p, m) -> Any:
    (violation,) = verify(p, m)
    return violation


def test_an_eviction_of_nothing_names_the_instruction_before_it():
    found = only(STRAIGHT, mapping([], [], [(1, 2, 3)]))
    assert found.message == (
        "'w': eviction [2, 3) copies it from fast memory, "
        "which does not hold it after instruction 1"
    )
    assert (found.kind, found.values, found.times) == ("source", (1,), (2,))


def test_an_update_after_an_eviction_does_not_count_as_one_during_it():
    found = only(UPDATED, mapping([(0, 0, 0, 5, DEFINED)], [], [(0, 1, 2)]))
    assert found.message == "'a': the only copy of its content is given up at 5"
    assert (found.kind, found.values, found.times) == ("lost", (0,), (5,))


def test_an_update_during_an_eviction_is_named():
    found = only(UPDATED, mapping([(0, 0, 0, 5, DEFINED)], [], [(0, 2, 5)]))
    assert found.message == (
        "'a': the only copy of its content is given up at 5; "
        "instruction 3 updated it while an eviction was under way"
    )


@pytest.mark.parametrize(("value", "values"), [(7, (7,)), ("x", ()), (True, ())])
def test_an_unknown_value_is_named_if_it_is_a_number(value, values):
    found = only(STRAIGHT, mapping([(value, 0, 0, 1, DEFINED)]))
    assert (found.kind, found.values, found.times) == ("unknown_value", values, ())
