"""The problem: a fixed schedule of instructions and the values they read and write.

A program is plain immutable data.  It knows nothing of the game; `mallocgame.game` compiles it to
arrays, `mallocgame.judge` reads it as it is.  Times are seconds, sizes bytes, logical time is the
index of an instruction in the schedule.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping as MappingABC
from pathlib import Path
from typing import Any

from gamekit.errors import InputError
from gamekit.jsonfile import Record, read_json, write_json
from mallocgame.program.machine import Machine, machine_from_record

FORMAT = "mallocgame.program"
VERSION = 1
INT32_MAX = 2**31 - 1
MAX_SECONDS = 1e6
MAX_LOOP_DEPTH = 16


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One slot of the schedule.

    compute_s: compute floor, seconds per execution.
    fixed_read_s, fixed_write_s: time of slow-memory traffic that no decision moves, seconds.
    fixed_slow_bytes: physical bytes of that traffic, for the copy supply.
    reserved_bytes: fast memory at offsets [0, reserved_bytes) that the instruction itself needs.
    """

    name: str
    opcode: str = ""
    compute_s: float = 0.0
    fixed_read_s: float = 0.0
    fixed_write_s: float = 0.0
    fixed_slow_bytes: int = 0
    reserved_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class Value:
    """One tensor buffer; `is_input` holds for values that slow memory holds before the program."""

    name: str
    size_bytes: int
    is_input: bool = False
    is_output: bool = False
    is_pinned: bool = False


@dataclasses.dataclass(frozen=True)
class Access:
    """One instruction's read or write of one value.

    operands: operand numbers (reads) or output indices (writes) served by this access.
    bytes: physical bytes that cross the slow bus when the value is in slow memory.
    slow_s, fast_s: calibrated seconds of the access in slow and in fast memory; None where the
        program is not calibrated (then bytes over the machine's bandwidth).
    defines: for writes, True where the write gives the value fresh content, False for an update in
        place.
    """

    instruction: int
    value: int
    kind: str
    operands: tuple[int, ...] = ()
    bytes: int = 0
    slow_s: float | None = None
    fast_s: float | None = None
    defines: bool = False


@dataclasses.dataclass(frozen=True)
class Loop:
    """A loop: its body is the schedule between the cost-free markers `entry` and `exit`."""

    entry: int
    exit: int
    trip_count: int


@dataclasses.dataclass(frozen=True)
class CarriedGroup:
    """Two values that share one place at a loop's boundary.

    `parameter` is the initial value and the body's parameter, `result` the body's result and the
    loop's result.  A carry that the body updates in place is a single value and needs no group.
    """

    loop: int
    parameter: int
    result: int


@dataclasses.dataclass(frozen=True)
class Program:
    """A schedule of T instructions over V values, for one machine."""

    name: str
    machine: Machine
    instructions: tuple[Instruction, ...]
    values: tuple[Value, ...]
    accesses: tuple[Access, ...]
    loops: tuple[Loop, ...] = ()
    carried: tuple[CarriedGroup, ...] = ()
    provenance: MappingABC[str, Any] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def weights(self) -> tuple[int, ...]:
        """Executions of each instruction: the product of the trip counts of the loops around it."""
        weights = [1] * len(self.instructions)
        for loop in self.loops:
            for t in range(loop.entry + 1, loop.exit):
                weights[t] *= loop.trip_count
        return tuple(weights)

    @functools.cached_property
    def accesses_at(self) -> tuple[tuple[Access, ...], ...]:
        """Accesses of each instruction: reads in operand order, then writes in output order."""
        at: list[list[Access]] = [[] for _ in self.instructions]
        for access in self.accesses:
            at[access.instruction].append(access)
        return tuple(
            tuple(sorted(row, key=lambda a: (a.kind == "write", a.operands, a.value))) for row in at
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """A short hash of everything that matters to play; mappings carry it."""
        record = _to_record(self)
        del record["provenance"]
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]

    def fits(self, value: int) -> bool:
        """Whether the value may ever be placed in fast memory."""
        v = self.values[value]
        return not v.is_pinned and v.size_bytes <= self.machine.fast_capacity_bytes

    def with_machine(self, machine: Machine) -> Program:
        """The same program on another machine (or the same one with another capacity)."""
        return dataclasses.replace(self, machine=machine)


