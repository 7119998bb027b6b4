"""A linear model that every valid mapping satisfies; the lower bound and the MILP minimise it.

Each value flows through its life (`.points`) in one of three states: S (only slow memory holds it),
C (fast memory holds it too, clean) and D (only fast memory holds it, dirty).  Changes of state ask
for time of the slow bus: S to C is a prefetch, D to C or S an eviction.  Values share fast memory
(bytes in every slot), supply (idle time of the segment, by deadlines and by releases) and the time
of the instructions that access them, the maximum of compute, reads and writes.

A copy takes its place for at least as many slots as it needs with the bus to itself, or it stalls.
Times are tightened for flows of 0 or 1: a read saves no more than it takes to bring its instruction
down to the floor.  Left out, which can only lower the optimum: offsets (fragmentation), how copies
share the bus beyond prefix and suffix sums of each segment's supply, later iterations of a loop,
and that accesses may take longer in fast memory (what copies gain by a longer instruction, it takes
itself). Latency is in units of the all-slow latency, and bytes in units of the capacity.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy import sparse

from mallocgame.program import Program
from mallocgame.program.levels import Levels
from mallocgame.program.times import Times
from mallocgame.relaxation.points import Life, Piece, lives
from mallocgame.relaxation.rows import Rows, Terms, less, most_idle, surplus, tightened

# Columns of a piece, in this order: crossed in C; given up from C; crossed in D; evicted and kept;
# evicted and given up; prefetched by the piece's end; given up from D without a copy; crossed in S.
HOLD_C, DROP_C, HOLD_D, CLEAN_D, EVICT_D, COPY, LOSE_D, SLOW = range(8)
HOLDS = (HOLD_C, HOLD_D, CLEAN_D)
MOST_WAYS = 12  # the most slots for which a copy in progress is modelled


@dataclasses.dataclass(frozen=True)
class Relaxation:
    """min constant + cost @ x, with a_ub @ x <= b_ub, a_eq @ x == b_eq, 0 <= x <= upper.

    flows: bool [N]; columns that are 0 or 1 in every mapping.
    pieces: (value, piece) -> the first of its columns, in the order `HOLD_C` .. `SLOW`.
    defined: value -> the column that is 1 if the value is defined in slow memory; the next one is 1
        if it is defined in fast memory.
    ways: column -> the columns that add up to it, for copies that may be made in several ways.
    conserved: bool, rows of `a_eq` that say that what flows into a point flows out of it, or that
        ways add up.
    above: per slot, the column of the time above the floor.
    slowed: float64, per row of `a_ub`, what all accesses of an instruction in slow memory add up to
        in the rows that hold its time up; 0 in others.
    supply_rows: per slot, the rows of `a_eq` that hand its supply on, forwards and backwards; -1 in
        segments without copies.
    capacity_rows: the first of the last rows of `a_ub`, one per slot, which keep slots within
        capacity.
    constant: latency that remains with all that fits in fast memory, in units of `scale_s`.
    scale_s: all-slow latency in seconds.
    """

    cost: np.ndarray
    a_ub: sparse.csr_array
    b_ub: np.ndarray
    a_eq: sparse.csr_array
    b_eq: np.ndarray
    upper: np.ndarray
    flows: np.ndarray
    pieces: dict[tuple[int, int], int]
    defined: dict[int, int]
    ways: dict[int, list[int]]
    conserved: np.ndarray
    above: np.ndarray
    slowed: np.ndarray
    supply_rows: np.ndarray
    lives: list[Life]
    capacity_rows: int
    constant: float
    scale_s: float


def relax(program: Program) -> Relaxation | None:
    """The model of a program; None if the program takes no time with everything in slow memory."""
    times = Times(program)
    return _RelaxationBuilder(program, times).run() if times.scale_s > 0 else None


class _RelaxationBuilder:
    def __init__(self, program: Program, times: Times):
        self.program, self.times, self.levels = program, times, Levels(program)
        self.total = len(program.instructions)
        self.most_idle = most_idle(program, times)
        self.results = {(g.loop, g.result) for g in program.carried}
        self.parameters = {(g.loop, g.parameter) for g in program.carried}
        members = {g.result for g in program.carried}
        self.handed_over = {
            (a.value, a.instruction) for a in program.accesses if a.defines and a.value in members
        }
        self.cost: list[float] = []
        self.upper: list[float] = []
        self.ub, self.eq = Rows(), Rows()
        self.pieces: dict[tuple[int, int], int] = {}
        self.defined: dict[int, int] = {}
        self.ways: dict[int, list[int]] = {}
        self.above: list[int] = []
        self.slowed: dict[int, float] = {}
        self.supply_rows = np.full((self.total, 2), -1)
        self.slow_at: dict[int, Terms] = {}  # access -> 1 if slow memory serves it
        self.fast_at: dict[tuple[int, int], Terms] = {}  # (value, boundary) -> 1 if it crosses it
        # Per slot, what changes there: bytes in use, copies due before it, copies released at it.
        slots = range(self.total + 1)
        self.occupied: list[Terms] = [[] for _ in slots]
        self.certain = np.zeros(self.total + 1)
        self.due: list[Terms] = [[] for _ in slots]
        self.released: list[Terms] = [[] for _ in slots]
        self.demands: dict[int, float] = {}  # segment -> all that its copies may ask for

    def run(self) -> Relaxation:
        mine = lives(self.program)
        for life in mine:
            self._life(life)
        count, conserved = len(self.cost), len(self.eq.right)
        for life in mine:
            self._loops(life)
        self._groups()
        supply = self._instructions()
        self._supply(supply)
        capacity_rows = len(self.ub.right)
        self._capacity()
        columns = len(self.cost)
        return Relaxation(
            cost=np.array(self.cost),
            a_ub=self.ub.matrix(columns),
            b_ub=np.array(self.ub.right),
            a_eq=self.eq.matrix(columns),
            b_eq=np.array(self.eq.right),
            upper=np.array(self.upper),
            flows=np.arange(columns) < count,
            pieces=self.pieces,
            defined=self.defined,
            ways=self.ways,
            conserved=np.arange(len(self.eq.right)) < conserved,
            above=np.array(self.above),
            slowed=np.array([self.slowed.get(i, 0.0) for i in range(len(self.ub.right))]),
            supply_rows=self.supply_rows,
            lives=mine,
            capacity_rows=capacity_rows,
            constant=math.fsum(self.times.weight * self.times.floor),
            scale_s=self.times.scale_s,
        )

    def _column(self, upper: float, cost: float = 0.0) -> int:
        self.cost.append(cost)
        self.upper.append(upper)
        return len(self.cost) - 1

    def _life(self, life: Life) -> None:
        """Adds one value's flow, with what it needs of memory and bus."""
        v = life.value
        slow: Terms = []  # what flows into S, C and D after a point
        clean: Terms = []
        dirty: Terms = []
        initial = 1.0
        if not self.program.values[v].is_input:
            self.defined[v] = self._column(1.0)
            made_fast = self._column(1.0)
            slow, dirty, initial = [(self.defined[v], 1.0)], [(made_fast, 1.0)], 0.0
            self.eq.add([*slow, *dirty], 1.0)
            self._serve(v, life.points[0].slot, life.points[0].accesses, slow)
        for k, piece in enumerate(life.pieces):
            base = self._piece(v, k, piece)
            of = [(base + kind, 1.0) for kind in range(SLOW + 1)]
            given_up = [of[DROP_C], of[EVICT_D], of[LOSE_D]]
            self.eq.add([of[SLOW], of[COPY], *less(given_up), *less(slow)], initial)
            self.eq.add([of[HOLD_C], of[DROP_C], *less(clean)])
            self.eq.add([of[HOLD_D], of[CLEAN_D], of[EVICT_D], of[LOSE_D], *less(dirty)])
            initial = 0.0
            slow = [of[SLOW]]
            clean, dirty = [of[HOLD_C], of[CLEAN_D], of[COPY]], [of[HOLD_D]]
            point = life.points[piece.after]
            if point.accesses:
                self._serve(v, point.slot, point.accesses, slow)
                if any(self.program.accesses[i].kind == "write" for i in point.accesses):
                    clean, dirty = [], [*clean, *dirty]
            else:
                self.fast_at[v, point.slot] = [*clean, *dirty]

    def _serve(self, v: int, slot: int, accesses: tuple[int, ...], slow: Terms) -> None:
        """Adds a slot's accesses; `slow` is 1 if slow memory serves them."""
        for i in accesses:
            self.slow_at[i] = slow
        if (v, slot) not in self.handed_over:
            size = self._size(v)
            self.certain[slot] += size
            self.occupied[slot] += [(column, -size) for column, _ in slow]
            self.occupied[slot + 1] += [(column, size) for column, _ in slow]

    def _size(self, v: int) -> float:
        machine = self.program.machine
        return machine.align(self.program.values[v].size_bytes) / machine.fast_capacity_bytes

    def _piece(self, v: int, k: int, piece: Piece) -> int:
        """Adds one piece's columns, their demands on the bus and their bytes between the points.

        A prefetch ends at a slot of its segment, an eviction after one (docs/game.md, section 8).
        """
        base = self.pieces[v, k] = len(self.cost)
        for _ in range(SLOW + 1):
            self._column(1.0)
        if piece.needed:
            self.upper[base + LOSE_D] = 0.0
            if piece.last == self.total:
                self.upper[base + HOLD_D] = 0.0
        if piece.first < piece.last:
            size = self._size(v)
            self.occupied[piece.first] += [(base + kind, size) for kind in HOLDS]
            self.occupied[piece.last] += [(base + kind, -size) for kind in HOLDS]
        release, until = max(piece.segment, piece.written + 1), piece.last - piece.at_boundary
        self._copy([base + CLEAN_D], v, piece, [(release, piece.last)], [])
        # A prefetch is as late as possible: one way for each number of slots that it may take.
        starts = self._useful(v, range(until - 1, release - 1, -1))
        windows = [(until, until), *((s, until) for s in starts)]
        windows[-1] = (min(release, until), until)
        places = [(s, piece.last) for s in (until, *starts)]
        self._copy(self._ways(base + COPY, len(windows)), v, piece, windows, places)
        # An eviction is as early as possible.
        ends = [s + 1 for s in self._useful(v, range(release, piece.last))]
        windows = [(release, release), *((release, e) for e in ends)]
        windows[-1] = (release, max(release, piece.last))
        places = [(piece.first, e) for e in (release, *ends)]
        self._copy(self._ways(base + EVICT_D, len(windows)), v, piece, windows, places)
        return base

    def _useful(self, v: int, slots: range) -> list[int]:
        """Those of the slots, in the order in which a copy takes them, that have supply for it."""
        useful: list[int] = []
        missing = float(self.times.demand[v])
        for t in slots:
            if missing <= 0 or len(useful) >= MOST_WAYS:
                break
            if self.most_idle[t] > 0:
                useful.append(t)
                missing -= self.most_idle[t]
        return useful

    def _ways(self, column: int, count: int) -> list[int]:
        """`count` columns that add up to `column`; `column` itself if one is enough."""
        if count == 1:
            return [column]
        ways = self.ways[column] = [self._column(1.0) for _ in range(count)]
        self.eq.add([(column, 1.0), *((way, -1.0) for way in ways)])
        return ways

    def _copy(
        self,
        columns: list[int],
        v: int,
        piece: Piece,
        windows: list[tuple[int, int]],
        places: list[tuple[int, int]],
    ) -> None:
        """Adds copies: each has the supply of a window, and slots for which it takes a place."""
        demand, size = float(self.times.demand[v]), self._size(v)
        for column, (start, end) in zip(columns, windows, strict=True):
            missing = max(0.0, demand - float(self.most_idle[start:end].sum()))
            self.cost[column] += self.times.weight[piece.segment] * missing
            if missing < demand:
                asked = demand - missing
                self.due[end].append((column, asked))
                self.released[start].append((column, asked))
                self.demands[piece.segment] = self.demands.get(piece.segment, 0.0) + asked
        for column, (start, end) in zip(columns, places, strict=False):
            if start < end:
                self.occupied[start].append((column, size))
                self.occupied[end].append((column, -size))

    def _loops(self, life: Life) -> None:
        """A value that crosses one end of a loop's body crosses all of it, except groups."""
        v = life.value
        for i, loop in enumerate(self.program.loops):
            entering = self.fast_at.get((v, loop.entry + 1), [])
            leaving = self.fast_at.get((v, loop.exit), [])
            if leaving and not entering and (i, v) not in self.results:
                self.ub.add(leaving)
            inside = [
                self.pieces[v, k]
                for k, piece in enumerate(life.pieces)
                if loop.entry < piece.segment < loop.exit
            ]
            for base in inside:
                hold: Terms = [(base + kind, -1.0) for kind in HOLDS]
                if entering and (i, v) not in self.parameters:
                    self.ub.add([*entering, *hold])
                if entering and leaving and (i, v) not in self.results:
                    self.ub.add([*leaving, *hold])
            if entering and leaving and (i, v) not in self.results:
                self.ub.add([*leaving, *less(entering)])

    def _groups(self) -> None:
        """A group is in fast memory at both ends of the body or at neither."""
        for group in self.program.carried:
            loop = self.program.loops[group.loop]
            entering = self.fast_at.get((group.parameter, loop.entry + 1))
            leaving = self.fast_at.get((group.result, loop.exit))
            if entering is None or leaving is None:
                continue
            self.ub.add([*entering, *less(leaving)])
            # A parameter that the body does not access has no boundary at its entry, and the result
            # may then leave alone.
            self.ub.add([*leaving, *less(entering)])

    def _instructions(self) -> list[int]:
        """Adds elapsed times above the floor; returns the columns of the supply they leave: [T]."""
        times = self.times
        of_slot: list[list[int]] = [[] for _ in range(self.total)]
        for i, t in enumerate(times.slot):
            of_slot[t].append(i)
        supply = []
        for t, accesses in enumerate(of_slot):
            spread = float(times.slow_elapsed[t] - times.floor[t])
            above = self._column(spread, float(times.weight[t]))
            self.above.append(above)
            sides = {True: float(times.fixed_read[t]), False: float(times.fixed_write[t])}
            bus, bus_terms = float(times.fixed_bus[t]), []
            slowed: dict[bool, Terms] = {True: [], False: []}
            for i in accesses:
                side = bool(times.reads[i])
                if i not in self.slow_at:
                    sides[side] += float(times.slow[i])
                    bus += float(times.bus[i])
                    continue
                sides[side] += float(times.best[i])
                for column, _ in self.slow_at[i]:
                    slowed[side].append((column, float(times.slow[i] - times.best[i])))
                    bus_terms.append((column, float(times.bus[i])))
            for side, terms in slowed.items():
                for row, right in tightened(terms, sides[side], float(times.floor[t])):
                    self.slowed[len(self.ub.right)] = sum(factor for _, factor in row)
                    self.ub.add([*row, (above, -1.0)], right)
            used = self._column(float(times.slow_elapsed[t]))
            self.ub.add([(used, 1.0), (above, -1.0)], float(times.floor[t]))
            spare = surplus(bus, bus_terms, sides, slowed, float(times.compute[t]))
            right = float(times.floor[t]) - bus + spare
            self.ub.add([(used, 1.0), (above, -1.0), *bus_terms], right)
            supply.append(used)
        return supply

    def _supply(self, used: list[int]) -> None:
        """The copies of a segment fit into its supply and its stalls, seen from either end."""
        for first in sorted(set(self.levels.segment)):
            end = first
            while end < self.total and self.levels.segment[end] == first:
                end += 1
            most = self.demands.get(first, 0.0)
            if not most:
                continue
            stall = self._column(most, float(self.times.weight[first]))
            room = most + float(self.times.slow_elapsed[first:end].sum())
            left = stall
            for t in range(first, end):
                now = self._column(room)
                self.supply_rows[t, 0] = len(self.eq.right)
                self.eq.add([(now, 1.0), (left, -1.0), (used[t], -1.0), *self.due[t + 1]])
                left = now
            left = stall
            for t in reversed(range(first, end)):
                now = self._column(room)
                self.supply_rows[t, 1] = len(self.eq.right)
                self.eq.add([(now, 1.0), (left, -1.0), (used[t], -1.0), *self.released[t]])
                left = now

    def _capacity(self) -> None:
        machine = self.program.machine
        full = float(sum(self._size(v) for v in range(len(self.program.values))))
        before = None
        for t in range(self.total):
            reserved = self.program.instructions[t].reserved_bytes
            free = 1.0 - machine.align(reserved) / machine.fast_capacity_bytes
            # Bytes in use, shifted by those that `occupied` counts off: never negative.
            now = self._column(2 * full)
            terms: Terms = [(now, 1.0), *less(self.occupied[t])]
            if before is not None:
                terms.append((before, -1.0))
            shift = full if before is None else 0.0
            self.eq.add(terms, shift)
            self.ub.add([(now, 1.0)], full + free - self.certain[t])
            before = now


def wanted_accesses(model: Relaxation, x: np.ndarray) -> dict[int, set[int]]:
    """For each value, the slots at which a solution has it in fast memory when it is accessed."""
    wanted: dict[int, set[int]] = {}
    for life in model.lives:
        v = life.value
        if v in model.defined and x[model.defined[v]] < 0.5:
            wanted.setdefault(v, set()).add(life.points[0].slot)
        for k, piece in enumerate(life.pieces):
            point = life.points[piece.after]
            if point.accesses and x[model.pieces[v, k] + SLOW] < 0.5:
                wanted.setdefault(v, set()).add(point.slot)
    return wanted
