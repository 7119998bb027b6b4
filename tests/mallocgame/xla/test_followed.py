"""What is read off a compile is what the importer makes of the same compile."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mallocgame.judge import simulate
from mallocgame.judge.reading import Reading
from mallocgame.program.mapping import Residency, all_slow
from mallocgame.xla.read.chips import chip_by_name
from mallocgame.xla.read.dump import read_hlo
from mallocgame.xla.steer.followed import followed_share, modelled_seconds, placement_of
from mallocgame.xla.steer.roundtrip import CompilerBench

CHIP = chip_by_name("v4")


def test_productions_compile_has_productions_placement(item, folder) -> None:
    program = item.program
    found = CompilerBench(program, folder, CHIP).placement(folder)
    served = Reading(program, item.mapping).served_fast()
    assert served.any() and not served.all()
    np.testing.assert_array_equal(found.in_fast, served)
    markers = [i.opcode == "loop" for i in program.instructions]
    assert not (found.missing & ~np.array(markers)).any()
    assert followed_share(program, item.mapping, found) == 1
    expected = np.array(program.weights) * simulate(program, item.mapping).elapsed_s
    np.testing.assert_allclose(modelled_seconds(program, found), expected)


def test_a_compile_without_assignment_has_nothing_there(item, folder) -> None:
    module = read_hlo(folder / "msa_off.hlo.gz")
    found = placement_of(item.program, module, CHIP.fast_space)
    assert not found.in_fast.any()
    assert followed_share(item.program, item.mapping, found) == 0
    assert followed_share(item.program, all_slow(item.program), found) == 1
    slow = simulate(item.program, all_slow(item.program))
    assert modelled_seconds(item.program, found).sum() == pytest.approx(slow.all_slow_latency_s)


def test_the_share_is_of_bytes_as_often_as_they_are_accessed(item, folder) -> None:
    program = item.program
    found = placement_of(program, read_hlo(folder / "msa_on.hlo.gz"), CHIP.fast_space)
    value = next(a.value for a in program.accesses if a.kind == "read" and a.bytes)
    more = (*item.mapping.residencies, Residency(value, 0, 0, len(program.instructions), "copied"))
    mapping = dataclasses.replace(item.mapping, residencies=more)
    wanted = Reading(program, mapping).served_fast()
    total = both = 0
    for access, is_wanted, is_fast in zip(program.accesses, wanted, found.in_fast, strict=True):
        times = program.weights[access.instruction]
        total += access.bytes * times * is_wanted
        both += access.bytes * times * (is_wanted and is_fast)
    assert followed_share(program, mapping, found) == pytest.approx(both / total)


def test_an_instruction_that_the_compile_lacks_takes_no_time(item, folder) -> None:
    program = item.program
    names = [i.name for i in program.instructions]
    renamed = dataclasses.replace(program.instructions[0], name="no such instruction")
    other = dataclasses.replace(program, instructions=(renamed, *program.instructions[1:]))
    found = placement_of(other, read_hlo(folder / "msa_on.hlo.gz"), CHIP.fast_space)
    assert found.missing[0] and names[0] != renamed.name
    assert modelled_seconds(other, found)[0] == 0


def test_an_instruction_of_another_form_has_no_estimate(item, folder) -> None:
    program = item.program
    module = read_hlo(folder / "msa_on.hlo.gz")
    before = placement_of(program, module, CHIP.fast_space)
    number = next(
        n for n, a in enumerate(program.accesses)
        if a.kind == "read" and not np.isnan(before.cycles[a.instruction])
    )  # fmt: skip
    access = dataclasses.replace(program.accesses[number], operands=(9,))
    accesses = (*program.accesses[:number], access, *program.accesses[number + 1 :])
    found = placement_of(dataclasses.replace(program, accesses=accesses), module, CHIP.fast_space)
    assert np.isnan(found.cycles[access.instruction]) and not found.in_fast[number]
    others = np.arange(len(before.cycles)) != access.instruction
    np.testing.assert_array_equal(found.cycles[others], before.cycles[others])
