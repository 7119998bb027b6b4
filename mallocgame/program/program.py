"""The problem: a fixed schedule of instructions and the values they read and write.

A program is plain immutable data and knows nothing of the game: `mallocgame.game` compiles it to
arrays, and `mallocgame.judge` reads it as it is.  Times are in seconds and sizes in bytes; logical
time is a slot, the index of an instruction in the schedule.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gamekit.jsonfile import Record, read_json, write_json
from mallocgame.program.machine import Machine, machine_from_record
from mallocgame.program.validation import validate

FORMAT = "mallocgame.program"
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One slot of the schedule.

    compute_s: compute floor, seconds per execution.
    fixed_read_s, fixed_write_s: seconds of slow-memory traffic that no decision can move.
    fixed_slow_bytes: physical bytes of that traffic, which copies cannot use.
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
    """One tensor buffer.

    is_input: slow memory holds the value before the program starts.
    is_output: slow memory must hold it when the program ends.
    is_pinned: it must stay in slow memory.
    """

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
    kind: "read" or "write".
    slow_s, fast_s: calibrated seconds of the access in slow and in fast memory, of which either may
        be the longer one; None if the access is not calibrated, which means bytes over the
        machine's bandwidth.
    defines: for writes, True if the write gives the value fresh content, False for an update in
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
    """A loop: its body lies between the slots `entry` and `exit`, markers that cost nothing."""

    entry: int
    exit: int
    trip_count: int


@dataclasses.dataclass(frozen=True)
class CarriedGroup:
    """Two values that share one place at a loop's boundary.

    parameter: the initial value, which is also the body's parameter.
    result: the body's result, which is also the loop's.

    A carry that the body updates in place is a single value and needs no group.
    """

    loop: int
    parameter: int
    result: int


class Columns(NamedTuple):
    """What instructions [T] and accesses [A] say, field by field; not to be changed.

    compute_s, fixed_read_s, fixed_write_s, fixed_slow_bytes: float64 [T].
    slot: int64 [A], the instruction. value: int64 [A]. is_read: bool [A].
    bytes, slow_s, fast_s: float64 [A]; seconds are NaN where the access is not calibrated.
    """

    compute_s: np.ndarray
    fixed_read_s: np.ndarray
    fixed_write_s: np.ndarray
    fixed_slow_bytes: np.ndarray
    slot: np.ndarray
    value: np.ndarray
    is_read: np.ndarray
    bytes: np.ndarray
    slow_s: np.ndarray
    fast_s: np.ndarray


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
    def columns(self) -> Columns:
        """The numbers of instructions and accesses as arrays."""

        def floats(items: Iterable[Any], field: str) -> np.ndarray:
            return np.array([getattr(item, field) for item in items], np.float64)  # None is NaN

        ins, accesses = self.instructions, self.accesses
        found = Columns(
            compute_s=floats(ins, "compute_s"),
            fixed_read_s=floats(ins, "fixed_read_s"),
            fixed_write_s=floats(ins, "fixed_write_s"),
            fixed_slow_bytes=floats(ins, "fixed_slow_bytes"),
            slot=np.array([a.instruction for a in accesses], np.int64),
            value=np.array([a.value for a in accesses], np.int64),
            is_read=np.array([a.kind == "read" for a in accesses], bool),
            bytes=floats(accesses, "bytes"),
            slow_s=floats(accesses, "slow_s"),
            fast_s=floats(accesses, "fast_s"),
        )
        for column in found:
            column.flags.writeable = False
        return found

    @functools.cached_property
    def fingerprint(self) -> str:
        """A short hash of everything but the provenance; mappings carry it."""
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
    """Writes a program as JSON, gzipped if the name ends in `.gz`; the bytes are reproducible."""
    validate(program, str(path))
    write_json(path, _to_record(program))


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
    """The fields that differ from their defaults, to keep files small."""
    defaults = _defaults(type(item))
    return {name: value for name, value in vars(item).items() if value != defaults[name]}


@functools.cache
def _defaults(kind: Any) -> dict[str, Any]:
    """The fields of a dataclass; what has no default differs from it always."""
    return {f.name: f.default for f in dataclasses.fields(kind)}


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
