"""Times of accesses and instructions of random programs, against plain loops; order and fit."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from mallocgame.program import Access, Instruction, Program, Value
from mallocgame.program.latency import (
    access_seconds,
    bus_seconds,
    instruction_seconds,
    supply_time,
)
from mallocgame.program.machine import Machine
from mallocgame.program.times import Times
from mallocgame.synthetic.random_programs import random_program
from tests.support.program_files import PROGRAM

SEEDS = range(20)


def drawn(seed: int) -> Program:
    """A random program with some calibrated accesses, and with less fast memory than it needs."""
    rng = np.random.default_rng([9, seed])
    program = random_program(rng, instructions=int(rng.integers(3, 20)), values=8, loop_depth=2)
    accesses = tuple(
        dataclasses.replace(a, slow_s=rng.random(), fast_s=rng.random())
        if rng.random() < 0.3
        else a
        for a in program.accesses
    )
    machine = program.machine.with_capacity(2 * program.machine.alignment_bytes)
    return dataclasses.replace(program, accesses=accesses, machine=machine)


def seconds_of(program: Program, t: int, in_fast: dict[int, bool]) -> tuple[float, float]:
    """Seconds of one instruction and of its traffic on the slow bus, access by access."""
    slow, fast = program.machine.slow_bandwidth, program.machine.fast_bandwidth
    row = program.instructions[t]
    of = {"read": row.fixed_read_s, "write": row.fixed_write_s}
    bus = row.fixed_slow_bytes / slow
    for number, access in enumerate(program.accesses):
        if access.instruction == t:
            if in_fast[number]:
                took = access.bytes / fast if access.fast_s is None else access.fast_s
            else:
                took = access.bytes / slow if access.slow_s is None else access.slow_s
                bus += access.bytes / slow
            of[access.kind] += took
    return max(row.compute_s, of["read"], of["write"]), bus


def test_instructions_take_what_their_accesses_take():
    for seed in SEEDS:
        program = drawn(seed)
        in_fast = np.random.default_rng(seed).random(len(program.accesses)) < 0.5
        elapsed, bus = instruction_seconds(program, in_fast)
        placed = dict(enumerate(in_fast.tolist()))
        expected = [seconds_of(program, t, placed) for t in range(len(program.instructions))]
        np.testing.assert_allclose(np.stack([elapsed, bus], 1), expected, rtol=1e-12)
        assert (elapsed > 0).any() and (bus > 0).any()


def test_times_are_shares_of_the_all_slow_latency():
    tight = 0
    for seed in SEEDS:
        program = drawn(seed)
        times = Times(program)
        number = range(len(program.accesses))
        all_slow = dict.fromkeys(number, False)
        slots = range(len(program.instructions))
        slow = [seconds_of(program, t, all_slow)[0] for t in slots]
        total = sum(w * s for w, s in zip(program.weights, slow, strict=True))
        assert times.scale_s == pytest.approx(total)
        np.testing.assert_allclose(times.slow_elapsed * times.scale_s, slow, rtol=1e-9)
        sizes = [v.size_bytes for v in program.values]
        demand = np.array(sizes) / program.machine.slow_bandwidth
        np.testing.assert_allclose(times.demand * times.scale_s, demand, rtol=1e-9)
        np.testing.assert_array_equal(times.best, np.minimum(times.slow, times.fast))
        for t in slots:  # the least of all placements of what fits
            here = [k for k in number if program.accesses[k].instruction == t]
            free = [k for k in here if program.fits(program.accesses[k].value)]
            tight += len(free) < len(here)
            choices = itertools.product((False, True), repeat=len(free))
            placements = (all_slow | dict(zip(free, chosen, strict=True)) for chosen in choices)
            least = min(seconds_of(program, t, placed)[0] for placed in placements)
            assert times.floor[t] * times.scale_s == pytest.approx(least, rel=1e-9, abs=1e-15)
    assert tight > 5


def test_a_program_that_takes_no_time_has_times():
    times = Times(Program("idle", PROGRAM.machine, (Instruction("i"),), (Value("v", 8),), ()))
    assert times.scale_s == 0
    assert np.isfinite(times.demand).all() and np.isfinite(times.slow_elapsed).all()


def test_fast_memory_is_never_the_slower_one_unless_it_was_measured():
    slow_chip = Machine("odd", 1000, 10, 10.0, 2.0)
    slow, fast = access_seconds(PROGRAM.with_machine(slow_chip))
    measured = [a.slow_s is not None for a in PROGRAM.accesses]
    assert (fast <= slow)[~np.array(measured)].all()
    assert (slow[measured], fast[measured]) == (4.0, 0.5)


def test_the_bus_is_idle_or_not_but_never_less_than_idle():
    assert supply_time(3.0, 1.0) == 2.0 and supply_time(1.0, 3.0) == 0
    fixed, _ = bus_seconds(PROGRAM)
    assert fixed.tolist() == [0.0] * 8


def test_accesses_come_as_reads_and_writes_in_the_order_of_their_operands():
    made = dataclasses.replace(
        PROGRAM,
        accesses=(
            Access(3, 1, "write", (1,), defines=True),
            Access(3, 3, "write", (0,), defines=True),
            Access(3, 2, "read", (2,)),
            Access(3, 0, "read", (1, 3)),
        ),
    )
    assert [(a.kind, a.value) for a in made.accesses_at[3]] == [
        ("read", 0), ("read", 2), ("write", 3), ("write", 1),
    ]  # fmt: skip


def test_what_fills_fast_memory_fits():
    values = (Value("a", 1000), Value("b", 1001), Value("c", 10, is_pinned=True))
    made = dataclasses.replace(PROGRAM, values=values)
    assert [made.fits(v) for v in range(3)] == [True, False, False]
