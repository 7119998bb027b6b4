"""The judge to the byte and to the slot: against plain loops over every byte, and by hand."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from mallocgame.judge import verify
from mallocgame.judge.reading import JudgedStay, takes_over
from mallocgame.program import CarriedGroup, Loop, Program, Value
from mallocgame.program.mapping import COPIED, DEFINED, Mapping
from tests.support import handmade
from tests.support.execution import runs_right
from tests.support.handmade import Slot
from tests.support.judged import HELD, changed, kinds, loop_program, mapping, program

CAPACITY = 12
PLACES = {"capacity", "overlap", "reserved"}


def side_by_side(
    sizes: list[int], slots: int, reserved: dict[int, int], alignment: int = 1
) -> Program:
    """Inputs that are all read in every slot, so that any stay of theirs is of use."""
    values = {f"v{i}": handmade.value(size, is_input=True) for i, size in enumerate(sizes)}
    rows = [Slot(reads=" ".join(values), reserved=reserved.get(t, 0)) for t in range(slots)]
    return handmade.program(CAPACITY, values, rows, alignment=alignment)


def stays_of(stays: list[tuple[int, int, int, int]]) -> Mapping:
    """(value, offset, start, end), each with a copy that takes no slot."""
    return mapping(
        [(v, offset, start, end, COPIED) for v, offset, start, end in stays],
        [(v, start, start) for v, _, start, _ in stays],
    )


def broken_bytes(p: Program, stays: list[tuple[int, int, int, int]]) -> set[str]:
    """Which rules about places a mapping breaks, by a loop over all slots and bytes."""
    found = set()
    for t in range(len(p.instructions)):
        owner: dict[int, int] = {}
        for number, (v, offset, start, end) in enumerate(stays):
            for byte in range(offset, offset + p.values[v].size_bytes) if start <= t < end else ():
                if not 0 <= byte < CAPACITY:
                    found.add("capacity")
                if byte < p.instructions[t].reserved_bytes > 0:
                    found.add("reserved")
                if owner.setdefault(byte, number) != number:
                    found.add("overlap")
    return found


def test_places_are_judged_to_the_byte():
    rng = np.random.default_rng(0)
    seen: dict[frozenset[str], int] = {}
    for _ in range(1500):
        slots = int(rng.integers(1, 4))
        sizes = [int(n) for n in rng.integers(1, 7, size=int(rng.integers(1, 4)))]
        reserved = {int(rng.integers(slots)): int(rng.integers(0, 6))}
        p = side_by_side(sizes, slots, reserved)
        stays = []
        for v, size in enumerate(sizes):
            start = int(rng.integers(slots))
            offset = int(rng.integers(-1, CAPACITY - size + 2))
            stays.append((v, offset, start, int(rng.integers(start + 1, slots + 1))))
        wanted = broken_bytes(p, stays)
        assert kinds(p, stays_of(stays)) == wanted, (sizes, reserved, stays)
        seen[frozenset(wanted)] = seen.get(frozenset(wanted), 0) + 1
    assert min(seen.get(frozenset({kind}), 0) for kind in PLACES) >= 20
    assert seen.get(frozenset(), 0) >= 100


@pytest.mark.parametrize(("offset", "kind"), [(4, {"reserved"}), (5, set()), (6, set())])
def test_a_reservation_ends_with_its_last_byte(offset, kind):
    p = side_by_side([3], 3, {1: 5})
    assert kinds(p, stays_of([(0, offset, 0, 3)])) == kind
    assert kinds(p, stays_of([(0, offset, 0, 1)])) == set()  # gone before the slot
    assert kinds(p, stays_of([(0, offset, 2, 3)])) == set()  # comes after it


@pytest.mark.parametrize("turn", list(itertools.permutations(range(2))))
def test_one_byte_and_one_slot_are_an_overlap(turn):
    p = side_by_side([4, 4], 3, {})

    def of(*stays: tuple[int, int, int, int]) -> set[str]:
        return kinds(p, stays_of([stays[i] for i in turn]))

    assert of((0, 0, 0, 3), (1, 4, 0, 3)) == set()
    assert of((0, 0, 0, 3), (1, 3, 0, 3)) == {"overlap"}
    assert of((0, 3, 0, 3), (1, 0, 0, 3)) == {"overlap"}
    assert of((0, 0, 0, 2), (1, 3, 1, 3)) == {"overlap"}
    assert of((0, 3, 1, 3), (1, 0, 0, 2)) == {"overlap"}
    assert of((0, 0, 0, 2), (1, 0, 2, 3)) == set()
    assert of((0, 0, 0, 2), (1, 0, 1, 3)) == {"overlap"}


def test_a_bytes_overlap_hides_behind_no_other():
    """The one that reaches furthest up need not be the nearest below."""
    p = side_by_side([8, 2, 4], 2, {})
    stays = [(0, 0, 0, 2), (1, 4, 0, 2), (2, 7, 0, 2)]  # 0 overlaps 1, and 2 with one byte
    found = verify(p, stays_of(stays))
    assert {v.values for v in found} == {(0, 1), (0, 2)}


GROUP = {(1, 2)}
PARAMETER = JudgedStay(1, 0, 100, 0, 4, 0, True, True)
RESULT = JudgedStay(2, 0, 100, 3, 7, 3, True, True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"defined": False}, False),  # a copy would write while the last reader reads
        ({"offset": 10}, False),
        ({"start": 2}, False),
        ({"start": 4}, False),
        ({"value": 3}, False),
    ],
)
def test_a_result_takes_over_where_it_is_defined(changes, expected):
    result = dataclasses.replace(RESULT, **changes)
    assert takes_over(PARAMETER, result, GROUP) is expected
    assert takes_over(result, PARAMETER, GROUP) is expected


@pytest.mark.parametrize("arrival", [COPIED, "magic"])
def test_a_result_that_is_not_defined_there_overlaps_its_parameter(arrival):
    p = loop_program()
    copied = changed(HELD, "residencies", 2, arrival=arrival)
    found = {v.kind for v in verify(p, copied)}
    assert "overlap" in found and "overlap" not in kinds(p, HELD)


def test_a_copied_result_may_not_take_over():
    """Nothing but the overlap is wrong here: an update, not a definition, is all that `defined`
    tells from a copy whose source is good."""
    p = loop_program()
    m = mapping(
        [(1, 0, 0, 4, DEFINED), (2, 0, 3, 5, COPIED)],
        [(2, 3, 3)],
        [(2, 4, 5)],
    )
    assert "overlap" in kinds(p, m)


def carrying(after: str = "", inside: str = "p") -> Program:
    """A loop whose result r becomes the next iteration's p; what follows may read r."""
    values = [
        Value("p", 100),
        Value("r", 100),
        Value("w", 50, is_input=True),
        Value("o", 50, is_output=True),
    ]
    names = {"p": 0, "r": 1, "w": 2, "o": 3}
    reads = [(3, names[inside])] + ([(6, names[after])] if after else [])
    return program(
        [10, 0, 6, 3, 6, 0, 4],
        values,
        reads=[*reads, (2, 2)],
        writes=[(0, 0), (4, 1), (6, 3)],
        loops=(Loop(1, 5, 4),),
        carried=(CarriedGroup(0, 0, 1),),
    )


@pytest.mark.parametrize("after", ["", "w"])
def test_what_the_next_iteration_reads_is_not_given_up(after):
    """The result is read by nobody under its own name, but as the next iteration's parameter."""
    p = carrying(after)
    kept = mapping([(1, 0, 4, 5, DEFINED)], [], [(1, 5, 5)])
    given_up = mapping([(1, 0, 4, 5, DEFINED)])
    assert verify(p, kept) == [] and runs_right(p, kept)
    assert not runs_right(p, given_up)
    assert kinds(p, given_up) == {"lost"}


def test_what_no_iteration_reads_may_be_given_up():
    p = carrying(inside="w")
    given_up = mapping([(1, 0, 4, 5, DEFINED)])
    assert runs_right(p, given_up) and verify(p, given_up) == []