def load_program(path: str | Path) -> Program:
    """Reads and validates a `.json` or `.json.gz` program file.

    Raises:
      InputError: names the file, the field and the offending value.
    """
    record = Record(read_json(path, FORMAT, VERSION), str(path))
    program = _from_record(record)
    validate(program, str(path))
    return program


def save_program(program: Program, path: str | Path) -> None:
    """Writes a program as JSON, gzipped where the name ends in `.gz`, in reproducible bytes."""
    validate(program, str(path))
    write_json(path, _to_record(program))


def validate(program: Program, source: str = "program") -> None:
    """Checks every rule of the data model.

    Raises:
      InputError: one line with `source`, the field and the offending value.
    """
    _validate_instructions(program, source)
    _validate_values(program, source)
    _validate_accesses(program, source)
    _validate_loops(program, source)
    _validate_contents(program, source)
    _validate_carried(program, source)


def _require(ok: bool, source: str, field: str, message: str) -> None:
    if not ok:
        raise InputError(f"{source}: {field}: {message}")


def _validate_instructions(program: Program, source: str) -> None:
    _require(bool(program.instructions), source, "instructions", "a program needs at least one")
    _require(
        len(program.instructions) < 2**20, source, "instructions", "more than 2**20 instructions"
    )
    for t, ins in enumerate(program.instructions):
        for field in ("compute_s", "fixed_read_s", "fixed_write_s"):
            _check_seconds(getattr(ins, field), source, f"instructions[{t}].{field}")
        for field in ("fixed_slow_bytes", "reserved_bytes"):
            _check_bytes(getattr(ins, field), source, f"instructions[{t}].{field}")
        _require(
            ins.reserved_bytes <= program.machine.fast_capacity_bytes,
            source,
            f"instructions[{t}].reserved_bytes",
            f"{ins.reserved_bytes} exceeds the fast memory of "
            f"{program.machine.fast_capacity_bytes} bytes",
        )


def _check_seconds(seconds: float, source: str, field: str) -> None:
    _require(
        math.isfinite(seconds) and 0 <= seconds <= MAX_SECONDS,
        source,
        field,
        f"{seconds} is not a time in [0, {MAX_SECONDS:g}] seconds",
    )


def _check_bytes(size: int, source: str, field: str) -> None:
    _require(0 <= size <= INT32_MAX, source, field, f"{size} is not in [0, {INT32_MAX}] bytes")


def _validate_values(program: Program, source: str) -> None:
    names: dict[str, int] = {}
    for v, value in enumerate(program.values):
        _check_bytes(value.size_bytes, source, f"values[{v}].size_bytes")
        _require(
            value.name not in names,
            source,
            f"values[{v}].name",
            f"{value.name!r} is also the name of values[{names.get(value.name)}]",
        )
        names[value.name] = v


def _validate_loops(program: Program, source: str) -> None:
    total = len(program.instructions)
    markers: set[int] = set()
    for i, loop in enumerate(program.loops):
        field = f"loops[{i}]"
        _require(
            0 <= loop.entry < loop.exit < total and loop.exit > loop.entry + 1,
            source,
            field,
            f"entry {loop.entry} and exit {loop.exit} enclose no body in a schedule of {total}",
        )
        _require(
            1 <= loop.trip_count <= INT32_MAX,
            source,
            f"{field}.trip_count",
            f"{loop.trip_count} is not in [1, {INT32_MAX}]",
        )
        for marker in (loop.entry, loop.exit):
            _require(marker not in markers, source, field, f"marker {marker} is used twice")
            markers.add(marker)
            ins = program.instructions[marker]
            cost = ins.compute_s + ins.fixed_read_s + ins.fixed_write_s + ins.fixed_slow_bytes
            _require(
                cost == 0 and not program.accesses_at[marker],
                source,
                field,
                f"marker {marker} ({ins.name!r}) has a cost or accesses; markers have none",
            )
    _validate_nesting(program, source)


