"""The times that fits give a program, and what it remembers of the compiler's estimates.

A program's provenance has, for every instruction, the placements that compiles had of it or of
instructions like it, ``calibration.seen``, and the cycles that the compiler gave them,
``calibration.cycles``.  So a later compile can be added to the fit (`learned`).  The cycles are of
one execution.  The times are those of an instruction's share of the executions, which is below 1 in
the branches of a conditional: ``branches``, by the number of the slot.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mallocgame.program import Access, Instruction, Program
from mallocgame.xla.latency.calibrate import placement_masks, pool
from mallocgame.xla.latency.fit import Fit, Sample, fit_instruction


def rounded(seconds: float) -> float:
    """Seconds, rounded to ten significant digits so that committed files have stable bytes."""
    return float(f"{seconds:.10g}")


def instruction_times(instruction: Instruction, fit: Fit | None, second: float) -> Instruction:
    """An instruction with the times of a fit, all 0 without one.

    second: seconds of a cycle.
    """
    compute, read, write = (fit.compute, fit.fixed_read, fit.fixed_write) if fit else (0.0,) * 3
    return dataclasses.replace(
        instruction,
        compute_s=rounded(compute * second),
        fixed_read_s=rounded(read * second),
        fixed_write_s=rounded(write * second),
    )


def access_times(found: Sequence[Access], fit: Fit | None, second: float) -> list[Access]:
    """An instruction's accesses with the seconds that they add in each memory, 0 without a fit.

    The time they take in either memory is part of the instruction's fixed times.
    """
    reads = fit and zip(fit.read_added, fit.read_in_fast, strict=True)
    writes = fit and zip(fit.write_added, fit.write_in_fast, strict=True)
    timed = []
    for access in found:
        of_kind = reads if access.kind == "read" else writes
        slow, fast = next(of_kind) if of_kind else (0.0, 0.0)
        timed.append(
            dataclasses.replace(
                access, slow_s=rounded(slow * second), fast_s=rounded(fast * second)
            )
        )
    return timed


def remembered(seen: Mapping[int, Mapping[int, float]], slots: int) -> dict[str, Any]:
    """What the provenance keeps of `Calibration.seen`: lists by slot, in the same order."""
    return {
        "seen": [list(seen.get(t, {0: 0.0})) for t in range(slots)],
        "cycles": [list(seen.get(t, {}).values()) for t in range(slots)],
    }


def learned(program: Program, in_fast: np.ndarray, cycles: np.ndarray) -> Program:
    """The program with the times that it has if one more compile is part of the fit.

    Instructions that the compile has under placements that are new get another fit, and so do those
    like them.  The program itself comes back if nothing is new, or if it does not remember the
    compiler's estimates, or the shares of its branches.

    Args:
      in_fast: bool [A], the accesses that the compile has in fast memory.
      cycles: its estimate of every instruction, [T]; NaN where it has none.
    """
    facts: Any = program.provenance.get("calibration") or {}
    shares = program.provenance.get("branches", {})
    remembers = len(facts.get("cycles", ())) == len(program.instructions)
    if not remembers or not isinstance(shares, dict):
        return program
    by_slot: list[list[int]] = [[] for _ in program.instructions]
    for number, access in enumerate(program.accesses):
        by_slot[access.instruction].append(number)
    samples = {t: _sample(program, facts, t, by_slot[t]) for t in range(len(by_slot))}
    samples = {t: sample for t, sample in samples.items() if sample is not None}
    new = {
        t: (mask, float(cycles[t]))
        for t in samples
        if not np.isnan(cycles[t])
        and (mask := sum(1 << i for i, n in enumerate(by_slot[t]) if in_fast[n]))
        not in facts["seen"][t]
    }
    if not new:
        return program
    more = [_with_row(samples[t], *row) for t, row in new.items()]
    keys = {sample.key for sample in more}
    # The new ones first: a fit takes so many placements and no more.
    groups = pool([*more, *(s for s in samples.values() if s.key in keys)])
    rates = np.asarray(facts["cycles_per_byte"], float)
    fits = {key: fit_instruction(sample, rates) for key, sample in groups.items()}
    changed = {t: samples[t].key for t in samples if samples[t].key in keys}
    instructions, accesses = list(program.instructions), list(program.accesses)
    seen, estimates = list(facts["seen"]), list(facts["cycles"])
    for slot, key in changed.items():
        second = float(shares.get(str(slot), 1.0)) / (program.machine.clock_hz or 1.0)
        instructions[slot] = instruction_times(instructions[slot], fits[key], second)
        timed = access_times([accesses[n] for n in by_slot[slot]], fits[key], second)
        for number, access in zip(by_slot[slot], timed, strict=True):
            accesses[number] = access
        sample = groups[key]
        known = sorted(zip(placement_masks(sample), sample.cycles.tolist(), strict=True))
        seen[slot], estimates[slot] = [mask for mask, _ in known], [cycles for _, cycles in known]
    calibration = {**facts, "seen": seen, "cycles": estimates}
    return dataclasses.replace(
        program, instructions=tuple(instructions), accesses=tuple(accesses),
        provenance={**program.provenance, "calibration": calibration},
    )  # fmt: skip


def _sample(
    program: Program, facts: dict[str, Any], slot: int, numbers: Sequence[int]
) -> Sample | None:
    """What is remembered of an instruction; None without estimates."""
    masks, cycles = facts["seen"][slot], facts["cycles"][slot]
    if not cycles or masks[0] != 0:
        return None
    accesses = [program.accesses[n] for n in numbers]
    sizes = [np.array([a.bytes for a in accesses if a.kind == k], float) for k in ("read", "write")]
    fast = _in_fast(masks, len(accesses))
    reads, writes = sizes
    key = (program.instructions[slot].opcode, cycles[0], tuple(reads), tuple(writes))
    return Sample(
        key, reads, writes, fast[:, : len(reads)], fast[:, len(reads) :], np.array(cycles, float)
    )


def _with_row(sample: Sample, mask: int, cycles: float) -> Sample:
    """A sample of one more placement; of this one, and all slow, alone."""
    reads = len(sample.reads)
    row = _in_fast([mask], reads + len(sample.writes))
    return dataclasses.replace(
        sample,
        read_fast=np.concatenate([sample.read_fast[:1], row[:, :reads]]),
        write_fast=np.concatenate([sample.write_fast[:1], row[:, reads:]]),
        cycles=np.array([sample.cycles[0], cycles]),
    )


def _in_fast(masks: Sequence[int], accesses: int) -> np.ndarray:
    """Placements as rows, bool [P, A]; the inverse of `placement_masks`."""
    rows = [[mask >> i & 1 for i in range(accesses)] for mask in masks]
    return np.array(rows, bool).reshape(len(masks), accesses)
