"""Which content is still needed, and sizes rounded up to the alignment, by hand."""

from __future__ import annotations

import pytest

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
