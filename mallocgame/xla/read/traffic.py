"""What an instruction really moves: bytes per operand and output, and which outputs are in place.

A fusion that slices a stacked weight reads the slice, not the stack.  A dynamic-update-slice or a
scatter reads nothing of the array that it updates, and writes only the update.  Both are found by
walking through the fused computation.
"""

from __future__ import annotations

import re

from mallocgame.xla.read.hlo import (
    ArrayShape,
    HloComputation,
    HloInstruction,
    HloModule,
    TupleShape,
    leaves,
)

_SLICES = ("dynamic-slice", "slice")
# Opcodes that overwrite a part of operand 0 (XLA's IsInPlaceOperation) -> operand of the update.
_UPDATES = {"dynamic-update-slice": 1, "scatter": 2}
_VIEWS = ("bitcast", "get-tuple-element", "tuple", "optimization-barrier")
_OUTPUT_ALIAS = re.compile(r"\{([\d, ]*)\}: \((\d+), \{[\d, ]*\}")


def array_bytes(instruction: HloInstruction) -> int:
    """Physical bytes of all arrays that an instruction makes."""
    return sum(shape.size_bytes for _, shape in leaves(instruction.shape))


def read_bytes(module: HloModule, computation: HloComputation, name: str, operand: int) -> int:
    """Bytes that instruction ``name`` reads of its operand, at most the operand's size."""
    instruction = computation.instructions[name]
    source = computation.instructions[instruction.operands[operand]]
    return min(_read(module, computation, instruction, operand), array_bytes(source))


def _read(
    module: HloModule, computation: HloComputation, user: HloInstruction, operand: int
) -> int:
    if user.opcode in _SLICES and operand == 0:
        return array_bytes(user)
    if user.opcode in _UPDATES and operand == 0:
        return 0
    callee = user.callee("calls") if user.opcode == "fusion" else None
    if callee is not None:
        inner = module.computations[callee]
        parameter = inner.parameters().get(operand)
        return 0 if parameter is None else _read_inside(module, inner, parameter)
    return array_bytes(computation.instructions[user.operands[operand]])


def _read_inside(module: HloModule, inner: HloComputation, source: HloInstruction) -> int:
    """Bytes that the users of ``source`` inside a fused computation read of it."""
    total = 0
    for user in inner.instructions.values():
        for operand, name in enumerate(user.operands):
            if name != source.name:
                continue
            if user.opcode in _VIEWS:
                total += array_bytes(source) if user.is_root else _read_inside(module, inner, user)
            else:
                total += _read(module, inner, user, operand)
    return total


def write_of(
    module: HloModule, computation: HloComputation, name: str, index: tuple[int, ...]
) -> tuple[int, int | None]:
    """Bytes written to one output and the operand that it updates in place, if any."""
    instruction = computation.instructions[name]
    shape = dict(leaves(instruction.shape))[index]
    written, operand = _write(module, computation, instruction, index, shape)
    explicit = _explicit_alias(instruction, index)
    return min(written, shape.size_bytes), operand if explicit is None else explicit


def _explicit_alias(instruction: HloInstruction, index: tuple[int, ...]) -> int | None:
    found = re.search(r"output_to_operand_aliasing=\{(.*?\))\}", instruction.attributes)
    for output, operand in _OUTPUT_ALIAS.findall(found.group(1)) if found else ():
        if tuple(int(i) for i in re.findall(r"\d+", output)) == index:
            return int(operand)
    return None


def _write(
    module: HloModule,
    computation: HloComputation,
    instruction: HloInstruction,
    index: tuple[int, ...],
    shape: ArrayShape,
) -> tuple[int, int | None]:
    if instruction.opcode in _UPDATES and not isinstance(instruction.shape, TupleShape):
        update = instruction.operands[_UPDATES[instruction.opcode]]
        return array_bytes(computation.instructions[update]), 0
    if instruction.opcode == "custom-call" and instruction.text("custom_call_target") == (
        "AllocateBuffer"
    ):
        return 0, None
    callee = instruction.callee("calls") if instruction.opcode == "fusion" else None
    if callee is None:
        return shape.size_bytes, None
    inner = module.computations[callee]
    made, rest = _made_by(inner, inner.instructions[inner.root], index)
    written, operand = _write(module, inner, made, rest, shape)
    if operand is None:
        return written, None
    source, _ = _made_by(inner, inner.instructions[made.operands[operand]], ())
    if source.opcode != "parameter":
        return shape.size_bytes, None
    return written, int(source.literal)


def _made_by(
    inner: HloComputation, instruction: HloInstruction, index: tuple[int, ...]
) -> tuple[HloInstruction, tuple[int, ...]]:
    """The instruction behind tuples, elements and bitcasts, and the tuple index inside it."""
    while instruction.opcode in _VIEWS:
        if instruction.opcode == "tuple":
            name, index = instruction.operands[index[0]], index[1:]
        else:
            name = instruction.operands[0]
            if instruction.opcode == "get-tuple-element":
                index = (int(instruction.text("index")), *index)
        instruction = inner.instructions[name]
    return instruction, index
