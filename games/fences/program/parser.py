"""The parser: recursive descent, as the grammar of docs/fences.md is small and its errors matter.

A parser library would be a dependency of the core for thirteen rules; the messages would still have
to be written here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

from games.fences.program.syntax import (
    Annotation,
    Assign,
    Before,
    Binary,
    Block,
    Constant,
    Cost,
    Deterministic,
    Device,
    Expression,
    FenceLine,
    File,
    Guarded,
    If,
    Input,
    Instruction,
    Item,
    On,
    Print,
    Statement,
    SyncLine,
    Unary,
    Variable,
    Weight,
)
from games.fences.program.tokens import DEVICES, Token, tokens_of

# From the loosest to the tightest; all lead from left to right.
LEVELS = (("||",), ("&&",), ("==",), ("+", "-"), ("*", "/"))
WEIGHTS = ("instruction", "fence", "sync", "byte", "time", "latency")
COSTS = ("cpu", "gpu", "bytes")
MAX_NUMBER, MAX_DEPTH, MAX_OPERATORS = 1e6, 64, 64

Part = TypeVar("Part")


def parse(text: str, source: str) -> File:
    """Reads a program, with its schedule if it has one.

    Raises:
      InputError: it is not of the language; says where.
    """
    parser = _Parser(tokens_of(text, source))
    statements = parser.file()
    blocks = None
    if parser.takes("schedule"):
        blocks = parser.many(parser.block, until="end")
    parser.expect_end()
    return File(source, statements, tuple(parser.annotations), tuple(parser.weights), blocks)


def parse_blocks(text: str, source: str) -> tuple[Block, ...]:
    """Reads a schedule alone: `schedule` and its blocks.

    Raises:
      InputError: it is not of the language; says where.
    """
    parser = _Parser(tokens_of(text, source))
    parser.expect("schedule")
    blocks = parser.many(parser.block, until="end")
    parser.expect_end()
    return blocks


class _Parser:
    def __init__(self, tokens: list[Token]):
        self._tokens, self._at, self._depth, self._operators = tokens, 0, 0, 0
        self.annotations: list[Annotation] = []
        self.weights: list[Weight] = []

    # Tokens.

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _sees(self, *words: str) -> bool:
        return self._next.kind in ("keyword", "symbol") and self._next.text in words

    def takes(self, *words: str) -> Token | None:
        if not self._sees(*words):
            return None
        return self._take()

    def _take(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def expect(self, word: str) -> Token:
        return self.takes(word) or self._fail(repr(word))

    def expect_end(self) -> None:
        if self._next.kind != "end":
            self._fail("a block or the end of the file")

    def _fail(self, what: str) -> NoReturn:
        raise self._next.place.error(f"must be {what}, got {self._next}")

    def _name(self, what: str) -> str:
        if self._next.kind == "keyword":
            raise self._next.place.error(f"must be {what}, got the reserved word {self._next}")
        return self._take().text if self._next.kind == "name" else self._fail(what)

    def many(self, part: Callable[[], Part | None], until: str) -> tuple[Part, ...]:
        found = []
        while self._next.text != until and self._next.kind != "end":
            if (one := part()) is not None:
                found.append(one)
        return tuple(found)

    def _braces(self, part: Callable[[], Part | None]) -> tuple[Part, ...]:
        self.expect("{")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._next.place.error(f"must be nested at most {MAX_DEPTH} deep")
        found = self.many(part, until="}")
        self._depth -= 1
        self.expect("}")
        return found

    # Values.

    def file(self) -> tuple[Statement, ...]:
        return self.many(lambda: self._statement(outside=True), until="schedule")

    def _statement(self, outside: bool = False) -> Statement | None:
        """A statement; an annotation is put aside and gives None."""
        start = self._next
        if self.takes("let"):
            return self._assignment(start)
        if self.takes("if"):
            self.expect("(")
            condition = self._value()
            self.expect(")")
            yes = self._braces(self._statement)
            no = self._braces(self._statement) if self.takes("else") else ()
            return If(condition, yes, no, start.place)
        if self._sees(*DEVICES, "cost", "weights", "deterministic"):
            if not outside:
                raise start.place.error(f"the annotation {start} must stand outside of every if")
            return self._annotation()
        if self._sees("print"):
            return self._print_or_before(outside)
        after = self._tokens[self._at + 1] if start.kind == "name" else start
        if outside and after.text == "before":
            return self._before(self._item())
        if start.kind == "name" and after.text not in ("=", "before"):
            raise after.place.error(f"must be '=' after {start.text!r}, got {after}")
        return self._assignment(start)

    def _assignment(self, start: Token) -> Assign:
        name = self._name("a statement or an annotation" if self._next is start else "a name")
        self.expect("=")
        return Assign(name, self._value(), start.place)

    def _print_or_before(self, outside: bool) -> Statement | None:
        item = self._item()
        if outside and self._sees("before"):
            return self._before(item)
        return Print(item.name, item.place)

    def _value(self) -> Expression:
        """An expression that is no part of another one."""
        self._operators = 0
        return self._expression()

    def _expression(self, level: int = 0) -> Expression:
        if level == len(LEVELS):
            return self._unary()
        left = self._expression(level + 1)
        while token := self.takes(*LEVELS[level]):
            self._operators += 1
            if self._operators > MAX_OPERATORS:
                raise token.place.error(f"a value must have at most {MAX_OPERATORS} operators")
            left = Binary(token.text, left, self._expression(level + 1), token.place)
        return left

    def _unary(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._next.place.error(f"must be nested at most {MAX_DEPTH} deep")
        found = self._primary()
        self._depth -= 1
        return found

    def _primary(self) -> Expression:
        start = self._next
        if self.takes("!", "-"):
            return Unary(start.text, self._unary(), start.place)
        if self.takes("("):
            inner = self._expression()
            self.expect(")")
            return inner
        if self.takes("true", "false"):
            return Constant(start.text == "true", start.place)
        if self.takes("input"):
            self.expect("(")
            self.expect(")")
            return Input(start.place)
        if start.kind == "number":
            if "." in start.text:
                raise start.place.error(f"must be a whole number, got {start.text}")
            return Constant(int(self._take().text), start.place)
        return Variable(self._name("a value"), start.place)

    # Annotations.

    def _annotation(self) -> None:
        start = self._take()
        if start.text in DEVICES:
            device = cast("Device", start.text)
            self.annotations += [On(device, item) for item in self._braces(self._annotated)]
        elif start.text == "deterministic":
            self.annotations.append(Deterministic(start.place))
        elif start.text == "weights":
            for key, value, token in self._figures(WEIGHTS):
                if value is None:
                    raise token.place.error(f"the weight {key!r} must be a number, got none")
                self.weights.append(Weight(key, value, token.place))
        else:
            item = self._item()
            for key, value, token in self._figures(COSTS):
                if value is None and key == "bytes":
                    raise token.place.error("bytes must be a number, got none")
                self.annotations.append(Cost(item, key, value, token.place))

    def _annotated(self) -> Item:
        if self._sees("---", "sync", "if"):
            raise self._next.place.error(
                f"{self._next} must stand in a schedule, which begins with the word 'schedule'"
            )
        return self._item()

    def _figures(self, keys: tuple[str, ...]) -> list[tuple[str, float | None, Token]]:
        """`key number` again and again, at least once."""
        found: list[tuple[str, float | None, Token]] = []
        while not found or self._is_figure():
            key = self._next
            if key.text not in keys:
                self._fail(f"one of {', '.join(keys)}")
            self._take()
            number = self._next
            if number.kind == "number":
                value = float(number.text)
                if value > MAX_NUMBER:
                    raise number.place.error(f"must be at most {MAX_NUMBER:g}, got {number.text}")
            elif number.text == "none":
                value = None
            else:
                self._fail("a number" if keys is WEIGHTS else "a number or none")
            self._take()
            if any(key.text == other for other, _, _ in found):
                raise key.place.error(f"{key.text!r} is there twice")
            found.append((key.text, value, key))
        return found

    def _is_figure(self) -> bool:
        """Whether what follows is a further key and not the next statement."""
        if self._next.kind not in ("name", "keyword"):
            return False
        after = self._tokens[self._at + 1]
        return after.kind == "number" or after.text == "none"

    def _before(self, first: Item) -> None:
        self.expect("before")
        self.annotations.append(Before(first, self._item()))

    def _item(self) -> Item:
        start = self._next
        if self.takes("print"):
            self.expect("(")
            name = self._name("the name of a value")
            self.expect(")")
            return Item(name, True, start.place)
        return Item(self._name("a value or print(VALUE)"), False, start.place)

    # Schedules.

    def block(self) -> Block:
        start = self.takes(*DEVICES)
        if start is None:
            self._fail("a block, CPU { ... } or GPU { ... },")
        device: Any = start.text
        return Block(device, self._braces(self._instruction), start.place)

    def _instruction(self) -> Instruction:
        start = self._next
        if self.takes("---"):
            return FenceLine(self._name("the name of a fence"), start.place)
        if self.takes("sync"):
            self.expect("(")
            name = self._name("the name of a fence")
            self.expect(")")
            return SyncLine(name, start.place)
        if self.takes("if"):
            self.expect("(")
            condition = self._name("the name of a condition")
            self.expect(")")
            yes = self._braces(self._instruction)
            no = self._braces(self._instruction) if self.takes("else") else ()
            return Guarded(condition, yes, no, start.place)
        return self._item()
