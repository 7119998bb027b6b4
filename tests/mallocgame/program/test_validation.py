"""Every rule of the data model: one located line for each field that breaks one."""

from __future__ import annotations

import dataclasses

import pytest

from gamekit.errors import InputError
from mallocgame.program import Instruction, Loop, Program, validate
from mallocgame.program.mapping import load_mapping
from tests.support.handmade import MARKER, Slot, program, value
from tests.support.program_files import PROGRAM, complaint, mapping_record, put, record_of

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
    (("accesses", 2, "fast_s"), NAN, ["accesses[2].fast_s", "nan"]),
    (("accesses", 0, "instruction"), 2, ["values[0] ('p')"]),  # defined where it is also read
    (("accesses", 0, "defines"), False, ["values[0] ('p')", "updated", "before its first write"]),
    (("accesses", 2, "value"), 3, ["values[3] ('o')", "read by instruction 2 before its first"]),
    (("accesses", 2, "value"), 0, ["accesses[2]", "second read of value 0"]),
    (("values", 1, "is_input"), True, ["values[1] ('r')", "instruction 3", "already has content"]),
    (("loops", 0, "entry"), 4, ["loops[0]", "4", "must enclose a body"]),
    (("loops", 0, "entry"), -1, ["loops[0]", "-1"]),
    (("loops", 0, "exit"), 8, ["loops[0]", "8"]),
    (("loops", 0, "exit"), 7, ["loops[0]", "marker 7", "'i7'"]),
    (("loops", 0, "trip_count"), 0, ["loops[0].trip_count", "0"]),
    (("loops", 0, "trip_count"), 2**31, ["loops[0].trip_count", "2147483648"]),
    (("loops", 0, "trip_count"), 2.5, ["loops[0].trip_count", "2.5"]),
    (("carried", 0, "loop"), 1, ["carried[0].loop", "1"]),
    (("carried", 0, "result"), 9, ["carried[0]", "9"]),
    (("carried", 0, "result"), 0, ["carried[0]", "value 0 is in two groups"]),
    (("carried", 0, "result"), 2, ["carried[0]", "one size, got 100 and 40 bytes"]),
    (("carried", 0, "parameter"), 1, ["carried[0]"]),
    (("values", 0, "is_output"), True, ["carried[0]", "'p' must not be an output"]),
    (("accesses", 1, "instruction"), 4, ["carried[0]", "must not be used after its result 'r'"]),
    (("provenance",), [], ["provenance"]),
]


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
        ([(0, 5, 2), (3, 9, 2)], r"loops\[1\]: must be inside or outside of loops\[0\], got an"),
        ([(3, 9, 2), (0, 5, 2)], r"loops\[0\]: must be inside or outside of loops\[1\], got an"),
        ([(0, 5, 2), (5, 9, 2)], r"loops\[1\]: marker 5 is used twice"),
        ([(0, 9, 2**16), (1, 8, 2**16)], r"loops\[1\].trip_count: must make at .* got 4294967296"),
        ([(t, 39 - t, 1) for t in range(17)], r"loops\[16\]: must be nested at most 16 .*, got 17"),
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
    said = r"carried\[0\]: parameter 'p' must not cross loop 1, which is around"
    with pytest.raises(InputError, match=said):
        validate(outside)
    given = dataclasses.replace(
        outer,
        values=(dataclasses.replace(outer.values[0], is_input=True), *outer.values[1:]),
        accesses=outer.accesses[1:],
    )
    with pytest.raises(InputError, match=r"carried\[0\]: parameter 'p' must not cross loop 1"):
        validate(given)


LOOP = (Loop(1, 6, 2),)


def carrying(slots: list[Slot], loops: tuple[Loop, ...] = LOOP) -> Program:
    """A program whose first loop carries "p" into "r"."""
    return program(64, {"p": value(8), "r": value(8)}, slots, loops, ((0, "p", "r"),))


def test_a_group_is_defined_in_its_loop_and_nowhere_else():
    """A parameter before the loop, a result in the body itself."""
    p, r = Slot(1.0, defines="p"), Slot(1.0, defines="r")
    uses = Slot(1.0, reads="p", defines="r")
    carrying([p, MARKER, MARKER, Slot(1.0), MARKER, uses, MARKER], (*LOOP, Loop(2, 4, 2)))
    with pytest.raises(InputError, match=r"result 'r' must be defined in the body of loop 0 itse"):
        carrying([p, MARKER, MARKER, uses, MARKER, Slot(1.0), MARKER], (*LOOP, Loop(2, 4, 2)))
    with pytest.raises(InputError, match=r"result 'r' must be defined in the body of loop 0"):
        carrying([p, MARKER, *[Slot(1.0)] * 4, MARKER, r])
    with pytest.raises(InputError, match=r"parameter 'p' must not be defined in the body"):
        carrying([Slot(1.0), MARKER, p, uses, Slot(1.0), Slot(1.0), MARKER])


@pytest.mark.parametrize(
    "field", ["compute_s", "fixed_read_s", "fixed_write_s", "fixed_slow_bytes"]
)
def test_a_marker_costs_nothing(tmp_path, field):
    record = put(record_of(), ("instructions", 1, field), 1)
    assert "marker 1 ('i1') must have neither cost" in complaint(tmp_path / "p.json", record)


def test_an_instruction_may_reserve_all_of_fast_memory():
    all_of_it = dataclasses.replace(PROGRAM.instructions[2], reserved_bytes=1000)
    rows = PROGRAM.instructions
    validate(dataclasses.replace(PROGRAM, instructions=(*rows[:2], all_of_it, *rows[3:])))


def test_too_long_a_program():
    with pytest.raises(InputError, match=r"instructions: must be 1 to 1048575 .*, got 1048576"):
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
