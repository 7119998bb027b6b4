"""Reads scheduled, optimised HLO text: shapes with layouts, computations, tuple views.

Only what memory placement needs is kept: instruction names in schedule order, shapes with tiling
and memory space, operands, called computations and the compiler's cycle estimates.  The grammar is
that of the HLO text that XLA prints (``HloModule::ToString``); everything unknown is skipped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from gamekit.errors import InputError

ELEMENT_BITS = {
    "pred": 8, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16, "s32": 32, "u32": 32,
    "s64": 64, "u64": 64, "s2": 2, "u2": 2, "f4e2m1fn": 4, "f8e3m4": 8, "f8e4m3": 8,
    "f8e4m3fn": 8, "f8e4m3fnuz": 8, "f8e4m3b11fnuz": 8, "f8e5m2": 8, "f8e5m2fnuz": 8,
    "f8e8m0fnu": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "c128": 128,
    "token": 0, "opaque": 0,
}  # fmt: skip

_COMMENT = re.compile(r"/\*.*?\*/")
_NAME = re.compile(r"%([\w.\-]+)")
_INSTRUCTION = re.compile(r"^\s+(ROOT\s+)?%?([\w.\-]+) = (.*)$")
_COMPUTATION = re.compile(r"^(ENTRY\s+)?%?([\w.\-]+) \(.*\{\s*$")
_ARRAY = re.compile(r"(\w+)\[([\d,<=]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
_PARENTHESIS = re.compile(r"[()]")
_OPCODE = re.compile(r"\s*([\w\-]+)\(")
_SPACE = re.compile(r"S\((\d+)\)")
_TILE = re.compile(r"\(([\d,]+)\)")
_CYCLES = re.compile(r'"estimated_cycles":"([^"]*)"')
_ALIAS_ENTRY = re.compile(r"\{([\d, ]*)\}: \((\d+), \{([\d, ]*)\}")


@dataclass(frozen=True)
class ArrayShape:
    """One array of a shape: element type, dimensions, layout and memory."""

    dtype: str
    dims: tuple[int, ...]
    minor_to_major: tuple[int, ...] = ()
    tiles: tuple[tuple[int, ...], ...] = ()
    memory_space: int = 0

    @property
    def size_bytes(self) -> int:
        """Physical bytes, with the padding of tiles (XLA's tiled layout, ``xla/shape_util``)."""
        order = self.minor_to_major or tuple(reversed(range(len(self.dims))))
        physical = [self.dims[i] for i in reversed(order)]
        for tile in self.tiles:
            physical = [1] * (len(tile) - len(physical)) + physical
            kept = physical[: len(physical) - len(tile)]
            tiled = physical[len(kept) :]
            counts = [-(-size // edge) for size, edge in zip(tiled, tile, strict=True)]
            physical = kept + counts + list(tile)
        return math.prod(physical) * ELEMENT_BITS[self.dtype] // 8


@dataclass(frozen=True)
class TupleShape:
    """A tuple of shapes."""

    elements: tuple[Shape, ...]


Shape = ArrayShape | TupleShape


@dataclass(frozen=True)
class HloInstruction:
    """One instruction: its name, what it makes, what it takes, and its estimated cycles."""

    name: str
    opcode: str
    shape: Shape
    operands: tuple[str, ...]
    literal: str
    attributes: str = field(repr=False)
    is_root: bool
    estimated_cycles: int | None

    def callee(self, role: str) -> str | None:
        """The name of the computation called in a role: ``calls``, ``body`` or ``condition``."""
        found = re.search(rf"\b{role}=%?([\w.\-]+)", self.attributes)
        return found.group(1) if found else None

    @property
    def branches(self) -> tuple[str, ...]:
        """Computations of which one is executed, of a conditional; the one that a call calls."""
        if self.opcode == "call":
            return tuple(name for name in (self.callee("to_apply"),) if name)
        if self.opcode != "conditional":
            return ()
        found = re.search(r"branch_computations=\{([^}]*)\}", self.attributes)
        if found:
            return tuple(_NAME.findall(found.group(1)))
        both = (self.callee("true_computation"), self.callee("false_computation"))
        return tuple(name for name in both if name)

    def text(self, key: str) -> str:
        """The plain value of an attribute, without quotes; empty if absent."""
        found = re.search(rf'\b{key}=("?)([^",}}\s]*)\1', self.attributes)
        return found.group(2) if found else ""

    @property
    def aliasing_operands(self) -> tuple[tuple[int, ...], ...]:
        """Groups of buffers that may share memory: operand numbers, then outputs behind them."""
        found = re.search(r'"aliasing_operands":\{"lists":\[(.*?\]\}|)\]', self.attributes)
        lists = re.findall(r'"indices":\[([^\]]*)\]', found.group(1)) if found else []
        return tuple(tuple(int(i) for i in re.findall(r"\d+", text)) for text in lists)

    def scoped_bytes(self, memory_space: int) -> int:
        """Bytes of scratch that the instruction itself needs in a memory space."""
        found = re.search(r'"used_scoped_memory_configs":\[(.*?)\]', self.attributes)
        if not found:
            return 0
        entry = rf'"memory_space":"{memory_space}","offset":"(\d+)","size":"(\d+)"'
        return max((int(o) + int(s) for o, s in re.findall(entry, found.group(1))), default=0)


@dataclass(frozen=True)
class HloComputation:
    """Instructions in schedule order; ``root`` names the result."""

    name: str
    instructions: dict[str, HloInstruction]
    root: str

    def parameters(self) -> dict[int, HloInstruction]:
        """The instruction of each parameter, by number."""
        found = (i for i in self.instructions.values() if i.opcode == "parameter")
        return {int(i.literal): i for i in found}


@dataclass(frozen=True)
class HloModule:
    """A module: computations by name, the entry's name, and donated (output index, parameter)."""

    computations: dict[str, HloComputation]
    entry: str
    donations: tuple[tuple[tuple[int, ...], int], ...]

    def shares(self) -> dict[str, float]:
        """How often each computation that is reached runs when the one around it does.

        Loop bodies count once.  The branches of a conditional are taken to be equally likely.
        """
        found = {self.entry: 1.0}
        waiting = [self.entry]
        while waiting:
            name = waiting.pop()
            for hlo in self.computations[name].instructions.values():
                inner = hlo.branches
                if hlo.opcode == "while":
                    inner = tuple(c for c in (hlo.callee("body"), hlo.callee("condition")) if c)
                share = found[name] / (len(inner) if hlo.opcode == "conditional" else 1)
                for callee in inner:
                    found[callee] = found.get(callee, 0.0) + share
                    waiting.append(callee)
        return found

    def while_loops(self) -> Iterator[HloInstruction]:
        """Every while instruction of the module."""
        for computation in self.computations.values():
            yield from (i for i in computation.instructions.values() if i.opcode == "while")


def leaves(
    shape: Shape, index: tuple[int, ...] = ()
) -> Iterator[tuple[tuple[int, ...], ArrayShape]]:
    """The arrays inside a shape with their tuple indices."""
    if isinstance(shape, ArrayShape):
        yield index, shape
        return
    for number, element in enumerate(shape.elements):
        yield from leaves(element, (*index, number))


def parse_shape(text: str, start: int = 0) -> tuple[Shape, int]:
    """The shape at ``start`` and the position behind it.

    Raises:
      ValueError: there is no shape, its element type is unknown or its layout is inconsistent.
    """
    if text[start : start + 1] == "(":
        elements: list[Shape] = []
        position = start + 1
        while text[position : position + 1] != ")":
            element, position = parse_shape(text, position)
            elements.append(element)
            position += len(re.match(r"[,\s]*", text[position:]).group())  # type: ignore[union-attr]
        return TupleShape(tuple(elements)), position + 1
    found = _ARRAY.match(text, start)
    if not found or found.group(1) not in ELEMENT_BITS:
        raise ValueError(f"must be an array shape, got {text[start : start + 40]!r}")
    dtype, dims_text, order_text, layout = found.groups()
    dims = _ints(dims_text.replace("<=", ""))
    order = _ints(order_text or "")
    if order and sorted(order) != list(range(len(dims))):
        raise ValueError(f"layout must fit {dtype}[{dims_text}], got {{{order_text}}}")
    space = _SPACE.search(layout or "")
    tiling = re.match(r"T((?:\([\d,]+\))+)", layout or "")
    tiles = tuple(_ints(t) for t in _TILE.findall(tiling.group(1))) if tiling else ()
    if any(0 in tile for tile in tiles):
        raise ValueError(f"a tile must not be empty, got {layout}")
    return ArrayShape(dtype, dims, order, tiles, int(space.group(1)) if space else 0), found.end()


def _ints(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def _closing(text: str, opening: int) -> int:
    """The position of the parenthesis that closes the one at ``opening``."""
    depth = 0
    for found in _PARENTHESIS.finditer(text, opening):
        depth += 1 if found.group() == "(" else -1
        if depth == 0:
            return found.start()
    raise ValueError("a parenthesis must be closed")


def parse_instruction(line: str) -> HloInstruction | None:
    """The instruction on one line of text; None if there is none.

    Raises:
      ValueError: the line begins like an instruction but cannot be read.
    """
    found = _INSTRUCTION.match(line)
    if not found:
        return None
    root, name, rest = found.groups()
    shape, position = parse_shape(rest)
    opcode = _OPCODE.match(rest, position)
    if not opcode:
        raise ValueError(f"no opcode behind the shape of {name}")
    closing = _closing(rest, opcode.end() - 1)
    inside, attributes = rest[opcode.end() : closing], rest[closing + 1 :]
    cycles = _CYCLES.search(attributes)
    if cycles and not cycles.group(1).isdigit():
        raise ValueError(f"estimated_cycles of {name} must be a number, got {cycles.group(1)!r}")
    is_leaf = opcode.group(1) in ("parameter", "constant", "iota")
    return HloInstruction(
        name=name,
        opcode=opcode.group(1),
        shape=shape,
        operands=() if is_leaf else tuple(_NAME.findall(inside)),
        literal=inside if is_leaf else "",
        attributes=attributes,
        is_root=root is not None,
        estimated_cycles=int(cycles.group(1)) if cycles else None,
    )


def parse_module(text: str, source: str) -> HloModule:
    """The module in HLO text; ``source`` names the file in errors.

    Raises:
      InputError: the text is not a complete scheduled HLO module.
    """
    header = text.partition("\n")[0]
    if not header.startswith("HloModule"):
        raise InputError(f"{source}: line 1: must start with HloModule, got {header[:60]!r}")
    computations: dict[str, HloComputation] = {}
    entry = None
    current: dict[str, HloInstruction] | None = None
    name = root = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = _COMMENT.sub("", raw)
        if current is None:
            opened = _COMPUTATION.match(line)
            if opened:
                name, root, current = opened.group(2), "", {}
                entry = name if opened.group(1) else entry
        elif line.startswith("}"):
            if not root:
                raise InputError(f"{source}: line {number}: computation {name} must have a ROOT")
            computations[name], current = HloComputation(name, current, root), None
        else:
            try:
                instruction = parse_instruction(line)
            except ValueError as error:
                raise InputError(f"{source}: line {number}: {error}") from None
            if instruction is None:
                continue
            if instruction.name in current:
                raise InputError(f"{source}: line {number}: {instruction.name} is defined twice")
            current[instruction.name] = instruction
            root = instruction.name if instruction.is_root else root
    if current is not None:
        raise InputError(f"{source}: computation {name} is cut off at the end of the file")
    if entry is None or entry not in computations:
        raise InputError(f"{source}: ENTRY: the module must have an entry computation")
    return HloModule(computations, entry, _donations(header))


def _donations(header: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    """(output tuple index, parameter number) pairs of ``input_output_alias``."""
    found = re.search(r"input_output_alias=\{ (.*?) \}(?:,|$)", header)
    if not found:
        return ()
    pairs = _ALIAS_ENTRY.findall(found.group(1))
    return tuple((_ints(o.replace(" ", "")), int(p)) for o, p, inner in pairs if not inner.strip())
