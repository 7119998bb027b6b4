"""Program and mapping files: round trips, fingerprints, and files that cannot be read at all."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os

import numpy as np
import pytest

from gamekit.errors import InputError
from mallocgame.program import load_program, save_program
from mallocgame.program.machine import PRESETS, machine_by_name
from mallocgame.program.mapping import all_slow, load_mapping, save_mapping
from mallocgame.synthetic.random_programs import random_program
from tests.support.program_files import MAPPING, PROGRAM, complaint, record_of


@pytest.mark.parametrize("name", ["p.json", "p.json.gz"])
def test_program_round_trip(tmp_path, name):
    save_program(PROGRAM, tmp_path / name)
    again = load_program(tmp_path / name)
    assert again == PROGRAM
    assert again.fingerprint == PROGRAM.fingerprint
    assert again.weights == (1, 1, 7, 7, 7, 1, 1, 1)


@pytest.mark.parametrize("name", ["m.json", "m.json.gz"])
def test_mapping_round_trip(tmp_path, name):
    save_mapping(MAPPING, tmp_path / name)
    assert load_mapping(tmp_path / name, PROGRAM) == MAPPING
    assert load_mapping(tmp_path / name) == MAPPING


def test_bytes_are_reproducible(tmp_path):
    for save, thing in ((save_program, PROGRAM), (save_mapping, MAPPING)):
        for name in ("a.json.gz", "b.json.gz", "sub/folder/c.json.gz"):
            save(thing, tmp_path / name)
        first, *others = [f.read_bytes() for f in sorted(tmp_path.rglob("*.gz"))]
        assert all(other == first for other in others) and len(others) == 2
        for file in tmp_path.rglob("*.gz"):
            file.unlink()
    assert not [f for f in tmp_path.rglob("*") if f.is_file()]  # no temporary files are left


def test_random_programs_round_trip(tmp_path):
    for seed in range(60):
        program = random_program(np.random.default_rng(seed))
        save_program(program, tmp_path / "p.json.gz")
        assert load_program(tmp_path / "p.json.gz") == program


def test_fingerprint_sees_what_matters():
    assert dataclasses.replace(PROGRAM, provenance={}).fingerprint == PROGRAM.fingerprint
    smaller = PROGRAM.with_machine(PROGRAM.machine.with_capacity(500))
    assert smaller.fingerprint != PROGRAM.fingerprint
    slower = dataclasses.replace(PROGRAM.accesses[2], slow_s=4.5)
    accesses = (*PROGRAM.accesses[:2], slower, *PROGRAM.accesses[3:])
    assert dataclasses.replace(PROGRAM, accesses=accesses).fingerprint != PROGRAM.fingerprint


def test_a_mapping_belongs_to_its_program(tmp_path):
    other = PROGRAM.with_machine(PROGRAM.machine.with_capacity(500))
    save_mapping(all_slow(other), tmp_path / "m.json")
    assert load_mapping(tmp_path / "m.json").residencies == ()
    said = r"m\.json: fingerprint: must be that of 'file', .*, got a mapping made for 'file'"
    with pytest.raises(InputError, match=said):
        load_mapping(tmp_path / "m.json", PROGRAM)


def test_unreadable_files(tmp_path):
    with pytest.raises(InputError, match=r"absent\.json: no such file"):
        load_program(tmp_path / "absent.json")
    with pytest.raises(InputError, match=r"cannot be read"):
        load_program(tmp_path)
    good = json.dumps(record_of()).encode()
    assert "must be valid JSON" in complaint(tmp_path / "p.json", good[:-20])
    assert "must be valid JSON" in complaint(tmp_path / "p.json", b"")
    assert "must be valid JSON" in complaint(tmp_path / "p.json", b"\xff\xfe\x00")
    assert "must be valid JSON" in complaint(tmp_path / "p.json", b"[" * 100_000)
    assert "must be valid JSON" in complaint(tmp_path / "p.json", b"1" * 10_000)
    assert "must be a JSON object, got list" in complaint(tmp_path / "p.json", b"[]")
    packed = gzip.compress(good)
    for garbled in (packed[:-9], packed[:30], b"", good, packed[:40] + b"x" + packed[41:]):
        assert "gzip" in complaint(tmp_path / "p.json.gz", garbled)
    assert "whose end 4 bytes follow" in complaint(tmp_path / "p.json.gz", packed + b"more")


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        save_program(PROGRAM, tmp_path / "file" / "p.json")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_forbidden_file(tmp_path):
    (tmp_path / "p.json").write_text("{}")
    (tmp_path / "p.json").chmod(0)
    with pytest.raises(InputError, match="cannot be read"):
        load_program(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("format", "mallocgame.mapping", "format: must be 'mallocgame.program', got 'mallocgame"),
        ("format", None, "format"),
        ("version", 2, "version: must be 1 for this release, got 2"),
        ("version", True, "version"),
        ("version", "1", "version"),
        ("version", 1.0, "version"),
    ],
)
def test_format_and_version(tmp_path, field, value, said):
    assert said in complaint(tmp_path / "p.json", record_of() | {field: value})


def test_presets():
    assert set(PRESETS) >= {"tpu_v4", "tpu_v4i", "tpu_v5e", "tpu_v5p", "tpu_v6e", "tpu7x"}
    for name, machine in PRESETS.items():
        assert machine_by_name(name) is machine and machine.name == name
        assert machine.source and machine.fast_bandwidth > 5 * machine.slow_bandwidth
    with pytest.raises(InputError, match=r"machine: must be one of tpu7x, .*, got 'tpu_v9'"):
        machine_by_name("tpu_v9")


def test_columns_say_what_instructions_and_accesses_say():
    program = random_program(np.random.default_rng(3))
    columns = program.columns
    for slot, instruction in enumerate(program.instructions):
        for field in ("compute_s", "fixed_read_s", "fixed_write_s", "fixed_slow_bytes"):
            assert getattr(columns, field)[slot] == getattr(instruction, field)
    for i, access in enumerate(program.accesses):
        assert columns.slot[i] == access.instruction and columns.value[i] == access.value
        assert columns.is_read[i] == (access.kind == "read") and columns.bytes[i] == access.bytes
        for found, given in (
            (columns.slow_s[i], access.slow_s),
            (columns.fast_s[i], access.fast_s),
        ):
            assert np.isnan(found) if given is None else found == given
    with pytest.raises(ValueError, match="read-only"):
        columns.bytes[0] = 1
