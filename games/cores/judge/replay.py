"""Replays a schedule event by event (docs/cores.md, "Rules")."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from games.cores.problem.problem import Problem
from games.cores.problem.schedule import Drop, Event, Schedule, Start, Transfer

Copy = tuple[int, int]  # a value and a memory


@dataclasses.dataclass(frozen=True)
class Span:
    """What a group did. label: for people. kind: "run" or "move"."""

    group: int
    begin: int
    end: int
    label: str
    kind: str


@dataclasses.dataclass(frozen=True)
class Judged:
    """What a schedule takes, or the first rule that it breaks.

    violation: None for a valid schedule; the figures of another one are those up to the violation.
    time: when the last thing ends. energy. peaks: most bits in use, by memory; of the external one
    0. cost: weighted, 1 is the reference. spans: what every group did.
    usage: (time, bits of every memory), a row for each change.
    """

    violation: str | None
    time: int
    energy: float
    peaks: tuple[int, ...]
    cost: float
    spans: tuple[Span, ...]
    usage: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def valid(self) -> bool:
        return self.violation is None

    @property
    def peak(self) -> int:
        """Bits, summed over the memories with a limit."""
        return sum(self.peaks)


class _Broken(Exception):
    """A rule is broken; the message says which, and how."""


@dataclasses.dataclass
class _Running:
    end: int
    makes: Copy
    reads: tuple[Copy, ...]


class _Replay:
    def __init__(self, problem: Problem):
        self.problem = problem
        self.now = 0
        self.energy = 0.0
        self.finish = 0
        self.present = {(v, problem.external) for v in problem.given}
        self.arriving: set[Copy] = set()
        self.was_read: set[Copy] = set()
        self.started = set(problem.given)
        self.running: dict[int, _Running] = {}
        self.peaks = [0] * len(problem.memories)
        self.spans: list[Span] = []
        self.usage: list[tuple[int, tuple[int, ...]]] = []
        self.forget_dead()

    # Names for messages.
    def value(self, v: int) -> str:
        return repr(self.problem.values[v].name)

    def memory(self, m: int) -> str:
        return repr(self.problem.memories[m].name)

    def used(self, m: int) -> int:
        if m == self.problem.external:
            return 0
        held = (v for v, at in (*self.present, *self.arriving) if at == m)
        return sum(self.problem.values[v].bits for v in held)

    def is_dead(self, v: int) -> bool:
        """Whether nothing needs a value any more."""
        if v in self.problem.wanted:
            return False
        return all(c in self.started for c in self.problem.consumers[v])

    def is_locked(self, copy: Copy) -> bool:
        return any(copy in running.reads for running in self.running.values())

    def remove(self, copy: Copy) -> None:
        self.present.discard(copy)
        self.was_read.discard(copy)

    def forget_dead(self) -> None:
        for copy in sorted(self.present):
            if self.is_dead(copy[0]) and not self.is_locked(copy):
                self.remove(copy)

    def look(self) -> None:
        """Takes down how full the memories are."""
        used = tuple(self.used(m) for m in range(len(self.peaks)))
        self.peaks = [max(pair) for pair in zip(self.peaks, used, strict=True)]
        if not self.usage or self.usage[-1][1] != used:
            self.usage.append((self.now, used))

    def finish_until(self, time: int) -> None:
        """Ends what ends by then, in order of time."""
        while True:
            ending = [g for g, running in self.running.items() if running.end <= time]
            if not ending:
                return
            self.now = min(self.running[g].end for g in ending)
            for g in ending:
                if self.running[g].end == self.now:
                    copy = self.running.pop(g).makes
                    self.arriving.discard(copy)
                    self.present.add(copy)
            self.forget_dead()
            self.look()

    def play(self, event: Event) -> None:
        if event.time < self.now:
            raise _Broken(f"order: it must be at {self.now} or later")
        self.finish_until(event.time)
        self.now = event.time
        if isinstance(event, Start):
            self.start(event.allocation)
        elif isinstance(event, Transfer):
            self.transfer(event.channel, event.value)
        else:
            self.drop(event.value, event.memory)
        self.forget_dead()
        self.look()
        self.finish_until(event.time)  # what takes no time ends at once

    def begin(self, group: int, time: int, makes: Copy, reads: Iterable[Copy], text: str) -> None:
        """What operations and transfers have in common."""
        reads = tuple(reads)
        if group in self.running:
            name, end = self.problem.groups[group], self.running[group].end
            raise _Broken(f"group: {name!r} is busy until {end}")
        for copy in reads:
            if copy not in self.present:
                when = "is still on its way to" if copy in self.arriving else "is not in"
                raise _Broken(f"available: {self.value(copy[0])} {when} {self.memory(copy[1])}")
        size = self.problem.memories[makes[1]].bits
        needed = self.used(makes[1]) + self.problem.values[makes[0]].bits
        if size is not None and needed > size:
            raise _Broken(f"room: {self.memory(makes[1])} of {size} bits must hold {needed}")
        self.was_read.update(reads)
        self.arriving.add(makes)
        self.running[group] = _Running(self.now + time, makes, reads)
        self.finish = max(self.finish, self.now + time)
        kind = "run" if makes[0] not in (copy[0] for copy in reads) else "move"
        self.spans.append(Span(group, self.now, self.now + time, text, kind))

    def start(self, allocation: int) -> None:
        a = self.problem.allocations[allocation]
        value = self.problem.values[a.value]
        if a.value in self.started:
            raise _Broken(f"once: {self.value(a.value)} has been started")
        for v in value.after:
            if v not in self.started:
                raise _Broken(f"after: {self.value(v)} must have started before")
        reads = zip(value.inputs, a.inputs, strict=True)
        self.begin(a.group, a.time, (a.value, a.output), reads, value.name)
        self.started.add(a.value)
        self.energy += a.energy

    def transfer(self, channel: int, v: int) -> None:
        c = self.problem.channels[channel]
        if self.is_dead(v):
            raise _Broken(f"dead: nothing needs {self.value(v)} any more")
        for copies, text in ((self.present, "in"), (self.arriving, "on its way to")):
            if (v, c.target) in copies:
                raise _Broken(f"twice: {self.value(v)} is {text} {self.memory(c.target)}")
        time = self.problem.transfer_time(channel, v)
        name = self.problem.values[v].name
        self.begin(c.group, time, (v, c.target), [(v, c.source)], name)
        self.energy += self.problem.transfer_energy(channel, v)

    def drop(self, v: int, m: int) -> None:
        copy = (v, m)
        if copy not in self.present:
            raise _Broken(f"available: {self.value(v)} is not in {self.memory(m)}")
        if self.is_locked(copy):
            raise _Broken(f"locked: {self.value(v)} in {self.memory(m)} is being read")
        if copy not in self.was_read:
            raise _Broken(f"unread: {self.value(v)} in {self.memory(m)} was never read")
        if sum(at == v for at, _ in (*self.present, *self.arriving)) == 1:
            raise _Broken(f"last: {self.value(v)} in {self.memory(m)} is the last copy")
        self.remove(copy)

    def check_end(self) -> None:
        self.finish_until(self.finish)
        for v in self.problem.wanted:
            if (v, self.problem.external) not in self.present:
                name = self.memory(self.problem.external)
                raise _Broken(f"wanted: {self.value(v)} must be in {name} at the end")


def judge(problem: Problem, schedule: Schedule) -> Judged:
    """Replays a schedule; never raises for a broken rule."""
    replay, violation = _Replay(problem), None
    for number, event in enumerate(schedule.events):
        try:
            replay.play(event)
        except _Broken as broken:
            violation = f"event {number} at {event.time}: {_what(problem, event)}: {broken}"
            break
    else:
        try:
            replay.check_end()
        except _Broken as broken:
            violation = str(broken)
    cost = problem.cost(replay.finish, replay.energy, sum(replay.peaks))
    return Judged(
        violation,
        replay.finish,
        replay.energy,
        tuple(replay.peaks),
        cost,
        tuple(replay.spans),
        tuple(replay.usage),
    )


def _what(problem: Problem, event: Event) -> str:
    if isinstance(event, Start):
        a = problem.allocations[event.allocation]
        return f"start {problem.values[a.value].name!r} on {problem.groups[a.group]!r}"
    name = problem.values[event.value].name
    if isinstance(event, Drop):
        return f"drop {name!r} from {problem.memories[event.memory].name!r}"
    c = problem.channels[event.channel]
    ends = problem.memories[c.source].name, problem.memories[c.target].name
    return f"transfer {name!r} from {ends[0]!r} to {ends[1]!r}"
