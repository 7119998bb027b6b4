"""Mappings as options of the compiler, and what comes back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from gamekit.errors import InputError
from mallocgame.command.main import main
from mallocgame.program import save_program
from mallocgame.program.mapping import Mapping, Residency, Transfer, all_slow, save_mapping
from mallocgame.xla.make.importer import import_dump
from mallocgame.xla.read.chips import chip_by_name
from mallocgame.xla.steer.export import (
    ORDER,
    PREFETCHES,
    TENSORS,
    Wishes,
    compiler_options,
    options_of,
    turns,
    wishes_of,
)
from mallocgame.xla.steer.roundtrip import STABLEHLO, CompilerBench, round_trip
from mallocgame.xla.steer.steer import chip_of
from tests.support.xla_sample import write_work

CHIP = chip_by_name("v4")


@pytest.fixture
def work(tmp_path) -> Path:
    return write_work(tmp_path / "work")


@pytest.fixture
def imported(work):
    item = import_dump(work, CHIP.machine, "sample").items[0]
    digest = hashlib.sha256((work / STABLEHLO).read_bytes()).hexdigest()
    provenance = {**item.program.provenance, "stablehlo_sha256": digest}
    program = dataclasses.replace(item.program, provenance=provenance)
    return program, dataclasses.replace(item.mapping, fingerprint=program.fingerprint)


def names(text: str) -> list[str]:
    found = re.findall(r'hlo_position_matcher { instruction_name_regex: "([^"]*)"', text)
    return [name.replace("\\\\", "").replace("\\", "") for name in found]


def value(program, name: str) -> int:
    return next(i for i, v in enumerate(program.values) if v.name == name)


def test_every_value_is_either_ordered_or_kept_out(imported):
    program, mapping = imported
    options = compiler_options(program, mapping, CHIP, "all")
    resident = {program.values[r.value].name for r in mapping.residencies}
    ordered, kept = names(str(options[ORDER])), names(str(options[TENSORS]))
    assert set(ordered) == resident
    assert not set(ordered) & set(kept)
    # None of these comes back, so it is by offset alone.
    offsets = [min(r.offset for r in mapping.residencies if r.value == value(program, n))
               for n in ordered]  # fmt: skip
    assert offsets == sorted(offsets)
    numbers = [int(t) for t in re.findall(r"assign_value: (-?\d+)", str(options[ORDER]))]
    assert numbers == sorted(set(numbers)) and numbers[-1] < 0


def test_public_levers_leave_out_the_undocumented_option(imported):
    program, mapping = imported
    public, everything = (compiler_options(program, mapping, CHIP, n) for n in ("public", "all"))
    assert TENSORS in everything and TENSORS not in public
    kept = names(str(everything[TENSORS]))
    order = str(public[ORDER])
    last = names(order)[-len(kept) :]
    assert set(last) <= set(kept) and order.count("assign_last: true") == len(last) > 0
    with pytest.raises(InputError, match="levers: must be one of public, all, got 'some'"):
        compiler_options(program, mapping, CHIP, "some")


def test_values_that_a_loop_carries_are_kept_out_together(imported):
    program, _ = imported
    assert program.carried
    group = program.carried[0]
    start = next(a.instruction for a in program.accesses if a.value == group.parameter)
    one = Mapping(
        program.name,
        program.fingerprint,
        (Residency(group.parameter, 0, start, start + 1, "copied"),),
    )
    kept = names(str(compiler_options(program, one, CHIP, "all")[TENSORS]))
    for member in (group.parameter, group.result):
        assert program.values[member].name not in kept
    nothing = names(str(compiler_options(program, all_slow(program), CHIP, "all")[TENSORS]))
    assert program.values[group.result].name in nothing


def test_a_single_read_in_slow_memory_is_said(imported):
    program, _ = imported
    x, w = value(program, "x"), value(program, "w")
    reads = {v: [a for a in program.accesses if a.value == v and a.kind == "read"] for v in (x, w)}
    (slot,) = [a.instruction for a in reads[x]]
    outer, *inner = sorted(a.instruction for a in reads[w])
    assert inner and program.loops[0].entry < inner[-1] < program.loops[0].exit

    def kept(*stays: Residency) -> frozenset[tuple[int, int]]:
        mapping = Mapping(program.name, program.fingerprint, stays)
        wishes = wishes_of(program, mapping)
        text = str(options_of(program, wishes, CHIP, "all").get(TENSORS, ""))
        assert text.count("hlo_operand_filter") == len(wishes.reads_out)
        return wishes.reads_out

    # Of a value that is never there nothing is said read by read.
    assert kept() == frozenset()
    # w is in fast memory after its read at the outer level: that read is slow.
    later = Residency(w, 0, outer + 1, outer + 2, "copied")
    operand = next(a.operands[0] for a in reads[w] if a.instruction == outer)
    assert kept(later) == {(outer, operand)}
    # Nor of one that is written there.
    a = value(program, "a")
    made, *read = sorted(x.instruction for x in program.accesses if x.value == a)
    assert len(read) == 2 and read[1] > made + 1
    assert kept(Residency(a, 0, made, made + 1, "defined")) == frozenset()
    # Reads in loops are left to the compiler.
    assert kept(Residency(w, 0, outer, outer + 1, "copied")) == frozenset()
    assert kept(Residency(x, 0, slot, slot + 1, "copied")) == frozenset()


def test_a_value_that_comes_back_waits_for_those_in_its_place(imported):
    program, _ = imported
    a, w = value(program, "a"), value(program, "w")
    size = program.values[w].size_bytes

    def order(*stays: Residency) -> tuple[int, ...]:
        return turns(program, Mapping(program.name, program.fingerprint, stays))

    first, again = Residency(w, 0, 0, 1, "copied"), Residency(w, 0, 3, 4, "copied")
    meanwhile = Residency(a, 0, 1, 3, "defined")
    assert order(first, again, meanwhile) == (a, w)
    # Not where it is out of the way, in time or in place.
    assert order(first, again, Residency(a, 0, 4, 5, "defined")) == (w, a)
    assert order(first, again, Residency(a, size, 1, 3, "defined")) == (w, a)
    assert order(first, dataclasses.replace(again, start=1), meanwhile) == (w, a)
    # Two that wait for each other: a small one is less in the way of a large one.
    large = max(range(len(program.values)), key=lambda v: program.values[v].size_bytes)
    assert program.values[large].size_bytes == 4 * size
    both = Residency(large, 0, 1, 3, "copied"), Residency(large, 0, 4, 5, "copied")
    assert order(first, again, *both) == (large, w)


def test_a_prefetch_begins_behind_an_instruction(imported):
    program, _ = imported
    w = value(program, "w")
    reads = [a for a in program.accesses if a.value == w and a.kind == "read"]
    slot, operand = reads[0].instruction, reads[0].operands[0]

    def text(start: int) -> str:
        mapping = Mapping(
            program.name,
            program.fingerprint,
            (Residency(w, 0, start, slot + 1, "copied"),),
            (Transfer(w, start, slot),),
        )
        return str(compiler_options(program, mapping, CHIP)[PREFETCHES])

    consumer = program.instructions[slot].name
    assert f'instruction_name_regex: "{consumer}" operand_number: {operand}' in text(0)
    assert "prefetch_eagerness: 1.0" in text(0)
    if slot > 0:
        before = program.instructions[slot - 1].name
        assert f'after_instruction {{ instruction_name_regex: "{before}" }}' in text(slot)


def test_a_prefetch_begins_behind_no_marker(imported):
    program, _ = imported
    (loop,) = program.loops
    assert program.instructions[loop.exit].name == "loop:exit"

    def text(start: int) -> str:
        wishes = Wishes(prefetches=((1, 1, start),))
        return str(options_of(program, wishes, CHIP)[PREFETCHES])

    assert 'after_instruction { instruction_name_regex: "loop" }' in text(loop.exit + 1)
    assert "prefetch_eagerness: 1.0" in text(loop.entry + 1)
    names = re.findall(r'after_instruction { instruction_name_regex: "([^"]*)"',
                       "".join(text(t) for t in range(len(program.instructions))))  # fmt: skip
    assert names and not any(":" in name for name in names)


def test_a_compiler_that_does_what_it_did_is_read_back_as_production(work, imported):
    program, production = imported

    def again(stablehlo, chip, options, flags, out, timeout_s):
        assert options[ORDER]  # the files of production are there already

    bench = CompilerBench(program, work, CHIP, compiler=again)
    trip = round_trip(bench, production, production)
    assert trip.mapping == production
    assert trip.followed == 1.0 and trip.beyond == 0.0
    assert trip.followed_reads == 1.0
    assert trip.done.cycles == trip.production.cycles and trip.gain == trip.simulated_gain == 0.0
    assert dataclasses.replace(trip.done, cycles=None) == trip.wanted
    assert trip.done == trip.production and trip.done.benefit_s > 0
    ignored = dataclasses.replace(bench, compiler=lambda *x: None)
    nothing = round_trip(ignored, all_slow(program), production)
    assert nothing.followed == nothing.followed_reads == 0.0 and nothing.beyond == 1.0
    assert nothing.wanted.saved == nothing.wanted.benefit_s == 0.0
    assert json.loads(json.dumps(nothing.record()))["done"]["cycles"] == trip.done.cycles


def test_a_folder_of_another_program_is_refused(work, imported, tmp_path):
    program, production = imported
    bench = CompilerBench(program, work, CHIP, compiler=lambda *x: None)
    (work / STABLEHLO).write_text("module { other }")
    with pytest.raises(InputError, match="must be what sample was compiled from"):
        round_trip(bench, production, production)
    shutil.rmtree(work)
    with pytest.raises(InputError, match=r"lowered\.mlir: no such file"):
        round_trip(bench, production, production)


def test_export_writes_options_and_overwrites_nothing(tmp_path, imported, capsys):
    program, mapping = imported
    save_program(program, tmp_path / "p.program.json")
    save_mapping(mapping, tmp_path / "m.mapping.json")
    out = tmp_path / "options.json"
    command = ["export", str(tmp_path / "p.program.json"), str(tmp_path / "m.mapping.json")]
    assert main([*command, "-o", str(out)]) == 0
    assert json.loads(out.read_text()) == compiler_options(program, mapping, CHIP)
    assert main([*command, "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert error == f"error: {out}: already exists; choose another name\n"


def test_a_program_for_no_chip_is_refused(imported):
    program, _ = imported
    other = program.with_machine(dataclasses.replace(program.machine, name="abacus"))
    with pytest.raises(InputError, match=r"machine\.name: must be one of tpu_v4, .*, got 'abacus'"):
        chip_of(other)
