"""Compiles a program to integer arrays.

Times become ticks (docs/game.md, section 1), stops become rows of one event list in the order in
which the game meets them, and everything about a stop that no decision can change (the next read,
the demand of a copy, what an access can save) is worked out here, once, on the host.
"""

from __future__ import annotations

import math

import numpy as np

from gamekit.errors import InputError
from mallocgame.game.options import GameConfig
from mallocgame.game.tables import DEFINE, ENTRY, EXIT, READ, UPDATE, EventRow, Tables
from mallocgame.program import Access, Program
from mallocgame.program.latency import access_seconds, elapsed_time

# The all-slow latency, or the largest stall, in ticks; what sums of ticks may come to.
TICKS = 2**28
MAX_TICKS = 1 << 29


def compile_program(program: Program, config: GameConfig) -> Tables:
    """Compiles a validated program.

    Raises:
      InputError: the program's times do not fit into 32-bit ticks.
    """
    return _Compiler(program, config).run()


class _Compiler:
    """Working state of one compilation; every method fills in what the next ones need."""

    def __init__(self, program: Program, config: GameConfig):
        self.program = program
        self.config = config
        self.machine = program.machine
        self.num_slots = len(program.instructions)
        self.fits = [program.fits(v) for v in range(len(program.values))]
        self.accesses_of: list[list[Access]] = [[] for _ in program.values]
        for row in program.accesses_at:
            for access in row:
                self.accesses_of[access.value].append(access)
        self.level = self._levels()
        starts = np.flatnonzero(np.diff(self.level, prepend=-2))
        self.segment_start = np.zeros(self.num_slots, np.int64)
        self.segment_start[starts] = starts
        self.segment_start = np.maximum.accumulate(self.segment_start)
        self.segment_end = np.zeros(self.num_slots, np.int64)
        self.segment_end[np.append(starts[1:], self.num_slots) - 1] = 1
        self.parameters = {(g.loop, g.parameter): g for g in program.carried}
        self.results = {(g.loop, g.result): g for g in program.carried}

    def _levels(self) -> np.ndarray:
        level = np.full(self.num_slots, -1, np.int64)
        for i in sorted(range(len(self.program.loops)), key=lambda i: self.program.loops[i].entry):
            loop = self.program.loops[i]
            level[loop.entry + 1 : loop.exit] = i
        return level

    def run(self) -> Tables:
        self._set_tick()
        self._set_slots()
        self._set_bounds()
        rows, savings = self._rows()
        events = np.array(rows, np.int64).reshape(len(rows), len(EventRow._fields))
        slots = np.stack(
            [
                self.compute,
                self.read,
                self.write,
                self.bus,
                self.slow_elapsed,
                self.weights,
                self._reserved(),
                self.segment_start,
                self.segment_end,
            ],
            axis=1,
        )
        of_stops = np.array(savings, np.float64).reshape(len(rows), 2)
        return Tables(
            program=self.program,
            events=events.astype(np.int32),
            slots=slots.astype(np.int32),
            savings=of_stops,
            following=_savings_of_next(EventRow(*events.T), of_stops),
            bound=self._bound(),
            residency_bound=self._residency_bound(EventRow(*events.T)),
            total_ticks=self.total,
            floor_ticks=int((self.weights * self.fast_elapsed).sum()),
            tick_s=self.tick_s,
        )

    def _set_tick(self) -> None:
        program, bandwidth = self.program, self.machine.slow_bandwidth
        self.weights = np.array(program.weights, np.int64)
        slow_s, fast_s = access_seconds(program)
        self.seconds = {
            (a.instruction, a.value, a.kind): (slow_s[i], fast_s[i])
            for i, a in enumerate(program.accesses)
        }
        read = [ins.fixed_read_s for ins in program.instructions]
        write = [ins.fixed_write_s for ins in program.instructions]
        for t, row in enumerate(program.accesses_at):
            for a in row:
                slow, _ = self.seconds[t, a.value, a.kind]
                if a.kind == "read":
                    read[t] += slow
                else:
                    write[t] += slow
        latency = math.fsum(
            w * max(ins.compute_s, read[t], write[t])
            for t, (w, ins) in enumerate(zip(program.weights, program.instructions, strict=True))
        )
        copies = math.fsum(
            value.size_bytes / bandwidth for v, value in enumerate(program.values) if self.fits[v]
        )
        stalls = int(self.weights[self.segment_end == 1].sum()) * copies
        self.tick_s = max(latency, stalls) / TICKS or 1.0

    def ticks(self, seconds: float) -> int:
        return math.floor(float(seconds) / self.tick_s + 0.5)

    def demand(self, size_bytes: int) -> int:
        return math.ceil(size_bytes / self.machine.slow_bandwidth / self.tick_s)

    def _set_slots(self) -> None:
        program, bandwidth = self.program, self.machine.slow_bandwidth
        ins = program.instructions
        self.compute = np.array([self.ticks(i.compute_s) for i in ins], np.int64)
        self.read = np.array([self.ticks(i.fixed_read_s) for i in ins], np.int64)
        self.write = np.array([self.ticks(i.fixed_write_s) for i in ins], np.int64)
        self.bus = np.array([self.ticks(i.fixed_slow_bytes / bandwidth) for i in ins], np.int64)
        fast_read, fast_write = self.read.copy(), self.write.copy()
        self.delta: dict[tuple[int, int, str], tuple[int, int]] = {}
        for t, row in enumerate(program.accesses_at):
            for a in row:
                slow, fast = (self.ticks(s) for s in self.seconds[t, a.value, a.kind])
                bus = self.ticks(a.bytes / bandwidth)
                self.delta[t, a.value, a.kind] = (slow - fast, bus)
                self.bus[t] += bus
                best = fast if self.fits[a.value] else slow
                if a.kind == "read":
                    self.read[t] += slow
                    fast_read[t] += best
                else:
                    self.write[t] += slow
                    fast_write[t] += best
        self.slow_elapsed = elapsed_time(self.compute, self.read, self.write, np)
        self.fast_elapsed = elapsed_time(self.compute, fast_read, fast_write, np)
        self.total = int((self.weights * self.slow_elapsed).sum())
        widest = max(int(self.bus.max()), self.total, int(self.slow_elapsed.max()))
        if widest > MAX_TICKS:
            raise InputError(
                f"program {self.program.name!r}: its times must be at most {MAX_TICKS} ticks of "
                f"{self.tick_s:g} s, got {widest}; trip counts or bytes are out of proportion to "
                "its latency"
            )

    def _set_bounds(self) -> None:
        """The most that each access can save, and which values are worth a question."""
        spread = self.slow_elapsed - self.fast_elapsed
        self.bound = {
            key: int(self.weights[key[0]] * min(delta, spread[key[0]]))
            for key, (delta, _) in self.delta.items()
        }
        threshold = self.config.inert_fraction * self.total
        self.threshold = threshold
        worth = np.array(
            [
                sum(self.bound[a.instruction, a.value, a.kind] for a in of)
                for of in self.accesses_of
            ],
            np.int64,
        )
        family = np.arange(len(worth))
        for group in self.program.carried:
            members = family[[group.parameter, group.result]]
            family[np.isin(family, members)] = members.min()
        shared = np.bincount(family, worth, minlength=len(worth))[family]
        self.in_play = [
            fit and bool(of) and shared[v] >= threshold
            for v, (fit, of) in enumerate(zip(self.fits, self.accesses_of, strict=True))
        ]

    def _reserved(self) -> np.ndarray:
        return np.array([self._align(i.reserved_bytes) for i in self.program.instructions])

    def _align(self, size: int) -> int:
        alignment = self.machine.alignment_bytes
        return -(-size // alignment) * alignment

    def crosses(self, v: int, loop: int) -> bool:
        body = self.program.loops[loop]
        times = [a.instruction for a in self.accesses_of[v]]
        inside = [body.entry < t < body.exit for t in times]
        value = self.program.values[v]
        member = (loop, v) in self.parameters or (loop, v) in self.results
        return any(inside) and (value.is_input or value.is_output or not all(inside) or member)

    def _stops(self, v: int) -> list[tuple[int, int, Access | None, int]]:
        """(slot, kind, access, loop) of the value's stops in the order of the schedule."""
        stops: list[tuple[int, int, Access | None, int]] = []
        accesses = self.accesses_of[v]
        first = -1 if self.program.values[v].is_input else accesses[0].instruction
        for a in accesses:
            kind = READ if a.kind == "read" else DEFINE if a.defines else UPDATE
            stops.append((a.instruction, kind, a, -1))
        for i, loop in enumerate(self.program.loops):
            used = any(loop.entry < a.instruction < loop.exit for a in accesses)
            if used and first < loop.entry:
                stops.append((loop.entry, ENTRY, None, i))
                if (i, v) not in self.parameters:
                    stops.append((loop.exit, EXIT, None, i))
            elif (i, v) in self.results:
                stops.append((loop.exit, EXIT, None, i))
        return sorted(stops, key=lambda s: s[:2])

    def _rows(self) -> tuple[list[EventRow], list[tuple[float, float]]]:
        keyed = []
        for v, play in enumerate(self.in_play):
            if play:
                keyed += self._value_rows(v)
        keyed.sort(key=lambda item: item[0])
        rows = [row for _, row, _ in keyed]
        for i, row in enumerate(rows):
            last = i + 1 == len(rows) or rows[i + 1].slot != row.slot
            rows[i] = row._replace(last=int(last))
        return rows, [saving for _, _, saving in keyed]

    def _value_rows(self, v: int) -> list[tuple[tuple, EventRow, tuple[float, float]]]:
        stops = self._stops(v)
        size = self.program.values[v].size_bytes
        reads = [(t, self.level[t]) for t, kind, _, _ in stops if kind in (READ, ENTRY)]
        saving_at = [(a.instruction, self.bound[a.instruction, v, a.kind])
                     for a in self.accesses_of[v]]  # fmt: skip
        writes = [a.instruction for a in self.accesses_of[v] if a.kind == "write"]
        rows = []
        for t, kind, access, loop in stops:
            if kind == DEFINE and not self._needed(v, t):
                continue
            later = next((r for r, level in reads if r > t and level == self.level[t]), None)
            hold_until = 0 if later is None else later + 1
            stay_end = hold_until
            promise = (-1, -1)
            lone = False
            if kind == ENTRY:
                hold_until = stay_end = self.program.loops[loop].exit + 1
                group = self.parameters.get((loop, v))
                if group is not None:
                    stay_end = 1 + max(s for s, *_ in stops if t < s < hold_until - 1)
                    written = [a for a in self.accesses_of[group.result] if a.defines]
                    promise = (written[0].instruction, group.result)
                    lone = not self.in_play[group.result]
            held_from = t if kind == DEFINE else t + 1
            delta, bus = self.delta[t, v, access.kind] if access else (0, 0)
            until = self._end_of_hold(stops, t, loop, later)
            from_here = sum(b for s, b in saving_at if s >= t)
            after = sum(b for s, b in saving_at if s > t)
            row = EventRow(
                slot=t,
                kind=kind,
                value=v,
                size=self._align(size),
                demand=self.demand(size),
                slow_from=max((w + 1 for w in writes if w < t), default=0),
                hold_until=hold_until,
                stay_end=stay_end,
                reserved=self._largest_reservation(held_from, max(hold_until, held_from + 1))
                if hold_until or kind == DEFINE
                else 0,
                read=delta if kind == READ else 0,
                write=delta if kind in (DEFINE, UPDATE) else 0,
                bus=bus,
                saving_if_alone=self._saving_if_alone(t, access, delta),
                worth=sum(b for s, b in saving_at if t <= s <= until),
                writeback=int(self._writeback(v, t)),
                inert_arrival=int(from_here < self.threshold or lone),
                inert_departure=int(after < self.threshold or lone),
                promise_slot=promise[0],
                promise_value=promise[1],
                last=0,
            )
            order = access.operands if access else ()
            key = (t, kind in (DEFINE, UPDATE), order, v)
            total = max(self.total, 1)
            rows.append((key, row, (from_here / total, after / total)))
        return rows

    def _end_of_hold(
        self, stops: list[tuple[int, int, Access | None, int]], t: int, loop: int, later: int | None
    ) -> int:
        """The slot at which a hold from the stop at t would end: a loop entered is held as a whole,
        be it entered at t (`loop`) or at the next read (`later`)."""
        if loop >= 0:
            return self.program.loops[loop].exit
        entered = [i for s, kind, _, i in stops if s == later and kind == ENTRY]
        if entered:
            return self.program.loops[entered[0]].exit
        return t if later is None else later

    def _bound(self) -> np.ndarray:
        saved = self.weights * (self.slow_elapsed - self.fast_elapsed) / max(self.total, 1)
        return np.append(np.cumsum(saved[::-1])[::-1], 0.0)

    def _residency_bound(self, events: EventRow) -> int:
        """The most residencies whose end can lie in reach of a prefetch at one time.

        A value has one for each arrival in the last slots, and one more that began earlier and
        ends no later than its last stop, or with the segment when it may be evicted.
        """
        window = self.config.prefetch_window
        change = np.zeros(self.num_slots + 2 * window + 3, np.int64)
        for v in np.unique(events.value):
            of_v = events.value == v
            arrivals = np.unique(events.slot[of_v & (events.kind != UPDATE)])
            if not len(arrivals):
                continue
            np.add.at(change, arrivals, 1)
            np.add.at(change, arrivals + window + 1, -1)
            last = int(events.slot[of_v].max())
            if any(a.kind == "write" for a in self.accesses_of[v]):
                last += int(np.argmax(self.segment_end[last:]))
            last = max(last, int(events.hold_until[of_v].max()) - 1)
            first = int(arrivals[0]) + window + 1
            if last + window >= first:
                change[first] += 1
                change[last + window + 1] -= 1
        for slot, end in zip(
            events.slot, events.hold_until * (events.promise_slot >= 0), strict=True
        ):
            if end:
                change[slot] += 1
                change[end + window] -= 1
        return max(1, int(np.cumsum(change).max()))

    def _needed(self, v: int, t: int) -> bool:
        level = int(self.level[t])
        return (
            any(a.kind == "read" for a in self.accesses_of[v])
            or self.program.values[v].is_output
            or (level >= 0 and self.crosses(v, level))
        )

    def _writeback(self, v: int, t: int) -> bool:
        level = int(self.level[t])
        if level < 0:
            return self.program.values[v].is_output
        return self.crosses(v, level) and (level, v) not in self.parameters

    def _largest_reservation(self, start: int, end: int) -> int:
        rows = self.program.instructions[start:end]
        return self._align(max((i.reserved_bytes for i in rows), default=0))

    def _saving_if_alone(self, t: int, access: Access | None, delta: int) -> int:
        if access is None:
            return 0
        read = self.read[t] - (delta if access.kind == "read" else 0)
        write = self.write[t] - (delta if access.kind == "write" else 0)
        return int(self.slow_elapsed[t] - max(self.compute[t], read, write))


def _savings_of_next(events: EventRow, savings: np.ndarray) -> np.ndarray:
    """What the read at the end of each stop's hold saves; for a loop, all reads in its body."""
    at = {(v, t): i for i, (v, t) in enumerate(zip(events.value, events.slot, strict=True))}
    following = np.zeros(len(savings))
    for i, (value, end, kind) in enumerate(
        zip(events.value, events.hold_until, events.kind, strict=True)
    ):
        later = at.get((value, end - 1)) if end else None
        if end and kind == ENTRY:
            following[i] = savings[i, 0] - (0.0 if later is None else savings[later, 0])
        elif later is not None:
            following[i] = savings[later, 0] - savings[later, 1]
    return following
