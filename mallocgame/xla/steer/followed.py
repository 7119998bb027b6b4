"""What of a mapping a compile followed, and what our latencies make of the compile itself.

A promised gain that the compiler does not confirm has two possible causes: the compiler placed
things otherwise, or the latencies are wrong.  Our latency of what was compiled tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mallocgame.judge import elapsed_seconds
from mallocgame.judge.reading import Reading
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping
from mallocgame.xla.make.samples import instructions_by_name, is_fast
from mallocgame.xla.read.hlo import HloInstruction, HloModule, leaves


@dataclass(frozen=True)
class Placement:
    """Where a compile has the accesses of a program.

    in_fast: bool [A], in the order of `Program.accesses`; False where the compile lacks the
        instruction.
    missing: bool [T], instructions that the compile does not have, such as copies that it made
        prefetches of.  Loop markers are no instructions of it.
    cycles: float [T], the compiler's estimate of each instruction; NaN where it has none, or has
        the instruction in another form.
    """

    in_fast: np.ndarray
    missing: np.ndarray
    cycles: np.ndarray


def placement_of(program: Program, module: HloModule, fast_space: int) -> Placement:
    """Reads a compile of a program.

    fast_space: the number of fast memory in layouts, `Chip.fast_space`.
    """
    found = instructions_by_name(module)
    in_fast = np.zeros(len(program.accesses), bool)
    cycles = np.full(len(program.instructions), np.nan)
    for slot, instruction in enumerate(program.instructions):
        if instruction.name in found:
            cycles[slot] = found[instruction.name][1].estimated_cycles or np.nan
    for number, access in enumerate(program.accesses):
        place = found.get(program.instructions[access.instruction].name)
        if place is None:
            continue
        if max(access.operands, default=0) < _width(access.kind, place[1]):
            in_fast[number] = is_fast(access, *place, fast_space)
        else:
            cycles[access.instruction] = np.nan
    missing = [i.name not in found for i in program.instructions]
    return Placement(in_fast, np.array(missing, bool), cycles)


def followed_share(program: Program, mapping: Mapping, placement: Placement) -> float:
    """Share of the bytes to be accessed in fast memory that are; 1 if there are none."""
    wanted = Reading(program, mapping).served_fast()
    size = np.array([a.bytes * program.weights[a.instruction] for a in program.accesses], float)
    total = float(size[wanted].sum())
    return float(size[wanted & placement.in_fast].sum()) / total if total else 1.0


def modelled_seconds(program: Program, placement: Placement) -> np.ndarray:
    """Our seconds of each instruction in a compile, all its executions, without stalls: [T]."""
    elapsed = np.array(program.weights, float) * elapsed_seconds(program, placement.in_fast)
    return np.where(placement.missing, 0.0, elapsed)


def _width(kind: str, hlo: HloInstruction) -> int:
    """How many operands an instruction reads, or arrays it writes."""
    return len(hlo.operands) if kind == "read" else sum(1 for _ in leaves(hlo.shape))
