"""Mappings as options of the compiler, and what comes back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from xla_sample import write_dump

from mallocgame.jsonfile import InputError
from mallocgame.mapping import Mapping, Residency, Transfer, all_slow, save_mapping
from mallocgame.program import save_program
from mallocgame.xla.__main__ import main
from mallocgame.xla.chips import chip_by_name
from mallocgame.xla.export import ORDER, PREFETCHES, TENSORS, compiler_options
from mallocgame.xla.importer import import_dump
from mallocgame.xla.roundtrip import STABLEHLO, Bench, round_trip
from mallocgame.xla.steer import chip_of

CHIP = chip_by_name("v4")


@pytest.fixture
def work(tmp_path) -> Path:
    folder = write_dump(tmp_path / "work")
    (folder / STABLEHLO).write_text("module {}")
    return folder


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
    options = compiler_options(program, mapping, CHIP)
    resident = {program.values[r.value].name for r in mapping.residencies}
    ordered, kept = names(str(options[ORDER])), names(str(options[TENSORS]))
    assert set(ordered) == resident
    assert not set(ordered) & set(kept)
    offsets = [min(r.offset for r in mapping.residencies if r.value == value(program, n))
               for n in ordered]  # fmt: skip
    assert offsets == sorted(offsets)
    turns = [int(t) for t in re.findall(r"assign_value: (-?\d+)", str(options[ORDER]))]
    assert turns == sorted(turns) and len(set(turns)) == len(turns) and turns[-1] < 0


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
    kept = names(str(compiler_options(program, one, CHIP)[TENSORS]))
    for member in (group.parameter, group.result):
        assert program.values[member].name not in kept
    nothing = names(str(compiler_options(program, all_slow(program), CHIP)[TENSORS]))
    assert program.values[group.result].name in nothing


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


def test_a_compiler_that_does_what_it_did_is_read_back_as_production(work, imported):
    program, production = imported

    def again(stablehlo, chip, options, flags, out, timeout_s):
        assert options[ORDER]  # the files of production are there already

    bench = Bench(program, work, CHIP, compiler=again)
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
    bench = Bench(program, work, CHIP, compiler=lambda *x: None)
    (work / STABLEHLO).write_text("module { other }")
    with pytest.raises(InputError, match="is not what sample was compiled from"):
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
    assert error == f"error: {out}: is there already; choose another name\n"


def test_a_program_for_no_chip_is_refused(imported):
    program, _ = imported
    other = program.with_machine(dataclasses.replace(program.machine, name="abacus"))
    with pytest.raises(InputError, match=r"machine\.name: 'abacus' is no chip"):
        chip_of(other)
