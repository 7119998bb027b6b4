"""What the latency fit sees: per compile, each instruction's cycles and where its accesses were."""

from __future__ import annotations

import math

import numpy as np

from mallocgame.program import Access
from mallocgame.xla.latency.fit import Sample
from mallocgame.xla.make.kept import KeptGraph, accesses_at
from mallocgame.xla.read.dump import Dump
from mallocgame.xla.read.hlo import HloComputation, HloInstruction, HloModule, leaves


def latency_samples(dump: Dump, kept: KeptGraph, fast_space: int) -> dict[int, Sample]:
    """For each slot with an estimate, its accesses and its cycles under every placement."""
    accesses = accesses_at(kept)
    samples = {}
    modules = [*(compiled.module for compiled in dump.compiles), *dump.probes]
    places = [instructions_by_name(module) for module in modules]
    for slot, step in enumerate(kept.steps):
        if not step.hlo.estimated_cycles or step.is_marker:
            continue
        reads = [a for a in accesses[slot] if a.kind == "read"]
        writes = [a for a in accesses[slot] if a.kind == "write"]
        rows: list[tuple[list[bool], list[bool], float]] = [
            ([False] * len(reads), [False] * len(writes), step.hlo.estimated_cycles)
        ]
        for place in places:
            computation, hlo = place.get(step.name, (None, None))
            if computation is None or hlo is None or len(hlo.operands) != len(step.hlo.operands):
                rows.append(([False] * len(reads), [False] * len(writes), math.nan))
                continue
            rows.append(
                (
                    [is_fast(a, computation, hlo, fast_space) for a in reads],
                    [is_fast(a, computation, hlo, fast_space) for a in writes],
                    hlo.estimated_cycles or math.nan,
                )
            )
        read_bytes = np.array([a.bytes for a in reads], float)
        write_bytes = np.array([a.bytes for a in writes], float)
        samples[slot] = Sample(
            key=(
                step.hlo.opcode,
                step.hlo.estimated_cycles,
                *map(tuple, (read_bytes, write_bytes)),
            ),
            reads=read_bytes,
            writes=write_bytes,
            read_fast=np.array([r[0] for r in rows], bool).reshape(len(rows), len(reads)),
            write_fast=np.array([r[1] for r in rows], bool).reshape(len(rows), len(writes)),
            cycles=np.array([r[2] for r in rows], float),
        )
    return samples


def instructions_by_name(module: HloModule) -> dict[str, tuple[HloComputation, HloInstruction]]:
    """The instructions of a module and their computations; names are unique in a module."""
    return {
        hlo.name: (computation, hlo)
        for computation in module.computations.values()
        for hlo in computation.instructions.values()
    }


def is_fast(
    access: Access, computation: HloComputation, hlo: HloInstruction, fast_space: int
) -> bool:
    """Whether a compiled module has all arrays of an access in fast memory."""
    if access.kind == "read":
        shapes = [computation.instructions[hlo.operands[i]].shape for i in access.operands]
        arrays = [array for shape in shapes for _, array in leaves(shape)]
    else:
        outputs = [array for _, array in leaves(hlo.shape)]
        arrays = [outputs[i] for i in access.operands]
    return bool(arrays) and all(array.memory_space == fast_space for array in arrays)
