"""Checks that a parsed module is consistent, so that its readers need not check again."""

from __future__ import annotations

from gamekit.errors import InputError
from mallocgame.xla.read.hlo import HloComputation, HloInstruction, HloModule, TupleShape, leaves

_LEAST_OPERANDS = {
    "bitcast": 1, "copy-done": 1, "copy-start": 1, "dynamic-update-slice": 2,
    "get-tuple-element": 1, "optimization-barrier": 1, "scatter": 3, "slice-done": 1,
    "slice-start": 1, "while": 1,
}  # fmt: skip
_STARTS = {"copy-done": "copy-start", "slice-done": "slice-start"}
_ROLES = {"fusion": ("calls",), "while": ("condition", "body")}


def check_module(module: HloModule, source: str) -> None:
    """Checks the operands, tuple indices and called computations of every instruction.

    Callees come before their callers, so no computation can call itself.

    Raises:
      InputError: names the file, the instruction and what does not fit.
    """
    known: dict[str, HloComputation] = {}
    for computation in module.computations.values():
        where = f"{source}: computation {computation.name}"
        _check_parameters(computation, where)
        seen: set[str] = set()
        for hlo in computation.instructions.values():
            for operand in hlo.operands:
                if operand not in seen:
                    raise InputError(
                        f"{source}: {hlo.name}: operand {operand} must be defined before it"
                    )
            problem = _problem(computation, hlo) or _callee_problem(known, hlo)
            if problem:
                raise InputError(f"{source}: {hlo.name}: {problem}")
            seen.add(hlo.name)
        known[computation.name] = computation


def _check_parameters(computation: HloComputation, where: str) -> None:
    literals = [h.literal for h in computation.instructions.values() if h.opcode == "parameter"]
    if sorted(literals) != sorted(str(n) for n in range(len(literals))):
        raise InputError(
            f"{where}: parameter: numbers must be 0, 1, ..., got {','.join(literals)[:60]!r}"
        )


def _problem(computation: HloComputation, hlo: HloInstruction) -> str | None:
    """What is wrong with an instruction and its operands."""
    least = _LEAST_OPERANDS.get(hlo.opcode, 0)
    if len(hlo.operands) < least:
        return f"{hlo.opcode} must have at least {least} operands, got {len(hlo.operands)}"
    operands = [computation.instructions[name] for name in hlo.operands]
    start = _STARTS.get(hlo.opcode)
    if start and operands[0].opcode != start:
        return f"{hlo.opcode} must be of a {start}, got {operands[0].name}"
    if hlo.opcode == "tuple":
        elements = hlo.shape.elements if isinstance(hlo.shape, TupleShape) else ()
        counts = [len(list(leaves(e))) for e in elements]
        if counts != [len(list(leaves(o.shape))) for o in operands]:
            return "the tuple's shape must fit its operands"
    if hlo.opcode == "get-tuple-element":
        shape, index = operands[0].shape, hlo.text("index")
        size = len(shape.elements) if isinstance(shape, TupleShape) else 0
        if not index.isascii() or not index.isdigit() or int(index) >= size:
            return f"index: must be one of {size} elements, got {index!r}"
        if len(list(leaves(shape.elements[int(index)]))) != len(list(leaves(hlo.shape))):  # type: ignore[union-attr]
            return "the element's shape must fit"
    return None


def _branch_problem(known: dict[str, HloComputation], hlo: HloInstruction) -> str | None:
    """What is wrong with the branches of a conditional, or with what a call calls."""
    is_call = hlo.opcode == "call"
    if not hlo.branches or (not is_call and len(hlo.operands) != 1 + len(hlo.branches)):
        return f"{hlo.opcode}: must have an operand for each branch, got {len(hlo.operands)}"
    for name in hlo.branches:
        callee = known.get(name)
        if callee is None:
            return f"{hlo.opcode}: must call a computation before this one, got {name!r}"
        arguments = len(hlo.operands) if is_call else 1
        if len(callee.parameters()) != arguments:
            return f"{hlo.opcode}: {name} must take {arguments} arguments"
        made = [index for index, _ in leaves(callee.instructions[callee.root].shape)]
        if made != [index for index, _ in leaves(hlo.shape)]:
            return f"{hlo.opcode}: the result of {name} must have the instruction's shape"
    return None


def _callee_problem(known: dict[str, HloComputation], hlo: HloInstruction) -> str | None:
    """What is wrong with the computations that an instruction calls."""
    if hlo.opcode in ("conditional", "call"):
        return _branch_problem(known, hlo)
    for role in _ROLES.get(hlo.opcode, ()):
        callee = known.get(hlo.callee(role) or "")
        if callee is None:
            return f"{role}: must be a computation before this one, got {hlo.callee(role)!r}"
        arguments = len(callee.parameters())
        if arguments != len(hlo.operands):
            return f"{role}: {callee.name} takes {arguments} arguments, got {len(hlo.operands)}"
        made = [index for index, _ in leaves(callee.instructions[callee.root].shape)]
        if role != "condition" and made != [index for index, _ in leaves(hlo.shape)]:
            return f"{role}: the result of {callee.name} must have the instruction's shape"
    return None
