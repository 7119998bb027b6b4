"""Program and mapping files: round trips, and one located line for everything that is wrong."""

from __future__ import annotations

import copy
import dataclasses
import gzip
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekit.errors import InputError
from mallocgame.program import (
    Access,
    CarriedGroup,
    Instruction,
    Loop,
    Program,
    Value,
    load_program,
    save_program,
    validate,
)
from mallocgame.program.machine import PRESETS, Machine, machine_by_name
from mallocgame.program.mapping import (
    COPIED,
    Mapping,
    Residency,
    Transfer,
    all_slow,
    load_mapping,
    save_mapping,
)
from mallocgame.synthetic.random_programs import random_program

PROGRAM = Program(
    "file",
    Machine("m", 1000, 10, 10.0, 100.0, source="made up"),
    tuple(Instruction(f"i{t}", "op", compute_s=float(t not in (1, 5))) for t in range(8)),
    (
        Value("p", 100),
        Value("r", 100),
        Value("w", 40, is_input=True),
        Value("o", 40, is_output=True),
    ),
    (
        Access(0, 0, "write", (0,), 100, defines=True),
        Access(2, 0, "read", (0,), 100),
        Access(2, 2, "read", (1,), 40, 4.0, 0.5),
        Access(3, 1, "write", (0,), 100, defines=True),
        Access(6, 1, "read", (0, 2), 100),
        Access(6, 3, "write", (0,), 40, defines=True),
    ),
    (Loop(1, 5, 7),),
    (CarriedGroup(0, 0, 1),),
    {"by": "hand", "note": "Grüße"},
)
MAPPING = Mapping(
    "file",
    PROGRAM.fingerprint,
    (Residency(2, 20, 0, 7, COPIED),),
    (Transfer(2, 0, 1),),
    (Transfer(3, 7, 8),),
)


def record_of(program: Program = PROGRAM) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        save_program(program, Path(folder, "p.json"))
        return json.loads(Path(folder, "p.json").read_text())


def mapping_record() -> dict:
    with tempfile.TemporaryDirectory() as folder:
        save_mapping(MAPPING, Path(folder, "m.json"))
        return json.loads(Path(folder, "m.json").read_text())


def complaint(path: Path, content: bytes | dict, load=load_program) -> str:
    """The one line with which a file of that content is rejected."""
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(InputError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path)), message
    assert "\n" not in message and len(message) < 400
    return message


# --- round trips ---


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
    with pytest.raises(InputError, match=r"m\.json: fingerprint: made for 'file'.* not for 'file'"):
        load_mapping(tmp_path / "m.json", PROGRAM)


# --- the file itself ---


def test_unreadable_files(tmp_path):
    with pytest.raises(InputError, match=r"absent\.json: no such file"):
        load_program(tmp_path / "absent.json")
    with pytest.raises(InputError, match=r"cannot be read"):
        load_program(tmp_path)
    good = json.dumps(record_of()).encode()
    assert "no valid JSON" in complaint(tmp_path / "p.json", good[:-20])
    assert "no valid JSON" in complaint(tmp_path / "p.json", b"")
    assert "no valid JSON" in complaint(tmp_path / "p.json", b"\xff\xfe\x00")
    assert "no valid JSON" in complaint(tmp_path / "p.json", b"[" * 100_000)
    assert "no valid JSON" in complaint(tmp_path / "p.json", b"1" * 10_000)
    assert "expected a JSON object, found list" in complaint(tmp_path / "p.json", b"[]")
    packed = gzip.compress(good)
    for garbled in (packed[:-9], packed[:30], b"", good, packed[:40] + b"x" + packed[41:]):
        assert "gzip" in complaint(tmp_path / "p.json.gz", garbled)
    assert "follow the end" in complaint(tmp_path / "p.json.gz", packed + b"more")


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
        ("format", "mallocgame.mapping", "format: expected 'mallocgame.program', found 'mallocga"),
        ("format", None, "format"),
        ("version", 2, "version: this release reads version 1, found 2"),
        ("version", True, "version"),
        ("version", "1", "version"),
        ("version", 1.0, "version"),
    ],
)
def test_format_and_version(tmp_path, field, value, said):
    assert said in complaint(tmp_path / "p.json", record_of() | {field: value})


# --- what it says ---

