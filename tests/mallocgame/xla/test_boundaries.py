"""Production's stays and copies around loops become ones that the judge accepts."""

from collections.abc import Sequence

import numpy as np
import pytest

from mallocgame.judge import simulate, verify
from mallocgame.program import Loop, Program, load_program
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer
from mallocgame.suites import find_programs, load_production
from mallocgame.synthetic.random_programs import random_program
from mallocgame.xla.make.boundaries import within_loops
from tests.support.handmade import MARKER, Slot, program, value


def mapping(
    of: Program,
    stays: list[tuple[int, int, int, str]],
    prefetches: Sequence[tuple[int, int, int]] = (),
    evictions: Sequence[tuple[int, int, int]] = (),
) -> Mapping:
    """Stays are (value, start, end, arrival); the values lie side by side in their order."""
    return Mapping(
        of.name,
        of.fingerprint,
        tuple(Residency(v, 8 * v, start, end, how) for v, start, end, how in stays),
        tuple(Transfer(*t) for t in prefetches),
        tuple(Transfer(*t) for t in evictions),
    )


def kinds(of: Program, given: Mapping) -> set[str]:
    return {v.kind for v in verify(of, given)}


def test_copy_over_a_whole_loop_ends_before_it_or_starts_behind_it() -> None:
    slots = [Slot(20.0), MARKER, Slot(1.0), MARKER, Slot(1.0), Slot(reads="a")]
    made = program(64, {"a": value(8, is_input=True)}, slots, (Loop(1, 3, 4),))
    given = mapping(made, [(0, 0, 6, COPIED)], [(0, 0, 5)])
    assert kinds(made, given) == {"boundary"}
    mended, notes = within_loops(made, given)
    assert not verify(made, mended) and len(notes) == 1
    assert mended.prefetches == (Transfer(0, 0, 1),)  # 20 s of supply there, 1 s behind the loop
    assert simulate(made, mended).latency_s == pytest.approx(20 + 4 + 1)
    late = mapping(made, [(0, 1, 6, COPIED)], [(0, 1, 5)])
    mended, _ = within_loops(made, late)
    assert mended.prefetches == (Transfer(0, 0, 1),)  # no supply in [1, 1): it starts earlier


def test_start_behind_the_loop_where_that_is_faster() -> None:
    slots = [Slot(1.0), MARKER, Slot(1.0), MARKER, Slot(20.0), Slot(reads="a")]
    made = program(64, {"a": value(8, is_input=True)}, slots, (Loop(1, 3, 4),))
    mended, _ = within_loops(made, mapping(made, [(0, 0, 6, COPIED)], [(0, 0, 5)]))
    assert not verify(made, mended)
    assert mended.prefetches == (Transfer(0, 3, 5),) and mended.residencies[0].start == 3


def test_value_fetched_at_the_end_of_a_body_for_the_next_iteration() -> None:
    slots = [
        Slot(9.0), MARKER, Slot(20.0), Slot(reads="a"), Slot(9.0), Slot(9.0), MARKER, Slot(9.0)
    ]  # fmt: skip
    made = program(64, {"a": value(8, is_input=True)}, slots, (Loop(1, 6, 4),))
    given = mapping(made, [(0, 0, 4, COPIED), (0, 4, 7, COPIED)], [(0, 0, 1), (0, 4, 5)])
    assert kinds(made, given) == {"carried"}
    mended, notes = within_loops(made, given)
    assert not verify(made, mended) and len(notes) == 2
    assert mended.residencies == (Residency(0, 0, 2, 4, COPIED),)
    assert mended.prefetches == (Transfer(0, 2, 3),)
    # The read is in fast memory as production has it, and there is supply for the copy.
    assert simulate(made, mended).elapsed_s[3] == simulate(made, given).elapsed_s[3] == 0
    assert not simulate(made, mended).stall_s.any()


