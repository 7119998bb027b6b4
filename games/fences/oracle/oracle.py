"""The game, written from docs/fences.md alone.

Nothing is kept but what was placed; all else is worked out anew from both streams when it is asked
for.
"""

from __future__ import annotations

import dataclasses

from games.fences.program.program import Program

CANDIDATES = 3
NEXT, FENCE = 6, 7


@dataclasses.dataclass(frozen=True)
class Placed:
    """An operation on a device; behind: the operation after which the fence stands that it waits
    for, None without one."""

    operation: int
    device: int
    behind: int | None


@dataclasses.dataclass(frozen=True)
class Pending:
    """The operation and the device of a question about a fence, and where it would stand."""

    operation: int
    device: int
    point: int


class Oracle:
    """One game of a program."""

    def __init__(self, program: Program):
        self.program = program
        self.placed: list[Placed] = []
        self.pending: Pending | None = None
        self.window = self.moves = 0
        self.naive = self._naive_cost()
        tails = [sum(row) / len(row) for row in program.tails]
        self._offered = sorted(range(len(tails)), key=lambda i: (-tails[i], i))

    # What is asked.

    @property
    def done(self) -> bool:
        return len(self.placed) == len(self.program.operations)

    def ready(self) -> list[int]:
        there = {it.operation for it in self.placed}
        return [
            i
            for i in self._offered
            if i not in there and all(p in there for p in self.program.operations[i].before)
        ]

    def legal(self) -> list[bool]:
        if self.done:
            return [True] * 8
        if self.pending is not None:
            return [action in (NEXT, FENCE) for action in range(8)]
        ready = self.ready()
        window = ready[CANDIDATES * self.window :][:CANDIDATES]
        found = [False] * 8
        for k, operation in enumerate(window):
            for device in (0, 1):
                found[2 * k + device] = self.program.operations[operation].may_run(device)
        found[NEXT] = len(ready) > CANDIDATES * (self.window + 1)
        return found

    def points(self, operation: int, device: int) -> list[int]:
        """Where a fence can stand for an operation, the earliest place first; none if it waits for
        nothing."""
        stream = [it.operation for it in self.placed if it.device != device]
        handed = self._handed(1 - device)
        needs = [i for i in stream if i in self.program.operations[operation].before]
        needs = [i for i in needs if i not in handed]
        if not needs:
            return []
        there = {it.operation for it in self.placed}
        readers = [
            c
            for c, op in enumerate(self.program.operations)
            if c not in there and c != operation and op.may_run(device)
        ]
        later = [
            i
            for i in stream[stream.index(needs[-1]) + 1 :]
            if i not in handed and any(i in self.program.operations[c].before for c in readers)
        ]
        return [needs[-1], *later]

    def _handed(self, device: int) -> set[int]:
        """What a device has handed over: all up to the last of its fences."""
        stream = [it.operation for it in self.placed if it.device == device]
        ends = [stream.index(it.behind) for it in self.placed if it.behind in stream]
        return set(stream[: max(ends) + 1]) if ends else set()

    # Moves.

    def play(self, action: int) -> None:
        """Plays an action.

        Raises:
          ValueError: it is not legal.
        """
        if not self.legal()[action]:
            raise ValueError(f"action {action} is not legal")
        if self.done:
            return
        self.moves += 1
        if self.pending is not None:
            asked = self.pending
            points = self.points(asked.operation, asked.device)
            at = points.index(asked.point) + (action == NEXT)
            stays = action == FENCE or at == len(points) - 1
            self._settle(asked.operation, asked.device, points[at], stays)
        elif action == NEXT:
            self.window += 1
        else:
            operation = self.ready()[CANDIDATES * self.window + action // 2]
            points = self.points(operation, action % 2)
            point = points[0] if points else None
            self._settle(operation, action % 2, point, len(points) < 2)

    def _settle(self, operation: int, device: int, point: int | None, stays: bool) -> None:
        if stays or point is None:
            self.placed.append(Placed(operation, device, point))
            self.pending, self.window = None, 0
        else:
            self.pending = Pending(operation, device, point)

    # What it costs.

    def score(self) -> float:
        return 0.0 if self.moves == 0 else 1 - (self.cost() + self.rest()) / self.naive

    def cost(self) -> float:
        """Of what is placed."""
        program, w = self.program, self.program.weights
        where = {it.operation: it.device for it in self.placed}
        fences = [it.behind for it in self.placed if it.behind is not None]
        moved = {
            p
            for c, device in where.items()
            for p in program.operations[c].data
            if where[p] != device
        }
        total = w.instruction * (len(self.placed) + self._ifs())
        total += (w.fence + w.sync) * len(fences)
        total += w.byte * sum(program.operations[p].bytes * program.share[p] for p in moved)
        clocks = [self._clocks(k)[0] for k in range(len(program.outcomes))]
        return total + w.time * sum(max(c) for c in clocks) / len(clocks)

    def _ifs(self) -> int:
        """An if is opened for every condition of a guard that the operation before it in its stream
        is not under."""
        count = 0
        for device in (0, 1):
            stream = [it for it in self.placed if it.device == device]
            guard: tuple = ()
            for it in stream:
                mine = self.program.operations[it.operation].guard
                kept = 0
                for a, b in zip(guard, mine, strict=False):
                    if a[0] != b[0]:
                        break
                    kept += 1
                    if a[1] != b[1]:
                        break
                count += len(mine) - kept
                guard = mine
        return count

    def _clocks(self, outcome: int) -> tuple[list[float], dict[int, float]]:
        """When each device is free, and when each operation has ended, under one outcome."""
        clock, ended = [0.0, 0.0], {}
        for it in self.placed:
            op = self.program.operations[it.operation]
            if it.behind is not None:
                ready = ended[it.behind] + self.program.weights.latency
                clock[it.device] = max(clock[it.device], ready)
            if self.program.runs[it.operation][outcome]:
                clock[it.device] += op.time(it.device)
            ended[it.operation] = clock[it.device]
        return clock, ended

    def rest(self) -> float:
        """What is not placed costs at least."""
        program, w = self.program, self.program.weights
        where = {it.operation: it.device for it in self.placed}
        left = [i for i in range(len(program.operations)) if i not in where]
        alone = {
            i: device
            for i in left
            for device in (0, 1)
            if not program.operations[i].may_run(1 - device)
        }
        total = w.instruction * len(left)
        moved: set[int] = set()
        for device in (0, 1):
            handed = self._handed(1 - device)
            here = [i for i in left if alone.get(i) == device]
            away = {i for i in left if alone.get(i) == 1 - device}
            placed_away = {i for i, d in where.items() if d != device}
            sent = {
                p
                for c, d in where.items()
                if d == device
                for p in program.operations[c].data
                if where[p] != device
            }
            if any(
                p in away or (p in placed_away and p not in handed)
                for c in here
                for p in program.operations[c].before
            ):
                total += w.fence + w.sync
            moved |= {
                p
                for c in here
                for p in program.operations[c].data
                if p in away or (p in placed_away and p not in sent)
            }
        total += w.byte * sum(program.operations[p].bytes * program.share[p] for p in moved)
        spans = []
        for k in range(len(program.outcomes)):
            clock = self._clocks(k)[0]
            spans.append(self._span(k, clock, left, alone) - max(clock))
        return total + w.time * sum(spans) / len(spans)

    def _span(self, k: int, clock: list[float], left: list[int], alone: dict[int, int]) -> float:
        program, work, span = self.program, [*clock, 0.0], max(clock)
        for i in left:
            group = alone.get(i, 2)
            begin = clock[group] if group < 2 else min(clock)
            span = max(span, begin + program.tails[i][k])
            times = [t for t in program.operations[i].times if t is not None]
            work[group] += min(times) * program.runs[i][k]
        return max(span, work[0], work[1], sum(work) / 2)

    def _naive_cost(self) -> float:
        """Of the schedule without a thought: the order of the text, the faster device, and for
        everything that crosses a fence and a sync right before it is needed."""
        program, w = self.program, self.program.weights
        where: dict[int, int] = {}
        moved: set[int] = set()
        total = 0.0
        clocks = [[0.0, 0.0] for _ in program.outcomes]
        guards: list[tuple] = [(), ()]
        for i in program.order:
            op = program.operations[i]
            cpu, gpu = (float("inf") if t is None else t for t in op.times)
            device = int(gpu < cpu)
            crossing = [p for p in op.before if where[p] != device]
            total += w.instruction + (w.fence + w.sync) * len(crossing)
            moved |= {p for p in op.data if where[p] != device}
            if crossing:
                for clock in clocks:
                    clock[device] = max(clock[device], clock[1 - device] + w.latency)
            kept = 0
            for a, b in zip(guards[device], op.guard, strict=False):
                if a[0] != b[0]:
                    break
                kept += 1
                if a[1] != b[1]:
                    break
            total += w.instruction * (len(op.guard) - kept)
            guards[device] = op.guard
            for clock, runs in zip(clocks, program.runs[i], strict=True):
                clock[device] += op.time(device) * runs
            where[i] = device
        total += w.byte * sum(program.operations[p].bytes * program.share[p] for p in moved)
        return total + w.time * sum(max(clock) for clock in clocks) / len(clocks)
