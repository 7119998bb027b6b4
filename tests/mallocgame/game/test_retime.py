"""Copies of finished games get the time that their places leave (docs/game.md, section 6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.optimize import linprog

from mallocgame.game.options import GameConfig
from mallocgame.game.retime import LOOK, ByTime, retime
from mallocgame.judge import simulate, verify
from mallocgame.judge.reading import Reading
from mallocgame.mappers.layouts.local_search import local_search
from mallocgame.oracle import COPY, DROP, NO_COPY, Oracle
from mallocgame.packing.host import pack
from mallocgame.packing.problem import PackingProblem
from mallocgame.program import Program
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer
from mallocgame.suites import find_programs, load_production, load_programs
from mallocgame.synthetic.random_programs import random_program
from tests.support import handmade
from tests.support.handmade import Slot, value

PROGRAMS = 60
CONFIG = GameConfig(inert_fraction=0.0)


def finished(program: Program, seed: int) -> Mapping | None:
    """A game of the oracle that mostly says yes, packed; None if it does not pack."""
    oracle, rng = Oracle(program, CONFIG), np.random.default_rng(seed)
    while oracle.question is not None:
        wanted = int(rng.choice([COPY, NO_COPY, DROP], p=[0.6, 0.3, 0.1]))
        oracle.step(wanted if oracle.legal[wanted] else DROP)
    stays, align = oracle.residencies(), program.machine.align
    roots: list[int] = []
    for i, stay in enumerate(stays):
        roots.append(i if stay.tied is None else roots[stay.tied])
    first, item = np.unique(np.array(roots, np.int64), return_inverse=True)
    floor = np.zeros(len(first), np.int64)
    for stay, i in zip(stays, item, strict=True):
        held = [align(program.instructions[t].reserved_bytes) for t in range(stay.start, stay.end)]
        floor[i] = max(floor[i], *held)
    size = np.array([align(program.values[stays[i].value].size_bytes) for i in first], np.int64)
    lower, upper = (np.array([getattr(s, k) for s in stays], np.int64) for k in ("start", "end"))
    capacity = program.machine.fast_capacity_bytes
    offsets = pack(PackingProblem(capacity, size, floor, item, lower, upper), 1.0).offsets
    if (offsets < 0).any():
        return None
    places = [
        Residency(s.value, int(offset), s.start, s.end, s.arrival)
        for s, offset in zip(stays, offsets[item], strict=True)
    ]
    return Mapping(
        program.name,
        program.fingerprint,
        tuple(places),
        tuple(oracle.prefetches),
        tuple(oracle.evictions),
    )


def random_games() -> Iterator[tuple[Program, Mapping]]:
    for seed in range(PROGRAMS):
        rng = np.random.default_rng([83, seed])
        program = random_program(rng, instructions=40, values=14)
        mapping = finished(program, seed)
        if mapping is not None:
            assert verify(program, mapping) == []
            yield program, mapping


@pytest.fixture(scope="module")
def games() -> list[tuple[Program, Mapping]]:
    return list(random_games())


def waited(program: Program, mapping: Mapping) -> float:
    """Seconds that the judge says are waited for copies, weighted."""
    return float(np.array(program.weights) @ simulate(program, mapping).stall_s)


def test_no_program_becomes_slower_and_some_faster(games):
    faster = 0
    for program, mapping in games:
        after = retime(program, mapping)
        assert [str(v) for v in verify(program, after)] == []
        before_s, after_s = (simulate(program, m).latency_s for m in (mapping, after))
        assert after_s <= before_s * (1 + 1e-12)
        faster += after_s < before_s * (1 - 1e-6)
    assert faster >= 10 and len(games) > PROGRAMS // 2


def test_places_and_what_fast_memory_serves_stay(games):
    for program, mapping in games:
        after = retime(program, mapping)
        kept = sorted((r.value, r.offset, r.arrival) for r in mapping.residencies)
        assert sorted((r.value, r.offset, r.arrival) for r in after.residencies) == kept
        served = [Reading(program, m).served_fast() for m in (mapping, after)]
        np.testing.assert_array_equal(*served)
        # Windows only grow.
        rows = ("prefetches", "end", "start", -1), ("evictions", "start", "end", 1)
        for copies, kept, moved, way in rows:
            pairs = zip(
                *(_ordered(getattr(m, copies), kept, moved) for m in (mapping, after)), strict=True
            )
            for (*one, at), (*same, then) in pairs:
                assert one == same and way * then >= way * at


def _ordered(copies: tuple[Transfer, ...], kept: str, moved: str) -> list[tuple[int, int, int]]:
    return sorted((copy.value, getattr(copy, kept), getattr(copy, moved)) for copy in copies)


def test_what_copies_lack_is_the_least_for_their_windows(games):
    """A linear program shares the supply of the windows as well as can be."""
    compared = 0
    for program, mapping in games[:25]:
        after = retime(program, mapping)
        reading, simulation = Reading(program, after), simulate(program, after)
        idle = simulation.prefetch_s + simulation.eviction_s - simulation.stall_s
        own = simulation.bus_busy_s - simulation.prefetch_s - simulation.eviction_s
        supply = np.maximum(simulation.elapsed_s - own, 0.0)
        assert (idle <= supply + 1e-12).all()
        copies = [t for t, _ in reading.fetches] + list(reading.evictions)
        cells = [(i, t) for i, c in enumerate(copies) for t in range(c.start, c.end)]
        if not cells:
            continue
        demand = [
            program.values[c.value].size_bytes / program.machine.slow_bandwidth for c in copies
        ]
        scale = max(*demand, *supply, 1e-30)
        rows = np.zeros((len(copies) + len(supply), len(cells)))
        for j, (i, t) in enumerate(cells):
            rows[i, j] = rows[len(copies) + t, j] = 1
        limits = np.array([*demand, *supply]) / scale
        best = linprog(-np.ones(len(cells)), A_ub=rows, b_ub=limits)
        lacking = sum(demand) / scale + best.fun
        assert simulation.stall_s.sum() / scale == pytest.approx(lacking, abs=1e-6)
        compared += lacking > 1e-6
    assert compared >= 5


def earlier(mapping: Mapping, number: int) -> Mapping:
    """The mapping with one prefetch that begins a slot earlier."""
    copy = mapping.prefetches[number]
    stays = tuple(
        dataclasses.replace(r, start=r.start - 1)
        if (r.value, r.start, r.arrival) == (copy.value, copy.start, COPIED)
        else r
        for r in mapping.residencies
    )
    copies = list(mapping.prefetches)
    copies[number] = dataclasses.replace(copy, start=copy.start - 1)
    return dataclasses.replace(mapping, residencies=stays, prefetches=tuple(copies))


def test_no_prefetch_could_begin_earlier_to_any_avail(games):
    """Slot by slot, as far back as the judge allows: nobody would wait less.

    But for slots in which fast memory has the value already, in another place.
    """
    tried = 0
    for program, mapping in games:
        after = retime(program, mapping)
        now = waited(program, after)
        for number in range(len(after.prefetches)):
            other = after
            while other.prefetches[number].start > 0:
                other = earlier(other, number)
                copy = other.prefetches[number]
                rows = [r for r in other.residencies if r.value == copy.value]
                if verify(program, other) or sum(r.start <= copy.start < r.end for r in rows) > 1:
                    break
                assert waited(program, other) >= now * (1 - 1e-5) - 1e-15
                tried += 1
    assert tried > 100


def test_real_mappings_keep_the_rules_and_lose_nothing():
    """Mappings that are no games: the compiler's and local search's, with loops and groups."""
    names = ["muzero_b64_inference", "lstm_b16_train", "gpt2_generate_b4", "wavernn_b16_inference"]
    for name in names:
        (program,) = load_programs([f"tpu_v4/{name}"])
        (path,) = find_programs([f"tpu_v4/{name}"])
        production = load_production(path, program)
        assert production is not None
        for mapping in (production, local_search(program, CONFIG, 0.5, 0).mapping):
            after = retime(program, mapping)
            assert [str(v) for v in verify(program, after)] == []
            saved = [simulate(program, m).saved_fraction for m in (mapping, after)]
            assert saved[1] >= saved[0] - 1e-12


def two_copies(**changed: Slot) -> tuple[Program, Mapping]:
    """x and y take two seconds to copy, and are read in slots 4 and 5; z lies where y will be.

    Every slot computes for a second and leaves it to copies.  x was copied as late as could be, in
    slots 2 and 3, so that y has slot 4 alone and its reader waits for a second.
    """
    first, second = changed.get("first", Slot(defines="z")), changed.get("second", Slot())
    slots = [first, second, Slot(reads="z"), Slot(), Slot(reads="x"), Slot(reads="y")]
    slots = [dataclasses.replace(slot, compute=1.0) for slot in slots]
    values = {"x": value(2, is_input=True), "y": value(2, is_input=True), "z": value(2)}
    program = handmade.program(4, values, slots)
    stays = (
        Residency(0, 0, 2, 5, COPIED),
        Residency(1, 2, 4, 6, COPIED),
        Residency(2, 2, 0, 3, DEFINED),
    )
    copies = (Transfer(0, 2, 4), Transfer(1, 4, 5))
    mapping = Mapping(program.name, program.fingerprint, stays, copies)
    assert verify(program, mapping) == []
    return program, mapping


def test_a_copy_makes_way_for_a_later_one():
    program, mapping = two_copies()
    assert waited(program, mapping) == pytest.approx(1.0)
    after = retime(program, mapping)
    assert after.prefetches == (Transfer(0, 0, 4), Transfer(1, 3, 5))
    assert waited(program, after) == pytest.approx(0.0)


def test_a_copy_begins_behind_a_reservation():
    program, mapping = two_copies(first=Slot(defines="z", reserved=1))
    after = retime(program, mapping)
    assert after.prefetches == (Transfer(0, 1, 4), Transfer(1, 3, 5))
    assert waited(program, after) == pytest.approx(0.0)


def test_a_copy_begins_behind_a_write_in_slow_memory():
    program, mapping = two_copies(second=Slot(updates="x"))
    assert retime(program, mapping) == mapping
    assert waited(program, mapping) == pytest.approx(1.0)


def written_back(last: Slot, *more: Residency) -> tuple[Program, Mapping]:
    """w takes two seconds to write back from slot 1 on, and was given one of them."""
    slots = [Slot(defines="w"), Slot(), Slot(), last]
    slots = [dataclasses.replace(slot, compute=1.0) for slot in slots]
    values = {"w": value(2, is_output=True), "u": value(2)}
    program = handmade.program(2, values, [*slots, Slot(compute=1.0, reads="u")])
    mapping = Mapping(
        program.name,
        program.fingerprint,
        (Residency(0, 0, 0, 2, DEFINED), *more),
        (),
        (Transfer(0, 1, 2),),
    )
    assert verify(program, mapping) == []
    assert waited(program, mapping) == pytest.approx(1.0)
    return program, mapping


def test_an_eviction_goes_on_while_the_place_is_free():
    program, mapping = written_back(Slot(defines="u"), Residency(1, 0, 3, 5, DEFINED))
    after = retime(program, mapping)
    assert after.evictions == (Transfer(0, 1, 3),)
    assert after.residencies[0] == Residency(0, 0, 0, 3, DEFINED)
    assert waited(program, after) == pytest.approx(0.0)


def test_an_eviction_ends_where_the_place_is_taken():
    slots = Slot(defines="u")
    program, mapping = written_back(slots)
    taken = dataclasses.replace(
        program,
        accesses=tuple(
            dataclasses.replace(a, instruction=2) if a.defines and a.value == 1 else a
            for a in program.accesses
        ),
    )
    full = dataclasses.replace(
        mapping,
        fingerprint=taken.fingerprint,
        residencies=(*mapping.residencies, Residency(1, 0, 2, 5, DEFINED)),
    )
    assert verify(taken, full) == []
    assert retime(taken, full) == full


def test_an_eviction_ends_before_the_value_is_copied_back():
    slots = [Slot(defines="w"), Slot(), Slot(), Slot(), Slot(reads="w")]
    # Slots 2 and 3 have more supply than the copy back takes.
    seconds = (1.0, 1.0, 3.0, 3.0, 1.0)
    slots = [dataclasses.replace(slot, compute=s) for slot, s in zip(slots, seconds, strict=True)]
    program = handmade.program(4, {"w": value(2)}, slots)
    mapping = Mapping(
        program.name,
        program.fingerprint,
        (Residency(0, 0, 0, 2, DEFINED), Residency(0, 2, 2, 5, COPIED)),
        (Transfer(0, 2, 4),),
        (Transfer(0, 1, 2),),
    )
    assert verify(program, mapping) == [] and waited(program, mapping) == pytest.approx(1.0)
    assert retime(program, mapping) == mapping


def test_an_eviction_ends_before_the_value_is_read():
    values = {"w": value(2)}
    slots = [Slot(compute=1.0, defines="w"), Slot(compute=1.0), Slot(compute=1.0, reads="w")]
    program = handmade.program(2, values, [*slots, Slot(compute=1.0)])
    mapping = Mapping(
        program.name,
        program.fingerprint,
        (Residency(0, 0, 0, 2, DEFINED),),
        (),
        (Transfer(0, 1, 2),),
    )
    assert verify(program, mapping) == []
    assert retime(program, mapping) == mapping


def test_what_is_in_the_way_is_found_however_far_it_is():
    """Against a look at every residency; some of them take no bytes."""
    rng, found = np.random.default_rng(5), 0
    for _ in range(200):
        many = int(rng.integers(0, 400))
        times = rng.integers(-50, 300, many).tolist()
        low = rng.integers(0, 1000, many)
        high = low + rng.integers(0, 12, many)
        begun = ByTime(times, low, high)
        for _ in range(20):
            time, limit, bottom = (int(x) for x in rng.integers([-60, -60, 0], [310, 310, 1000]))
            top = bottom + int(rng.integers(0, 12))
            ahead = [
                t
                for t, a, b in zip(times, low, high, strict=True)
                if time <= t and max(a, bottom) < min(b, top)
            ]
            assert begun.next(time, limit, bottom, top) == min([limit, *ahead])
            found += min([limit, *ahead]) < limit and sum(time <= t for t in times) > 2 * LOOK
    assert found > 100
