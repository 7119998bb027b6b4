"""A promise says how sure it is, and promises nothing that the compiler cannot follow."""

import dataclasses

import pytest

import mallocgame
from mallocgame.judge import simulate
from mallocgame.program import Access, Instruction, Program, Value
from mallocgame.program.machine import Machine
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer, all_slow
from mallocgame.promise import import_notes, latency_error, promise, without_waits

MACHINE = Machine("m", 1000, 10, 10.0, 100.0, clock_hz=1.0)


def program(**calibration) -> Program:
    """Two instructions: `a` is read by both, and is worth more than its copy takes."""
    values = (Value("a", 100, is_input=True), Value("b", 100, is_output=True))
    accesses = (
        Access(0, 0, "read", (0,), 100, 20.0, 0.0),
        Access(0, 1, "write", (0,), 100, 5.0, 0.0, defines=True),
        Access(1, 0, "read", (0,), 100, 20.0, 0.0),
    )
    made = {"calibration": {"seen": [[0, 1], [0]], "unseen_error": 0.1, **calibration}}
    instructions = (Instruction("one", compute_s=1.0), Instruction("two", compute_s=1.0))
    return Program("p", MACHINE, instructions, values, accesses, provenance=made)


def awaited(made: Program) -> Mapping:
    """`a` is copied over an empty interval, ahead of the first instruction."""
    return Mapping(
        made.name, made.fingerprint, (Residency(0, 0, 0, 2, COPIED),), (Transfer(0, 0, 0),)
    )


def test_a_copy_that_nothing_could_hide_promises_nothing():
    made = program()
    assert simulate(made, awaited(made)).latency_s < simulate(made, all_slow(made)).latency_s
    assert without_waits(made, awaited(made)).residencies == ()
    found = promise(made, all_slow(made), awaited(made))
    assert found is not None and found.gain == 0 and not found.is_clear
    assert "no gain that can be told from zero" in str(found)


def test_the_error_is_that_of_placements_the_fit_has_not_seen():
    made = program()
    mapping = Mapping(
        made.name, made.fingerprint, (Residency(0, 0, 0, 2, COPIED),), (Transfer(0, 0, 1),)
    )
    found = promise(made, all_slow(made), mapping)  # the second instruction alone is faster
    assert found is not None
    now = 20.0 + 1.0
    assert found.unseen == pytest.approx(1.0 / now) and found.error == pytest.approx(0.1 / now)
    seen = program(seen=[[0], [0, 1]])
    known = promise(seen, all_slow(seen), dataclasses.replace(mapping))
    assert known is not None and known.error == 0 and known.is_clear and known.gain > 0


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
    found = promise(assumed, all_slow(assumed), mapping)
    assert found is not None and found.assumed > 0 and not found.is_clear
    # All that the second read saves, 10 s less 1 s, may be wrong.
    assert found.error == pytest.approx((10.0 - 1.0) / (20.0 + 1.0))
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
