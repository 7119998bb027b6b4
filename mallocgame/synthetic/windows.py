"""Windows of a schedule: contiguous parts that are programs of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from gamekit.errors import InputError
from mallocgame.program import CarriedGroup, Loop, Program
from mallocgame.program.levels import Levels

SHORTEST = 32  # instructions of a window, where its program has as many
WHOLE = 0.5  # how often a program that is short enough is taken whole


def draw_window(program: Program, rng: np.random.Generator, most: int) -> tuple[int, int]:
    """Slots [start, end) that cut no loop: at most `most`, a whole program or a part of one level.

    Lengths are log-uniform.  A part of a loop's body is as likely as a part with the whole loop,
    where both are short enough and long enough.
    """
    total = len(program.instructions)
    if total <= most and rng.random() < WHOLE:
        return 0, total
    least = min(SHORTEST, total, most)
    length = round(np.exp(rng.uniform(*np.log((least, min(total, most))))))
    levels, found = Levels(program), []
    while not found:
        slot = int(rng.integers(total))
        for level in (*levels.around(slot), -1):
            blocks = _blocks(program, level)
            i = next(i for i, (_, end) in enumerate(blocks) if slot < end)
            if blocks[i][1] - blocks[i][0] <= length:
                found.append(_grow(blocks, i, length, rng))
    longest = max(end - start for start, end in found)
    enough = [part for part in found if part[1] - part[0] >= min(least, longest)]
    return enough[int(rng.integers(len(enough)))]


def _blocks(program: Program, level: int) -> list[tuple[int, int]]:
    """A loop's body, or the outer level (-1), in pieces [start, end) that nothing may cut."""
    exits = {loop.entry: loop.exit for loop in program.loops}
    t, until = 0, len(program.instructions)
    if level >= 0:
        t, until = program.loops[level].entry + 1, program.loops[level].exit
    blocks = []
    while t < until:
        end = exits.get(t, t) + 1
        blocks.append((t, end))
        t = end
    return blocks


def _grow(
    blocks: Sequence[tuple[int, int]], i: int, length: int, rng: np.random.Generator
) -> tuple[int, int]:
    """At most `length` slots around block i: some before it, as many as possible after it."""
    start, end = blocks[i]
    first = last = i
    before = int(rng.integers(length - (end - start) + 1))
    while first > 0 and start - blocks[first - 1][0] <= before - (blocks[i][0] - start):
        first -= 1
        start = blocks[first][0]
    while last + 1 < len(blocks) and blocks[last + 1][1] - start <= length:
        last += 1
        end = blocks[last][1]
    while first > 0 and end - blocks[first - 1][0] <= length:
        first -= 1
        start = blocks[first][0]
    return start, end


def window(program: Program, start: int, end: int) -> Program:
    """The instructions [start, end) as a program of their own, with the values that they access.

    What has content before the window is an input.  What the window writes is an output where the
    program still needs it: later, in another iteration of a loop around the window, or as an output
    of its own.  What the window only reads stays in slow memory anyway.  Loops around the window
    are left out with their carried groups, so that it runs one iteration; the members of a group
    are then two values, an input and an output.

    Raises:
      InputError: the window is empty, leaves the schedule or cuts a loop.
    """
    total = len(program.instructions)
    if not 0 <= start < end <= total:
        raise InputError(f"window: must be a part of [0, {total}), got [{start}, {end})")
    loops, around = [], []
    for i, loop in enumerate(program.loops):
        if start <= loop.entry and loop.exit < end:
            loops.append(i)
        elif loop.entry < start and end <= loop.exit:
            around.append(i)
        elif loop.entry < end and start <= loop.exit:
            raise InputError(
                f"window: must not cut loop {i}, [{loop.entry}, {loop.exit}], got [{start}, {end})"
            )
    groups = [group for group in program.carried if group.loop in loops]
    inside = [a for a in program.accesses if start <= a.instruction < end]
    kept = sorted({a.value for a in inside} | {v for g in groups for v in (g.parameter, g.result)})
    parameters = {group.parameter for group in groups}
    has_content, is_needed = _boundary(program, start, end, around)
    new_value = {v: i for i, v in enumerate(kept)}
    new_loop = {old: i for i, old in enumerate(loops)}
    return Program(
        program.name,
        program.machine,
        program.instructions[start:end],
        tuple(
            dataclasses.replace(
                program.values[v],
                is_input=v in has_content,
                # A group's result takes its parameter's place, and then nobody can need that.
                is_output=program.values[v].is_output or (v in is_needed and v not in parameters),
            )
            for v in kept
        ),
        tuple(
            dataclasses.replace(a, instruction=a.instruction - start, value=new_value[a.value])
            for a in inside
        ),
        tuple(
            Loop(program.loops[i].entry - start, program.loops[i].exit - start,
                 program.loops[i].trip_count)
            for i in loops
        ),
        tuple(
            CarriedGroup(new_loop[g.loop], new_value[g.parameter], new_value[g.result])
            for g in groups
        ),
    )  # fmt: skip


def _boundary(
    program: Program, start: int, end: int, around: Sequence[int]
) -> tuple[set[int], set[int]]:
    """Values with content before the window, and those that it writes and somebody needs later.

    around: the loops whose bodies hold the window.
    """
    has_content = {v for v, value in enumerate(program.values) if value.is_input}
    results = {g.result for g in program.carried if g.loop in around}
    # What comes from outside the innermost body is the same memory in the next iteration.
    body_start = max((program.loops[i].entry for i in around), default=-1)
    before_body = set(has_content)
    written, used_later = set(), set()
    for a in program.accesses:
        if a.defines and a.instruction < start:
            has_content.add(a.value)
        if a.defines and a.instruction < body_start:
            before_body.add(a.value)
        if a.kind == "write" and start <= a.instruction < end:
            written.add(a.value)
        if a.instruction >= end:
            used_later.add(a.value)
    comes_again = before_body if around else set()
    return has_content, written & (used_later | results | comes_again)
