"""What a schedule must keep, by an analysis of which entry happens before which."""

from __future__ import annotations

from collections.abc import Iterator

from games.fences.program.program import DEVICE_NAMES, Program, exclude
from games.fences.program.schedule import Fence, Run, Schedule, Sync
from games.fences.program.tokens import Place


def violations(program: Program, schedule: Schedule) -> list[str]:
    """The rules that a schedule breaks, one line each, those of its form first.

    Whether data and order are kept is only said of schedules of a right form.
    """
    form = [*_operations(program, schedule), *_fences(schedule)]
    return form or list(_order(program, schedule))


def _line(place: Place, text: str) -> str:
    return f"{place.source}:{place.line}:{place.column}: {text}"


def _operations(program: Program, schedule: Schedule) -> Iterator[str]:
    """Every operation once, on a device that may run it."""
    seen: dict[int, Place] = {}
    for device, stream in enumerate(schedule.streams):
        for entry in stream:
            if not isinstance(entry, Run):
                continue
            op = program.operations[entry.operation]
            if entry.operation in seen:
                first = seen[entry.operation].line
                yield _line(entry.place, f"{op.item} runs twice, first on line {first}")
            elif not op.may_run(device):
                yield _line(entry.place, f"{op.item} may not run on the {DEVICE_NAMES[device]}")
            seen.setdefault(entry.operation, entry.place)
    for number, op in enumerate(program.operations):
        if number not in seen:
            place = op.place
            yield f"{op.item} ({place.source}:{place.line}) is missing from the schedule"


def _fences(schedule: Schedule) -> Iterator[str]:
    """Names are unique; a sync stands behind its fence in the text and waits for something new."""
    fences: dict[str, tuple[int, int]] = {}
    synced, count = [-1, -1], 0
    for device, entry in schedule.hand_over:
        if isinstance(entry, Fence):
            if entry.name in fences:
                yield _line(entry.place, f"the fence {entry.name!r} is there twice")
            fences.setdefault(entry.name, (device, count))
            count += 1
        elif isinstance(entry, Sync):
            if entry.name not in fences:
                yield _line(entry.place, f"there is no fence {entry.name!r} before this sync")
                continue
            of, number = fences[entry.name]
            if of == device:
                own = f"{entry.name!r} is a fence of the {DEVICE_NAMES[device]} itself"
                yield _line(entry.place, own)
            elif number <= synced[device]:
                late = f"the fence {entry.name!r} is not after one that is synced already"
                yield _line(entry.place, late)
            else:
                synced[device] = number


def _order(program: Program, schedule: Schedule) -> Iterator[str]:
    """What an operation needs has happened before it: on its own device, or behind a fence."""
    done: set[int] = set()
    # What each device knows to have happened, and what a sync on a fence tells.
    knows: tuple[set[int], set[int]] = (set(), set())
    told: dict[str, frozenset[int]] = {}
    for device, entry in _in_order(schedule):
        if isinstance(entry, Fence):
            told[entry.name] = frozenset(knows[device])
        elif isinstance(entry, Sync):
            knows[device].update(told[entry.name])
        else:
            op = program.operations[entry.operation]
            for before in op.before:
                other = program.operations[before]
                if exclude(op.guard, other.guard) or before in knows[device]:
                    continue
                what = "reads" if before in op.data else "must come after"
                why = "which has not happened" if before in done else "which comes later"
                if before in done:
                    why = "of the other device without a fence after that and a sync before this"
                yield _line(entry.place, f"{op.item} {what} {other.item}, {why}")
            knows[device].add(entry.operation)
            done.add(entry.operation)


def _in_order(schedule: Schedule) -> Iterator[tuple[int, Run | Fence | Sync]]:
    """Both streams in one order that the syncs allow; that of the text is one."""
    at, passed = [0, 0], set[str]()
    while any(at[d] < len(schedule.streams[d]) for d in (0, 1)):
        moved = False
        for device in (0, 1):
            while at[device] < len(schedule.streams[device]):
                entry = schedule.streams[device][at[device]]
                if isinstance(entry, Sync) and entry.name not in passed:
                    break
                if isinstance(entry, Fence):
                    passed.add(entry.name)
                yield device, entry
                at[device] += 1
                moved = True
        assert moved, "syncs stand behind their fences in the text"
