"""The schedule without a thought, which others are measured against."""

from __future__ import annotations

from games.fences.program.program import Program
from games.fences.program.schedule import Placement


def naive_device(program: Program, number: int) -> int:
    """The device on which an operation takes less time; the CPU where both take as long."""
    times = program.operations[number].times
    allowed = [(time, device) for device, time in enumerate(times) if time is not None]
    return min(allowed)[1]


def naive_placements(program: Program) -> list[Placement]:
    """Operations in the order of the text, each where it is fastest; everything that crosses has a
    fence and a sync of its own, right before the one that waits for it."""
    streams: tuple[list[int], list[int]] = ([], [])
    where: dict[int, int] = {}
    found = []
    for number in program.order:
        device = naive_device(program, number)
        other = streams[1 - device]
        crossing = [p for p in program.operations[number].before if where[p] != device]
        found.append(Placement(number, device, tuple(other[-1] for _ in crossing)))
        streams[device].append(number)
        where[number] = device
    return found
