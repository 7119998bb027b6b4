"""A compile that is added to the fit later gives what it would have given at once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mallocgame.judge import elapsed_seconds, simulate
from mallocgame.program.mapping import Mapping, all_slow
from mallocgame.xla.latency.times import learned
from mallocgame.xla.read.chips import chip_by_name
from mallocgame.xla.steer.confirm import Attempt
from mallocgame.xla.steer.rounds import MOST_ROUNDS, Round, Rounds
from mallocgame.xla.steer.roundtrip import CompilerBench
from tests.support.xla_sample import placement_masks, without_compile

CHIP = chip_by_name("v4")


def test_a_known_compile_teaches_nothing(item, folder) -> None:
    found = CompilerBench(item.program, folder, CHIP).placement(folder)
    assert learned(item.program, found.in_fast, found.cycles) is item.program


def test_a_new_compile_is_learned(item, folder) -> None:
    program = item.program
    found = CompilerBench(program, folder, CHIP).placement(folder)
    before = without_compile(program, found)
    now = learned(before, found.in_fast, found.cycles)
    facts = program.provenance["calibration"]
    assert now is not before and now.fingerprint != "" and now.values == program.values
    for slot, mask in enumerate(placement_masks(program, found)):
        if not np.isnan(found.cycles[slot]) and facts["cycles"][slot]:
            remembered = now.provenance["calibration"]
            assert mask in remembered["seen"][slot]
            at = remembered["seen"][slot].index(mask)
            assert remembered["cycles"][slot][at] == found.cycles[slot]
    known = ~np.isnan(found.cycles)
    # The fit of the importer, which saw the compile from the start, is as close as this one.
    second = 1 / (program.machine.clock_hz or 1.0)
    wanted = found.cycles[known] * second
    np.testing.assert_allclose(elapsed_seconds(now, found.in_fast)[known], wanted, rtol=0.02)
    np.testing.assert_allclose(elapsed_seconds(program, found.in_fast)[known], wanted, rtol=0.02)
    slow = simulate(now, all_slow(now)).all_slow_latency_s
    assert slow == pytest.approx(simulate(program, all_slow(program)).all_slow_latency_s)


def test_another_estimate_moves_what_is_like_it_and_nothing_else(item) -> None:
    program = item.program
    facts = program.provenance["calibration"]
    accesses = [
        [n for n, a in enumerate(program.accesses) if a.instruction == t]
        for t in range(len(program.instructions))
    ]
    slot, place = next(
        (t, i)
        for t, numbers in enumerate(accesses)
        for i in range(len(numbers))
        if facts["cycles"][t] and 1 << i not in facts["seen"][t]
    )
    in_fast = np.zeros(len(program.accesses), bool)
    in_fast[accesses[slot][place]] = True
    cycles = np.full(len(program.instructions), np.nan)
    cycles[slot] = 0.7 * facts["cycles"][slot][0]
    now = learned(program, in_fast, cycles)
    second = 1 / (program.machine.clock_hz or 1.0)
    assert elapsed_seconds(now, in_fast)[slot] == pytest.approx(cycles[slot] * second, rel=0.02)
    alike = {
        t for t, (i, c) in enumerate(zip(program.instructions, facts["cycles"], strict=True))
        if c and c[0] == facts["cycles"][slot][0] and i.opcode == program.instructions[slot].opcode
    }  # fmt: skip
    changed = {
        t for t, (a, b) in enumerate(zip(program.instructions, now.instructions, strict=True))
        if a != b
    } | {
        a.instruction for a, b in zip(program.accesses, now.accesses, strict=True) if a != b
    }  # fmt: skip
    assert slot in changed and changed <= alike


def test_what_is_learned_of_a_branch_counts_by_its_share(item, folder) -> None:
    found = CompilerBench(item.program, folder, CHIP).placement(folder)
    before = without_compile(item.program, found)
    plain = learned(before, found.in_fast, found.cycles)
    slot = next(
        t for t, (a, b) in enumerate(zip(before.instructions, plain.instructions, strict=True))
        if a != b
    )  # fmt: skip
    shares = {"branches": {str(slot): 0.25}}
    branched = dataclasses.replace(before, provenance={**before.provenance, **shares})
    now = learned(branched, found.in_fast, found.cycles)
    elapsed, whole = (elapsed_seconds(p, found.in_fast) for p in (now, plain))
    expected = np.where(np.arange(len(whole)) == slot, 0.25, 1.0) * whole
    np.testing.assert_allclose(elapsed, expected, rtol=1e-9)


def test_programs_that_do_not_remember_stay_as_they_are(item, folder) -> None:
    found = CompilerBench(item.program, folder, CHIP).placement(folder)
    before = without_compile(item.program, found)
    for facts in ({"branches": True}, {"calibration": {"seen": [[0]]}}, {"calibration": None}):
        program = dataclasses.replace(before, provenance={**before.provenance, **facts})
        assert learned(program, found.in_fast, found.cycles) is program


def test_rounds_search_with_what_was_learned(item, folder) -> None:
    found = CompilerBench(item.program, folder, CHIP).placement(folder)
    program = without_compile(item.program, found)
    production = dataclasses.replace(item.mapping, fingerprint=program.fingerprint)
    searched = []

    def search(known, its_production) -> Mapping:
        searched.append(known)
        assert its_production.fingerprint == known.fingerprint
        return its_production

    rounds = Rounds(Round(program, production, production), search)
    attempts = [Attempt("refused", None), Attempt("said", 1, 1.0, 1.0, found)]
    assert rounds.again(attempts, 0.0) is None  # production's mapping gains nothing over itself
    assert len(searched) == 1 and searched[0].fingerprint != program.fingerprint
    assert [r.mapping.fingerprint for r in rounds.rounds] == [program.fingerprint] * 2
    told = rounds.again(attempts, -0.5)
    assert told is None and len(searched) == 1, "nothing new, so no search"
    fresh = Rounds(Round(program, production, production), search)
    mapping, promised = fresh.again(attempts, -0.5) or (None, None)
    assert promised == pytest.approx(0.0, abs=1e-9) and mapping == fresh.rounds[1].mapping
    assert MOST_ROUNDS > 2


def test_there_are_so_many_rounds_and_no_more(item, folder, monkeypatch) -> None:
    found = CompilerBench(item.program, folder, CHIP).placement(folder)
    program = without_compile(item.program, found)
    production = dataclasses.replace(item.mapping, fingerprint=program.fingerprint)
    rounds = Rounds(Round(program, production, production), lambda *_: 1 / 0)
    monkeypatch.setattr("mallocgame.xla.steer.rounds.MOST_ROUNDS", 1)
    assert rounds.again([Attempt("said", 1, 1.0, 1.0, found)], -0.5) is None
