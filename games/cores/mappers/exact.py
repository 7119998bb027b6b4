"""All schedules that are best in time and energy, by an exhaustive search with bounds.

Labels are expanded in the order of the time that they lead to at least. A label is a moment right
after something ended: what is where, what runs for how long, and what was spent. Left out are only

* labels that are no better in time and energy than another one of the same moment,
* starts that were possible at the moment before: they could have been made then, unless something
  that takes no time has their group first,
* orders of starts at one moment that differ only in the order,
* transfers whose copy vanished without a reader,
* labels that lead to no less energy than a schedule that was found and takes no more time.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import time
from collections.abc import Iterator

from games.cores.mappers.bounds import Bounds
from games.cores.problem.problem import Problem
from games.cores.problem.schedule import Drop, Event, Schedule, Start, Transfer


@dataclasses.dataclass(frozen=True)
class Point:
    """A schedule of the front; time and energy as a judge gives them."""

    time: int
    energy: float
    schedule: Schedule


@dataclasses.dataclass(frozen=True)
class Front:
    """points: in the order of their times. proven: whether the search came to its end, so that no
    other schedule is missing. labels: how many were expanded."""

    points: tuple[Point, ...]
    proven: bool
    labels: int


# Sets of copies, values and actions are the bits of integers. A running thing is: what is left of
# its time, its group, the copy that it makes, the copies that it reads.
Running = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class _State:
    started: int
    present: int
    read: int
    running: tuple[Running, ...]


@dataclasses.dataclass(frozen=True)
class _Label:
    time: int
    energy: float
    state: _State
    late: int  # starts that were possible before
    trail: tuple | None  # events of the last moment, and the trail before


@dataclasses.dataclass(frozen=True)
class _Action:
    group: int
    makes: int
    reads: int
    time: int
    energy: float
    value: int
    target: int
    waits: int  # values that must have started; -1 for transfers


def exact_front(problem: Problem, budget_s: float = float("inf")) -> Front:
    """The front of time and energy; not proven where the budget is over."""
    return _Search(problem).run(time.perf_counter() + budget_s)


class _Search:
    def __init__(self, problem: Problem):
        self.problem = problem
        self.width = len(problem.memories)
        self.bits = [value.bits for value in problem.values]
        self.bounds = Bounds(problem)
        self.actions = [*self._starts(), *self._transfers()]
        self.others = [
            sum(1 << i for i, action in enumerate(self.actions) if action.group != g)
            for g in range(len(problem.groups))
        ]
        self.copies_of = [((1 << self.width) - 1) << (v * self.width) for v in self._values()]
        self.given = sum(1 << v for v in problem.given)
        self.given_copies = sum(self.copy(v, problem.external) for v in problem.given)
        self.wanted = {v for v in problem.wanted}
        self.consumers = [sum(1 << c for c in problem.consumers[v]) for v in self._values()]

    def _values(self) -> range:
        return range(len(self.problem.values))

    def copy(self, v: int, m: int) -> int:
        return 1 << (v * self.width + m)

    def _starts(self) -> Iterator[_Action]:
        for a in self.problem.allocations:
            value = self.problem.values[a.value]
            reads = sum(self.copy(v, m) for v, m in zip(value.inputs, a.inputs, strict=True))
            waits = sum(1 << v for v in value.after)
            made = self.copy(a.value, a.output)
            yield _Action(a.group, made, reads, a.time, a.energy, a.value, a.output, waits)

    def _transfers(self) -> Iterator[_Action]:
        for c, channel in enumerate(self.problem.channels):
            for v in self._values():
                time = self.problem.transfer_time(c, v)
                energy = self.problem.transfer_energy(c, v)
                made, read = self.copy(v, channel.target), self.copy(v, channel.source)
                yield _Action(channel.group, made, read, time, energy, v, channel.target, -1)

    def run(self, deadline: float) -> Front:
        problem = self.problem
        present = sum(self.copy(v, problem.external) for v in problem.given)
        start = _State(self.given, self._alive(present, self.given, 0), 0, ())
        number = itertools.count()
        queue = [(0, 0.0, next(number), _Label(0, 0.0, start, 0, None))]
        points: list[Point] = []
        seen: dict[_State, list[tuple[int, float, int]]] = {}
        best, count = float("inf"), 0
        while queue:
            if time.perf_counter() > deadline:
                return Front(tuple(points), False, count)
            _, least, _, label = heapq.heappop(queue)
            if least >= best:
                continue
            known = seen.setdefault(label.state, [])
            if any(
                t <= label.time and e <= label.energy and late & ~label.late == 0
                for t, e, late in known
            ):
                continue
            known.append((label.time, label.energy, label.late))
            count += 1
            if self._is_done(label.state):
                points = [p for p in points if p.time < label.time]
                points.append(Point(label.time, label.energy, self._schedule(label)))
                best = label.energy
                continue
            for after in self._after(label):
                t = after.time + self._time_left(after.state)
                e = after.energy + self._energy_left(after.state)
                if e < best:
                    heapq.heappush(queue, (t, e, next(number), after))
        return Front(tuple(points), True, count)

    # What is ahead.
    def _is_done(self, s: _State) -> bool:
        external = self.problem.external
        return not s.running and all(s.present & self.copy(v, external) for v in self.wanted)

    def _time_left(self, s: _State) -> int:
        left = max((r[0] for r in s.running), default=0)
        for v in self._values():
            if not s.started >> v & 1:
                left = max(left, self.bounds.tail[v])
        for remaining, _, made, _ in s.running:
            v = (made.bit_length() - 1) // self.width
            arrival = self.bounds.behind[v] if s.present & self.copies_of[v] == 0 else 0
            left = max(left, remaining + arrival)
        return left

    def _energy_left(self, s: _State) -> float:
        arriving = sum(r[2] for r in s.running)
        held = s.present | arriving
        left = 0.0
        for v in self._values():
            if not s.started >> v & 1:
                left += self.bounds.energy[v]
                continue
            external = self.copy(v, self.problem.external)
            mine = held & self.copies_of[v]
            if v in self.wanted and not mine & external:
                left += self.bounds.delivery_energy[v]
            elif mine == external and self.consumers[v] & ~s.started:
                left += self.bounds.fetch_energy[v]
        return left

    # What can be done.
    def _alive(self, present: int, started: int, locked: int) -> int:
        """The copies without those that nothing needs and nothing reads."""
        for v in self._values():
            mine = present & self.copies_of[v]
            if mine and v not in self.wanted and not self.consumers[v] & ~started:
                present &= ~(mine & ~locked)
        return present

    def _used(self, held: int, memory: int) -> int:
        total, v = 0, 0
        held >>= memory
        while held:
            if held & 1:
                total += self.bits[v]
            held >>= self.width
            v += 1
        return total

    def _locked(self, s: _State) -> int:
        found = 0
        for r in s.running:
            found |= r[3]
        return found

    def _missing_room(self, s: _State, action: _Action, held: int) -> int:
        size = self.problem.memories[action.target].bits
        if size is None:
            return 0
        return self._used(held, action.target) + self.bits[action.value] - size

    def _able(self, s: _State, busy: int, held: int, action: _Action) -> bool:
        """Whether an action is possible but for room."""
        if busy >> action.group & 1 or action.reads & ~s.present:
            return False
        if action.waits >= 0:
            return not s.started >> action.value & 1 and not action.waits & ~s.started
        if held & action.makes:
            return False
        return action.value in self.wanted or bool(self.consumers[action.value] & ~s.started)

    def _victims(self, s: _State, action: _Action, held: int, missing: int) -> list[int]:
        """The least sets of copies whose dropping makes room."""
        locked = self._locked(s) | action.reads
        able = []
        for v in self._values():
            copy = self.copy(v, action.target)
            others = held & self.copies_of[v] & ~copy
            if s.present & s.read & copy and not locked & copy and others:
                able.append((copy, self.bits[v]))
        found: list[int] = []
        for count in range(1, len(able) + 1):
            for group in itertools.combinations(able, count):
                mask = sum(copy for copy, _ in group)
                if sum(bits for _, bits in group) < missing:
                    continue
                if not any(smaller & mask == smaller for smaller in found):
                    found.append(mask)
        return found

    def _after(self, label: _Label) -> Iterator[_Label]:
        """The next labels, over all that can be done at this moment."""
        stack: list[tuple[_State, float, tuple[tuple[int, int], ...], int, int, int]]
        stack = [(label.state, label.energy, (), -1, 0, label.late)]
        while stack:
            s, energy, events, last, before, late = stack.pop()
            arriving, busy = 0, 0
            for r in s.running:
                arriving |= r[2]
                busy |= 1 << r[1]
            held = s.present | arriving
            possible = 0
            able = [
                (i, action, self._missing_room(s, action, held))
                for i, action in enumerate(self.actions)
                if self._able(s, busy, held, action)
            ]
            for i, _, missing in able:
                if missing <= 0:
                    possible |= 1 << i
            for i, action, missing in able:
                if late >> i & 1 and missing <= 0:
                    continue
                # Of starts that could change places only one order is taken.
                if i < last and before >> i & 1:
                    continue
                drops = [0] if missing <= 0 else self._victims(s, action, held, missing)
                for drop in drops:
                    made = self._begin(s, action, drop)
                    if made is not None:
                        more = (*events, (i, drop))
                        # What takes no time leaves its group to others at the same moment.
                        others = self.others[action.group] if action.time == 0 else -1
                        known = possible & others if not drop else 0
                        spent = energy + action.energy
                        stack.append((made, spent, more, i, known, late & others))
            trail = ((label.time, events), label.trail)
            if not s.running and events and self._is_done(s):
                yield _Label(label.time, energy, s, 0, trail)
            elif s.running and (after := self._wait(s)) is not None:
                took = min(r[0] for r in s.running)
                yield _Label(label.time + took, energy, after, possible, trail)

    def _begin(self, s: _State, action: _Action, drop: int) -> _State | None:
        started = s.started | (1 << action.value if action.waits >= 0 else 0)
        present, read = s.present & ~drop, (s.read & ~drop) | action.reads
        running = (*s.running, (action.time, action.group, action.makes, action.reads))
        if action.time == 0:
            present, running = present | action.makes, s.running
        return self._settled(started, present, read, running)

    def _settled(
        self, started: int, present: int, read: int, running: tuple[Running, ...]
    ) -> _State | None:
        """A state without dead copies; None if one of them had been transferred for nothing."""
        locked = 0
        for r in running:
            locked |= r[3]
        alive = self._alive(present, started, locked)
        if present & ~alive & ~read & ~self.given_copies:
            return None
        return _State(started, alive, read & alive, tuple(sorted(running)))

    def _wait(self, s: _State) -> _State | None:
        took = min(r[0] for r in s.running)
        present, running = s.present, []
        for left, group, makes, reads in s.running:
            if left == took:
                present |= makes
            else:
                running.append((left - took, group, makes, reads))
        return self._settled(s.started, present, s.read, tuple(running))

    def _schedule(self, label: _Label) -> Schedule:
        moments, trail = [], label.trail
        while trail is not None:
            moments.append(trail[0])
            trail = trail[1]
        return Schedule(tuple(e for moment in moments[::-1] for e in self._events(*moment)))

    def _events(self, at: int, taken: tuple[tuple[int, int], ...]) -> Iterator[Event]:
        count, values = len(self.problem.allocations), len(self.bits)
        for i, drop in taken:
            while drop:
                bit = drop.bit_length() - 1
                yield Drop(at, bit // self.width, bit % self.width)
                drop ^= 1 << bit
            if i < count:
                yield Start(at, i)
            else:
                yield Transfer(at, (i - count) // values, (i - count) % values)
