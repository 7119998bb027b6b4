"""Loops, segments and needed content of random programs, against their definitions."""

from __future__ import annotations

import dataclasses

import numpy as np

from mallocgame.program import Program
from mallocgame.program.levels import Levels
from mallocgame.program.needs import Needs
from mallocgame.synthetic.random_programs import random_program

SEEDS = range(40)


def nested(seed: int) -> Program:
    """A random program with loops in loops."""
    rng = np.random.default_rng([8, seed])
    return random_program(rng, instructions=int(rng.integers(10, 32)), values=12, loop_depth=3)


def test_levels_are_as_defined():
    """docs/game.md, section 1: an entry marker ends a segment, an exit marker begins one."""
    deepest = 0
    for seed in SEEDS:
        program = nested(seed)
        levels = Levels(program)
        entries, exits = ({getattr(o, m) for o in program.loops} for m in ("entry", "exit"))
        first = 0
        for t in range(len(program.instructions)):
            around = [i for i, o in enumerate(program.loops) if o.entry < t < o.exit]
            around.sort(key=lambda i: program.loops[i].exit - program.loops[i].entry)
            assert levels.around(t) == around
            assert levels.body_of[t] == (around[0] if around else -1)
            assert all(levels.inside(t, i) is (i in around) for i in range(len(program.loops)))
            if t in exits or t - 1 in entries:
                first = t
            assert levels.segment[t] == first
            deepest = max(deepest, len(around))
        for i, loop in enumerate(program.loops):
            outer = levels.around(loop.entry)
            assert levels.parent[i] == (outer[0] if outer else -1)
    assert deepest == 3


def test_an_instruction_runs_as_often_as_the_loops_around_it_say():
    for seed in SEEDS:
        program = nested(seed)
        counts = [0] * len(program.instructions)
        for t, _ in unrolled(program):
            if t is not None:
                counts[t] += 1
        two = tuple(dataclasses.replace(loop, trip_count=2) for loop in program.loops)
        assert dataclasses.replace(program, loops=two).weights == tuple(counts)


def unrolled(program: Program) -> list[tuple[int | None, int | None]]:
    """What is executed if every loop runs twice: (slot, None), or (None, loop) between two
    iterations of it."""
    entry = {loop.entry: i for i, loop in enumerate(program.loops)}

    def run(first: int, end: int) -> list[tuple[int | None, int | None]]:
        events, t = [], first
        while t < end:
            events.append((t, None))
            if t in entry:
                loop = program.loops[entry[t]]
                body = run(t + 1, loop.exit)
                events += [*body, (None, entry[t]), *body]
                t = loop.exit - 1
            t += 1
        return events

    return run(0, len(program.instructions))


def is_read(program: Program, value: int, end: int) -> bool:
    """Whether what a value holds before slot `end`, in any iteration of the loops around, is read
    from there on, in an execution in which contents are followed from value to value."""
    events = unrolled(program)
    places = [k for k, event in enumerate(events) if event == (end - 1, None)]
    return any(_is_read_in(program, events[k + 1 :], value) for k in places)


def _is_read_in(program: Program, events: list, value: int) -> bool:
    holders = {value}
    for t, loop in events:
        if t is None:
            for group in program.carried:
                if group.loop == loop:
                    holders.discard(group.parameter)
                    if group.result in holders:
                        holders.add(group.parameter)
            continue
        for access in program.accesses_at[t]:
            if access.kind == "read" and access.value in holders:
                return True
            if access.defines:
                holders.discard(access.value)
    return False


def test_what_is_needed_is_what_an_execution_reads():
    seen = {True: 0, False: 0}
    for seed in SEEDS:
        program = nested(seed)
        needs = Needs(program, Levels(program))
        defined = {a.value: a.instruction for a in program.accesses if a.defines}
        for v, value in enumerate(program.values):
            for end in range(defined.get(v, -1) + 1, len(program.instructions) + 1):
                if end == 0 or (v not in defined and not value.is_input):
                    continue
                expected = value.is_output or is_read(program, v, end)
                assert needs(v, end, end - 1) is expected, (seed, v, end)
                seen[expected] += 1
    assert min(seen.values()) > 1000
