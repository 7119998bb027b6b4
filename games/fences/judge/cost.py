"""What a schedule costs: instructions, fences, syncs, bytes handed over, and simulated time."""

from __future__ import annotations

import dataclasses

from games.fences.program.program import Program
from games.fences.program.schedule import Fence, Run, Schedule, Sync


@dataclasses.dataclass(frozen=True)
class Figures:
    """Of a schedule that keeps the rules.

    instructions: operations and ifs, without fences and syncs.
    bytes: of the values that the other device reads, each once, and as often as it is computed.
    makespan: time until both streams have ended, the mean over the outcomes of the conditions.
    """

    instructions: int
    fences: int
    syncs: int
    bytes: float
    makespan: float
    cost: float


def figures(program: Program, schedule: Schedule) -> Figures:
    """Counts and simulates a schedule."""
    entries = [entry for stream in schedule.streams for entry in stream]
    instructions = ifs(program, schedule) + sum(isinstance(entry, Run) for entry in entries)
    fences = sum(isinstance(entry, Fence) for entry in entries)
    syncs = sum(isinstance(entry, Sync) for entry in entries)
    spans = [makespan(program, schedule, k) for k in range(len(program.outcomes))]
    mean, moved = sum(spans) / len(spans), handed_over(program, schedule)
    w = program.weights
    cost = w.instruction * instructions + w.fence * fences + w.sync * syncs
    cost += w.byte * moved + w.time * mean
    return Figures(instructions, fences, syncs, moved, mean, cost)


def ifs(program: Program, schedule: Schedule) -> int:
    """How often a branch is entered: for each operation the conditions of its guard under which the
    one before it in its stream is not, whatever fences and syncs stand between."""
    count = 0
    for stream in schedule.streams:
        open_conditions: list[tuple[int, bool]] = []
        for entry in stream:
            if isinstance(entry, Run):
                guard = list(program.operations[entry.operation].guard)
                level = 0
                # Another branch of the same condition is the same if; what is inside of it is not.
                while level < len(guard) and guard[: level + 1] == open_conditions[: level + 1]:
                    level += 1
                if level < min(len(guard), len(open_conditions)):
                    level += guard[level][0] == open_conditions[level][0]
                count += len(guard) - level
                open_conditions = guard
    return count


def handed_over(program: Program, schedule: Schedule) -> float:
    """Bytes that cross; a value that runs under a share of the outcomes counts for that share."""
    where = {
        entry.operation: device
        for device, stream in enumerate(schedule.streams)
        for entry in stream
        if isinstance(entry, Run)
    }
    crossing = {
        p for c, op in enumerate(program.operations) for p in op.data if where[p] != where[c]
    }
    return sum(program.operations[p].bytes * program.share[p] for p in sorted(crossing))


def makespan(program: Program, schedule: Schedule, outcome: int) -> float:
    """The time at which both streams have ended under one outcome, by its number.

    Operations take their device's time, fences and syncs none; a sync ends at the latest of its
    start and its fence with the latency.
    """
    clock, at, fenced = [0.0, 0.0], [0, 0], dict[str, float]()
    while any(at[d] < len(schedule.streams[d]) for d in (0, 1)):
        for device in (0, 1):
            while at[device] < len(schedule.streams[device]):
                entry = schedule.streams[device][at[device]]
                if isinstance(entry, Sync):
                    if entry.name not in fenced:
                        break
                    ready = fenced[entry.name] + program.weights.latency
                    clock[device] = max(clock[device], ready)
                elif isinstance(entry, Fence):
                    fenced[entry.name] = clock[device]
                elif program.runs[entry.operation][outcome]:
                    clock[device] += program.operations[entry.operation].time(device)
                at[device] += 1
    return max(clock)
