"""Which content is still needed, and sizes rounded up to the alignment, by hand."""

from __future__ import annotations

import dataclasses

import pytest

from mallocgame.program import Access
from mallocgame.program.levels import Levels
from mallocgame.program.needs import Needs
from tests.support.program_files import PROGRAM

P, R, W, O = range(4)  # noqa: E741


@pytest.mark.parametrize(
    ("value", "end", "needed"),
    [
        (P, 2, True),  # read at 2
        (P, 3, False),  # in the next iteration its content is the result's
        (R, 5, True),  # read at 6, after the loop
        (R, 7, False),
        (W, 3, True),  # read at 2 in the next iteration
        (W, 6, False),  # the loop is over
        (O, 8, True),  # an output
    ],
)
def test_needs(value, end, needed):
    assert Needs(PROGRAM, Levels(PROGRAM))(value, end, end - 1) is needed


def test_sizes_are_rounded_up():
    assert [PROGRAM.machine.align(size) for size in (0, 1, 10, 11)] == [0, 10, 10, 20]


@pytest.mark.parametrize(("reads", "needed"), [([2], True), ([4], True), ([], False), ([0], False)])
def test_a_result_is_needed_as_the_next_iterations_parameter(reads, needed):
    """Nobody reads the result itself; reads of the parameter count inside the body."""
    accesses = [a for a in PROGRAM.accesses if a.value not in (P, R) or a.kind == "write"]
    accesses += [Access(t, P, "read", (0,), 100) for t in reads]
    made = dataclasses.replace(PROGRAM, accesses=tuple(accesses))
    assert Needs(made, Levels(made))(R, 4, 3) is needed
    assert Needs(made, Levels(made))(P, 5, 4) is False  # its next content is the result's
