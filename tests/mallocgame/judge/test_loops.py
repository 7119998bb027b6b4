"""The judge where a stay begins, ends or is given on at a loop's boundary, by hand."""

from __future__ import annotations

import itertools

import pytest

from mallocgame.judge import verify
from mallocgame.program import Loop, Program
from mallocgame.program.mapping import COPIED, DEFINED
from tests.support import handmade
from tests.support.execution import runs_right
from tests.support.handmade import MARKER, Slot
from tests.support.judged import kinds, mapping

P, R, W = range(3)


def carrying(inside: str, after: str = "r") -> Program:
    """A loop [1, 5] that carries p into r; what it reads at 2, and what is read at 6."""
    values = {
        "p": handmade.value(8),
        "r": handmade.value(8),
        "w": handmade.value(8, is_input=True),
    }
    slots = [
        Slot(1.0, defines="p"), MARKER, Slot(1.0, reads=inside), Slot(1.0), Slot(1.0, defines="r"),
        MARKER, Slot(1.0, reads=after),
    ]  # fmt: skip
    return handmade.program(64, values, slots, (Loop(1, 5, 4),), ((0, "p", "r"),))


def test_a_group_fills_the_body_of_a_loop_around():
    """Its parameter comes in that body's first slot, and its result goes with the last one."""
    values = {"p": handmade.value(8), "r": handmade.value(8)}
    slots = [
        MARKER, Slot(1.0, defines="p"), MARKER, Slot(1.0, reads="p"), Slot(1.0, defines="r"),
        MARKER, Slot(1.0, reads="r"), MARKER,
    ]  # fmt: skip
    p = handmade.program(64, values, slots, (Loop(2, 5, 3), Loop(0, 7, 2)), ((0, "p", "r"),))
    held = mapping([(P, 0, 1, 5, DEFINED), (R, 0, 4, 7, DEFINED)])
    assert verify(p, held) == [] and runs_right(p, held)
    longer = mapping([(P, 0, 1, 5, DEFINED), (R, 0, 4, 8, DEFINED)])
    assert kinds(p, longer) == {"interval"}
    earlier = mapping([(P, 0, 0, 5, DEFINED), (R, 0, 4, 7, DEFINED)])
    assert "interval" in kinds(p, earlier)


def test_a_result_may_leave_alone_where_the_loop_does_not_use_its_parameter():
    leaves = mapping([(R, 0, 4, 7, DEFINED)])
    unused, used = carrying("w"), carrying("p")
    assert verify(unused, leaves) == [] and runs_right(unused, leaves)
    assert kinds(used, leaves) == {"carried"} and not runs_right(used, leaves)


@pytest.mark.parametrize(("inside", "kind"), [("p", "carried"), ("w", "interval")])
def test_a_parameter_does_not_leave_its_loop(inside, kind):
    """What is there at the body's end must be there at its start."""
    leaves = mapping([(P, 0, 2, 6, COPIED)], [(P, 2, 2)])
    assert kinds(carrying(inside), leaves) == {kind}


@pytest.mark.parametrize(("is_output", "kind"), [(True, "carried"), (False, "interval")])
def test_a_stay_across_an_exit_is_told_by_whether_the_value_crosses_the_loop(is_output, kind):
    slots = [Slot(1.0), MARKER, Slot(1.0, defines="v"), Slot(1.0, reads="v"), MARKER, Slot(1.0)]
    values = {"v": handmade.value(8, is_output=is_output)}
    p = handmade.program(64, values, slots, (Loop(1, 4, 3),))
    found = kinds(p, mapping([(0, 0, 2, 5, DEFINED)]))
    assert kind in found and not found & {"carried", "interval"} - {kind}


@pytest.mark.parametrize("stays", range(2, 9))
def test_every_pair_of_up_to_eight_is_listed(stays: int):
    """Wherever they begin, end and lie; the docstring of `verify` promises it."""
    values = {f"v{i}": handmade.value(4, is_input=True) for i in range(stays)}
    slots = [Slot(1.0, reads=" ".join(values)) for _ in range(stays)]
    p = handmade.program(64, values, slots)
    rows = [(i, i % 3, i // 2, stays, COPIED) for i in range(stays)]
    found = verify(p, mapping(rows, [(v, start, start) for v, _, start, _, _ in rows]))
    pairs = {tuple(sorted(v.values)) for v in found if v.kind == "overlap"}
    assert pairs == set(itertools.combinations(range(stays), 2))


def test_pairs_are_found_in_every_layer():
    """Two that lie apart share a layer; a third one meets both, a fourth only one of them."""
    sizes = (4, 4, 12, 3)
    values = {f"v{i}": handmade.value(size, is_input=True) for i, size in enumerate(sizes)}
    slots = [Slot(1.0, reads=" ".join(values)) for _ in range(5)]
    p = handmade.program(64, values, slots)
    for order in itertools.permutations(range(4)):
        rows = [(v, (0, 8, 0, 9)[v], start, 5, COPIED) for start, v in enumerate(order)]
        found = verify(p, mapping(rows, [(v, start, start) for v, _, start, _, _ in rows]))
        pairs = {tuple(sorted(v.values)) for v in found if v.kind == "overlap"}
        assert pairs == {(0, 2), (1, 2), (1, 3), (2, 3)}, order
