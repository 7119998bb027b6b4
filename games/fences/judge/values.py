"""What programs compute: whole numbers without a limit, and booleans.

A quotient is rounded towards zero, and one by zero is zero, so that every program has a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from games.fences.program.syntax import Binary, Constant, Expression, Input, Unary, Variable

Value = int | bool
# What reading a variable gives; it may raise.
Read = Callable[[str], Value]


def evaluate(value: Expression, read: Read, inputs: Callable[[], Value]) -> Value:
    """The value of an expression."""
    if isinstance(value, Constant):
        return value.value
    if isinstance(value, Variable):
        return read(value.name)
    if isinstance(value, Input):
        return inputs()
    if isinstance(value, Unary):
        operand = evaluate(value.operand, read, inputs)
        return (not operand) if value.operator == "!" else -operand
    assert isinstance(value, Binary)
    left, right = evaluate(value.left, read, inputs), evaluate(value.right, read, inputs)
    return OPERATORS[value.operator](left, right)


def _quotient(a: int, b: int) -> int:
    if b == 0:
        return 0
    size = abs(a) // abs(b)
    return size if (a < 0) == (b < 0) else -size


OPERATORS: Mapping[str, Callable[[Value, Value], Value]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _quotient,
    "&&": lambda a, b: bool(a and b),
    "||": lambda a, b: bool(a or b),
    "==": lambda a, b: a == b,
}
