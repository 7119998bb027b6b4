"""Where instructions are: the compiler's flattened schedule against the imported one.

Schedule times count every instruction, with a loop's condition and body before its ``while``.  The
imported schedule keeps what costs time or accesses a kept value, and puts loop bodies between
markers.  *Slots* are indices of the imported schedule.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gamekit.errors import InputError
from mallocgame.xla.read.hlo import HloComputation, HloInstruction, HloModule
from mallocgame.xla.read.values import Graph, GraphStep


def flat_names(module: HloModule, computation: str | None = None) -> Iterator[str]:
    """Instruction names in the order of the compiler's schedule."""
    for hlo in module.computations[computation or module.entry].instructions.values():
        if hlo.opcode == "while":
            for role in ("condition", "body"):
                yield from flat_names(module, hlo.callee(role))
        for branch in hlo.branches:
            yield from flat_names(module, branch)
        yield hlo.name


def has_wrapped(module: HloModule) -> bool:
    """Whether an instruction runs beside others, such as a copy to the host.

    The text has no computations of such instructions, but the schedule lists what is in them.
    """
    return any(
        hlo.opcode.endswith("-start") and hlo.opcode not in ("copy-start", "slice-start")
        for computation in module.computations.values()
        for hlo in computation.instructions.values()
    )


def check_schedule(module: HloModule, schedule: Sequence[str], source: str) -> None:
    """Checks that the dump's schedule is the module's.

    Raises:
      InputError: names the first difference.
    """
    names = tuple(flat_names(module))
    if has_wrapped(module):
        known = set(names)
        schedule = [name for name in schedule if name in known]
    for time, (expected, found) in enumerate(zip(names, schedule, strict=False)):
        if expected != found:
            raise InputError(
                f"{source}: instruction_name: at time {time} must be the module's {expected!r}, "
                f"got {found!r}"
            )
    if len(names) != len(schedule):
        raise InputError(
            f"{source}: time: must have {len(names)} instructions, as the module, "
            f"got {len(schedule)}"
        )


@dataclass(frozen=True)
class SlotClock:
    """Translates schedule times to slots.

    times: each slot's schedule time, ascending.
    """

    times: tuple[int, ...]

    def first_at_or_after(self, time: int) -> int:
        """The first slot that is not before a schedule time; T if there is none."""
        return bisect.bisect_left(self.times, time)

    def end_after(self, time: int) -> int:
        """The end of the slots up to and including a schedule time."""
        return bisect.bisect_right(self.times, time)


def slot_clock(module: HloModule, steps: Sequence[GraphStep], schedule: Sequence[str]) -> SlotClock:
    """The clock of the kept steps.

    A loop's entry marker has the time of its condition's first instruction, its exit marker that of
    the ``while``.
    """
    time_of = {name: time for time, name in enumerate(schedule)}
    times = []
    for step in steps:
        time = time_of[step.hlo.name]
        if step.is_marker and step.name.endswith(":entry"):
            inside = flat_names(module, step.hlo.callee("condition"))
            time = min((time_of[name] for name in inside), default=time)
        times.append(time)
    return SlotClock(tuple(times))


@dataclass(frozen=True)
class CopyWindow:
    """One copy that the compiler issued: the slots [start, end) between its start and its done."""

    position: str
    is_prefetch: bool
    start: int
    end: int


def copy_windows(
    module: HloModule, graph: Graph, slot_of: dict[str, int], fast_space: int
) -> tuple[CopyWindow, ...]:
    """The copies between the memories in a scheduled module.

    The parts of a sliced copy count as one copy, from the first start to the last done.

    Args:
      graph: of that module.
      slot_of: name of a kept instruction -> its slot.
      fast_space: number of the fast memory in layouts.
    """
    windows: dict[tuple[str, str, bool, int], CopyWindow] = {}
    for computation in _reached(module, module.entry):
        for first, window in _windows_in(module, computation, graph, slot_of, fast_space):
            key = (computation.name, window.position, window.is_prefetch, first)
            known = windows.get(key, window)
            windows[key] = CopyWindow(
                window.position,
                window.is_prefetch,
                min(window.start, known.start),
                max(window.end, known.end),
            )
    return tuple(sorted(windows.values(), key=lambda w: (w.start, w.end, w.position)))


