"""Violations of the rules: every kind by hand, random mutations, hostile mappings."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallocgame.judge import KINDS, simulate, verify
from mallocgame.program import (
    Program,
    Value,
)
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer
from tests.support.execution import runs_right
from tests.support.judged import (
    BASE,
    BASE_PROGRAM,
    HELD,
    IN_BODY,
    changed,
    kinds,
    loop_program,
    mapping,
    program,
    random_games,
    with_more,
    without,
)

BROKEN = [
    ("unknown_value", with_more(BASE, [(6, 0, 6, 7, DEFINED)])),
    ("unknown_value", with_more(BASE, [(-1, 0, 6, 7, DEFINED)])),
    ("unknown_value", with_more(BASE, [], [(99, 0, 1)])),
    ("unknown_value", with_more(BASE, [], [], [(10**30, 1, 2)])),
    ("pinned", with_more(BASE, [(3, 700, 2, 5, COPIED)], [(3, 2, 4)])),
    ("capacity", with_more(BASE, [(4, 1000, 7, 8, COPIED)], [(4, 7, 7)])),
    ("capacity", changed(BASE, "residencies", 1, offset=810)),
    ("capacity", changed(BASE, "residencies", 1, offset=-400)),
    ("capacity", changed(BASE, "residencies", 1, offset=None)),
    ("alignment", changed(BASE, "residencies", 1, offset=205)),
    ("overlap", changed(BASE, "residencies", 3, offset=100)),
    ("overlap", changed(BASE, "residencies", 4, offset=390)),
    (
        "reserved",
        changed(changed(BASE, "residencies", 2, start=5, offset=0), "prefetches", 1, start=5),
    ),
    ("interval", with_more(BASE, [(1, 800, 7, 9, COPIED)])),
    ("interval", with_more(BASE, [(1, 800, -3, 2, COPIED)])),
    ("interval", with_more(BASE, [(1, 800, 5, 5, COPIED)])),
    ("interval", with_more(BASE, [(1, 800, 5, 4, COPIED)])),
    ("interval", with_more(BASE, [], [(1, 7, 8)])),
    ("interval", with_more(BASE, [], [], [(0, 0, 1)])),
    ("interval", with_more(BASE, [], [], [(0, 4, 3)])),
    ("source", without(BASE, "prefetches", 1)),
    ("source", without(BASE, "residencies", 1)),
    ("source", changed(BASE, "residencies", 1, start=1)),
    ("source", changed(BASE, "residencies", 1, end=2)),
    ("source", changed(BASE, "residencies", 1, arrival="magic")),
    ("source", changed(BASE, "residencies", 1, arrival=DEFINED)),
    ("source", changed(BASE, "residencies", 0, start=1)),
    ("source", with_more(BASE, [(0, 700, 0, 3, DEFINED)])),
    ("source", with_more(BASE, [(0, 700, 2, 4, COPIED)], [(0, 2, 3)])),
    ("source", with_more(BASE, [(5, 700, 2, 6, COPIED)], [(5, 2, 5)])),
    ("source", with_more(BASE, [], [], [(1, 4, 5)])),
    ("late_eviction", changed(BASE, "evictions", 0, end=6)),
    ("late_eviction", changed(BASE, "residencies", 0, end=4)),
    ("late_eviction", with_more(BASE, [(0, 700, 4, 6, COPIED)], [(0, 4, 5)])),
    ("lost", without(BASE, "evictions", 0)),
    ("lost", without(BASE, "evictions", 1)),
    ("lost", without(BASE, "evictions", 2)),
]
LOOP_BROKEN = [
    ("carried", HELD, changed(HELD, "residencies", 0, end=4)),
    ("carried", HELD, changed(HELD, "residencies", 2, offset=500)),
    ("carried", HELD, with_more(changed(HELD, "residencies", 2, end=5), evictions=[(2, 4, 5)])),
    ("carried", HELD, changed(HELD, "residencies", 1, offset=500)),
    ("carried", IN_BODY, changed(IN_BODY, "residencies", 3, end=6)),
    ("carried", IN_BODY, changed(IN_BODY, "residencies", 2, end=6)),
    ("interval", HELD, changed(HELD, "residencies", 3, end=6)),
    ("source", IN_BODY, with_more(IN_BODY, [(2, 400, 3, 5, DEFINED)])),
    ("boundary", HELD, changed(HELD, "prefetches", 0, end=3)),
    (
        "boundary",
        IN_BODY,
        changed(changed(IN_BODY, "evictions", 0, end=3), "residencies", 1, end=3),
    ),
    ("lost", IN_BODY, without(IN_BODY, "evictions", 0)),
    ("lost", IN_BODY, without(IN_BODY, "evictions", 1)),
    ("lost", IN_BODY, without(IN_BODY, "evictions", 2)),
]


def test_the_repaired_mapping_is_clean():
    assert verify(BASE_PROGRAM, BASE) == []


@pytest.mark.parametrize(("kind", "broken"), BROKEN)
def test_violation(kind, broken):
    found = verify(BASE_PROGRAM, broken)
    assert {v.kind for v in found} == {kind}
    for violation in found:
        assert "\n" not in violation.message
        for value in violation.values:
            if 0 <= value < len(BASE_PROGRAM.values):
                assert repr(BASE_PROGRAM.values[value].name) in violation.message


@pytest.mark.parametrize(("kind", "valid", "broken"), LOOP_BROKEN)
def test_violation_in_loop(kind, valid, broken):
    p = loop_program()
    assert verify(p, valid) == []
    assert kind in kinds(p, broken)


def test_every_kind_is_tried():
    tried = {kind for kind, _ in BROKEN} | {kind for kind, _, _ in LOOP_BROKEN}
    assert tried == set(KINDS)


def test_all_violations_are_named():
    m = changed(BASE, "residencies", 1, offset=805)
    m = without(without(m, "evictions", 1), "prefetches", 1)
    found = verify(BASE_PROGRAM, m)
    assert {v.kind for v in found} == {"capacity", "alignment", "lost", "source"}
    assert {v.times for v in found if v.kind == "lost"} == {(5,)}


def test_a_copy_of_a_later_iteration_is_stale():
    """In the first iteration slow memory holds acc, later ones find what the loop began with."""
    p = loop_program()
    held = mapping([(4, 300, 0, 8, COPIED)], [(4, 0, 1)], [(4, 7, 8)])
    assert verify(p, held) == []
    found = verify(p, with_more(held, [(4, 700, 2, 4, COPIED)], [(4, 2, 2)]))
    assert [v.kind for v in found] == ["source"]
    assert "later iteration" in found[0].message


def test_twice_resident_is_legal_while_clean():
    p = program([5] * 4, [Value("w", 100, is_input=True)], reads=[(1, 0), (3, 0)])
    both = mapping([(0, 0, 0, 2, COPIED), (0, 100, 1, 4, COPIED)], [(0, 0, 1), (0, 1, 3)])
    assert verify(p, both) == []
    assert kinds(p, changed(both, "residencies", 1, offset=0)) == {"overlap"}


def test_an_update_spoils_an_eviction_under_way():
    v = Value("v", 100, is_input=True, is_output=True)
    p = program([5] * 6, [v], reads=[(1, 0)], updates=[(1, 0), (3, 0)])
    stay = [(0, 0, 0, 6, COPIED)]
    assert verify(p, mapping(stay, [(0, 0, 1)], [(0, 4, 6)])) == []
    found = verify(p, mapping(stay, [(0, 0, 1)], [(0, 2, 5)]))
    assert [v.kind for v in found] == ["lost"]
    assert "instruction 3 updated it" in found[0].message


def test_zero_bytes_block_nothing():
    values = [Value("zero", 0, is_input=True), Value("a", 100, is_input=True)]
    p = program([5] * 2, values, reads=[(1, 0), (1, 1)], reserved={0: 50})
    m = mapping([(0, 0, 0, 2, COPIED), (1, 50, 0, 2, COPIED)], [(0, 0, 0), (1, 0, 1)])
    assert verify(p, m) == []
    assert simulate(p, m).fast_bytes.tolist() == [100, 100]


def test_finished_games_are_valid_and_run_right():
    for p, m, _, _ in random_games(150):
        assert verify(p, m) == []
        assert runs_right(p, m)


def mutated(rng: np.random.Generator, p: Program, m: Mapping) -> Mapping:
    total, machine = len(p.instructions), p.machine
    what = int(rng.integers(7))
    if what < 4 and m.residencies:
        i = int(rng.integers(len(m.residencies)))
        r = m.residencies[i]
        room = machine.fast_capacity_bytes - p.values[r.value].size_bytes
        if what == 0:
            offset = int(rng.integers(room // machine.alignment_bytes + 1))
            return changed(m, "residencies", i, offset=offset * machine.alignment_bytes)
        if what == 1:
            return changed(m, "residencies", i, end=int(rng.integers(r.start + 1, total + 1)))
        if what == 2:
            return without(m, "residencies", i)
        start = int(rng.integers(r.end))
        m = changed(m, "residencies", i, start=start)
        moved = tuple(
            dataclasses.replace(t, start=min(start, t.end))
            if (t.value, t.start) == (r.value, r.start)
            else t
            for t in m.prefetches
        )
        return dataclasses.replace(m, prefetches=moved)
    if what == 4 and m.prefetches:
        return without(m, "prefetches", int(rng.integers(len(m.prefetches))))
    if what == 5 and m.evictions:
        return without(m, "evictions", int(rng.integers(len(m.evictions))))
    if what == 6 and m.evictions:
        i, start = int(rng.integers(len(m.evictions))), int(rng.integers(1, total + 1))
        end = int(rng.integers(start, total + 1))
        return changed(m, "evictions", i, start=start, end=end)
    return m


def test_whatever_runs_wrong_is_a_violation():
    """Mutations of valid mappings, executed byte by byte on a toy machine."""
    wrong = valid = 0
    for seed, (p, m, _, _) in enumerate(random_games(150)):
        rng = np.random.default_rng(seed)
        for _ in range(6):
            mutant = mutated(rng, p, m)
            if rng.random() < 0.3:
                mutant = mutated(rng, p, mutant)
            right = runs_right(p, mutant)
            objections = verify(p, mutant)
            assert right or objections
            wrong += not right
            valid += mutant != m and not objections
    assert wrong > 100 and valid > 20


ODD = st.one_of(
    st.integers(-3, 12),
    st.integers(),
    st.sampled_from([2**31, 2**63, -(2**63), 10**40, None, True, 1.5, float("nan"), "x", ()]),
)
TRANSFERS = st.lists(st.builds(Transfer, ODD, ODD, ODD), max_size=4)
PLAIN = st.integers(-1, 9)
RESIDENCIES = st.lists(
    st.one_of(
        st.builds(Residency, ODD, ODD, ODD, ODD, st.sampled_from([DEFINED, COPIED, "", None])),
        st.builds(
            Residency,
            PLAIN,
            PLAIN.map(lambda n: n * 10),
            PLAIN,
            PLAIN,
            st.sampled_from([DEFINED, COPIED]),
        ),
    ),
    max_size=6,
)
PLAIN_TRANSFERS = st.lists(st.builds(Transfer, PLAIN, PLAIN, PLAIN), max_size=4)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([BASE_PROGRAM, loop_program()]),
    RESIDENCIES,
    st.one_of(TRANSFERS, PLAIN_TRANSFERS),
    st.one_of(TRANSFERS, PLAIN_TRANSFERS),
)
def test_hostile_mappings(p, stays, prefetches, evictions):
    m = Mapping("hand", "", tuple(stays), tuple(prefetches), tuple(evictions))
    found = verify(p, m)
    assert {v.kind for v in found} <= set(KINDS)
    assert np.isfinite(simulate(p, m).latency_s)
    assert not any("\n" in v.message for v in found)


def big_game(stays: int) -> tuple[Program, Mapping]:
    """Each value is defined, read once or twice, and leaves: 2 accesses a residency."""
    slots = stays + 2
    values = [Value(f"v{i}", 100) for i in range(stays)]
    reads = [(i + 2, i) for i in range(stays)]
    writes = [(i, i) for i in range(stays)]
    p = program([1] * slots, values, reads, writes)
    return p, mapping([(i, i % 4 * 100, i, i + 3, DEFINED) for i in range(stays)])


def test_speed():
    p, m = big_game(4000)
    began = time.process_time()
    assert verify(p, m) == []
    simulate(p, m)
    piled = dataclasses.replace(
        m, residencies=tuple(dataclasses.replace(r, offset=0, end=4002) for r in m.residencies)
    )
    assert len([v for v in verify(p, piled) if v.kind == "overlap"]) >= 3999
    assert time.process_time() - began < 5  # about 0.3 s alone
