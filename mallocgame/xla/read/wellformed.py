"""Checks that a parsed module hangs together, so that its readers need not ask again."""

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
    """Checks operands, tuple indices and called computations of every instruction.

    Callees stand before their callers, so no computation can call itself.

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
                        f"{source}: {hlo.name}: operand {operand} is not defined before it"
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
            f"{where}: parameter: numbers {','.join(literals)[:60]!r} are not 0, 1, ..."
        )


def _problem(computation: HloComputation, hlo: HloInstruction) -> str | None:
    """What is wrong with an instruction and its operands."""
    least = _LEAST_OPERANDS.get(hlo.opcode, 0)
    if len(hlo.operands) < least:
        return f"{hlo.opcode} has {len(hlo.operands)} operands, needs {least}"
    operands = [computation.instructions[name] for name in hlo.operands]
    start = _STARTS.get(hlo.opcode)
    if start and operands[0].opcode != start:
        return f"{hlo.opcode} of {operands[0].name}, which is no {start}"
    if hlo.opcode == "tuple":
        elements = hlo.shape.elements if isinstance(hlo.shape, TupleShape) else ()
        counts = [len(list(leaves(e))) for e in elements]
        if counts != [len(list(leaves(o.shape))) for o in operands]:
            return "the tuple's shape does not fit its operands"
    if hlo.opcode == "get-tuple-element":
        shape, index = operands[0].shape, hlo.text("index")
        size = len(shape.elements) if isinstance(shape, TupleShape) else 0
        if not index.isascii() or not index.isdigit() or int(index) >= size:
            return f"index: {index!r} is none of {size} elements"
        if len(list(leaves(shape.elements[int(index)]))) != len(list(leaves(hlo.shape))):  # type: ignore[union-attr]
            return "the element's shape does not fit"
    return None


def _callee_problem(known: dict[str, HloComputation], hlo: HloInstruction) -> str | None:
    """What is wrong with the computations that an instruction calls."""
    for role in _ROLES.get(hlo.opcode, ()):
        callee = known.get(hlo.callee(role) or "")
        if callee is None:
            return f"{role}: {hlo.callee(role)!r} is no computation before this one"
        arguments = len(callee.parameters())
        if arguments != len(hlo.operands):
            return f"{role}: {callee.name} takes {arguments} arguments, not {len(hlo.operands)}"
        made = [index for index, _ in leaves(callee.instructions[callee.root].shape)]
        if role != "condition" and made != [index for index, _ in leaves(hlo.shape)]:
            return f"{role}: the result of {callee.name} has another shape"
    return None
