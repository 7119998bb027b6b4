"""The judge: hand-made programs, every kind of violation, random mutations, hostile mappings."""

from __future__ import annotations

import dataclasses
import functools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallocgame.judge import KINDS, simulate, verify
from mallocgame.oracle import Oracle
from mallocgame.program import (
    Access,
    CarriedGroup,
    Instruction,
    Loop,
    Program,
    Value,
    latency,
    validate,
)
from mallocgame.program.machine import Machine
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer, all_slow
from mallocgame.synthetic.random_programs import random_program
from tests.support.execution import runs_right

MACHINE = Machine("hand", 1000, 10, slow_bandwidth=10.0, fast_bandwidth=100.0)


def program(compute, values, reads=(), writes=(), updates=(), reserved=None, **rest) -> Program:
    """compute: seconds per slot.  reads, writes, updates: (slot, value), bytes are the size."""
    sized = [(slot, v, values[v].size_bytes) for slot, v in [*reads, *writes, *updates]]
    kinds = ["read"] * len(reads) + ["write"] * (len(writes) + len(updates))
    accesses = tuple(
        Access(slot, v, kind, bytes=size, defines=len(reads) <= i < len(reads) + len(writes))
        for i, ((slot, v, size), kind) in enumerate(zip(sized, kinds, strict=True))
    )
    instructions = tuple(
        Instruction(f"i{t}", compute_s=float(s), reserved_bytes=(reserved or {}).get(t, 0))
        for t, s in enumerate(compute)
    )
    result = Program("hand", MACHINE, instructions, tuple(values), accesses, **rest)
    validate(result)
    return result


def mapping(stays, prefetches=(), evictions=()) -> Mapping:
    return Mapping(
        "hand",
        "",
        tuple(Residency(*s) for s in stays),
        tuple(Transfer(*t) for t in prefetches),
        tuple(Transfer(*t) for t in evictions),
    )


def kinds(p: Program, m: Mapping) -> set[str]:
    return {violation.kind for violation in verify(p, m)}


# --- simulate: by hand ---

STRAIGHT = program(
    [1, 20, 5, 2],
    [Value("a", 100), Value("w", 200, is_input=True), Value("o", 100, is_output=True)],
    reads=[(2, 0), (2, 1), (3, 0)],
    writes=[(0, 0), (3, 2)],
)


def test_all_slow_by_hand():
    s = simulate(STRAIGHT, all_slow(STRAIGHT))
    # 10 s of writing, 20 s of computing, 30 s of reading, 10 s of reading beside writing
    assert s.elapsed_s.tolist() == [10, 20, 30, 10]
    assert s.latency_s == s.all_slow_latency_s == 70
    assert s.saved_fraction == 0
    assert s.floor_latency_s == 1 + 20 + 5 + 2
    assert not s.stall_s.any() and not s.fast_bytes.any()
    assert s.bus_busy_s.tolist() == [10, 0, 30, 20]


def test_straight_line_by_hand():
    m = mapping([(0, 0, 0, 4, DEFINED), (1, 100, 1, 3, COPIED)], [(1, 1, 2)])
    assert verify(STRAIGHT, m) == []
    s = simulate(STRAIGHT, m)
    assert s.elapsed_s.tolist() == [1, 20, 5, 10]
    assert s.stall_s.tolist() == [0, 0, 0, 0]
    assert s.latency_s == 36 and s.saved_fraction == pytest.approx(34 / 70)
    assert s.prefetch_s.tolist() == [0, 20, 0, 0]
    assert s.fast_bytes.tolist() == [100, 300, 300, 100]


