"""Times of instructions for which the compiler gives no estimate: bytes, and operations.

Sorts, gathers, custom calls such as Pallas kernels and collectives have no estimate.  Their
accesses take their bytes over the machine's bandwidth, in either memory; a program says so by
leaving out the seconds of the access (`mallocgame.program.Access`).  What is left is computing.
"""

from __future__ import annotations

import math
import re

from mallocgame.xla.read.asynchronous import is_asynchronous
from mallocgame.xla.read.hlo import HloInstruction, leaves

# Operations per cycle of a core.  Matrix units: 4 of 128 x 128 multiply-adds, on later chips of
# 256 x 256 (mallocgame.xla.read.chips).  Vector unit: 8 x 128 lanes with two operations each.
_MATRIX = {"tpu_v6e": 524_288, "tpu7x": 524_288}
MATRIX_OPERATIONS = 131_072
VECTOR_OPERATIONS = 2_048
# They only make room, or run beside others.
_FREE = ("AllocateBuffer",)
_FLOPS = re.compile(r'"?flops"?\s*[:=]\s*"?(\d+)')


def needs_assumption(hlo: HloInstruction) -> bool:
    """Whether an instruction without an estimate costs time of its own."""
    is_free = hlo.text("custom_call_target") in _FREE or is_asynchronous(hlo)
    return not hlo.estimated_cycles and not is_free


def assumed_cycles(hlo: HloInstruction, machine: str) -> float:
    """Cycles that an instruction computes: its operations over the peak of the unit that does them.

    A custom call says how many it has (``cost_estimate`` of a Pallas kernel), or is taken to have
    none.  A sort compares as often as a bitonic network, n log2(n) (log2(n) + 1) / 4 times a row.
    All else has one operation for each element that it makes.
    """
    if hlo.opcode == "custom-call":
        found = _FLOPS.search(hlo.attributes)
        flops = int(found.group(1)) if found else 0
        return flops / _MATRIX.get(machine, MATRIX_OPERATIONS)
    shapes = [shape for _, shape in leaves(hlo.shape)]
    elements = sum(math.prod(shape.dims) for shape in shapes)
    if hlo.opcode == "sort" and shapes and shapes[0].dims:
        row = shapes[0].dims[int(hlo.text("dimensions").strip("{}") or -1)]
        steps = math.log2(max(row, 2))
        elements *= steps * (steps + 1) / 4
    return elements / VECTOR_OPERATIONS
