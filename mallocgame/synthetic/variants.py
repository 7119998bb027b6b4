"""Programs without end, made from real ones: windows, concatenations, other machines, other shapes.

A variant goes through these steps, and each is a function of its own:

1. `mallocgame.synthetic.windows.window`: a contiguous part of a schedule, or all of it.  Parts of
   a network occur in other networks, and a long program gets a length that can be played.
2. `concatenation`, for some: a second window runs after the first, so that one game holds
   stretches of two characters.
3. `jitter`: values, their accesses and the instructions' own times change by factors.  Values of
   one size share a factor, as if a dimension of the model had changed; what was equal stays equal.
4. `with_bandwidth`: a slow memory that is faster or slower beside the same arithmetic.
5. `with_capacity`: more or less fast memory, so that more or less is contested.

Draws in which fast memory saves next to nothing, or has room for everything at once, are drawn
anew: the suite has no such programs either.  Nobody compiled a variant, so no production mapping
belongs to it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from gamekit.errors import InputError
from mallocgame.program import Access, CarriedGroup, Instruction, Loop, Program, Value, validate
from mallocgame.program.latency import access_seconds, elapsed_time
from mallocgame.program.machine import Machine
from mallocgame.program.validation import INT32_MAX
from mallocgame.synthetic.random_programs import in_proportion
from mallocgame.synthetic.windows import draw_window, window

LONGEST = 512  # instructions
MAX_CAPACITY_BYTES = 2**30 - 1
TWO_PARTS = 0.25  # how often a variant is a concatenation
# Factors are drawn log-uniformly from these ranges.
# The suite's capacities are the largest contested ones: with much more, little competes.
CAPACITY = (1 / 4, 3 / 2)
# The suite's chips have 0.40 (v6e) to 1.35 (v5p) of TPU v4's bytes per operation.
BANDWIDTH = (1 / 2, 2.0)
SIZES = (2**-0.5, 2**0.5)
COMPUTE = (2**-0.25, 2**0.25)
# With everything that fits in fast memory for nothing, a variant saves at least this share.
LEAST_SAVED = 0.02
MOST_DRAWS = 1000


def variants(
    programs: Sequence[Program], count: int, seed: int, *, longest: int = LONGEST
) -> list[Program]:
    """Variants of real programs, reproducibly.

    Variant i depends on the programs, `longest`, the seed and i alone: it is `variant` with the
    generator `default_rng([seed, i])`, and is named "ORIGIN~SEED.I".

    Args:
      count: how many. seed: at least 0.
      longest: the most instructions of a variant, at least 2.

    Raises:
      InputError: there are no programs, none has anything to save, or a number is out of range.
    """
    if seed < 0 or count < 0:
        raise InputError(f"variants: seed and count must be at least 0, got {seed} and {count}")
    return [
        _named(_variant(programs, np.random.default_rng([seed, i]), longest), f"{seed}.{i}")
        for i in range(count)
    ]


def variant(
    programs: Sequence[Program], rng: np.random.Generator, *, longest: int = LONGEST
) -> Program:
    """One valid variant of one of the programs, or of two of them.

    It is named "ORIGIN~NUMBER", with a number that is drawn too; its provenance says what was done.

    Args:
      longest: the most instructions, at least 2.

    Raises:
      InputError: there are no programs, none has anything to save, or `longest` is too small.
    """
    made = _variant(programs, rng, longest)
    return _named(made, str(int(rng.integers(2**31))))


def _named(program: Program, label: str) -> Program:
    return dataclasses.replace(program, name=f"{program.name}~{label}")


def _variant(programs: Sequence[Program], rng: np.random.Generator, longest: int) -> Program:
    """A valid variant that is worth playing, named after its origin."""
    if not programs:
        raise InputError("variants: no programs are given")
    if longest < 2:
        raise InputError(f"variants: longest must be at least 2 instructions, got {longest}")
    for _ in range(MOST_DRAWS):
        program = _draw(programs, rng, longest)
        if is_worth_playing(program):
            validate(program, program.name)
            return program
    raise InputError(
        f"variants: of {MOST_DRAWS} draws one must have something to save and values that compete, "
        "got none"
    )


def _draw(programs: Sequence[Program], rng: np.random.Generator, longest: int) -> Program:
    """A variant, whether it is worth playing or not."""
    room = [longest]
    if rng.random() < TWO_PARTS:
        first = min(max(1, round(longest * rng.uniform(0.25, 0.75))), longest - 1)
        room = [first, longest - first]
    parts, origins = [], []
    for most in room:
        program = programs[int(rng.integers(len(programs)))]
        start, end = draw_window(program, rng, most)
        parts.append(window(program, start, end))
        origin = {"program": program.name, "fingerprint": program.fingerprint}
        origins.append(origin | {"window": [start, end]})
    made = parts[0] if len(parts) == 1 else concatenation(parts[0], parts[1])
    bandwidth, capacity = _factor(rng, BANDWIDTH), _factor(rng, CAPACITY)
    made = with_capacity(with_bandwidth(jitter(made, rng), bandwidth), capacity)
    provenance = {
        "kind": "variant",
        "parts": origins,
        "bandwidth_factor": bandwidth,
        "capacity_factor": capacity,
        "jitter": {"sizes": list(SIZES), "compute": list(COMPUTE)},
    }
    return dataclasses.replace(made, provenance=provenance)


def _factor(rng: np.random.Generator, between: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(between))))


def concatenation(first: Program, second: Program) -> Program:
    """One program after the other, on one machine, without a common value.

    The machine is the first's, with the geometric mean of the two capacities; the second is brought
    to its slow bandwidth.
    """
    second = with_bandwidth(second, first.machine.slow_bandwidth / second.machine.slow_bandwidth)
    slots, values, loops = len(first.instructions), len(first.values), len(first.loops)
    mean = math.sqrt(first.machine.fast_capacity_bytes * second.machine.fast_capacity_bytes)
    instructions = (*first.instructions, *second.instructions)
    return Program(
        f"{first.name}+{second.name}",
        first.machine.with_capacity(_capacity(first.machine, instructions, mean)),
        instructions,
        tuple(
            dataclasses.replace(value, name=f"{which}/{value.name}")
            for which, program in (("first", first), ("second", second))
            for value in program.values
        ),
        first.accesses
        + tuple(
            dataclasses.replace(a, instruction=a.instruction + slots, value=a.value + values)
            for a in second.accesses
        ),
        first.loops
        + tuple(
            Loop(loop.entry + slots, loop.exit + slots, loop.trip_count) for loop in second.loops
        ),
        first.carried
        + tuple(
            CarriedGroup(g.loop + loops, g.parameter + values, g.result + values)
            for g in second.carried
        ),
    )


def jitter(program: Program, rng: np.random.Generator) -> Program:
    """The same program with other sizes and times.

    All values of one size share a factor, for their bytes and for the bytes and times of their
    accesses; carried groups keep one size that way.  Every instruction has a smaller factor for
    what it needs besides: its computation and its fixed traffic.
    """
    sizes = sorted({value.size_bytes for value in program.values})
    by_size = {size: _factor(rng, SIZES) for size in sizes}
    return scaled(
        program,
        [by_size[value.size_bytes] for value in program.values],
        [_factor(rng, COMPUTE) for _ in program.instructions],
    )


def scaled(program: Program, of_values: Sequence[float], of_compute: Sequence[float]) -> Program:
    """The same program with values and instructions scaled by factors, [V] and [T].

    Bytes are rounded; what has some keeps at least one.
    """

    def scaled_bytes(size: int, factor: float) -> int:
        return min(max(round(size * factor), min(size, 1)), INT32_MAX)

    def scaled_value(value: Value, factor: float) -> Value:
        return dataclasses.replace(value, size_bytes=scaled_bytes(value.size_bytes, factor))

    def scaled_access(a: Access, factor: float) -> Access:
        size = scaled_bytes(a.bytes, factor)
        if a.slow_s is None or a.fast_s is None:
            return dataclasses.replace(a, bytes=size)
        slow_s, fast_s = a.slow_s * factor, a.fast_s * factor
        return dataclasses.replace(a, bytes=size, slow_s=slow_s, fast_s=fast_s)

    def scaled_instruction(i: Instruction, factor: float) -> Instruction:
        return dataclasses.replace(
            i,
            compute_s=i.compute_s * factor,
            fixed_read_s=i.fixed_read_s * factor,
            fixed_write_s=i.fixed_write_s * factor,
            fixed_slow_bytes=scaled_bytes(i.fixed_slow_bytes, factor),
        )

    return dataclasses.replace(
        program,
        instructions=tuple(map(scaled_instruction, program.instructions, of_compute)),
        values=tuple(map(scaled_value, program.values, of_values)),
        accesses=tuple(scaled_access(a, of_values[a.value]) for a in program.accesses),
    )


def with_bandwidth(program: Program, factor: float) -> Program:
    """The same program beside a slow memory with `factor` times the bandwidth.

    Accesses without calibrated times follow by themselves.  A calibrated access takes its time in
    fast memory and, in slow memory, an addition in proportion to its bytes; the addition changes.
    An access that is slower in fast memory has no such addition and stays as it is.
    Fixed times change with the bandwidth where an instruction has fixed bytes in slow memory;
    without such bytes they are what it takes in any memory (`mallocgame.xla.latency.fit`).
    """
    if factor == 1:
        return program

    def access(a: Access) -> Access:
        if a.slow_s is None or a.fast_s is None or a.slow_s < a.fast_s:
            return a
        return dataclasses.replace(a, slow_s=a.fast_s + (a.slow_s - a.fast_s) / factor)

    def instruction(i: Instruction) -> Instruction:
        if not i.fixed_slow_bytes:
            return i
        return dataclasses.replace(
            i, fixed_read_s=i.fixed_read_s / factor, fixed_write_s=i.fixed_write_s / factor
        )

    machine = program.machine
    return dataclasses.replace(
        program,
        machine=dataclasses.replace(
            machine,
            slow_bandwidth=machine.slow_bandwidth * factor,
            source=f"slow bandwidth times {factor:.3g}: {machine.source}",
        ),
        instructions=tuple(map(instruction, program.instructions)),
        accesses=tuple(map(access, program.accesses)),
    )


def with_capacity(program: Program, factor: float) -> Program:
    """The same program with `factor` times the fast memory, aligned.

    It holds at least what the instructions reserve.
    """
    wanted = factor * program.machine.fast_capacity_bytes
    capacity = _capacity(program.machine, program.instructions, wanted)
    return program.with_machine(program.machine.with_capacity(capacity))


def _capacity(machine: Machine, instructions: Sequence[Instruction], wanted: float) -> int:
    """The aligned capacity next to the wanted bytes that a machine and reservations allow."""
    unit = machine.alignment_bytes
    reserved = max(machine.align(i.reserved_bytes) for i in instructions)
    most = MAX_CAPACITY_BYTES // unit * unit
    return min(max(round(wanted / unit) * unit, unit, reserved), most)


def is_worth_playing(program: Program) -> bool:
    """Whether fast memory saves something, and values compete for it.

    Times that do not fit into ticks are not worth it either.
    """
    contested = bytes_alive(program).max() > program.machine.fast_capacity_bytes
    return bool(contested) and in_proportion(program) and floor_saved(program) >= LEAST_SAVED


def bytes_alive(program: Program) -> np.ndarray:
    """Bytes in each slot, float64 [T], of the values alive there that fit in fast memory.

    A value is alive from its first to its last access, and throughout a loop that it crosses.
    """
    spans: dict[int, tuple[int, int]] = {}
    for a in program.accesses:
        first, last = spans.get(a.value, (a.instruction, a.instruction))
        spans[a.value] = min(first, a.instruction), max(last, a.instruction)
    innermost_first = sorted(program.loops, key=lambda loop: loop.exit - loop.entry)
    change = np.zeros(len(program.instructions) + 1)
    for v, (first, last) in spans.items():
        if not program.fits(v):
            continue
        for loop in innermost_first:
            crosses = first < loop.entry or last > loop.exit
            if crosses and first <= loop.exit and last >= loop.entry:
                first, last = min(first, loop.entry), max(last, loop.exit)
        change[first] += program.values[v].size_bytes
        change[last + 1] -= program.values[v].size_bytes
    return np.cumsum(change)[:-1]


def floor_saved(program: Program) -> float:
    """The share of the all-slow latency that fast memory saves where it costs nothing.

    Every value that fits is in fast memory where that is not slower, without copies; no mapping
    saves more.
    """
    slow_s, fast_s = access_seconds(program)
    fits = np.array([program.fits(a.value) for a in program.accesses], bool)
    weights = np.array(program.weights, np.float64)
    slow, floor = (
        float(weights @ _elapsed(program, seconds))
        for seconds in (slow_s, np.where(fits, np.minimum(fast_s, slow_s), slow_s))
    )
    return 1 - floor / slow if slow > 0 else 0.0


def _elapsed(program: Program, seconds: np.ndarray) -> np.ndarray:
    """Seconds of each instruction, [T], with these of each access, [A]."""
    compute, read, write = (
        np.array([getattr(i, field) for i in program.instructions], np.float64)
        for field in ("compute_s", "fixed_read_s", "fixed_write_s")
    )
    slots = np.array([a.instruction for a in program.accesses], np.int64)
    reads = np.array([a.kind == "read" for a in program.accesses], bool)
    np.add.at(read, slots[reads], seconds[reads])
    np.add.at(write, slots[~reads], seconds[~reads])
    return np.asarray(elapsed_time(compute, read, write))
