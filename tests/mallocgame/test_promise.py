"""A promise says how sure it is, and promises nothing that the compiler cannot follow."""

import dataclasses
import math

import pytest

import mallocgame
from mallocgame.followed import Follower, without_late_copies
from mallocgame.judge import simulate
from mallocgame.program import Access, Instruction, Program, Value
from mallocgame.program.machine import Machine, machine_by_name
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer, all_slow
from mallocgame.promise import (
    FOLLOWED,
    SPREAD,
    USUAL_ERROR,
    USUAL_PLACEMENTS,
    import_notes,
    latency_error,
    promise,
)

MACHINE = Machine("m", 1000, 10, 10.0, 100.0, clock_hz=1.0)


def program(**calibration) -> Program:
    """Two instructions: `a` is read by both, and is worth more than its copy takes.

    `c` takes no time anywhere, and leaves no room for others in fast memory.
    """
    values = (Value("a", 100, is_input=True), Value("b", 100, is_output=True), Value("c", 950))
    accesses = (
        Access(0, 0, "read", (0,), 100, 20.0, 0.0),
        Access(0, 1, "write", (0,), 100, 5.0, 0.0, defines=True),
        Access(0, 2, "write", (0,), 0, 0.0, 0.0, defines=True),
        Access(1, 0, "read", (0,), 100, 20.0, 0.0),
    )
    made = {"calibration": {"seen": [[0, 1], [0]], **calibration}}
    instructions = (Instruction("one", compute_s=1.0), Instruction("two", compute_s=1.0))
    return Program("p", MACHINE, instructions, values, accesses, provenance=made)


def crowded(made: Program) -> Mapping:
    """What production does: `c` has the room."""
    return Mapping(made.name, made.fingerprint, (Residency(2, 0, 0, 2, DEFINED),))


def awaited(made: Program) -> Mapping:
    """`a` is copied over an empty interval, ahead of the first instruction."""
    return Mapping(
        made.name, made.fingerprint, (Residency(0, 0, 0, 2, COPIED),), (Transfer(0, 0, 0),)
    )


def test_a_copy_that_nothing_could_hide_promises_nothing():
    made = program()
    assert simulate(made, awaited(made)).latency_s < simulate(made, all_slow(made)).latency_s
    assert without_late_copies(made, all_slow(made), awaited(made)).residencies == ()
    found = promise(made, crowded(made), awaited(made))
    assert found is not None and found.gain == 0 and not found.is_clear
    assert "no gain that can be told from zero" in str(found)


def copied(made: Program) -> Mapping:
    """`a` is copied while the first instruction runs, for the second one."""
    return Mapping(
        made.name, made.fingerprint, (Residency(0, 0, 0, 2, COPIED),), (Transfer(0, 0, 1),)
    )


def test_a_copy_that_takes_longer_than_what_runs_meanwhile_promises_nothing():
    quick = dataclasses.replace(program(), machine=dataclasses.replace(MACHINE, slow_bandwidth=4.9))
    found = promise(quick, crowded(quick), copied(quick))  # 20.4 s behind 20 s
    assert found is not None and found.simulated == found.gain == 0
    enough = dataclasses.replace(
        program(), machine=dataclasses.replace(MACHINE, slow_bandwidth=5.1)
    )
    found = promise(enough, crowded(enough), copied(enough))
    assert found is not None and found.gained > 0.8
    # Production has the copy too: then it can be had.
    found = promise(quick, copied(quick), copied(quick))
    assert found is not None and found.simulated == 0 and found.gained == 0
    assert without_late_copies(quick, copied(quick), copied(quick)) == copied(quick)


def test_the_compilers_time_of_a_copy_is_by_the_published_bandwidth():
    v4 = machine_by_name("tpu_v4")
    estimated = dataclasses.replace(v4, slow_bandwidth=0.75 * v4.slow_bandwidth)
    made = dataclasses.replace(program(), machine=estimated)
    values = (dataclasses.replace(made.values[0], size_bytes=2 * 10**7), *made.values[1:])
    large = dataclasses.replace(made, values=values)
    seconds = 2e7 / v4.slow_bandwidth  # 33 us; 43 us at the estimates' rate
    for slow_s, is_kept in ((1.1 * seconds, True), (0.9 * seconds, False)):
        accesses = tuple(
            dataclasses.replace(a, slow_s=slow_s) if a.value < 2 else a for a in large.accesses
        )
        short = dataclasses.replace(
            large, accesses=accesses,
            instructions=tuple(dataclasses.replace(i, compute_s=0.0) for i in large.instructions),
        )  # fmt: skip
        left = without_late_copies(short, all_slow(short), copied(short)).residencies
        assert bool(left) == is_kept


def test_the_error_is_that_of_copies_and_of_placements_the_fit_has_not_seen():
    made = program()
    found = promise(made, crowded(made), copied(made))  # the second instruction alone is faster
    assert found is not None
    saved, now = 20.0 - 1.0, 20.0 + 1.0  # and 10 s of waiting: the first one needs the bus itself
    assert found.simulated == pytest.approx(40.0 / (now + 10.0) - 1)
    doubt = USUAL_ERROR * saved / now  # of a placement that a search may have chosen for its error
    assert found.gain == pytest.approx(found.simulated - doubt)
    assert found.gained == found.unseen == pytest.approx(saved / now)
    lost = SPREAD * saved / now
    assert found.error == pytest.approx(lost + doubt)
    known = program(seen=[[0], [0, 1]])
    found = promise(known, crowded(known), copied(known))
    assert found is not None and found.unseen == 0 and found.error == pytest.approx(lost)
    assert found.gain == found.simulated
    better = program(unseen_savings=[0.1, None, -0.1])
    found = promise(better, crowded(better), copied(better))
    rate = math.sqrt((0.1**2 + 0.1**2 + USUAL_PLACEMENTS * USUAL_ERROR**2) / (2 + USUAL_PLACEMENTS))
    assert found is not None and found.error == pytest.approx(lost + rate * saved / now)