def test_what_supply_lacks_is_a_stall():
    slower = dataclasses.replace(STRAIGHT.instructions[1], compute_s=12.0)
    p = dataclasses.replace(
        STRAIGHT, instructions=(STRAIGHT.instructions[0], slower, *STRAIGHT.instructions[2:])
    )
    m = mapping(
        [(0, 0, 0, 4, DEFINED), (1, 100, 1, 3, COPIED), (2, 300, 3, 4, DEFINED)],
        [(1, 1, 2)],
        [(2, 4, 4)],
    )
    assert verify(p, m) == []
    s = simulate(p, m)
    # the prefetch misses 20 - 12 s at its reader, the eviction has no slot at all
    assert s.stall_s.tolist() == [0, 0, 8, 10]
    assert s.elapsed_s.tolist() == [1, 12, 5, 2]
    assert s.eviction_s.tolist() == [0, 0, 0, 10]
    assert s.bus_busy_s.tolist() == [0, 12, 8, 10]


def test_supply_is_what_the_instruction_leaves_idle():
    values = [Value("w", 100, is_input=True), Value("big", 80, is_input=True)]
    p = program([10, 1], values, reads=[(0, 1), (1, 0)])
    m = mapping([(0, 0, 0, 2, COPIED)], [(0, 0, 1)])
    assert simulate(p, m).stall_s.tolist() == [0, 8]  # 80 of 100 bytes of slot 0 are its own


def test_reads_before_a_prefetch_is_complete_are_slow():
    p = program([0, 1, 1], [Value("w", 100, is_input=True)], reads=[(0, 0), (1, 0), (2, 0)])
    m = mapping([(0, 0, 0, 3, COPIED)], [(0, 0, 2)])
    assert verify(p, m) == []
    assert simulate(p, m).elapsed_s.tolist() == [10, 10, 1]


LOOP = Loop(1, 5, 5)


@functools.cache
def loop_program() -> Program:
    """A weight read in the body, a carry, a value of the body, and an accumulator updated there."""
    values = [
        Value("w", 100, is_input=True),
        Value("p", 100),
        Value("r", 100),
        Value("x", 50),
        Value("acc", 40, is_input=True, is_output=True),
    ]
    return program(
        [10, 0, 6, 1, 3, 0, 4, 7],
        values,
        reads=[(2, 1), (3, 1), (3, 0), (3, 3), (3, 4), (6, 2)],
        writes=[(0, 1), (2, 3), (3, 2)],
        updates=[(3, 4)],
        loops=(LOOP,),
        carried=(CarriedGroup(0, 1, 2),),
    )


HELD = mapping(
    [(0, 200, 0, 6, COPIED), (1, 0, 0, 4, DEFINED), (2, 0, 3, 7, DEFINED), (3, 100, 2, 4, DEFINED)],
    [(0, 0, 1)],
)
IN_BODY = mapping(
    [(0, 200, 2, 4, COPIED), (1, 0, 0, 2, DEFINED), (2, 0, 3, 5, DEFINED), (4, 300, 2, 5, COPIED)],
    [(0, 2, 3), (4, 2, 3)],
    [(1, 1, 2), (2, 4, 5), (4, 4, 5)],
)


def test_loop_held_by_hand():
    p = loop_program()
    assert verify(p, HELD) == []
    s = simulate(p, HELD)
    # slot 0: the write of p takes 1 of 10 s; slot 3 still reads acc from slow memory and updates it
    # there: max(1, 1 + 1 + 0.5 + 4, 1 + 4)
    assert s.elapsed_s.tolist() == [10, 0, 6, 6.5, 3, 0, 4, 7]
    assert s.latency_s == 10 + 5 * (6 + 6.5 + 3) + 4 + 7
    assert s.all_slow_latency_s == 10 + 5 * (10 + (10 + 10 + 5 + 4) + 3) + 10 + 7
    assert s.fast_bytes.tolist() == [200, 200, 250, 250, 200, 200, 100, 0]  # p and r share 3