def test_dirty_value_evicted_in_a_body_leaves_before_it() -> None:
    slots = [
        Slot(defines="a"), Slot(20.0), MARKER, Slot(20.0), Slot(reads="a"), Slot(9.0), MARKER,
        Slot(reads="a"),
    ]  # fmt: skip
    made = program(64, {"a": value(8)}, slots, (Loop(2, 6, 4),))
    given = mapping(made, [(0, 0, 5, DEFINED)], [], [(0, 3, 5)])
    assert {"carried", "boundary"} <= kinds(made, given)
    mended, _ = within_loops(made, given)
    assert not verify(made, mended)
    assert mended.evictions == (Transfer(0, 1, 3),)
    assert [(r.start, r.end, r.arrival) for r in mended.residencies] == [
        (0, 3, DEFINED),
        (3, 5, COPIED),
    ]


def test_result_of_a_group_fetched_back_at_the_end_of_the_body() -> None:
    slots = [
        Slot(defines="p"), MARKER, Slot(20.0, reads="p"), Slot(20.0), Slot(defines="r"),
        Slot(20.0), Slot(20.0), MARKER, Slot(reads="r"),
    ]  # fmt: skip
    values = {"p": value(8), "r": value(8)}
    made = program(64, values, slots, (Loop(1, 7, 4),), ((0, "p", "r"),))
    stays = (Residency(0, 0, 0, 4, DEFINED), Residency(1, 0, 5, 9, COPIED))
    given = Mapping(made.name, made.fingerprint, stays, (Transfer(1, 5, 7),), (Transfer(0, 2, 4),))
    assert kinds(made, given) == {"boundary"}
    mended, notes = within_loops(made, given)
    assert not verify(made, mended) and len(notes) == 2
    assert mended.residencies == stays
    assert mended.prefetches == (Transfer(1, 5, 6),)


def test_result_that_is_evicted_does_not_leave_the_body() -> None:
    slots = [
        Slot(defines="p"), MARKER, Slot(reads="p"), Slot(defines="r"), Slot(20.0), MARKER,
        Slot(reads="r"),
    ]  # fmt: skip
    values = {"p": value(8), "r": value(8)}
    made = program(64, values, slots, (Loop(1, 5, 4),), ((0, "p", "r"),))
    given = mapping(made, [(1, 3, 6, DEFINED)], [], [(1, 4, 5)])
    assert kinds(made, given) == {"carried"}
    mended, _ = within_loops(made, given)
    assert not verify(made, mended)
    assert mended.residencies == (Residency(1, 8, 3, 5, DEFINED),)
    assert mended.evictions == given.evictions


def test_valid_mapping_stays_as_it_is() -> None:
    for name in ("lstm_scan_v4_64mib", "gpt2_decode_v4_16mib"):
        (path,) = find_programs([f"tpu_v4_sample/{name}"])
        made = load_program(path)
        given = load_production(path, made)
        assert given is not None and within_loops(made, given) == (given, ())


def _random_mapping(of: Program, rng: np.random.Generator) -> Mapping:
    """Stays and copies that know nothing of loops, every value at a place of its own."""
    total = len(of.instructions)
    stays, prefetches, evictions, place = [], [], [], 0
    for v in range(len(of.values)):
        touched = [a for a in of.accesses if a.value == v]
        end = max((a.instruction for a in touched if a.defines), default=0)
        while touched and end < total - 1:
            start = int(rng.integers(end, total - 1))
            defined = any(a.defines and a.instruction == start for a in touched)
            end = int(rng.integers(start + 1, total))
            stays.append(Residency(v, place, start, end, DEFINED if defined else COPIED))
            if not defined:
                prefetches.append(Transfer(v, start, int(rng.integers(start, end))))
            if rng.random() < 0.5:
                left = int(rng.integers(start + 1, end + 1))
                evictions.append(Transfer(v, left, int(rng.integers(left, end + 1))))
        place += of.values[v].size_bytes
    return Mapping(of.name, of.fingerprint, tuple(stays), tuple(prefetches), tuple(evictions))


def test_nothing_is_left_of_what_loops_forbid() -> None:
    seen = 0
    for seed in range(60):
        rng = np.random.default_rng([23, seed])
        made = random_program(rng)
        given = _random_mapping(made, rng)
        seen += bool(kinds(made, given) & {"boundary", "carried"})
        mended, notes = within_loops(made, given)
        assert not kinds(made, mended) & {"boundary", "carried", "interval"}, seed
        assert bool(notes) == (mended != given)
        assert within_loops(made, mended) == (mended, ())
    assert seen > 20
