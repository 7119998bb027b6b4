"""Programs and schedules as text, in one normal form."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from games.fences.program.parser import LEVELS
from games.fences.program.syntax import (
    Assign,
    Before,
    Binary,
    Block,
    Constant,
    Cost,
    Deterministic,
    Expression,
    FenceLine,
    File,
    Input,
    Instruction,
    Item,
    On,
    Print,
    Statement,
    SyncLine,
    Unary,
    Variable,
)

INDENT = "  "
TIGHTNESS = {operator: level for level, operators in enumerate(LEVELS) for operator in operators}


def program_text(file: File, assigned: Sequence[str]) -> str:
    """A program in its normal form, without its schedule. assigned: the names of its values."""
    fresh = (f"cond{n}" for n in itertools.count(1) if f"cond{n}" not in assigned)
    lines = list(_statements(file.statements, 0, fresh))
    lines += _annotations(file)
    return "\n".join(lines) + "\n"


def _statements(statements: Sequence[Statement], depth: int, fresh: Iterator[str]) -> Iterator[str]:
    pad = INDENT * depth
    for statement in statements:
        if isinstance(statement, Assign):
            yield f"{pad}{statement.name} = {expression(statement.value)}"
        elif isinstance(statement, Print):
            yield f"{pad}print({statement.name})"
        else:
            condition = statement.condition
            if isinstance(condition, Variable):
                name = condition.name
            else:
                name = next(fresh)
                yield f"{pad}{name} = {expression(condition)}"
            yield f"{pad}if ({name}) {{"
            yield from _statements(statement.yes, depth + 1, fresh)
            if statement.no:
                yield f"{pad}}} else {{"
                yield from _statements(statement.no, depth + 1, fresh)
            yield f"{pad}}}"


def expression(value: Expression, outside: int = 0) -> str:
    """An expression with as few parentheses as it needs."""
    if isinstance(value, Constant):
        return str(value.value).lower()
    if isinstance(value, Variable):
        return value.name
    if isinstance(value, Input):
        return "input()"
    if isinstance(value, Unary):
        inner = expression(value.operand, len(LEVELS))
        # Three signs in a row would be a fence.
        space = " " if value.operator == "-" and inner.startswith("-") else ""
        return f"{value.operator}{space}{inner}"
    assert isinstance(value, Binary)
    level = TIGHTNESS[value.operator]
    left, right = expression(value.left, level), expression(value.right, level + 1)
    text = f"{left} {value.operator} {right}"
    return f"({text})" if level < outside else text


def _annotations(file: File) -> Iterator[str]:
    for device in ("CPU", "GPU"):
        items = [a.item for a in file.annotations if isinstance(a, On) and a.device == device]
        if items:
            yield f"{device} {{ {' '.join(dict.fromkeys(map(str, items)))} }}"
    costs: dict[Item, dict[str, str]] = {}
    for annotation in file.annotations:
        if isinstance(annotation, Before | Deterministic):
            yield str(annotation)
        elif isinstance(annotation, Cost):
            value = "none" if annotation.value is None else number(annotation.value)
            costs.setdefault(annotation.item, {})[annotation.key] = value
    for item, figures in costs.items():
        yield f"cost {item} {' '.join(f'{key} {value}' for key, value in figures.items())}"
    if file.weights:
        yield "weights " + " ".join(f"{w.key} {number(w.value)}" for w in file.weights)


def number(value: float) -> str:
    """A figure as it can be read back."""
    return f"{value:.12f}".rstrip("0").rstrip(".")


def schedule_text(blocks: Sequence[Block]) -> str:
    """A schedule: the word and its blocks, one instruction a line."""
    lines = ["schedule"]
    for block in blocks:
        lines.append(f"{block.device} {{")
        lines += _instructions(block.instructions, 1)
        lines.append("}")
    return "\n".join(lines) + "\n"


def _instructions(instructions: Sequence[Instruction], depth: int) -> Iterator[str]:
    pad = INDENT * depth
    for one in instructions:
        if isinstance(one, Item):
            yield f"{pad}{one}"
        elif isinstance(one, FenceLine):
            yield f"{pad}--- {one.name}"
        elif isinstance(one, SyncLine):
            yield f"{pad}sync({one.name})"
        else:
            yield f"{pad}if ({one.condition}) {{"
            yield from _instructions(one.yes, depth + 1)
            if one.no:
                yield f"{pad}}} else {{"
                yield from _instructions(one.no, depth + 1)
            yield f"{pad}}}"
