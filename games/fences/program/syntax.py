"""Syntax trees: of values, of annotations, of schedules."""

from __future__ import annotations

import dataclasses
from typing import Literal

from games.fences.program.tokens import Place

Device = Literal["CPU", "GPU"]


@dataclasses.dataclass(frozen=True)
class Constant:
    value: int | bool
    place: Place = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True)
class Variable:
    name: str
    place: Place = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True)
class Input:
    place: Place = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True)
class Unary:
    operator: str
    operand: Expression
    place: Place = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True)
class Binary:
    operator: str
    left: Expression
    right: Expression
    place: Place = dataclasses.field(compare=False)


Expression = Constant | Variable | Input | Unary | Binary


@dataclasses.dataclass(frozen=True)
class Assign:
    """`name = value`."""

    name: str
    value: Expression
    place: Place


@dataclasses.dataclass(frozen=True)
class Print:
    """`print(name)`, which is both a statement and an instruction of a schedule."""

    name: str
    place: Place


@dataclasses.dataclass(frozen=True)
class If:
    """`if (condition) { yes } else { no }` around statements."""

    condition: Expression
    yes: tuple[Statement, ...]
    no: tuple[Statement, ...]
    place: Place


Statement = Assign | Print | If


@dataclasses.dataclass(frozen=True)
class Item:
    """What annotations and schedules name: the operation that computes `name` or prints it."""

    name: str
    prints: bool
    place: Place = dataclasses.field(compare=False)

    def __str__(self) -> str:
        return f"print({self.name})" if self.prints else self.name


@dataclasses.dataclass(frozen=True)
class On:
    """`CPU { item }`: the item runs there."""

    device: Device
    item: Item

    def __str__(self) -> str:
        return f"{self.device} {{ {self.item} }}"

    @property
    def place(self) -> Place:
        return self.item.place


@dataclasses.dataclass(frozen=True)
class Before:
    """`first before second`."""

    first: Item
    second: Item

    def __str__(self) -> str:
        return f"{self.first} before {self.second}"

    @property
    def place(self) -> Place:
        return self.first.place


@dataclasses.dataclass(frozen=True)
class Cost:
    """`cost item cpu 2 gpu none bytes 4`: a time of None is a device without a version of it."""

    item: Item
    key: str
    value: float | None
    place: Place = dataclasses.field(compare=False)

    def __str__(self) -> str:
        value = "none" if self.value is None else f"{self.value:g}"
        return f"cost {self.item} {self.key} {value}"


@dataclasses.dataclass(frozen=True)
class Deterministic:
    """`deterministic`: any two prints of one run have an order."""

    place: Place

    def __str__(self) -> str:
        return "deterministic"


Annotation = On | Before | Cost | Deterministic


@dataclasses.dataclass(frozen=True)
class Weight:
    """One entry of `weights`."""

    key: str
    value: float
    place: Place


@dataclasses.dataclass(frozen=True)
class FenceLine:
    """`--- name`."""

    name: str
    place: Place


@dataclasses.dataclass(frozen=True)
class SyncLine:
    """`sync(name)`."""

    name: str
    place: Place


@dataclasses.dataclass(frozen=True)
class Guarded:
    """`if (condition) { yes } else { no }` around instructions of a schedule."""

    condition: str
    yes: tuple[Instruction, ...]
    no: tuple[Instruction, ...]
    place: Place


Instruction = Item | FenceLine | SyncLine | Guarded


@dataclasses.dataclass(frozen=True)
class Block:
    """`CPU { instructions }`."""

    device: Device
    instructions: tuple[Instruction, ...]
    place: Place


@dataclasses.dataclass(frozen=True)
class File:
    """What a file says. blocks: of its schedule, None without one."""

    source: str
    statements: tuple[Statement, ...]
    annotations: tuple[Annotation, ...]
    weights: tuple[Weight, ...]
    blocks: tuple[Block, ...] | None