NAN, INF = float("nan"), float("inf")
# (where, what to put there, what the message has to name)
WRONG = [
    (("name",), 3, ["name", "3"]),
    (("name",), None, ["name"]),
    (("machine",), [], ["machine"]),
    (("machine", "fast_capacity_bytes"), 0, ["fast_capacity_bytes", "0"]),
    (("machine", "fast_capacity_bytes"), 2**30, ["fast_capacity_bytes", "1073741824"]),
    (("machine", "fast_capacity_bytes"), 1005, ["fast_capacity_bytes", "1005"]),
    (("machine", "fast_capacity_bytes"), "64", ["machine.fast_capacity_bytes", "'64'"]),
    (("machine", "alignment_bytes"), -8, ["alignment_bytes", "-8"]),
    (("machine", "alignment_bytes"), 1.5, ["machine.alignment_bytes", "1.5"]),
    (("machine", "slow_bandwidth"), 0, ["slow_bandwidth", "0"]),
    (("machine", "slow_bandwidth"), NAN, ["slow_bandwidth", "nan"]),
    (("machine", "slow_bandwidth"), 1e-300, ["slow_bandwidth", "1e-300"]),
    (("machine", "fast_bandwidth"), INF, ["fast_bandwidth", "inf"]),
    (("machine", "fast_bandwidth"), 10**400, ["fast_bandwidth", "too large"]),
    (("machine", "fast_bandwidth"), True, ["fast_bandwidth", "True"]),
    (("machine", "clock_hz"), -1, ["clock_hz", "-1"]),
    (("machine", "clock_hz"), INF, ["clock_hz", "inf"]),
    (("instructions",), [], ["instructions"]),
    (("instructions",), {}, ["instructions"]),
    (("instructions", 2), "x", ["instructions[2]", "'x'"]),
    (("instructions", 2, "compute_s"), -1, ["instructions[2].compute_s", "-1"]),
    (("instructions", 2, "compute_s"), NAN, ["instructions[2].compute_s", "nan"]),
    (("instructions", 2, "compute_s"), 1e7, ["instructions[2].compute_s", "10000000"]),
    (("instructions", 2, "fixed_read_s"), INF, ["instructions[2].fixed_read_s", "inf"]),
    (("instructions", 2, "fixed_write_s"), -INF, ["instructions[2].fixed_write_s", "inf"]),
    (("instructions", 2, "fixed_slow_bytes"), 2**31, ["fixed_slow_bytes", "2147483648"]),
    (("instructions", 2, "reserved_bytes"), 1001, ["instructions[2].reserved_bytes", "1001"]),
    (("instructions", 2, "reserved_bytes"), -1, ["instructions[2].reserved_bytes", "-1"]),
    (("instructions", 2, "name"), None, ["instructions[2].name"]),
    (("values", 1, "size_bytes"), -5, ["values[1].size_bytes", "-5"]),
    (("values", 1, "size_bytes"), 2**31, ["values[1].size_bytes", "2147483648"]),
    (("values", 1, "size_bytes"), 10**30, ["values[1].size_bytes", "1000000"]),
    (("values", 1, "size_bytes"), NAN, ["values[1].size_bytes", "nan"]),
    (("values", 1, "name"), "w", ["values[2].name", "'w'", "values[1]"]),
    (("values", 1, "is_input"), 1, ["values[1].is_input", "1"]),
    (("accesses", 1, "instruction"), 8, ["accesses[1].instruction", "8"]),
    (("accesses", 1, "instruction"), -1, ["accesses[1].instruction", "-1"]),
    (("accesses", 1, "instruction"), 10**20, ["accesses[1].instruction", "10000"]),
    (("accesses", 1, "value"), 4, ["accesses[1].value", "4"]),
    (("accesses", 1, "kind"), "peek", ["accesses[1].kind", "'peek'"]),
    (("accesses", 1, "bytes"), -1, ["accesses[1].bytes", "-1"]),
    (("accesses", 1, "operands"), [0, "a"], ["accesses[1].operands", "'a'"]),
    (("accesses", 1, "operands"), [-3], ["accesses[1].operands", "-3"]),
    (("accesses", 1, "operands"), 0, ["accesses[1].operands", "0"]),
    (("accesses", 1, "defines"), True, ["accesses[1].defines"]),
    (("accesses", 1, "slow_s"), 1.0, ["accesses[1].slow_s"]),
    (("accesses", 2, "slow_s"), -1.0, ["accesses[2].slow_s", "-1"]),
    (("accesses", 2, "fast_s"), 5.0, ["accesses[2].fast_s", "5.0", "4.0"]),
    (("accesses", 2, "fast_s"), NAN, ["accesses[2].fast_s", "nan"]),
    (("accesses", 0, "instruction"), 2, ["values[0] ('p')"]),  # defined where it is also read
    (("accesses", 0, "defines"), False, ["values[0] ('p')", "updated", "before its first write"]),
    (("accesses", 2, "value"), 3, ["values[3] ('o')", "read by instruction 2 before"]),
    (("accesses", 2, "value"), 0, ["accesses[2]", "second read of value 0"]),
    (("values", 1, "is_input"), True, ["values[1] ('r')", "instruction 3", "already has content"]),
    (("loops", 0, "entry"), 4, ["loops[0]", "4", "no body"]),
    (("loops", 0, "entry"), -1, ["loops[0]", "-1"]),
    (("loops", 0, "exit"), 8, ["loops[0]", "8"]),
    (("loops", 0, "exit"), 7, ["loops[0]", "marker 7", "'i7'"]),
    (("loops", 0, "trip_count"), 0, ["loops[0].trip_count", "0"]),
    (("loops", 0, "trip_count"), 2**31, ["loops[0].trip_count", "2147483648"]),
    (("loops", 0, "trip_count"), 2.5, ["loops[0].trip_count", "2.5"]),
    (("carried", 0, "loop"), 1, ["carried[0].loop", "1"]),
    (("carried", 0, "result"), 9, ["carried[0]", "9"]),
    (("carried", 0, "result"), 0, ["carried[0]", "value 0 is in two groups"]),
    (("carried", 0, "result"), 2, ["carried[0]", "sizes differ: 100 and 40"]),
    (("carried", 0, "parameter"), 1, ["carried[0]"]),
    (("values", 0, "is_output"), True, ["carried[0]", "'p' is an output"]),
    (("accesses", 1, "instruction"), 4, ["carried[0]", "'p' is used after 'r'"]),
    (("provenance",), [], ["provenance"]),
]


