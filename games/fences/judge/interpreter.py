"""Runs schedules under every interleaving of the two devices.

Every value is assigned once.  So what memory holds follows from how far either stream is, and two
interleavings that lead to the same pair of positions lead to the same state: every pair that some
interleaving reaches is looked at once, and with it every step that some interleaving takes.
`interleavings` lists them one by one instead, for tests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from games.fences.judge.values import Value, evaluate
from games.fences.program.program import Program
from games.fences.program.schedule import Entry, Fence, Run, Schedule, Sync

At = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Race:
    """One interleaving goes wrong: up to these positions of CPU and GPU, and what happens then."""

    at: At
    what: str


def races(program: Program, schedule: Schedule, seeds: int = 2) -> list[Race]:
    """What goes wrong in some interleaving, for every outcome of the conditions; at most one for
    each outcome and seed of the inputs."""
    found = []
    for number, outcome in enumerate(program.outcomes):
        for seed in range(seeds):
            inputs = _inputs(program, 1 + number + len(program.outcomes) * seed)
            race = _explore(Machine(program, schedule, outcome, inputs))
            if race is not None:
                found.append(race)
    return found


def _inputs(program: Program, seed: int) -> Callable[[int], Callable[[], Value]]:
    """Inputs that differ from each other and between seeds; no two operations share one."""

    def of(operation: int) -> Callable[[], Value]:
        count = iter(range(1, 1 << 20))
        op = program.operations[operation]
        return lambda: 97 * seed + 31 * operation + 7 * next(count) + len(op.name)

    return of


class Machine:
    """Both devices with the outcome of every condition given.

    The outcome is given and not computed, so that both branches are always looked at: a condition's
    value only decides where it is the one that was asked for.
    """

    def __init__(
        self,
        program: Program,
        schedule: Schedule,
        outcome: tuple[bool, ...],
        inputs: Callable[[int], Callable[[], Value]],
    ):
        self.program, self.schedule = program, schedule
        self._inputs = inputs
        self._runs = {
            i
            for i, op in enumerate(program.operations)
            if all(outcome[c] == branch for c, branch in op.guard)
        }
        self._given = dict(zip(program.conditions, outcome, strict=True))
        self._expected = self._meaning()
        self._fences = {
            entry.name: (device, position)
            for device, stream in enumerate(schedule.streams)
            for position, entry in enumerate(stream)
            if isinstance(entry, Fence)
        }
        self._where = {
            entry.operation: (device, position)
            for device, stream in enumerate(schedule.streams)
            for position, entry in enumerate(stream)
            if isinstance(entry, Run)
        }

    def _meaning(self) -> dict[str, Value]:
        """The values of this run by the program alone, in its own order."""
        values: dict[str, Value] = {}
        for i in self.program.order:
            op = self.program.operations[i]
            if i in self._runs and op.value is not None:
                own = evaluate(op.value, values.__getitem__, self._inputs(i))
                values[op.name] = self._given.get(op.name, own)
        return values

    def end(self) -> At:
        return len(self.schedule.streams[0]), len(self.schedule.streams[1])

    def happened(self, operation: int, at: At) -> bool:
        device, position = self._where.get(operation, (0, 1 << 30))
        return operation in self._runs and position < at[device]

    def may_step(self, device: int, at: At) -> bool:
        """Whether a device can go on: it is not at its end, and waits for no fence."""
        if at[device] == len(self.schedule.streams[device]):
            return False
        entry = self.schedule.streams[device][at[device]]
        if not isinstance(entry, Sync):
            return True
        of, position = self._fences.get(entry.name, (0, 1 << 30))
        return at[of] > position

    def step(self, device: int, at: At) -> str | None:
        """What goes wrong when a device takes its next entry; None where nothing does."""
        entry: Entry = self.schedule.streams[device][at[device]]
        if not isinstance(entry, Run) or entry.operation not in self._runs:
            return None
        op = self.program.operations[entry.operation]
        for before in op.after:
            other = self.program.operations[before]
            if before in self._runs and not self.happened(before, at):
                return f"{op.item} runs before {other.item}"
        memory = {
            self.program.operations[i].name: self._expected[self.program.operations[i].name]
            for i in self._where
            if self.happened(i, at) and not self.program.operations[i].prints
        }
        try:
            for condition, _ in op.guard:
                memory[self.program.conditions[condition]]
            if op.value is None:
                found = memory[op.name]
            else:
                own = evaluate(op.value, memory.__getitem__, self._inputs(entry.operation))
                found = self._given.get(op.name, own)
        except KeyError as missing:
            return f"{op.item} reads {missing.args[0]!r} before it is there"
        if found != self._expected[op.name]:
            return f"{op.item} is {found}, must be {self._expected[op.name]}"
        return None

    def missing(self) -> str | None:
        """An operation of this run that never happens."""
        for i in sorted(self._runs - set(self._where)):
            return f"{self.program.operations[i].item} never runs"
        return None


def _explore(machine: Machine) -> Race | None:
    """The first thing that goes wrong over all reachable positions."""
    seen: set[At] = set()
    waiting: list[At] = [(0, 0)]
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        may = [device for device in (0, 1) if machine.may_step(device, at)]
        if not may and at != machine.end():
            return Race(at, "both devices wait for ever")
        for device in may:
            wrong = machine.step(device, at)
            if wrong is not None:
                return Race(at, wrong)
            waiting.append((at[0] + 1, at[1]) if device == 0 else (at[0], at[1] + 1))
    wrong = machine.missing()
    return None if wrong is None else Race(machine.end(), wrong)


def interleavings(machine: Machine, at: At = (0, 0)) -> Iterator[tuple[int, ...]]:
    """Every order, as the devices that step, in which both streams can be taken to where they end
    or wait for ever."""
    may = [device for device in (0, 1) if machine.may_step(device, at)]
    if not may:
        yield ()
    for device in may:
        after = (at[0] + 1, at[1]) if device == 0 else (at[0], at[1] + 1)
        for rest in interleavings(machine, after):
            yield (device, *rest)
