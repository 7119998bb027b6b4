"""Programs whose optimum is known by construction, after jumanji's bin-packing generators.

Fast memory is cut into lanes of unequal size, and each lane is filled without a gap by the stays of
the *main* values, one after the other.  Only one lane changes hands at a time, so best fit finds
exactly that place.  Every instruction computes as long as it takes with the main values in fast
memory and everything else in slow memory and, if a copy is needed, long enough for the copy.  The
plan thus attains the floor of `docs/game.md` (section 9) without a stall, and nothing beats the
floor.  The game decides a write-back before it knows of later holds, which may leave more time for
it, so that it says too little of some plans; such programs are drawn anew.

*Decoys* compete for the same places: each of their accesses would save time if there were no
compute floor, so no number in the program distinguishes them from the main values.
"""

from __future__ import annotations

import numpy as np

from mallocgame.oracle import COPY, DROP, NO_COPY, Oracle
from mallocgame.program import Access, Instruction, Loop, Program, Value, validate
from mallocgame.program.machine import Machine

_ALIGNMENT = 8  # bytes
_SLOW_BANDWIDTH, _FAST_BANDWIDTH = 1.0, 10.0  # bytes per second
_SLACK = 1.05  # so that rounding times to ticks does not make a plan late


def known_optimum_program(
    rng: np.random.Generator, *, turns: int = 12, lanes: int = 4, name: str = "known_optimum"
) -> tuple[Program, float, list[int]]:
    """A program, the largest fraction of all-slow latency that can be saved, and how.

    Args:
      turns: how often a place changes hands.
      lanes: how many main values share fast memory.

    Returns:
      The program, its optimum, and the actions that reach it under the default rules.
    """
    while True:
        plan = _Plan(rng, lanes)
        for _ in range(turns):
            plan.turn()
        plan.finish()
        plan.add_decoys(2 * turns)
        program = plan.program(name)
        validate(program, name)
        actions = plan.actions(program)
        if actions is not None:
            return program, plan.optimum(), actions