def put(record: dict, where: tuple, value) -> dict:
    record = copy.deepcopy(record)
    inner = record
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    return record


@pytest.mark.parametrize(("where", "value", "named"), WRONG)
def test_wrong_program(tmp_path, where, value, named):
    message = complaint(tmp_path / "p.json", put(record_of(), where, value))
    for name in named:
        assert name in message


@pytest.mark.parametrize(
    "where",
    [("machine",), ("name",), ("instructions",), ("values",), ("accesses",)]
    + [("machine", field) for field in ("name", "alignment_bytes", "slow_bandwidth")]
    + [("values", 0, "size_bytes"), ("accesses", 3, "kind"), ("loops", 0, "exit")],
)
def test_missing_field(tmp_path, where):
    record = record_of()
    inner = record
    for key in where[:-1]:
        inner = inner[key]
    del inner[where[-1]]
    assert f"{where[-1]}: is missing" in complaint(tmp_path / "p.json", record)


def with_loops(*loops: tuple[int, int, int], slots: int = 40) -> Program:
    instructions = tuple(Instruction(f"i{t}") for t in range(slots))
    loops = tuple(Loop(*loop) for loop in loops)
    return Program("loops", PROGRAM.machine, instructions, (), (), loops)


@pytest.mark.parametrize(
    ("loops", "said"),
    [
        ([(0, 5, 2), (3, 9, 2)], r"loops\[1\]: overlaps loops\[0\] in part"),
        ([(3, 9, 2), (0, 5, 2)], r"loops\[0\]: overlaps loops\[1\] in part"),
        ([(0, 5, 2), (5, 9, 2)], r"loops\[1\]: marker 5 is used twice"),
        ([(0, 9, 2**16), (1, 8, 2**16)], r"loops\[1\].trip_count: .* 4294967296 executions"),
        ([(t, 39 - t, 1) for t in range(17)], r"loops\[16\]: is nested 17 deep, the limit is 16"),
    ],
)
def test_wrong_loops(loops, said):
    with pytest.raises(InputError, match=f"^program: {said}"):
        validate(with_loops(*loops))


def test_right_loops():
    validate(with_loops((0, 9, 2**14), (1, 4, 2**16), (5, 8, 2**16), (10, 12, 1)))
    validate(with_loops(*[(t, 39 - t, 1) for t in range(16)]))