def test_a_part_of_what_is_saved_is_not_counted_on():
    made = program()
    idle = tuple(dataclasses.replace(a, bytes=0) for a in made.accesses)
    made = dataclasses.replace(made, accesses=idle)  # the bus is free: no waiting
    found = promise(made, crowded(made), copied(made))
    assert found is not None and found.simulated == pytest.approx(40 / 21 - 1)
    expected = 40 / 21 - 1 - (1 - FOLLOWED) * 19 / 21 - USUAL_ERROR * found.unseen
    assert found.gain == pytest.approx(expected)


def test_what_is_written_in_fast_memory_is_followed():
    made = program(seen=[[0, 2], [0]])
    mapping = Mapping(made.name, made.fingerprint, (Residency(1, 0, 0, 1, DEFINED),))
    faster = tuple(
        dataclasses.replace(a, slow_s=50.0) if a.value == 1 else a for a in made.accesses
    )
    made = dataclasses.replace(made, accesses=faster)
    found = promise(made, crowded(made), mapping)  # 50 and 20 s become 20 and 20
    assert found is not None and found.simulated == pytest.approx(70 / 40 - 1)
    assert found.error == pytest.approx(SPREAD * 30 / 40) and found.is_clear
    assert found.gain == pytest.approx(found.simulated - (1 - FOLLOWED) * 30 / 40)


def test_what_production_leaves_in_slow_memory_though_there_is_room_stays_there():
    made = program()
    found = promise(made, all_slow(made), copied(made))
    assert found is not None and found.simulated == found.gain == found.error == 0
    follower = Follower(made, all_slow(made))
    assert not follower.follows(copied(made))[1].any()
    # Room that the value itself has in production is room.
    part = Mapping(
        made.name, made.fingerprint, (Residency(0, 0, 1, 2, COPIED),), (Transfer(0, 1, 1),)
    )
    assert not Follower(made, part).follows(copied(made))[1][0]
    assert Follower(made, part).follows(copied(made))[1][3]


def test_room_is_short_where_instructions_reserve_it():
    made = program()
    for reserved, follows in ((900, False), (901, True)):
        instructions = (
            dataclasses.replace(made.instructions[0], reserved_bytes=reserved),
            made.instructions[1],
        )
        full = dataclasses.replace(made, instructions=instructions)
        assert Follower(full, all_slow(full)).follows(copied(full))[1][3] == follows


def test_what_is_slower_in_fast_memory_stays_there_if_production_has_it_there():
    made = program()
    slower = tuple(
        dataclasses.replace(a, slow_s=0.0, fast_s=30.0) if a.value == 2 else a
        for a in made.accesses
    )
    made = dataclasses.replace(made, accesses=slower)
    assert simulate(made, all_slow(made)).latency_s < simulate(made, crowded(made)).latency_s
    found = promise(made, crowded(made), all_slow(made))
    assert found is not None and found.simulated == found.gain == found.error == 0


def test_a_result_is_not_written_in_fast_memory_to_be_copied_away():
    made = program()
    faster = tuple(
        dataclasses.replace(a, slow_s=50.0) if a.value == 1 else a for a in made.accesses
    )
    made = dataclasses.replace(made, accesses=faster)
    kept = Mapping(
        made.name, made.fingerprint, (Residency(1, 0, 0, 2, DEFINED),), (), (Transfer(1, 1, 2),)
    )
    found = promise(made, crowded(made), kept)
    assert found is not None and found.simulated == found.gain == 0
    follower = Follower(made, kept)
    assert follower.follows(kept)[1][1], "production copies it away itself"


def test_what_the_compiler_does_not_estimate_is_no_certain_gain():
    made = program(seen=[[0], [0, 1]])
    bare = tuple(
        dataclasses.replace(a, slow_s=None, fast_s=None) if a.instruction == 1 else a
        for a in made.accesses
    )
    assumed = dataclasses.replace(made, accesses=bare)
    mapping = Mapping(
        made.name, made.fingerprint, (Residency(0, 0, 0, 2, COPIED),), (Transfer(0, 0, 1),)
    )
    found = promise(assumed, crowded(assumed), mapping)
    assert found is not None and found.assumed > 0 and not found.is_clear
    # All that the second read saves, 10 s less 1 s, may be wrong, and a part of it not followed.
    assert found.error == pytest.approx((1 + SPREAD) * (10.0 - 1.0) / (20.0 + 1.0))
    (note,) = import_notes(assumed, all_slow(assumed))
    assert "no estimate" in note


def test_no_gain_is_given_over_a_mapping_that_breaks_a_rule():
    made = program()
    broken = Mapping(made.name, made.fingerprint, (Residency(1, 0, 1, 2, DEFINED),))
    assert promise(made, broken, all_slow(made)) is None
    assert any("breaks" in note for note in import_notes(made, broken))


def test_assumed_counts_are_said():
    made = dataclasses.replace(program(), provenance={"assumed_trip_counts": {"while": 5}})
    (note,) = import_notes(made, None)
    assert "5 times" in note and "trip_count" in note


def test_committed_programs_keep_their_figures():
    problem = mallocgame.load("tpu_v4_sample/lstm_scan_v4_64mib")
    assert problem.production is not None
    found = promise(problem.program, problem.production, problem.production)
    assert found is not None and found.gain == 0 and not found.is_clear
    assert latency_error(problem.program, simulate(problem.program, problem.production)) is not None
