"""Compiles a program to integer arrays.

Times become ticks (docs/game.md, section 1), stops and questions become rows in the order in which
the game comes to them, and everything that no decision can change (the next read, the demand of a
copy, what an access can save) is worked out here, once, on the host.
"""

from __future__ import annotations

import math

import numpy as np

from gamekit.errors import InputError
from mallocgame.game.options import GameConfig
from mallocgame.game.tables import (
    ALONE,
    ASK_DEFINE,
    ASK_DEPART,
    ASK_READ,
    DEFINE,
    ENTRY,
    EXIT,
    INERT,
    KEEP,
    LATER,
    NEVER,
    READ,
    UPDATE,
    QuestionRow,
    StopRow,
    Tables,
)
from mallocgame.program import Access, Program
from mallocgame.program.latency import access_seconds, elapsed_time

# The all-slow latency, or the stall of all write-backs, in ticks; what sums of ticks may come to.
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
        ends = np.append(starts[1:], self.num_slots)
        self.segment_end = ends[np.searchsorted(starts, np.arange(self.num_slots), "right") - 1]
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
        stops = self._all_stops()
        rows, savings = self._questions(stops)
        slots = np.stack(
            [self.compute, self.read, self.write, self.bus, self.weights, self._reserved()], axis=1
        )
        shares = np.array(savings, np.float64).reshape(len(rows), 3) / max(self.total, 1)
        return Tables(
            program=self.program,
            stops=np.array([row for row, _ in stops], np.int32).reshape(
                len(stops), len(StopRow._fields)
            ),
            questions=np.array(rows, np.int32).reshape(len(rows), len(QuestionRow._fields)),
            slots=slots.astype(np.int32),
            own=shares[:, 0],
            ahead=shares[:, 1],
            following=shares[:, 2],
            bound=self._bound(),
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
        stalls = math.fsum(
            value.size_bytes / bandwidth * self._weight_of_writes(v)
            for v, value in enumerate(program.values)
            if self.fits[v]
        )
        self.tick_s = max(latency, stalls) / TICKS or 1.0

    def _weight_of_writes(self, v: int) -> int:
        return sum(
            int(self.weights[a.instruction]) for a in self.accesses_of[v] if a.kind == "write"
        )

    def ticks(self, seconds: float) -> int:
        return math.floor(float(seconds) / self.tick_s + 0.5)

    def demand(self, size_bytes: int) -> int:
        """Ticks of a copy; more than can ever be fed counts as `MAX_TICKS`."""
        return min(math.ceil(size_bytes / self.machine.slow_bandwidth / self.tick_s), MAX_TICKS)

    def _set_slots(self) -> None:
        program, bandwidth = self.program, self.machine.slow_bandwidth
        ins = program.instructions
        self.compute = np.array([self.ticks(i.compute_s) for i in ins], np.int64)
        self.read = np.array([self.ticks(i.fixed_read_s) for i in ins], np.int64)
        self.write = np.array([self.ticks(i.fixed_write_s) for i in ins], np.int64)
        self.bus = np.array([self.ticks(i.fixed_slow_bytes / bandwidth) for i in ins], np.int64)
        fast_read, fast_write = self.read.copy(), self.write.copy()
        worst_read, worst_write = self.read.copy(), self.write.copy()
        self.delta: dict[tuple[int, int, str], tuple[int, int]] = {}
        for t, row in enumerate(program.accesses_at):
            for a in row:
                slow, fast = (self.ticks(s) for s in self.seconds[t, a.value, a.kind])
                bus = self.ticks(a.bytes / bandwidth)
                self.delta[t, a.value, a.kind] = (slow - fast, bus)
                self.bus[t] += bus
                best = min(slow, fast) if self.fits[a.value] else slow
                worst = max(slow, fast)
                if a.kind == "read":
                    self.read[t] += slow
                    fast_read[t] += best
                    worst_read[t] += worst
                else:
                    self.write[t] += slow
                    fast_write[t] += best
                    worst_write[t] += worst
        self.slow_elapsed = elapsed_time(self.compute, self.read, self.write, np)
        self.fast_elapsed = elapsed_time(self.compute, fast_read, fast_write, np)
        self.total = int((self.weights * self.slow_elapsed).sum())
        worst = elapsed_time(self.compute, worst_read, worst_write, np)
        worst_total = int((self.weights * worst).sum())
        widest = max(int(self.bus.max()), worst_total, int(worst.max()))
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
            key: int(self.weights[key[0]] * min(max(delta, 0), spread[key[0]]))
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

    def _all_stops(self) -> list[tuple[StopRow, int]]:
        """The stops of all values in the order of the game, each with the loop of its marker."""
        keyed = []
        for v, play in enumerate(self.in_play):
            for t, kind, access, loop in self._stops(v) if play else ():
                if kind == DEFINE and not self._needed(v, t):
                    continue
                delta, bus = self.delta[t, v, access.kind] if access else (0, 0)
                writes = kind in (DEFINE, UPDATE)
                row = StopRow(
                    t, kind, v, 0 if writes else delta, delta if writes else 0, bus, NEVER
                )
                order = access.operands if access else ()
                keyed.append(((t, writes, order, v), row, loop))
        keyed.sort(key=lambda item: item[0])
        after: dict[int, int] = {}
        stops: list[tuple[StopRow, int]] = []
        for i in reversed(range(len(keyed))):
            _, row, loop = keyed[i]
            stops.append((row._replace(next=after.get(row.value, NEVER)), loop))
            after[row.value] = i
        return stops[::-1]

    def _questions(
        self, stops: list[tuple[StopRow, int]]
    ) -> tuple[list[QuestionRow], list[tuple[int, int, int]]]:
        """The questions in the order of the game, and the weighted ticks that the value's accesses
        in the slot, after it, and those that a hold would serve save at most."""
        self.stops_of: dict[int, list[tuple[int, StopRow, int]]] = {}
        for i, (row, loop) in enumerate(stops):
            self.stops_of.setdefault(row.value, []).append((i, row, loop))
        keyed = []
        for i, (row, _) in enumerate(stops):
            if row.kind in (READ, ENTRY, DEFINE):
                keyed.append(((row.slot, 0, i), self._question(i, stops, departs=False)))
            if row.next == NEVER or stops[row.next][0].slot > row.slot:
                keyed.append(((row.slot, 1, i), self._question(i, stops, departs=True)))
        keyed.sort(key=lambda item: item[0])
        return [row for _, (row, _) in keyed], [savings for _, (_, savings) in keyed]

    def _question(
        self, i: int, stops: list[tuple[StopRow, int]], departs: bool
    ) -> tuple[QuestionRow, tuple[int, int, int]]:
        stop, loop = stops[i]
        t, v = stop.slot, stop.value
        value = self.program.values[v]
        of_v = self.stops_of[v]
        kind = ASK_DEPART if departs else ASK_DEFINE if stop.kind == DEFINE else ASK_READ
        entry = stop.kind == ENTRY
        later = next(
            (
                s
                for _, s, _ in of_v
                if s.kind in (READ, ENTRY) and s.slot > t and self.level[s.slot] == self.level[t]
            ),
            None,
        )
        hold_end = 0 if later is None else later.slot + 1
        group = None
        if entry:
            hold_end = self.program.loops[loop].exit + 1
            group = self.parameters.get((loop, v))
        stay_end = counted = hold_end if departs or entry else t + 1
        result, result_first, result_start, result_end, alone = -1, -1, 0, 0, False
        if group is not None:
            result = group.result
            inside = [
                s.slot for _, s, _ in of_v if self.level[s.slot] == loop and s.slot < hold_end
            ]
            defined = [j for j, s, _ in self.stops_of.get(result, ()) if s.kind == DEFINE]
            alone = not defined
            if defined:
                result_first = defined[0]
                result_start, result_end = stops[result_first][0].slot, hold_end
                stay_end = max(inside) + 1
                counted = min(stay_end, result_start)
        until = self._end_of_hold(stop, loop, later)
        saves = [(a.instruction, self.bound[a.instruction, v, a.kind]) for a in self.accesses_of[v]]
        own = sum(b for s, b in saves if s == t)
        ahead = sum(b for s, b in saves if s > t)
        following = sum(b for s, b in saves if t < s <= (hold_end - 1 if hold_end else t))
        after = next((s.slot for _, s, _ in of_v if s.slot > t), NEVER)
        first = stop.next if departs else i
        flags = (
            LATER * bool(hold_end)
            | INERT * ((ahead if departs else own + ahead) < self.threshold)
            | ALONE * alone
            | KEEP * self._writeback(v, t)
        )
        writes = [a.instruction for a in self.accesses_of[v] if a.kind == "write"]
        row = QuestionRow(
            slot=t,
            kind=kind,
            value=v,
            size=self._align(value.size_bytes),
            flags=flags,
            stop=i,
            first=first,
            demand=self.demand(value.size_bytes),
            slow_from=max((w + 1 for w in writes if w < t), default=0),
            segment=int(self.segment_start[t]),
            limit=min(int(self.segment_end[t]), after),
            counted=counted,
            stay_end=stay_end,
            worth=sum(b for s, b in saves if t + departs <= s <= until),
            weight=int(self.weights[t]),
            result=result,
            result_first=result_first,
            result_start=result_start,
            result_end=result_end,
            entry=int(entry),
            hold_end=hold_end or t + 1,
        )
        return row, (own, ahead, following)

    def _end_of_hold(self, stop: StopRow, loop: int, later: StopRow | None) -> int:
        """The slot at which a hold from the stop would end: a loop entered is held as a whole, be
        it entered here or at the next read."""
        if stop.kind == ENTRY:
            return self.program.loops[loop].exit
        if later is not None and later.kind == ENTRY:
            return next(x.exit for x in self.program.loops if x.entry == later.slot)
        return stop.slot if later is None else later.slot

    def _bound(self) -> np.ndarray:
        saved = self.weights * (self.slow_elapsed - self.fast_elapsed) / max(self.total, 1)
        return np.append(np.cumsum(saved[::-1])[::-1], 0.0)

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