def _validate_nesting(program: Program, source: str) -> None:
    around: list[int] = []
    executions = [1]
    for i in sorted(range(len(program.loops)), key=lambda i: program.loops[i].entry):
        loop = program.loops[i]
        while around and program.loops[around[-1]].exit < loop.entry:
            around.pop()
            executions.pop()
        inside = not around or loop.exit < program.loops[around[-1]].exit
        _require(inside, source, f"loops[{i}]", f"overlaps loops{around[-1:]} in part")
        around.append(i)
        executions.append(executions[-1] * loop.trip_count)
        _require(
            len(around) <= MAX_LOOP_DEPTH,
            source,
            f"loops[{i}]",
            f"is nested {len(around)} deep, the limit is {MAX_LOOP_DEPTH}",
        )
        _require(
            executions[-1] <= INT32_MAX,
            source,
            f"loops[{i}].trip_count",
            f"with the loops around it makes {executions[-1]} executions, more than {INT32_MAX}",
        )


def _validate_accesses(program: Program, source: str) -> None:
    seen: set[tuple[int, int, str]] = set()
    for i, a in enumerate(program.accesses):
        field = f"accesses[{i}]"
        _require(
            0 <= a.instruction < len(program.instructions),
            source,
            f"{field}.instruction",
            f"{a.instruction} is not one of the {len(program.instructions)} instructions",
        )
        _require(
            0 <= a.value < len(program.values),
            source,
            f"{field}.value",
            f"{a.value} is not one of the {len(program.values)} values",
        )
        _require(
            a.kind in ("read", "write"), source, f"{field}.kind", f"{a.kind!r} is no read or write"
        )
        _check_bytes(a.bytes, source, f"{field}.bytes")
        _require(
            all(0 <= number <= INT32_MAX for number in a.operands),
            source,
            f"{field}.operands",
            f"{min(a.operands, default=0)} to {max(a.operands, default=0)} "
            f"are not in [0, {INT32_MAX}]",
        )
        _require(
            (a.slow_s is None) == (a.fast_s is None),
            source,
            f"{field}.slow_s",
            "slow_s and fast_s are given together or not at all",
        )
        if a.slow_s is not None and a.fast_s is not None:
            _check_seconds(a.slow_s, source, f"{field}.slow_s")
            _check_seconds(a.fast_s, source, f"{field}.fast_s")
            _require(
                a.fast_s <= a.slow_s,
                source,
                f"{field}.fast_s",
                f"{a.fast_s} exceeds slow_s {a.slow_s}",
            )
        _require(
            a.kind == "write" or not a.defines, source, f"{field}.defines", "a read defines nothing"
        )
        key = (a.instruction, a.value, a.kind)
        _require(
            key not in seen,
            source,
            field,
            f"instruction {a.instruction} has a second {a.kind} of value {a.value}; merge them",
        )
        seen.add(key)


def _validate_contents(program: Program, source: str) -> None:
    """Every value is written before it is read, and freshly defined at most once."""
    state = ["slow" if v.is_input else "empty" for v in program.values]
    for t, accesses in enumerate(program.accesses_at):
        for a in accesses:
            name = program.values[a.value].name
            field = f"values[{a.value}] ({name!r})"
            if a.kind == "read":
                _require(
                    state[a.value] != "empty",
                    source,
                    field,
                    f"read by instruction {t} before its first write",
                )
            elif a.defines:
                _require(
                    state[a.value] == "empty",
                    source,
                    field,
                    f"defined by instruction {t}, but it already has content; "
                    "a later write is an update (defines: false)",
                )
                state[a.value] = "written"
            else:
                _require(
                    state[a.value] != "empty",
                    source,
                    field,
                    f"updated by instruction {t} before its first write",
                )


def _validate_carried(program: Program, source: str) -> None:
    taken: set[tuple[int, int]] = set()
    accesses: dict[int, list[Access]] = {}
    for access in program.accesses if program.carried else ():
        accesses.setdefault(access.value, []).append(access)
    for i, group in enumerate(program.carried):
        field = f"carried[{i}]"
        _require(
            0 <= group.loop < len(program.loops), source, f"{field}.loop", f"no loop {group.loop}"
        )
        for member in (group.parameter, group.result):
            _require(0 <= member < len(program.values), source, field, f"no value {member}")
            _require(
                (group.loop, member) not in taken,
                source,
                field,
                f"value {member} is in two groups of loop {group.loop}",
            )
            taken.add((group.loop, member))
        of_members = (accesses.get(group.parameter, []), accesses.get(group.result, []))
        _validate_group(program, group, *of_members, source, field)