def test_loop_in_body_by_hand():
    p = loop_program()
    assert verify(p, IN_BODY) == []
    s = simulate(p, IN_BODY)
    # p is read from slow memory twice, so slot 2 has no idle supply for its 14 s of prefetches;
    # slot 4 has 3 s for 14 s of evictions, and p's eviction follows slot 0, before a marker
    assert s.stall_s.tolist() == [0, 10, 0, 14, 11, 0, 0, 0]
    assert s.elapsed_s[[2, 3]].tolist() == [10, 10 + 1 + 5 + 0.4]
    assert s.latency_s == pytest.approx(20 + 5 * (10 + (16.4 + 14) + (3 + 11)) + 10 + 7)


# --- verify: every kind ---

BASE_PROGRAM = program(
    [100] * 8,
    [
        Value("a", 200),
        Value("w", 200, is_input=True),
        Value("o", 100, is_output=True),
        Value("pinned", 50, is_input=True, is_pinned=True),
        Value("big", 2000, is_input=True),
        Value("state", 50, is_input=True, is_output=True),
    ],
    reads=[(2, 0), (5, 0), (2, 1), (6, 1), (4, 3), (4, 4), (3, 5), (7, 5)],
    writes=[(0, 0), (3, 2)],
    updates=[(3, 5)],
    reserved={6: 100},
)
BASE = mapping(
    [
        (0, 0, 0, 5, DEFINED),
        (1, 200, 0, 3, COPIED),
        (1, 200, 4, 7, COPIED),
        (2, 400, 3, 5, DEFINED),
        (5, 500, 1, 8, COPIED),
    ],
    [(1, 0, 2), (1, 4, 6), (5, 1, 3)],
    [(0, 3, 5), (2, 4, 5), (5, 4, 6)],
)


def changed(m: Mapping, part: str, index: int, **changes) -> Mapping:
    items = list(getattr(m, part))
    items[index] = dataclasses.replace(items[index], **changes)
    return dataclasses.replace(m, **{part: tuple(items)})


def without(m: Mapping, part: str, index: int) -> Mapping:
    items = getattr(m, part)
    return dataclasses.replace(m, **{part: items[:index] + items[index + 1 :]})