def _reached(module: HloModule, name: str) -> Iterator[HloComputation]:
    computation = module.computations[name]
    yield computation
    for hlo in computation.instructions.values():
        inner = (hlo.callee("body") or "",) if hlo.opcode == "while" else hlo.branches
        for name in inner:
            yield from _reached(module, name)


def _windows_in(
    module: HloModule,
    computation: HloComputation,
    graph: Graph,
    slot_of: dict[str, int],
    fast_space: int,
) -> Iterator[tuple[int, CopyWindow]]:
    """(identity of the whole copy, window) for every part of a copy in one computation."""
    names = list(computation.instructions)
    before, after = _neighbours(module, computation, slot_of)
    number = {name: i for i, name in enumerate(names)}
    whole = _joined_slices(computation)
    for done in computation.instructions.values():
        if done.opcode not in ("copy-done", "slice-done"):
            continue
        start = computation.instructions[done.operands[0]]
        source = computation.instructions[start.operands[0]]
        spaces = [_space(done), _space(source)]
        if (spaces[0] == fast_space) == (spaces[1] == fast_space):
            continue
        value = graph.values[graph.find(graph.positions[done.name][()])]
        first, last = before[number[start.name]] + 1, after[number[done.name]]
        yield (
            whole.get(done.name, number[done.name]),
            CopyWindow(value.name, spaces[0] == fast_space, first, last),
        )


def _space(hlo: HloInstruction) -> int | None:
    return getattr(hlo.shape, "memory_space", None)


def _joined_slices(computation: HloComputation) -> dict[str, int]:
    """For each slice-done, by name, a number of the concatenation that joins it with others."""
    joins = {}
    for number, hlo in enumerate(computation.instructions.values()):
        if hlo.opcode == "custom-call" and hlo.text("custom_call_target") == "ConcatBitcast":
            joins.update({name: -1 - number for name in hlo.operands})
    return joins


def _neighbours(
    module: HloModule, computation: HloComputation, slot_of: dict[str, int]
) -> tuple[list[int], list[int]]:
    """For each instruction, the last kept slot before it and the first one after it."""
    low, high = _bounds(module, computation, slot_of)
    first, last = [], []
    for hlo in computation.instructions.values():
        start, end = _slots_of(module, hlo, slot_of)
        first.append(start)
        last.append(end)
    before, after = [], []
    for slot in last:
        before.append(low)
        low = low if slot is None else slot
    for slot in reversed(first):
        after.append(high)
        high = high if slot is None else slot
    return before, after[::-1]


def _slots_of(
    module: HloModule, hlo: HloInstruction, slot_of: dict[str, int]
) -> tuple[int | None, int | None]:
    """The first and the last kept slot of an instruction and of what it calls."""
    if hlo.opcode == "while":
        return slot_of.get(f"{hlo.name}:entry"), slot_of.get(f"{hlo.name}:exit")
    if not hlo.branches:
        return slot_of.get(hlo.name), slot_of.get(hlo.name)
    inside = [slots for branch in hlo.branches for slots in _kept(module, branch, slot_of)]
    return (min(inside), max(inside)) if inside else (None, None)


def _kept(module: HloModule, computation: str, slot_of: dict[str, int]) -> list[int]:
    """The first and last kept slots of a computation's instructions."""
    found = (
        _slots_of(module, hlo, slot_of)
        for hlo in module.computations[computation].instructions.values()
    )
    return [slot for pair in found for slot in pair if slot is not None]


def _bounds(
    module: HloModule, computation: HloComputation, slot_of: dict[str, int]
) -> tuple[int, int]:
    """The slots just outside a computation: its loop's markers, or -1 and T for the entry."""
    for loop in module.while_loops():
        if loop.callee("body") == computation.name:
            return slot_of[f"{loop.name}:entry"], slot_of[f"{loop.name}:exit"]
    if computation.name != module.entry:  # a branch
        inside = _kept(module, computation.name, slot_of)
        if inside:
            return min(inside) - 1, max(inside) + 1
    return -1, max(slot_of.values(), default=-1) + 1
