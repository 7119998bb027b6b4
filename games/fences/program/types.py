"""Types: every value is a number or a boolean; what `input()` gives is what it is used as."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from games.fences.program.syntax import Assign, Binary, Constant, Expression, Unary, Variable
from games.fences.program.tokens import Place

NUMBER, BOOLEAN = "number", "boolean"
# What an operator takes; None takes two of one type.
TAKES = {"&&": BOOLEAN, "||": BOOLEAN, "!": BOOLEAN, "==": None}


class Types:
    """Union-find over the types of values and expressions."""

    def __init__(self) -> None:
        self._parent: dict[object, object] = {NUMBER: NUMBER, BOOLEAN: BOOLEAN}

    def of(self, name: str) -> str:
        """The type of a value; a number where nothing says what it is."""
        root = self._root(("value", name))
        return BOOLEAN if root == BOOLEAN else NUMBER

    def _root(self, key: object) -> object:
        parent = self._parent.setdefault(key, key)
        if parent == key:
            return key
        root = self._root(parent)
        self._parent[key] = root
        return root

    def _same(self, first: object, second: object, place: Place, what: str) -> None:
        a, b = self._root(first), self._root(second)
        if a == b:
            return
        if {a, b} == {NUMBER, BOOLEAN}:
            raise place.error(f"{what} must be a {second}, got a {a}")
        if a in (NUMBER, BOOLEAN):
            a, b = b, a
        self._parent[a] = b

    def require(self, name: str, kind: str, place: Place, what: str) -> None:
        """Says that a value is of a type.

        Raises:
          InputError: it is of the other one.
        """
        self._same(("value", name), kind, place, what)

    def assign(self, statement: Assign) -> None:
        kind = self._infer(statement.value)
        own = ("value", statement.name)
        if {self._root(own), self._root(kind)} == {NUMBER, BOOLEAN}:
            raise statement.place.error(
                f"{statement.name!r} is a {self._root(own)} elsewhere, here a {self._root(kind)}"
            )
        self._same(own, kind, statement.place, statement.name)

    def _infer(self, value: Expression) -> object:
        if isinstance(value, Constant):
            return BOOLEAN if isinstance(value.value, bool) else NUMBER
        if isinstance(value, Variable):
            return ("value", value.name)
        if isinstance(value, Unary):
            kind = TAKES.get(value.operator, NUMBER)
            self._operand(value.operator, value.operand, kind, value.place)
            return kind
        if isinstance(value, Binary):
            return self._binary(value)
        return ("input", value.place)

    def _binary(self, value: Binary) -> object:
        kind = TAKES.get(value.operator, NUMBER)
        if kind is not None:
            for operand in (value.left, value.right):
                self._operand(value.operator, operand, kind, value.place)
            return kind
        left, right = self._infer(value.left), self._infer(value.right)
        if {self._root(left), self._root(right)} == {NUMBER, BOOLEAN}:
            raise value.place.error("'==' must have two operands of one type")
        self._same(left, right, value.place, "'=='")
        return BOOLEAN

    def _operand(self, operator: str, operand: Expression, kind: object, place: Place) -> None:
        self._same(self._infer(operand), kind, place, f"an operand of {operator!r}")


def infer(assigned: Sequence[Assign], conditions: Iterable[tuple[str, Place]]) -> Types:
    """The types of all values.

    Raises:
      InputError: a value is used as a number and as a boolean.
    """
    types = Types()
    for statement in assigned:
        types.assign(statement)
    for name, place in conditions:
        types.require(name, BOOLEAN, place, f"the condition {name!r}")
    return types
