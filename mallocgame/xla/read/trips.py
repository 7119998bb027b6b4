"""How often a loop runs, read off its condition, its counter's start and its step."""

from __future__ import annotations

import re

from mallocgame.xla.read.hlo import HloComputation, HloInstruction, HloModule

# What memory space assignment itself assumes of a loop whose count it does not know.
ASSUMED_TRIPS = 5


def trip_count(module: HloModule, hlo: HloInstruction, condition: str) -> int | None:
    """The trip count that the compiler states, or of ``for (i = start; i < bound; i += step)``.

    None if the loop's condition, start or step is not a constant, or the loop does not run or does
    not end by them.
    """
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', hlo.attributes)
    if known:
        return int(known.group(1))
    test = module.computations[condition]
    root = test.instructions[test.root]
    if root.opcode == "compare" and root.text("direction") == "LT" and len(root.operands) == 2:
        counter = test.instructions[root.operands[0]].text("index")
        bound = _constant(test, root.operands[1])
        start = _counter_start(module, hlo, counter)
        step = _counter_step(module, hlo, counter)
        if bound is None or start is None or step is None:
            return None
        if bound > start and step > 0:
            return -(-(bound - start) // step)
    return None


def _constant(computation: HloComputation, name: str) -> int | None:
    """The integer behind copies of a constant; None for anything else."""
    instruction = computation.instructions[name]
    while instruction.opcode in ("copy", "bitcast"):
        instruction = computation.instructions[instruction.operands[0]]
    is_integer = instruction.opcode == "constant" and instruction.literal.lstrip("-").isdigit()
    return int(instruction.literal) if is_integer else None


def _counter_start(module: HloModule, hlo: HloInstruction, counter: str) -> int | None:
    for computation in module.computations.values():
        if computation.instructions.get(hlo.name) is hlo and counter.isdigit():
            initial = computation.instructions[hlo.operands[0]]
            if initial.opcode == "tuple" and int(counter) < len(initial.operands):
                return _constant(computation, initial.operands[int(counter)])
    return None


def _counter_step(module: HloModule, hlo: HloInstruction, counter: str) -> int | None:
    """The constant that the body adds to the counter; None if it does something else."""
    body = module.computations[hlo.callee("body") or ""]
    root = body.instructions[body.root]
    if root.opcode != "tuple" or not counter.isdigit() or int(counter) >= len(root.operands):
        return None
    update = body.instructions[root.operands[int(counter)]]
    if update.opcode != "add" or len(update.operands) != 2:
        return None
    before, step = (body.instructions[name] for name in update.operands)
    while before.opcode in ("copy", "bitcast"):
        before = body.instructions[before.operands[0]]
    if before.opcode != "get-tuple-element" or before.text("index") != counter:
        return None
    return _constant(body, step.name)
