"""A schedule in the making, for opponents: operations come to the ends of two streams.

Sets of operations are bit masks. Nothing here is shared with the game or the judge.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple

from games.fences.program.program import Program
from games.fences.program.schedule import Placement, shared_levels

Times = tuple[float, ...]


class Draft(NamedTuple):
    """What is placed so far; all of it is immutable.

    placed, on_gpu, handed, sent: operations. streams: each device's, in order. clock: [2][K].
    finish: of every placed operation, [K].
    fixed: what is spent but time. placements: in order.
    """

    placed: int
    on_gpu: int
    handed: int
    sent: int
    streams: tuple[tuple[int, ...], tuple[int, ...]]
    clock: tuple[Times, Times]
    finish: tuple[Times | None, ...]
    fixed: float
    placements: tuple[Placement, ...]


@dataclasses.dataclass(frozen=True)
class Board:
    """What drafts of one program share."""

    program: Program

    @functools.cached_property
    def count(self) -> int:
        return len(self.program.operations)

    @functools.cached_property
    def everything(self) -> int:
        return (1 << self.count) - 1

    @functools.cached_property
    def before(self) -> tuple[int, ...]:
        return tuple(_mask(op.before) for op in self.program.operations)

    @functools.cached_property
    def data(self) -> tuple[int, ...]:
        return tuple(_mask(op.data) for op in self.program.operations)

    @functools.cached_property
    def readers(self) -> tuple[int, ...]:
        return tuple(_mask(row) for row in self.program.readers)

    @functools.cached_property
    def may(self) -> tuple[int, int]:
        """The operations that may run on each device."""
        ops = self.program.operations
        return (
            _mask(i for i, op in enumerate(ops) if op.may_run(0)),
            _mask(i for i, op in enumerate(ops) if op.may_run(1)),
        )

    @functools.cached_property
    def moved_cost(self) -> tuple[float, ...]:
        """What handing over each operation's bytes costs."""
        p = self.program
        pairs = zip(p.operations, p.share, strict=True)
        return tuple(p.weights.byte * op.bytes * share for op, share in pairs)

    @functools.cached_property
    def shared(self) -> tuple[tuple[int, ...], ...]:
        guards = [op.guard for op in self.program.operations]
        return tuple(tuple(shared_levels(a, b) for b in guards) for a in guards)

    @functools.cached_property
    def least(self) -> tuple[Times, ...]:
        """The least time of each operation, [N][K]."""
        return tuple(
            tuple(min(t for t in op.times if t is not None) * r for r in runs)
            for op, runs in zip(self.program.operations, self.program.runs, strict=True)
        )

    def start(self) -> Draft:
        zero = (0.0,) * len(self.program.outcomes)
        return Draft(
            *(0, 0, 0, 0, ((), ()), (zero, zero)),
            finish=(None,) * self.count,
            fixed=0.0,
            placements=(),
        )

    def is_done(self, draft: Draft) -> bool:
        return draft.placed == self.everything

    def ready(self, draft: Draft) -> list[int]:
        """Operations for which all that comes before them is placed, in the order of the text."""
        return [
            i
            for i in range(self.count)
            if not draft.placed >> i & 1 and not self.before[i] & ~draft.placed
        ]

    def on(self, draft: Draft, device: int) -> int:
        return draft.on_gpu if device else draft.placed & ~draft.on_gpu

    def points(self, draft: Draft, operation: int, device: int) -> list[int]:
        """The operations behind which the fence can stand that an operation waits for, the earliest
        first; empty where it waits for none.

        Later ones than the earliest are there where they hand over something more that has a reader
        which may run on the device.
        """
        fresh = self.on(draft, 1 - device) & ~draft.handed
        needs = self.before[operation] & fresh
        if not needs:
            return []
        stream = draft.streams[1 - device]
        first = max(k for k, i in enumerate(stream) if needs >> i & 1)
        waiting = self.everything & ~draft.placed & ~(1 << operation) & self.may[device]
        later = [i for i in stream[first + 1 :] if fresh >> i & 1 and self.readers[i] & waiting]
        return [stream[first], *later]

    def place(self, draft: Draft, operation: int, device: int, point: int | None) -> Draft:
        """The draft with one more operation, behind a fence at `point` if that is one."""
        w, op = self.program.weights, self.program.operations[operation]
        other = 1 - device
        handed, fixed, clock = draft.handed, draft.fixed + w.instruction, draft.clock[device]
        if point is not None:
            stream = draft.streams[other]
            passed = stream[: stream.index(point) + 1]
            handed |= _mask(passed)
            fixed += w.fence + w.sync
            waited = draft.finish[point]
            assert waited is not None
            clock = tuple(max(a, b + w.latency) for a, b in zip(clock, waited, strict=True))
        own = draft.streams[device]
        shares = self.shared[own[-1]][operation] if own else 0
        fixed += w.instruction * (len(op.guard) - shares)
        crossing = self.data[operation] & self.on(draft, other) & ~draft.sent
        fixed += sum(self.moved_cost[i] for i in _bits(crossing))
        time = op.time(device)
        runs = self.program.runs[operation]
        clock = tuple(a + time if r else a for a, r in zip(clock, runs, strict=True))
        streams = list(draft.streams)
        streams[device] = (*own, operation)
        fences = () if point is None else (point,)
        return Draft(
            placed=draft.placed | 1 << operation,
            on_gpu=draft.on_gpu | device << operation,
            handed=handed,
            sent=draft.sent | crossing,
            streams=(streams[0], streams[1]),
            clock=(clock, draft.clock[1]) if device == 0 else (draft.clock[0], clock),
            finish=_changed(draft.finish, operation, clock),
            fixed=fixed,
            placements=(*draft.placements, Placement(operation, device, fences)),
        )

    def cost(self, draft: Draft) -> float:
        """What is placed so far costs."""
        spans = [max(pair) for pair in zip(*draft.clock, strict=True)]
        return draft.fixed + self.program.weights.time * sum(spans) / len(spans)

    def bound(self, draft: Draft) -> float:
        """What every schedule costs at least that goes on from a draft."""
        w = self.program.weights
        left = self.everything & ~draft.placed
        only = (left & ~self.may[1], left & ~self.may[0])
        total = draft.fixed + w.instruction * left.bit_count()
        moved = 0
        for device in (0, 1):
            other = self.on(draft, 1 - device)
            later = only[1 - device]
            waits = reads = 0
            for i in _bits(only[device]):
                waits |= self.before[i]
                reads |= self.data[i]
            if waits & (other & ~draft.handed | later):
                total += w.fence + w.sync
            moved |= reads & (other & ~draft.sent | later)
        total += sum(self.moved_cost[i] for i in _bits(moved))
        return total + w.time * self._span(draft, left, only)

    def _span(self, draft: Draft, left: int, only: tuple[int, int]) -> float:
        """A bound of the mean makespan: by paths and by load."""
        total = 0.0
        bits = list(_bits(left))
        for k, (cpu, gpu) in enumerate(zip(*draft.clock, strict=True)):
            span, work = max(cpu, gpu), [cpu, gpu, 0.0]
            for i in bits:
                if only[0] >> i & 1:
                    begin, group = cpu, 0
                elif only[1] >> i & 1:
                    begin, group = gpu, 1
                else:
                    begin, group = min(cpu, gpu), 2
                # What is computed already on either device is not there sooner for being needed.
                for p in _bits(self.before[i] & draft.placed):
                    begin = max(begin, draft.finish[p][k])  # type: ignore[index]
                span = max(span, begin + self.program.tails[i][k])
                work[group] += self.least[i][k]
            total += max(span, work[0], work[1], sum(work) / 2)
        return total / len(draft.clock[0])


def _mask(numbers) -> int:
    found = 0
    for number in numbers:
        found |= 1 << number
    return found


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _changed(row: tuple, at: int, value) -> tuple:
    return (*row[:at], value, *row[at + 1 :])
