"""From statements to operations with guards, and the dataflow between them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from gamekit.errors import InputError
from games.fences.program.program import MAX_CONDITIONS, MAX_OPERATIONS, exclude
from games.fences.program.syntax import (
    Assign,
    Binary,
    Expression,
    File,
    If,
    Input,
    Print,
    Statement,
    Unary,
    Variable,
)
from games.fences.program.tokens import Place
from games.fences.program.types import infer

Guard = tuple[tuple[str, bool], ...]


@dataclasses.dataclass(frozen=True)
class Raw:
    """An operation before annotations: its guard by names of conditions, its dataflow by numbers.

    value: None for a print of `name`.
    """

    name: str
    value: Expression | None
    guard: Guard
    place: Place
    data: tuple[int, ...] = ()

    @property
    def prints(self) -> bool:
        return self.value is None

    def __str__(self) -> str:
        return f"print({self.name})" if self.prints else self.name


@dataclasses.dataclass(frozen=True)
class Flat:
    """Operations in the order of the text, and the conditions in order of appearance."""

    operations: tuple[Raw, ...]
    conditions: tuple[str, ...]


def flatten(file: File) -> Flat:
    """The operations of a file.

    Raises:
      InputError: none or too many; a value is assigned twice in one run, unknown, not defined in
        some run, of two types, or depends on itself.
    """
    names = {s.name for s in _assignments(file.statements)}
    fresh = (f"cond{n}" for n in itertools.count(1) if f"cond{n}" not in names)
    operations, asked = [], []
    for raw, condition in _walk(file.statements, (), fresh):
        if condition:
            asked.append(condition)
        if raw:
            operations.append(raw)
    conditions = tuple(dict.fromkeys(name for name, _ in asked))
    if not operations:
        raise InputError(f"{file.source}: has no operation; write one, as in x = input()")
    if len(operations) > MAX_OPERATIONS:
        place = operations[MAX_OPERATIONS].place
        raise place.error(f"must have at most {MAX_OPERATIONS} operations, this is one more")
    if len(conditions) > MAX_CONDITIONS:
        place = dict(reversed(asked))[conditions[MAX_CONDITIONS]]
        raise place.error(f"must have at most {MAX_CONDITIONS} conditions, this is one more")
    _check_single(operations)
    with_data = tuple(
        dataclasses.replace(raw, data=_data(operations, raw, conditions)) for raw in operations
    )
    _check_circle(with_data)
    assigned = [Assign(r.name, r.value, r.place) for r in with_data if r.value is not None]
    infer(assigned, asked)
    return Flat(with_data, conditions)


def _assignments(statements: Sequence[Statement]) -> Iterator[Assign]:
    for statement in statements:
        if isinstance(statement, Assign):
            yield statement
        elif isinstance(statement, If):
            yield from _assignments((*statement.yes, *statement.no))


def _walk(
    statements: Sequence[Statement], guard: Guard, fresh: Iterator[str]
) -> Iterator[tuple[Raw | None, tuple[str, Place] | None]]:
    """Operations and conditions. A condition that is no name becomes an operation of its own."""
    for statement in statements:
        if isinstance(statement, Assign):
            yield Raw(statement.name, statement.value, guard, statement.place), None
        elif isinstance(statement, Print):
            yield Raw(statement.name, None, guard, statement.place), None
        else:
            condition = statement.condition
            if isinstance(condition, Variable):
                name, raw = condition.name, None
            else:
                name = next(fresh)
                raw = Raw(name, condition, guard, statement.place)
            if any(name == outer for outer, _ in guard):
                raise statement.place.error(f"{name!r} is decided already by an if around this one")
            yield raw, (name, statement.place)
            yield from _walk(statement.yes, (*guard, (name, True)), fresh)
            yield from _walk(statement.no, (*guard, (name, False)), fresh)


def _check_single(operations: Sequence[Raw]) -> None:
    for second, b in enumerate(operations):
        for a in operations[:second]:
            if (a.name, a.prints) != (b.name, b.prints) or exclude(a.guard, b.guard):
                continue
            what = "is there twice" if a.prints else "is assigned twice"
            raise b.place.error(f"{b} {what} in one run, first on line {a.place.line}")


def variables(value: Expression | None) -> Iterator[Variable]:
    """The variables in an expression."""
    if isinstance(value, Variable):
        yield value
    elif isinstance(value, Unary):
        yield from variables(value.operand)
    elif isinstance(value, Binary):
        yield from variables(value.left)
        yield from variables(value.right)


def reads_input(value: Expression | None) -> bool:
    if isinstance(value, Unary):
        return reads_input(value.operand)
    if isinstance(value, Binary):
        return reads_input(value.left) or reads_input(value.right)
    return isinstance(value, Input)


def _data(operations: Sequence[Raw], raw: Raw, conditions: Sequence[str]) -> tuple[int, ...]:
    """The operations that may make what an operation reads."""
    reads = [Variable(raw.name, raw.place)] if raw.prints else list(variables(raw.value))
    found: set[int] = set()
    for depth, (name, _) in enumerate(raw.guard):
        # A condition must be there wherever its `if` is reached.
        reached = dataclasses.replace(raw, guard=raw.guard[:depth])
        found |= _makers(operations, reached, Variable(name, raw.place), conditions)
    for variable in reads:
        found |= _makers(operations, raw, variable, conditions)
    return tuple(sorted(found))


def _makers(
    operations: Sequence[Raw], reader: Raw, variable: Variable, conditions: Sequence[str]
) -> set[int]:
    name = variable.name
    makers = [
        i
        for i, raw in enumerate(operations)
        if raw.name == name and not raw.prints and not exclude(raw.guard, reader.guard)
    ]
    if not any(raw.name == name and not raw.prints for raw in operations):
        raise variable.place.error(f"there is no value {name!r}")
    for outcome in itertools.product((False, True), repeat=len(conditions)):
        run = dict(zip(conditions, outcome, strict=True))
        if _holds(reader.guard, run) and not any(_holds(operations[i].guard, run) for i in makers):
            asked = {c for i in makers for c, _ in operations[i].guard} | {
                c for c, _ in reader.guard
            }
            told = [f"{c} is {'true' if v else 'false'}" for c, v in run.items() if c in asked]
            where = " and ".join(told) or "it is read"
            raise variable.place.error(f"{name!r} is not defined where {where}")
    return set(makers)


def _holds(guard: Guard, run: dict[str, bool]) -> bool:
    return all(run[name] == branch for name, branch in guard)


def _check_circle(operations: Sequence[Raw]) -> None:
    """No value depends on itself."""
    state = [0] * len(operations)

    def visit(i: int, trail: tuple[int, ...]) -> None:
        if state[i] == 2:
            return
        if i in trail:
            circle = [*trail[trail.index(i) :], i]
            path = " -> ".join(str(operations[k]) for k in reversed(circle))
            raise operations[i].place.error(f"{operations[i]} depends on itself: {path}")
        for k in operations[i].data:
            visit(k, (*trail, i))
        state[i] = 2

    for i in range(len(operations)):
        visit(i, ())