def with_more(m: Mapping, stays=(), prefetches=(), evictions=()) -> Mapping:
    more = mapping(stays, prefetches, evictions)
    return dataclasses.replace(
        m,
        residencies=m.residencies + more.residencies,
        prefetches=m.prefetches + more.prefetches,
        evictions=m.evictions + more.evictions,
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


# --- random games, mutations, hostility ---


@functools.cache
def random_games(count: int) -> list[tuple[Program, Mapping, float, float]]:
    """Programs, mappings, returns, and what rounding to ticks can explain of a difference."""
    games = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        p = random_program(rng, instructions=int(rng.integers(5, 50)), values=10)
        oracle, returned, boldness = Oracle(p), 0.0, rng.random()
        while oracle.question is not None:
            legal = [a for a in range(3) if oracle.legal[a]]
            returned += oracle.step(int(rng.choice(legal)) if rng.random() < boldness else legal[0])
        all_slow_s = simulate(p, all_slow(p)).all_slow_latency_s
        noise = 2 * sum(p.weights) * oracle.tables.tick_s / all_slow_s if all_slow_s else 0.0
        games.append((p, oracle.mapping(), returned, noise))
    return games


def test_finished_games_are_valid_and_run_right():
    for p, m, _, _ in random_games(150):
        assert verify(p, m) == []
        assert runs_right(p, m)


def test_simulation_agrees_with_the_return():
    exact = 0
    for p, m, returned, noise in random_games(150):
        s = simulate(p, m)
        # The supply that a cancelled eviction took is lost in the game and free here.
        assert s.saved_fraction >= returned - noise - 1e-9
        exact += abs(s.saved_fraction - returned) <= noise + 1e-9
        assert s.latency_s >= s.floor_latency_s * (1 - 1e-12)
    assert exact >= 147


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


def plain_simulation(p: Program, m: Mapping) -> tuple[float, list[float]]:
    """Latency and stalls once more: every slot asks every copy."""
    ready = {}
    for r in m.residencies:
        ends = [t.end for t in m.prefetches if (t.value, t.start) == (r.value, r.start)]
        ready[r] = max(e for e in ends if e < r.end) if r.arrival == COPIED else r.start
    copies = [[t.end, t.start, p.values[t.value].size_bytes, False] for t in m.prefetches]
    copies += [[t.end, t.start, p.values[t.value].size_bytes, True] for t in m.evictions]
    bandwidth = p.machine.slow_bandwidth
    stall, elapsed = [0.0] * len(p.instructions), []
    missing = [size / bandwidth for _, _, size, _ in copies]

    def turn(k: int) -> tuple:
        """Earliest deadline first; of equal ones the shorter window, then evictions."""
        end, start, size, evicts = copies[k]
        return end, -start, -evicts, -size

    for t, ins in enumerate(p.instructions):
        time_of = {"read": ins.fixed_read_s, "write": ins.fixed_write_s}
        own = ins.fixed_slow_bytes
        for a in p.accesses_at[t]:
            fast = any(
                r.value == a.value
                and ready[r] <= t < r.end
                and (not a.defines or (r.start == t and r.arrival == DEFINED))
                for r in m.residencies
            )
            slow_s = a.bytes / bandwidth if a.slow_s is None else a.slow_s
            fast_s = a.bytes / p.machine.fast_bandwidth if a.fast_s is None else a.fast_s
            time_of[a.kind] += fast_s if fast else slow_s
            own += 0 if fast else a.bytes
        elapsed.append(max(ins.compute_s, *time_of.values()))
        left = max(0.0, elapsed[t] - own / bandwidth)
        for k in sorted(range(len(copies)), key=turn):
            if copies[k][1] <= t < copies[k][0]:
                fed = min(left, missing[k])
                left, missing[k] = left - fed, missing[k] - fed
    for k, (end, _, _, evicts) in enumerate(copies):
        stall[end - 1 if evicts else end] += missing[k]
    pairs = zip(p.weights, elapsed, stall, strict=True)
    return sum(w * (e + s) for w, e, s in pairs), stall


def test_simulation_agrees_with_a_plain_loop():
    stalled = 0
    for seed, (p, m, _, _) in enumerate(random_games(150)):
        rng = np.random.default_rng(seed)
        fewer = tuple(  # shorter windows: more stalls
            dataclasses.replace(t, start=int(rng.integers(t.start, t.end + 1))) for t in m.evictions
        )
        m = dataclasses.replace(m, evictions=fewer)
        s = simulate(p, m)
        total, stall = plain_simulation(p, m)
        assert s.latency_s == pytest.approx(total, rel=1e-9, abs=1e-30)
        np.testing.assert_allclose(s.stall_s, stall, rtol=1e-6, atol=1e-9 * max(total, 1e-30))
        stalled += s.stall_s.max() > 0
    assert stalled > 20


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


# --- the formula ---


def test_latency_formula_in_ticks_and_in_jax():
    jnp = pytest.importorskip("jax.numpy")
    compute, read, write = np.array([3, 1, 0]), np.array([1, 5, 0]), np.array([2, 2, 0])
    for xp in (np, jnp):
        elapsed = latency.elapsed_time(*(xp.asarray(x) for x in (compute, read, write)), xp)
        assert elapsed.tolist() == [3, 5, 0] and "int" in str(elapsed.dtype)
        assert latency.supply_time(elapsed, xp.asarray([1, 9, 0]), xp).tolist() == [2, 0, 0]


def test_default_times_are_bytes_over_bandwidth():
    slow, fast = latency.access_seconds(STRAIGHT)
    assert slow.tolist() == [10, 20, 10, 10, 10]
    assert fast.tolist() == [1, 2, 1, 1, 1]
    assert latency.copy_seconds(STRAIGHT).tolist() == [10, 20, 10]