def test_a_parameter_crosses_no_other_loop():
    outer = dataclasses.replace(
        PROGRAM,
        instructions=tuple(Instruction(f"j{t}") for t in range(10)),
        accesses=tuple(
            dataclasses.replace(a, instruction=a.instruction + 1) for a in PROGRAM.accesses
        ),
        loops=(Loop(2, 6, 7), Loop(0, 8, 3)),
    )
    validate(outer)
    outside = dataclasses.replace(
        outer,
        instructions=tuple(Instruction(f"j{t}") for t in range(11)),
        accesses=tuple(
            dataclasses.replace(a, instruction=a.instruction + (a.instruction > 1))
            for a in outer.accesses
        ),
        loops=(Loop(3, 7, 7), Loop(2, 9, 3)),
    )
    with pytest.raises(InputError, match=r"carried\[0\]: 'p' crosses loop 1, which is around"):
        validate(outside)


def test_too_long_a_program():
    with pytest.raises(InputError, match="instructions: more than"):
        validate(dataclasses.replace(with_loops(), instructions=(Instruction("i"),) * 2**20))


def test_names_with_odd_characters_stay_in_one_line(tmp_path):
    record = put(put(record_of(), ("values", 3, "name"), "o\nops"), ("accesses", 2, "value"), 3)
    assert "'o\\nops'" in complaint(tmp_path / "p.json", record)


@pytest.mark.parametrize(
    ("where", "value", "named"),
    [
        (("format",), "mallocgame.program", ["format"]),
        (("program",), 1, ["program", "1"]),
        (("residencies",), None, ["residencies"]),
        (("residencies", 0), [], ["residencies[0]"]),
        (("residencies", 0, "offset"), 1.5, ["residencies[0].offset", "1.5"]),
        (("residencies", 0, "arrival"), 3, ["residencies[0].arrival", "3"]),
        (("prefetches", 0, "start"), NAN, ["prefetches[0].start", "nan"]),
        (("evictions", 0, "end"), "8", ["evictions[0].end", "'8'"]),
    ],
)
def test_wrong_mapping(tmp_path, where, value, named):
    message = complaint(tmp_path / "m.json", put(mapping_record(), where, value), load_mapping)
    for name in named:
        assert name in message


# --- machines ---


def test_presets():
    assert set(PRESETS) >= {"tpu_v4", "tpu_v4i", "tpu_v5e", "tpu_v5p", "tpu_v6e", "tpu7x"}
    for name, machine in PRESETS.items():
        assert machine_by_name(name) is machine and machine.name == name
        assert machine.source and machine.fast_bandwidth > 5 * machine.slow_bandwidth
    with pytest.raises(InputError, match="machine 'tpu_v9': unknown; one of tpu7x, tpu_v4"):
        machine_by_name("tpu_v9")


# --- fuzzing ---

PLAIN = json.dumps(record_of()).encode()
PACKED = gzip.compress(PLAIN)
MAPPING_PLAIN = json.dumps(mapping_record()).encode()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from([-1, 0, 1, 2, 3, 7, 2**31 - 1, 2**31, 2**63, 1e300, "read", "write"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["name", "value", "entry", "kind"]), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzzed")


def load_or_complain(path: Path, content: bytes, load) -> None:
    """Either a valid program or mapping, or one located line: nothing else."""
    path.write_bytes(content)
    try:
        thing = load(path)
    except InputError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        return
    if isinstance(thing, Program):
        validate(thing)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_fuzzed_bytes(folder, data):
    name, content, load = data.draw(
        st.sampled_from(
            [
                ("p.json", PLAIN, load_program),
                ("p.json.gz", PACKED, load_program),
                ("m.json", MAPPING_PLAIN, load_mapping),
            ]
        )
    )
    garbled = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        garbled[data.draw(st.integers(0, len(garbled) - 1))] = data.draw(st.integers(0, 255))
    load_or_complain(
        folder / name, bytes(garbled[: data.draw(st.integers(0, len(garbled) + 50))]), load
    )


def places(thing, prefix=()) -> list[tuple]:
    """The paths to everything in a JSON value."""
    items = (
        thing.items()
        if isinstance(thing, dict)
        else enumerate(thing)
        if isinstance(thing, list)
        else ()
    )
    found = [prefix] if prefix else []
    for key, value in items:
        found += places(value, (*prefix, key))
    return found


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_fuzzed_json(folder, data):
    name, load, record = data.draw(
        st.sampled_from(
            [
                ("p.json", load_program, json.loads(PLAIN)),
                ("m.json", load_mapping, mapping_record()),
            ]
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        record = put(record, data.draw(st.sampled_from(places(record))), data.draw(JSON))
    load_or_complain(folder / name, json.dumps(record).encode(), load)