def _validate_group(
    program: Program,
    group: CarriedGroup,
    of_parameter: list[Access],
    of_result: list[Access],
    source: str,
    field: str,
) -> None:
    loop = program.loops[group.loop]
    parameter, result = program.values[group.parameter], program.values[group.result]
    _require(
        parameter.size_bytes == result.size_bytes,
        source,
        field,
        f"sizes differ: {parameter.size_bytes} and {result.size_bytes} bytes",
    )
    _require(not parameter.is_output, source, field, f"{parameter.name!r} is an output")
    inner = [
        other for other in program.loops if loop.entry < other.entry and other.exit < loop.exit
    ]
    defined = [a.instruction for a in of_result if a.defines]
    _require(
        len(defined) == 1
        and loop.entry < defined[0] < loop.exit
        and not any(o.entry < defined[0] < o.exit for o in inner),
        source,
        field,
        f"{result.name!r} is not defined in the body of loop {group.loop} itself",
    )
    _require(
        all(a.instruction <= defined[0] for a in of_parameter),
        source,
        field,
        f"{parameter.name!r} is used after {result.name!r} took its place at {defined[0]}",
    )
    _require(
        not any(a.defines and a.instruction > loop.entry for a in of_parameter),
        source,
        field,
        f"{parameter.name!r} is defined in the body",
    )
    for i, other in enumerate(program.loops):
        if other.entry < loop.entry and loop.exit < other.exit:
            inside = [other.entry < a.instruction < other.exit for a in of_parameter]
            _require(
                not any(inside) or (all(inside) and not parameter.is_input),
                source,
                field,
                f"{parameter.name!r} crosses loop {i}, which is around loop {group.loop}",
            )


def _to_record(program: Program) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": program.name,
        "machine": dataclasses.asdict(program.machine),
        "instructions": [_sparse(i) for i in program.instructions],
        "values": [_sparse(v) for v in program.values],
        "accesses": [_sparse(a) for a in program.accesses],
        "loops": [dataclasses.asdict(loop) for loop in program.loops],
        "carried": [dataclasses.asdict(group) for group in program.carried],
        "provenance": dict(program.provenance),
    }


def _sparse(item: Any) -> dict[str, Any]:
    """The fields that differ from their defaults: what makes the files small."""
    return {
        f.name: getattr(item, f.name)
        for f in dataclasses.fields(item)
        if f.default is dataclasses.MISSING or getattr(item, f.name) != f.default
    }


def _from_record(record: Record) -> Program:
    return Program(
        name=record.string("name"),
        machine=machine_from_record(record.record("machine")),
        instructions=tuple(
            Instruction(
                name=r.string("name"),
                opcode=r.string("opcode", ""),
                compute_s=r.number("compute_s", 0.0),
                fixed_read_s=r.number("fixed_read_s", 0.0),
                fixed_write_s=r.number("fixed_write_s", 0.0),
                fixed_slow_bytes=r.integer("fixed_slow_bytes", 0),
                reserved_bytes=r.integer("reserved_bytes", 0),
            )
            for r in record.records("instructions")
        ),
        values=tuple(
            Value(
                name=r.string("name"),
                size_bytes=r.integer("size_bytes"),
                is_input=r.boolean("is_input", False),
                is_output=r.boolean("is_output", False),
                is_pinned=r.boolean("is_pinned", False),
            )
            for r in record.records("values")
        ),
        accesses=tuple(
            Access(
                instruction=r.integer("instruction"),
                value=r.integer("value"),
                kind=r.string("kind"),
                operands=r.integers("operands", ()),
                bytes=r.integer("bytes", 0),
                slow_s=r.number("slow_s", None),
                fast_s=r.number("fast_s", None),
                defines=r.boolean("defines", False),
            )
            for r in record.records("accesses")
        ),
        loops=tuple(
            Loop(r.integer("entry"), r.integer("exit"), r.integer("trip_count"))
            for r in record.records("loops", ())
        ),
        carried=tuple(
            CarriedGroup(r.integer("loop"), r.integer("parameter"), r.integer("result"))
            for r in record.records("carried", ())
        ),
        provenance=record.mapping("provenance", {}),
    )
