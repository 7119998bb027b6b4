"""The rules of the data model: what `load_program` and `save_program` check of every program."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gamekit.errors import InputError

if TYPE_CHECKING:  # program.py checks what it reads, and so imports this module
    from mallocgame.program.program import Access, CarriedGroup, Program

INT32_MAX = 2**31 - 1
MAX_SECONDS = 1e6
MAX_LOOP_DEPTH = 16
MAX_INSTRUCTIONS = 2**20 - 1


def validate(program: Program, source: str = "program") -> None:
    """Checks every rule of the data model.

    Raises:
      InputError: one line with `source`, the field and the offending value.
    """
    _validate_instructions(program, source)
    _validate_values(program, source)
    _validate_accesses(program, source)
    _validate_loops(program, source)
    _validate_nesting(program, source)
    _validate_contents(program, source)
    _validate_carried(program, source)


def _require(ok: bool, where: str, message: str) -> None:
    """Raises the message unless `ok`; `where` is "FILE: FIELD"."""
    if not ok:
        raise InputError(f"{where}: {message}")


def _require_seconds(seconds: float, where: str) -> None:
    ok = math.isfinite(seconds) and 0 <= seconds <= MAX_SECONDS
    _require(ok, where, f"must be a time in [0, {MAX_SECONDS:g}] seconds, got {seconds}")


def _require_bytes(size: int, where: str) -> None:
    _require(0 <= size <= INT32_MAX, where, f"must be in [0, {INT32_MAX}] bytes, got {size}")


def _require_index(number: int, count: int, what: str, where: str) -> None:
    ok = 0 <= number < count
    _require(ok, where, f"must be the number of one of the {count} {what}, got {number}")


def _validate_instructions(program: Program, source: str) -> None:
    count = len(program.instructions)
    _require(
        1 <= count <= MAX_INSTRUCTIONS,
        f"{source}: instructions",
        f"must be 1 to {MAX_INSTRUCTIONS} instructions, got {count}",
    )
    capacity = program.machine.fast_capacity_bytes
    for t, ins in enumerate(program.instructions):
        where = f"{source}: instructions[{t}]"
        for field in ("compute_s", "fixed_read_s", "fixed_write_s"):
            _require_seconds(getattr(ins, field), f"{where}.{field}")
        for field in ("fixed_slow_bytes", "reserved_bytes"):
            _require_bytes(getattr(ins, field), f"{where}.{field}")
        _require(
            ins.reserved_bytes <= capacity,
            f"{where}.reserved_bytes",
            f"must be at most the {capacity} bytes of fast memory, got {ins.reserved_bytes}",
        )


def _validate_values(program: Program, source: str) -> None:
    names: dict[str, int] = {}
    for v, value in enumerate(program.values):
        _require_bytes(value.size_bytes, f"{source}: values[{v}].size_bytes")
        _require(
            value.name not in names,
            f"{source}: values[{v}].name",
            f"must be unique, got {value.name!r}, the name of values[{names.get(value.name)}]",
        )
        names[value.name] = v


def _validate_accesses(program: Program, source: str) -> None:
    seen: set[tuple[int, int, str]] = set()
    for i, access in enumerate(program.accesses):
        where = f"{source}: accesses[{i}]"
        _validate_access(program, access, where)
        key = (access.instruction, access.value, access.kind)
        _require(
            key not in seen,
            where,
            f"instruction {access.instruction} has a second {access.kind} of value "
            f"{access.value}; merge them",
        )
        seen.add(key)


def _validate_access(program: Program, access: Access, where: str) -> None:
    instructions, values = len(program.instructions), len(program.values)
    _require_index(access.instruction, instructions, "instructions", f"{where}.instruction")
    _require_index(access.value, values, "values", f"{where}.value")
    _require(
        access.kind in ("read", "write"),
        f"{where}.kind",
        f"must be 'read' or 'write', got {access.kind!r}",
    )
    _require_bytes(access.bytes, f"{where}.bytes")
    for number in access.operands:
        ok = 0 <= number <= INT32_MAX
        _require(ok, f"{where}.operands", f"must be in [0, {INT32_MAX}], got {number}")
    _require(
        (access.slow_s is None) == (access.fast_s is None),
        f"{where}.slow_s",
        f"slow_s and fast_s must be given together or not at all, got {access.slow_s} and "
        f"{access.fast_s}",
    )
    if access.slow_s is not None and access.fast_s is not None:
        _require_seconds(access.slow_s, f"{where}.slow_s")
        _require_seconds(access.fast_s, f"{where}.fast_s")
    _require(
        access.kind == "write" or not access.defines,
        f"{where}.defines",
        "must be false for a read, got true",
    )


def _validate_loops(program: Program, source: str) -> None:
    total = len(program.instructions)
    markers: set[int] = set()
    for i, loop in enumerate(program.loops):
        where = f"{source}: loops[{i}]"
        _require(
            0 <= loop.entry < loop.exit < total and loop.exit > loop.entry + 1,
            where,
            f"entry and exit must enclose a body in the schedule of {total} instructions, "
            f"got {loop.entry} and {loop.exit}",
        )
        _require(
            1 <= loop.trip_count <= INT32_MAX,
            f"{where}.trip_count",
            f"must be in [1, {INT32_MAX}], got {loop.trip_count}",
        )
        for marker in (loop.entry, loop.exit):
            _require(marker not in markers, where, f"marker {marker} is used twice")
            markers.add(marker)
            ins = program.instructions[marker]
            cost = ins.compute_s + ins.fixed_read_s + ins.fixed_write_s + ins.fixed_slow_bytes
            _require(
                cost == 0 and not program.accesses_at[marker],
                where,
                f"marker {marker} ({ins.name!r}) must have neither cost nor accesses",
            )


def _validate_nesting(program: Program, source: str) -> None:
    around: list[int] = []
    executions = [1]
    for i in sorted(range(len(program.loops)), key=lambda i: program.loops[i].entry):
        loop = program.loops[i]
        where = f"{source}: loops[{i}]"
        while around and program.loops[around[-1]].exit < loop.entry:
            around.pop()
            executions.pop()
        inside = not around or loop.exit < program.loops[around[-1]].exit
        _require(inside, where, f"must be inside or outside of loops{around[-1:]}, got an overlap")
        around.append(i)
        executions.append(executions[-1] * loop.trip_count)
        _require(
            len(around) <= MAX_LOOP_DEPTH,
            where,
            f"must be nested at most {MAX_LOOP_DEPTH} deep, got {len(around)}",
        )
        _require(
            executions[-1] <= INT32_MAX,
            f"{where}.trip_count",
            f"must make at most {INT32_MAX} executions with the loops around it, "
            f"got {executions[-1]}",
        )


def _validate_contents(program: Program, source: str) -> None:
    """Every value is written before it is read, and freshly defined at most once."""
    has_content = [value.is_input for value in program.values]
    for t, accesses in enumerate(program.accesses_at):
        for access in accesses:
            v = access.value
            where = f"{source}: values[{v}] ({program.values[v].name!r})"
            if access.defines:
                _require(
                    not has_content[v],
                    where,
                    f"defined by instruction {t}, but it already has content; "
                    "a later write is an update (defines: false)",
                )
                has_content[v] = True
            else:
                done = "read" if access.kind == "read" else "updated"
                message = f"{done} by instruction {t} before its first write"
                _require(has_content[v], where, message)


def _validate_carried(program: Program, source: str) -> None:
    taken: set[tuple[int, int]] = set()
    accesses: dict[int, list[Access]] = {}
    for access in program.accesses if program.carried else ():
        accesses.setdefault(access.value, []).append(access)
    for i, group in enumerate(program.carried):
        where = f"{source}: carried[{i}]"
        _require_index(group.loop, len(program.loops), "loops", f"{where}.loop")
        for field, member in (("parameter", group.parameter), ("result", group.result)):
            _require_index(member, len(program.values), "values", f"{where}.{field}")
            _require(
                (group.loop, member) not in taken,
                where,
                f"value {member} is in two groups of loop {group.loop}",
            )
            taken.add((group.loop, member))
        of_members = (accesses.get(group.parameter, []), accesses.get(group.result, []))
        _validate_group(program, group, *of_members, where)


def _validate_group(
    program: Program,
    group: CarriedGroup,
    of_parameter: list[Access],
    of_result: list[Access],
    where: str,
) -> None:
    loop = program.loops[group.loop]
    parameter, result = program.values[group.parameter], program.values[group.result]
    _require(
        parameter.size_bytes == result.size_bytes,
        where,
        f"parameter and result must have one size, got {parameter.size_bytes} and "
        f"{result.size_bytes} bytes",
    )
    _require(not parameter.is_output, where, f"parameter {parameter.name!r} must not be an output")
    inner = [
        other for other in program.loops if loop.entry < other.entry and other.exit < loop.exit
    ]
    defined = [a.instruction for a in of_result if a.defines]
    _require(
        len(defined) == 1
        and loop.entry < defined[0] < loop.exit
        and not any(o.entry < defined[0] < o.exit for o in inner),
        where,
        f"result {result.name!r} must be defined in the body of loop {group.loop} itself",
    )
    _require(
        all(a.instruction <= defined[0] for a in of_parameter),
        where,
        f"parameter {parameter.name!r} must not be used after its result {result.name!r} took its "
        f"place at {defined[0]}",
    )
    _require(
        not any(a.defines and a.instruction > loop.entry for a in of_parameter),
        where,
        f"parameter {parameter.name!r} must not be defined in the body",
    )
    for i, other in enumerate(program.loops):
        if other.entry < loop.entry and loop.exit < other.exit:
            inside = [other.entry < a.instruction < other.exit for a in of_parameter]
            _require(
                not any(inside) or (all(inside) and not parameter.is_input),
                where,
                f"parameter {parameter.name!r} must not cross loop {i}, which is around loop "
                f"{group.loop}",
            )
