"""What the oracle knows about a program before the first move: loop levels, stops, times in ticks.

Section numbers are those of `docs/game.md`.  Plain lists and loops on purpose; see `oracle.py`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from mallocgame.program import Access, Program


class Stop(NamedTuple):
    """One stop of a value; kind is 'read', 'define', 'update', 'entry' or 'exit'."""

    value: int
    kind: str


class Group(NamedTuple):
    """A carried group of the loop that ends at `exit`, as its parameter's entry stop sees it.

    defined_at: the slot in which the body defines the result, `d` of section 7.
    last_stop: the parameter's last stop in the body itself, `u` of section 7.
    """

    parameter: int
    result: int
    exit: int
    defined_at: int
    last_stop: int


class OracleTables:
    """Tables of one program; all times are ticks, all sizes bytes.

    Attributes:
      sizes: bytes in fast memory per value, rounded up to the alignment.
      demand: supply that a copy of the value needs.
      in_play: per value, whether it may be in fast memory and is not inert.
      reserved: per slot, bytes that are reserved, rounded up to the alignment.
      stops: per slot, in the order of section 3.
      segment: per slot, its segment's first slot.
      all_slow: elapsed ticks per slot with everything in slow memory (R).
      all_slow_ticks: their weighted sum (S).
      floor_ticks: the weighted sum with everything in fast memory that may be there (F).
    """

    def __init__(self, program: Program, inert_fraction: float):
        self.program = program
        slots, values = range(len(program.instructions)), range(len(program.values))
        alignment = program.machine.alignment_bytes
        self.sizes = [-(-value.size_bytes // alignment) * alignment for value in program.values]
        self.reserved = [
            -(-instruction.reserved_bytes // alignment) * alignment
            for instruction in program.instructions
        ]
        self._timed: dict[tuple[int, frozenset[tuple[int, str]]], tuple[int, int]] = {}
        self._accesses: list[list[Access]] = [[] for _ in values]
        for access in sorted(program.accesses, key=lambda a: a.instruction):
            self._accesses[access.value].append(access)
        self._loop_of = [self._innermost_loop(t) for t in slots]
        self._segments()
        self._times()
        worth = self._with_groups(
            [sum(self._worth(access) for access in self._accesses[v]) for v in values]
        )
        self._inert_below = inert_fraction * self.all_slow_ticks
        self.in_play = [program.fits(v) and not worth[v] < self._inert_below for v in values]
        self._needed = [self._is_needed(v) for v in values]
        self.stops = [self._stops_at(t) for t in slots]

    # --- Loop levels (1) ---

    def _innermost_loop(self, t: int) -> int | None:
        around = [i for i, loop in enumerate(self.program.loops) if loop.entry < t < loop.exit]
        return max(around, key=lambda i: self.program.loops[i].entry, default=None)

    def _segments(self) -> None:
        entries = {loop.entry for loop in self.program.loops}
        exits = {loop.exit for loop in self.program.loops}
        total = len(self.program.instructions)
        self.segment: list[int] = []
        for t in range(total):
            starts = t == 0 or t - 1 in entries or t in exits
            self.segment.append(t if starts else self.segment[t - 1])

    def crosses(self, v: int, loop_index: int) -> bool:
        """Whether v crosses the loop's boundary (1, Loop)."""
        loop, value = self.program.loops[loop_index], self.program.values[v]
        inside = [loop.entry < a.instruction < loop.exit for a in self._accesses[v]]
        carried = any(
            group.loop == loop_index and v in (group.parameter, group.result)
            for group in self.program.carried
        )
        return any(inside) and (value.is_input or value.is_output or carried or not all(inside))

    def _used_before(self, v: int, t: int) -> bool:
        return self.program.values[v].is_input or any(
            a.kind == "write" and a.instruction < t for a in self._accesses[v]
        )

    # --- Times (1, Latency, Supply, Ticks) ---

    def _times(self) -> None:
        program, machine = self.program, self.program.machine
        slots = range(len(program.instructions))
        latency = math.fsum(program.weights[t] * self._all_slow_s(t) for t in slots)
        stall = math.fsum(
            value.size_bytes
            / machine.slow_bandwidth
            * sum(program.weights[a.instruction] for a in self._accesses[v] if a.kind == "write")
            for v, value in enumerate(program.values)
            if program.fits(v)
        )
        self.tick_s = max(latency, stall) / 2**28 or 1.0
        self.demand = [
            math.ceil(value.size_bytes / machine.slow_bandwidth / self.tick_s)
            for value in program.values
        ]
        self.all_slow = [self.elapsed(t, frozenset())[0] for t in slots]
        self.all_fast = [
            self.elapsed(
                t,
                frozenset(
                    (a.value, a.kind)
                    for a in program.accesses_at[t]
                    if program.fits(a.value) and self._is_faster(a)
                ),
            )[0]
            for t in slots
        ]
        self.all_slow_ticks = sum(program.weights[t] * self.all_slow[t] for t in slots)
        self.floor_ticks = sum(program.weights[t] * self.all_fast[t] for t in slots)

    def _all_slow_s(self, t: int) -> float:
        instruction = self.program.instructions[t]
        reads, writes = [instruction.fixed_read_s], [instruction.fixed_write_s]
        for access in self.program.accesses_at[t]:
            (reads if access.kind == "read" else writes).append(self._seconds(access)[0])
        return max(instruction.compute_s, math.fsum(reads), math.fsum(writes))

    def _seconds(self, access: Access) -> tuple[float, float]:
        """Seconds of the access in slow and in fast memory."""
        if access.slow_s is not None and access.fast_s is not None:
            return access.slow_s, access.fast_s
        slow_s = access.bytes / self.program.machine.slow_bandwidth
        return slow_s, min(slow_s, access.bytes / self.program.machine.fast_bandwidth)

    def _is_faster(self, access: Access) -> bool:
        """Whether the access takes no longer in fast memory."""
        slow_s, fast_s = self._seconds(access)
        return fast_s <= slow_s

    def _ticks(self, seconds: float) -> int:
        return math.floor(seconds / self.tick_s + 0.5)

    def elapsed(self, t: int, fast: frozenset[tuple[int, str]]) -> tuple[int, int]:
        """Elapsed ticks of slot t and its supply, the idle ticks.

        Args:
          fast: the accesses (value, kind) of t that find their value in fast memory.
        """
        if (t, fast) not in self._timed:
            self._timed[t, fast] = self._elapsed(t, fast)
        return self._timed[t, fast]

    def _elapsed(self, t: int, fast: frozenset[tuple[int, str]]) -> tuple[int, int]:
        instruction, bandwidth = self.program.instructions[t], self.program.machine.slow_bandwidth
        time = {
            "read": self._ticks(instruction.fixed_read_s),
            "write": self._ticks(instruction.fixed_write_s),
        }
        bus = self._ticks(instruction.fixed_slow_bytes / bandwidth)
        for access in self.program.accesses_at[t]:
            slow_s, fast_s = self._seconds(access)
            if (access.value, access.kind) in fast:
                time[access.kind] += self._ticks(fast_s)
            else:
                time[access.kind] += self._ticks(slow_s)
                bus += self._ticks(access.bytes / bandwidth)
        elapsed = max(self._ticks(instruction.compute_s), time["read"], time["write"])
        return elapsed, max(0, elapsed - bus)

    # --- Inert steps (2) ---

    def _worth(self, access: Access) -> int:
        """The most ticks that the access can save, over all its executions."""
        t = access.instruction
        slow_s, fast_s = self._seconds(access)
        most = self.all_slow[t] - self.all_fast[t]
        saved = max(self._ticks(slow_s) - self._ticks(fast_s), 0)
        return self.program.weights[t] * min(saved, most)

    def inert_from(self, v: int, first: int) -> bool:
        """Whether v's accesses in slots `first` and later are too small for a question."""
        worth = sum(self._worth(a) for a in self._accesses[v] if a.instruction >= first)
        return worth < self._inert_below

    def worth_of_hold(self, v: int, t: int, first: int) -> int:
        """The most ticks that v saves from slot `first` to the end of the next hold at t (4)."""
        held_at = t if self.loop_entered(v, t) is not None else self.next_read(v, t)
        until = t if held_at is None else held_at
        loop = self.loop_entered(v, until)
        if loop is not None:
            until = self.program.loops[loop].exit
        return sum(self._worth(a) for a in self._accesses[v] if first <= a.instruction <= until)

    # --- Stops (2) ---

    def _with_groups(self, worth: list[int]) -> list[int]:
        """Members of carried groups, and of groups chained to them, are worth their sum."""
        worths = []
        for v in range(len(worth)):
            family = {v}
            for _ in self.program.carried:
                for group in self.program.carried:
                    if family & {group.parameter, group.result}:
                        family |= {group.parameter, group.result}
            worths.append(sum(worth[member] for member in family))
        return worths

    def _is_needed(self, v: int) -> bool:
        """Whether somebody needs what v's definition produces."""
        value = self.program.values[v]
        defined = [a.instruction for a in self._accesses[v] if a.defines]
        loop = self._loop_of[defined[0]] if defined else None
        read = any(a.kind == "read" for a in self._accesses[v])
        return read or value.is_output or (loop is not None and self.crosses(v, loop))

    def _stops_at(self, t: int) -> list[Stop]:
        stops = [
            Stop(a.value, "read" if a.kind == "read" else "define" if a.defines else "update")
            for a in self.program.accesses_at[t]
            if self.in_play[a.value] and (not a.defines or self._needed[a.value])
        ]
        for i, loop in enumerate(self.program.loops):
            parameters = [group.parameter for group in self.program.carried if group.loop == i]
            results = [group.result for group in self.program.carried if group.loop == i]
            if t not in (loop.entry, loop.exit):
                continue
            for v in range(len(self.program.values)):
                held = self.crosses(v, i) and self._used_before(v, loop.entry)
                if not self.in_play[v]:
                    continue
                if t == loop.entry and held:
                    stops.append(Stop(v, "entry"))
                if t == loop.exit and ((held and v not in parameters) or v in results):
                    stops.append(Stop(v, "exit"))
        return stops

    def next_read(self, v: int, t: int) -> int | None:
        """next(v, t): v's first later read or entry stop in the same body."""
        for later in range(t + 1, len(self.stops)):
            if self._loop_of[later] == self._loop_of[t] and (
                Stop(v, "read") in self.stops[later] or Stop(v, "entry") in self.stops[later]
            ):
                return later
        return None

    def loop_entered(self, v: int, t: int) -> int | None:
        """The loop whose entry marker is a stop of v at t."""
        if Stop(v, "entry") not in self.stops[t]:
            return None
        return next(i for i, loop in enumerate(self.program.loops) if loop.entry == t)

    def wanted(self, v: int, t: int) -> bool:
        """Whether v, up for departure at t, enters a loop or has a later read."""
        return self.loop_entered(v, t) is not None or self.next_read(v, t) is not None

    def outlives_level(self, v: int, t: int) -> bool:
        """Whether v's content must be kept where t's level ends (3, Departures)."""
        loop = self._loop_of[t]
        if loop is None:
            return self.program.values[v].is_output
        return self.crosses(v, loop) and not any(
            group.loop == loop and group.parameter == v for group in self.program.carried
        )

    def group_entered(self, v: int, t: int) -> Group | None:
        """The carried group that holding v at the entry marker t would hold."""
        loop_index = self.loop_entered(v, t)
        for group in self.program.carried:
            if group.loop != loop_index or group.parameter != v:
                continue
            loop = self.program.loops[group.loop]
            defined = [a.instruction for a in self._accesses[group.result] if a.defines]
            stops = [
                slot
                for slot in range(loop.entry + 1, loop.exit)
                if self._loop_of[slot] == group.loop
                and any(stop.value == v for stop in self.stops[slot])
            ]
            return Group(v, group.result, loop.exit, defined[0], max(stops))
        return None