class _Plan:
    """The main values' stays, slot by slot."""

    def __init__(self, rng: np.random.Generator, lanes: int):
        self.rng = rng
        units = rng.choice(np.arange(2, 4 * lanes + 2), lanes, replace=False)
        self.lane_bytes = [int(u) * _ALIGNMENT for u in units]
        self.values: list[Value] = []
        self.accesses: list[Access] = []
        self.copies: dict[int, int] = {}  # slot -> bytes to copy in its idle time
        self.slots = 0
        self.current: list[int] = []  # main value per lane
        self.since: list[int] = []  # slot from which it may be read
        for lane in range(lanes):
            self.current.append(self.define(lane, self.slots))
            self.since.append(self.slots + 1)
            self.slots += 1
        self.mains = set(self.current)
        self.slots += 1

    def value(self, size: int, **flags: bool) -> int:
        self.values.append(Value(f"v{len(self.values)}", size, **flags))
        return len(self.values) - 1

    def access(self, t: int, v: int, kind: str, defines: bool = False) -> None:
        if not any((a.instruction, a.value, a.kind) == (t, v, kind) for a in self.accesses):
            size = self.values[v].size_bytes
            self.accesses.append(Access(t, v, kind, (), size, defines=defines))

    def define(self, lane: int, t: int) -> int:
        v = self.value(self.lane_bytes[lane])
        self.access(t, v, "write", defines=True)
        return v

    def turn(self) -> None:
        """Hands one lane to another value; the one that leaves is read one slot before."""
        t = self.slots
        ripe = [lane for lane, since in enumerate(self.since) if since < t]
        lane = int(self.rng.choice(ripe))
        self.retire(lane, t - 1)
        old = self.current[lane]
        if not self.values[old].is_input and self.rng.random() < 0.3:
            size = self.values[old].size_bytes
            self.values[old] = Value(self.values[old].name, size, is_output=True)
            self.copies[t] = size
            t += 1
        if self.rng.random() < 0.4:
            size = self.lane_bytes[lane]
            new = self.value(size, is_input=True)
            self.copies[t] = size
            self.access(t + 1, new, "read")
            self.since[lane] = t + 2
            t += 2
        else:
            new = self.define(lane, t)
            self.since[lane] = t + 1
            t += 1
        self.current[lane] = new
        self.mains.add(new)
        self.slots = t + int(self.rng.integers(1, 3))

    def retire(self, lane: int, last: int) -> None:
        """Gives the lane's value a last read, and some reads and updates before it."""
        v = self.current[lane]
        for t in range(self.since[lane], last):
            if self.rng.random() < 0.4:
                self.access(t, v, "read")
            elif self.rng.random() < 0.1 and not self.values[v].is_input:
                self.access(t, v, "write")
        self.access(last, v, "read")

    def finish(self) -> None:
        for lane in range(len(self.current)):
            self.retire(lane, self.slots - 1)

    def add_decoys(self, count: int) -> None:
        for _ in range(count):
            first, last = sorted(self.rng.choice(self.slots, 2, replace=False).tolist())
            size = int(self.rng.integers(1, sum(self.lane_bytes) // 3))
            is_input = bool(self.rng.random() < 0.5)
            v = self.value(size, is_input=is_input)
            if not is_input and not self.decoy_access(first, v, "write", defines=True):
                continue
            for t in range(first + 1, last + 1):
                if t == last or self.rng.random() < 0.2:
                    self.decoy_access(t, v, "read")

    def decoy_access(self, t: int, v: int, kind: str, defines: bool = False) -> bool:
        """Adds an access, unless main values could then save nothing at slot t.

        The game itself would drop a main value whose last access saves nothing: its inert rule does
        not know that a needless eviction follows.
        """
        self.access(t, v, kind, defines)
        main = any(a.value in self.mains for a in self.accesses if a.instruction == t)
        if main and t not in self.copies and self.all_slow_s(t) < 1.1 * self.compute_s(t):
            self.accesses.pop()
            return False
        return True

    def program(self, name: str) -> Program:
        """The program; at random, all of it is the body of a loop."""
        trips = int(self.rng.integers(2, 100)) if self.rng.random() < 0.3 else 0
        shift = 1 if trips else 0
        body = [Instruction(f"i{t}", compute_s=self.compute_s(t)) for t in range(self.slots)]
        if trips:
            body = [Instruction("entry"), *body, Instruction("exit")]
        accesses = (
            Access(a.instruction + shift, a.value, a.kind, (), a.bytes, defines=a.defines)
            for a in self.accesses
        )
        machine = Machine(
            "lanes", sum(self.lane_bytes), _ALIGNMENT, _SLOW_BANDWIDTH, _FAST_BANDWIDTH
        )
        loops = (Loop(0, len(body) - 1, trips),) if trips else ()
        return Program(name, machine, tuple(body), tuple(self.values), tuple(accesses), loops)

    def compute_s(self, t: int) -> float:
        """Seconds that slot t takes in the plan, with time for the copies that it needs there."""
        times, bus_s = {"read": 0.0, "write": 0.0}, 0.0
        for a in self.accesses:
            if a.instruction == t:
                main = a.value in self.mains
                times[a.kind] += a.bytes / (_FAST_BANDWIDTH if main else _SLOW_BANDWIDTH)
                bus_s += 0.0 if main else a.bytes / _SLOW_BANDWIDTH
        wanted = self.copies.get(t, 0)
        return _SLACK * max(*times.values(), bus_s + wanted / _SLOW_BANDWIDTH if wanted else 0.0)

    def all_slow_s(self, t: int) -> float:
        at = [a for a in self.accesses if a.instruction == t]
        read_s = sum(a.bytes for a in at if a.kind == "read") / _SLOW_BANDWIDTH
        write_s = sum(a.bytes for a in at if a.kind == "write") / _SLOW_BANDWIDTH
        return max(self.compute_s(t), read_s, write_s)

    def optimum(self) -> float:
        """One minus the compute floors over the all-slow latency (executions cancel out)."""
        floor_s = sum(self.compute_s(t) for t in range(self.slots))
        return 1 - floor_s / sum(self.all_slow_s(t) for t in range(self.slots))

    def actions(self, program: Program) -> list[int] | None:
        """The plan as actions: main values go to fast memory, but none is held over the loop.

        None if it does not attain the floor in the game.
        """
        oracle, actions = Oracle(program), []
        entries = {loop.entry for loop in program.loops}
        while oracle.question is not None:
            kind, v, t = oracle.question
            wanted = v in self.mains and t not in entries
            action = (COPY if kind == "read" else NO_COPY) if wanted else DROP
            oracle.step(action)
            actions.append(action)
        attained = oracle.saved_ticks == oracle.total_ticks - oracle.tables.floor_ticks
        return actions if attained else None
