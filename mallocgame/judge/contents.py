"""What slow and fast memory hold of each value while a mapping is executed.

The second half of `mallocgame.judge.verify`: the first half checks places, this one follows
contents through time.  A loop's body is followed once, and a second time if it ends in another
state than it began in (docs/game.md, sections 4, 5 and 7).
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Sequence

from mallocgame.judge.reading import JudgedStay, Report
from mallocgame.program import Program
from mallocgame.program.levels import Levels
from mallocgame.program.mapping import Transfer
from mallocgame.program.needs import Needs

# What happens to a value around one slot, in this order.
PREFETCH_END, PREFETCH_START, READ, DEFINE, UPDATE, EVICTION_END, EVICTION_START, STAY_END = range(
    8
)


def follow(
    program: Program,
    levels: Levels,
    stays: Sequence[JudgedStay],
    prefetches: Sequence[tuple[Transfer, int]],
    evictions: Sequence[Transfer],
    report: Report,
) -> None:
    """Reports the `source`, `late_eviction` and `lost` violations of a mapping.

    Args:
      prefetches: each with the index of its stay.
      stays, evictions: like `prefetches`, of known values and within the schedule.
      report: called for each violation.
    """
    events: dict[int, list[tuple[int, int, int]]] = {}
    for i, stay in enumerate(stays):
        row = events.setdefault(stay.value, [])
        row.append((stay.end - 1, STAY_END, i))
        if not stay.sound:  # already reported; counts as a copy that needs no source
            row.append((stay.start, PREFETCH_END, i))
    for transfer, i in prefetches:
        row = events.setdefault(transfer.value, [])
        row.append((transfer.start, PREFETCH_START, i))
        row.append((transfer.end, PREFETCH_END, i))
    for k, eviction in enumerate(evictions):
        row = events.setdefault(eviction.value, [])
        row.append((eviction.start - 1, EVICTION_START, k))
        if eviction.end > eviction.start:
            row.append((eviction.end - 1, EVICTION_END, k))
    for access in program.accesses:
        row = events.get(access.value)
        if row is not None:
            kind = READ if access.kind == "read" else DEFINE if access.defines else UPDATE
            row.append((access.instruction, kind, -1))
    facts = _Facts(program, levels, stays, dict((i, t) for t, i in prefetches), evictions, report)
    # A group's parameter depends on its result, so the result, defined later, comes first.
    for value in sorted(events, key=lambda v: facts.needs.defined_at.get(v, -1), reverse=True):
        _Follower(facts, value, sorted(events[value])).run()


class _Facts:
    """What all followers share."""

    def __init__(
        self,
        program: Program,
        levels: Levels,
        stays: Sequence[JudgedStay],
        prefetch_of: dict[int, Transfer],
        evictions: Sequence[Transfer],
        report: Report,
    ):
        self.program, self.levels, self.report = program, levels, report
        self.stays, self.prefetch_of, self.evictions = stays, prefetch_of, evictions
        self.needs = Needs(program, levels)
        self.result_of = {(g.loop, g.parameter): g.result for g in program.carried}
        self.parameter_of = {(g.loop, g.result): g.parameter for g in program.carried}
        self.defined_stays: dict[tuple[int, int], list[int]] = {}
        self.entering: dict[tuple[int, int], list[int]] = {}
        for i, stay in enumerate(stays):
            if stay.defined:
                self.defined_stays.setdefault((stay.value, stay.start), []).append(i)
            for loop in levels.around(stay.end - 1) if self.result_of else ():
                if (loop, stay.value) in self.result_of and stay.start <= levels.loops[loop].entry:
                    self.entering.setdefault((loop, stay.value), []).append(i)
        self.slow_at_body_end: dict[tuple[int, int], bool] = {}


class _Follower:
    """Follows the contents of one value."""

    def __init__(self, facts: _Facts, value: int, events: list[tuple[int, int, int]]):
        self.facts, self.value, self.events = facts, value, events
        self.name = repr(facts.program.values[value].name)
        # Whether slow memory holds the current content.
        self.slow = facts.program.values[value].is_input
        self.alive: set[int] = set()  # stays that hold or held content and have not ended
        self.current: list[tuple[int, int]] = []  # heap: (-end, stay)
        self.fetching: set[int] = set()  # stays that a prefetch is filling
        self.evicting: set[int] = set()  # evictions in progress
        self.spoilt = -1  # the last update that came during an eviction
        self.again = ""
        self.reported: set[tuple[str, str]] = set()

    def run(self) -> None:
        self._run(0, len(self.events), -1)

    def _run(self, begin: int, end: int, level: int) -> None:
        """Follows events [begin, end), all in the body of loop `level` or in loops inside it."""
        levels = self.facts.levels
        i = begin
        while i < end:
            loop = levels.body_of[self.events[i][0]]
            if loop == level:
                self._happen(*self.events[i])
                i += 1
                continue
            while levels.parent[loop] != level:
                loop = levels.parent[loop]
            stop = bisect.bisect_left(self.events, (levels.loops[loop].exit, -1, -1), i, end)
            before = self._state()
            self._run(i, stop, loop)
            self._next_iteration(loop)
            if self._state() != before:
                self.again = f" (in a later iteration of loop {loop})"
                self._run(i, stop, loop)
                self.again = ""
            i = stop

    def _state(self) -> tuple[bool, list[int]]:
        return self.slow, sorted({i for _, i in self.current if i in self.alive})

    def _next_iteration(self, loop: int) -> None:
        facts = self.facts
        if (loop, self.value) in facts.parameter_of:
            facts.slow_at_body_end[loop, self.value] = self.slow
        result = facts.result_of.get((loop, self.value))
        if result is not None:
            # Without an entry the result has no stay: slow memory holds it at the body's end.
            self.slow = facts.slow_at_body_end.get((loop, result), True)
            self.current = []
            for i in facts.entering.get((loop, self.value), []):
                self._hold(i)

    def _hold(self, stay: int) -> None:
        self.alive.add(stay)
        heapq.heappush(self.current, (-self.facts.stays[stay].end, stay))

    def _in_fast(self) -> int:
        """The stay that holds the current content for the longest, or -1."""
        while self.current and self.current[0][1] not in self.alive:
            heapq.heappop(self.current)
        return self.current[0][1] if self.current else -1

    def _happen(self, slot: int, kind: int, i: int) -> None:
        if kind == READ:
            if self._in_fast() < 0:
                self._need_slow(slot, f"instruction {slot} reads it from slow memory")
        elif kind == UPDATE:
            self._update(slot)
        elif kind == DEFINE:
            self._define(slot)
        elif kind == PREFETCH_START:
            self._start_prefetch(slot, i)
        elif kind == PREFETCH_END:
            if i in self.fetching or i not in self.facts.prefetch_of:
                self.fetching.discard(i)
                self._hold(i)
        elif kind == EVICTION_START:
            self._start_eviction(i)
        elif kind == EVICTION_END:
            if i in self.evicting:
                self.evicting.discard(i)
                self.slow, self.spoilt = True, -1
        else:
            self._end_stay(slot, i)

    def _report(self, kind: str, message: str, *times: int) -> None:
        if (kind, message) not in self.reported:
            self.reported.add((kind, message))
            self.facts.report(kind, f"{self.name}: {message}{self.again}", (self.value,), times)

    def _need_slow(self, slot: int, what: str) -> None:
        """Reports a violation unless slow memory holds the value, then assumes that it does."""
        if self.slow:
            return
        if self.evicting:
            eviction = self.facts.evictions[min(self.evicting)]
            window = f"[{eviction.start}, {eviction.end})"
            self._report("late_eviction", f"{what} before its eviction {window} ends", slot)
        else:
            why = "slow memory does not hold it"
            if self.spoilt >= 0:
                why += f"; instruction {self.spoilt} updated it while an eviction was under way"
            self._report("source", f"{what}, but {why}", slot)
        self.slow = True

    def _start_prefetch(self, slot: int, i: int) -> None:
        transfer = self.facts.prefetch_of[i]
        window = f"[{transfer.start}, {transfer.end})"
        self._need_slow(slot, f"prefetch {window} copies it from slow memory at {slot}")
        if transfer.end == transfer.start:
            self._hold(i)
        else:
            self.fetching.add(i)

    def _define(self, slot: int) -> None:
        self.alive, self.current = set(), []
        # Stays are sorted: the last one of equal start lasts the longest.
        stays = self.facts.defined_stays.get((self.value, slot), [])[::-1]
        self.slow = not stays
        for i in stays[:1]:
            self._hold(i)
        for _ in stays[1:]:
            self._report("source", f"instruction {slot} defines it in two places at once", slot)

    def _update(self, slot: int) -> None:
        for i in sorted(self.fetching):
            transfer = self.facts.prefetch_of[i]
            self._report(
                "source",
                f"instruction {slot} updates it during its prefetch "
                f"[{transfer.start}, {transfer.end})",
                slot,
            )
        if self.evicting:
            self.evicting, self.spoilt = set(), slot
        stay = self._in_fast()
        self.current = []
        if stay >= 0:
            self._hold(stay)
            self.slow = False

    def _start_eviction(self, i: int) -> None:
        eviction = self.facts.evictions[i]
        window = f"[{eviction.start}, {eviction.end})"
        stay = self._in_fast()
        if stay < 0:
            self._report(
                "source",
                f"eviction {window} copies it from fast memory, which does not hold it after "
                f"instruction {eviction.start - 1}",
                eviction.start,
            )
            return
        end = self.facts.stays[stay].end
        if end < eviction.end:
            self._report(
                "late_eviction",
                f"its place is given up at {end}, before its eviction {window} ends",
                end,
            )
        if eviction.end == eviction.start:
            self.slow = True
        else:
            self.evicting.add(i)

    def _end_stay(self, slot: int, i: int) -> None:
        had = self._in_fast() >= 0
        self.alive.discard(i)
        if not had or self._in_fast() >= 0 or self.slow or self.evicting:
            return
        if self.facts.needs(self.value, slot + 1, slot):
            why = f"the only copy of its content is given up at {slot + 1}"
            if self.spoilt >= 0:
                why += f"; instruction {self.spoilt} updated it while an eviction was under way"
            self._report("lost", why, slot + 1)
            self.slow = True
