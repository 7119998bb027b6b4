"""Schedules: the streams of two devices, from text, and to text from placements."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from games.fences.program.program import DEVICE_NAMES, Program
from games.fences.program.syntax import (
    Block,
    Device,
    FenceLine,
    Guarded,
    Instruction,
    Item,
    SyncLine,
)
from games.fences.program.tokens import Place

NOWHERE = Place("schedule", 1, 1)


@dataclasses.dataclass(frozen=True)
class Run:
    """An operation, by its number."""

    operation: int
    place: Place = dataclasses.field(default=NOWHERE, compare=False)


@dataclasses.dataclass(frozen=True)
class Fence:
    name: str
    place: Place = dataclasses.field(default=NOWHERE, compare=False)


@dataclasses.dataclass(frozen=True)
class Sync:
    name: str
    place: Place = dataclasses.field(default=NOWHERE, compare=False)


Entry = Run | Fence | Sync
Guard = tuple[tuple[int, bool], ...]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """streams: what CPU and GPU do, each in order.

    hand_over: fences and syncs of both in the order of the text, with the device of each.
    """

    streams: tuple[tuple[Entry, ...], tuple[Entry, ...]]
    hand_over: tuple[tuple[int, Entry], ...]


@dataclasses.dataclass(frozen=True)
class Placement:
    """An operation on a device, behind all that was placed there before.

    fences_after: operations of the other device: a fence stands right after each, and a sync on it
        right before this one.
    """

    operation: int
    device: int
    fences_after: tuple[int, ...] = ()


def read_schedule(program: Program, blocks: Sequence[Block]) -> Schedule:
    """The schedule that blocks say; whether it is a good one is the judge's to say.

    Raises:
      InputError: an instruction names no operation of the program, or stands in another branch than
        it; a fence or a sync stands in a branch.
    """
    streams: tuple[list[Entry], list[Entry]] = ([], [])
    hand_over: list[tuple[int, Entry]] = []
    for block in blocks:
        device = DEVICE_NAMES.index(block.device)
        for entry in _flat(program, block.instructions, ()):
            streams[device].append(entry)
            if not isinstance(entry, Run):
                hand_over.append((device, entry))
    return Schedule((tuple(streams[0]), tuple(streams[1])), tuple(hand_over))


def _flat(program: Program, instructions: Sequence[Instruction], guard: Guard) -> Iterator[Entry]:
    """The entries in order."""
    for one in instructions:
        if isinstance(one, Item):
            yield Run(_operation(program, one, guard), one.place)
        elif isinstance(one, Guarded):
            if one.condition not in program.conditions:
                raise one.place.error(f"{one.condition!r} is no condition of the program")
            condition = program.conditions.index(one.condition)
            if any(condition == outer for outer, _ in guard):
                raise one.place.error(f"{one.condition!r} is decided by an if around this one")
            yield from _flat(program, one.yes, (*guard, (condition, True)))
            yield from _flat(program, one.no, (*guard, (condition, False)))
        else:
            if guard:
                what = "fence" if isinstance(one, FenceLine) else "sync"
                raise one.place.error(f"a {what} must stand outside of every if")
            kind = Fence if isinstance(one, FenceLine) else Sync
            yield kind(one.name, one.place)


def _operation(program: Program, item: Item, guard: Guard) -> int:
    named = program.find(item)
    if not named:
        raise item.place.error(f"there is no {'' if item.prints else 'value '}{item}")
    for number in named:
        if program.operations[number].guard == guard:
            return number
    wanted = program.operations[named[0]].guard
    if not wanted:
        raise item.place.error(f"{item} must stand outside of every if")
    path = " and ".join(
        f"{'then' if branch else 'else'} of if ({program.conditions[c]})" for c, branch in wanted
    )
    raise item.place.error(f"{item} must stand in {path}")


def blocks_of(program: Program, placements: Sequence[Placement]) -> tuple[Block, ...]:
    """The blocks of a schedule, with as few changes of the device as its hand-over order allows."""
    streams = streams_of(placements)
    at, fenced, blocks = [0, 0], set[str](), list[Block]()
    device = next((d for d in (0, 1) if streams[d] and not isinstance(streams[d][0], Sync)), 0)
    while any(at[d] < len(streams[d]) for d in (0, 1)):
        start = at[device]
        while at[device] < len(streams[device]):
            entry = streams[device][at[device]]
            if isinstance(entry, Sync) and entry.name not in fenced:
                break
            if isinstance(entry, Fence):
                fenced.add(entry.name)
            at[device] += 1
        taken = streams[device][start : at[device]]
        if taken:
            name: Device = "GPU" if device else "CPU"
            blocks.append(Block(name, tuple(_nested(program, taken)), NOWHERE))
        device = 1 - device
    return tuple(blocks)


def streams_of(placements: Sequence[Placement]) -> tuple[list[Entry], list[Entry]]:
    """The streams of both devices; fences are numbered in the order in which they are asked for."""
    streams: tuple[list[Entry], list[Entry]] = ([], [])
    count = 0
    for placement in placements:
        own, other = streams[placement.device], streams[1 - placement.device]
        for after in placement.fences_after:
            count += 1
            # Behind fences that stand there already: none is passed over by a later one.
            place = other.index(Run(after)) + 1
            while place < len(other) and isinstance(other[place], Fence):
                place += 1
            other.insert(place, Fence(f"f{count}"))
            own.append(Sync(f"f{count}"))
        own.append(Run(placement.operation))
    return streams


def _nested(program: Program, entries: Sequence[Entry]) -> Iterator[Instruction]:
    run: list[int] = []
    for entry in entries:
        if isinstance(entry, Run):
            run.append(entry.operation)
            continue
        yield from _grouped(program, list(enumerate(run)), 0)
        run = []
        kind = FenceLine if isinstance(entry, Fence) else SyncLine
        yield kind(entry.name, NOWHERE)
    yield from _grouped(program, list(enumerate(run)), 0)


def _grouped(program: Program, run: Sequence[tuple[int, int]], depth: int) -> Iterator[Instruction]:
    """Neighbours under one condition share an `if`. run: (position, operation)."""
    at = 0
    while at < len(run):
        guard = program.operations[run[at][1]].guard
        if len(guard) == depth:
            yield program.operations[run[at][1]].item
            at += 1
            continue
        condition, end = guard[depth][0], at + 1
        while end < len(run) and run[end][0] == run[end - 1][0] + 1:
            other = program.operations[run[end][1]].guard
            if len(other) <= depth or other[depth][0] != condition:
                break
            end += 1
        yes = [it for it in run[at:end] if program.operations[it[1]].guard[depth][1]]
        no = [it for it in run[at:end] if not program.operations[it[1]].guard[depth][1]]
        yield Guarded(
            program.conditions[condition],
            tuple(_grouped(program, yes, depth + 1)),
            tuple(_grouped(program, no, depth + 1)),
            NOWHERE,
        )
        at = end


def shared_levels(first: Guard, second: Guard) -> int:
    """How many of the second one's `if`s it shares with the operation right before it."""
    count = 0
    while count < min(len(first), len(second)):
        if first[count][0] != second[count][0]:
            break
        count += 1
        if first[count - 1] != second[count - 1]:
            break
    return count
