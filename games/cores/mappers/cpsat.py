"""The whole problem as a constraint program, solved by CP-SAT of OR-Tools (extra `cpsat`).

A *stay* is a copy of a value in a memory, from the start of what makes it to when it is dropped or
vanishes. Every value may stay up to `STAYS` times in each memory, once in the external one. Groups
are sets of intervals that do not overlap, memories are cumulative. A stay may end before its value
is dead if another stay of the value goes on.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from typing import Any

from gamekit.errors import InputError
from games.cores.judge import judge
from games.cores.mappers.bounds import Bounds
from games.cores.mappers.local_search import local_search
from games.cores.mappers.mapped import Mapped, better
from games.cores.problem.problem import Problem
from games.cores.problem.schedule import Drop, Event, Schedule, Start, Transfer

# Of a value in a memory with a limit; in larger problems one, so that the model stays small.
STAYS, LARGE = 2, 60
# The reference's cost in units of the objective.
UNITS = 10**10
# Part of the budget that local search takes first, for a bound on the cost.
FIRST = 0.1


def cpsat(problem: Problem, budget_s: float, seed: int, workers: int = 1) -> Mapped:
    """The best schedule within the budget, no worse than a short local search. Proven: by the
    solver, among schedules in which no value stays in a memory more than `STAYS` times.

    Raises:
      InputError: the package is not installed.
    """
    try:
        from ortools.sat.python import cp_model  # pyright: ignore[reportMissingImports]
    except ImportError:
        remedy = "pip install 'mallocgame[cpsat]'"
        raise InputError(f"cpsat: needs the package ortools; {remedy}") from None
    deadline = time.perf_counter() + budget_s
    first = local_search(problem, FIRST * budget_s, seed)
    stays = STAYS if len(problem.values) <= LARGE else 1
    model = _Model(cp_model, problem, stays, first.cost)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = seed % (1 << 31)
    solver.parameters.max_time_in_seconds = max(deadline - time.perf_counter(), 0.01)
    status = solver.solve(model.model)
    if status == cp_model.INFEASIBLE:
        # Nothing costs less than the bound, which is local search's cost.
        return dataclasses.replace(first, proven=stays == STAYS)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return first
    schedule = in_order(problem, model.events(solver))
    if schedule is None:
        return first
    found = Mapped(schedule, judge(problem, schedule).cost)
    proven = status == cp_model.OPTIMAL and stays == STAYS
    return dataclasses.replace(better(found, first), proven=proven)


def in_order(problem: Problem, events: list[Event]) -> Schedule | None:
    """The events with those of one moment in an order that the rules allow; drops of what has
    vanished are left out. None without such an order."""
    ordered = sorted(events, key=lambda e: (e.time, isinstance(e, Drop) - 1))
    ordered.sort(key=lambda e: e.time)
    # An event that is not possible changes places with the next one of its moment.
    for _ in range(4 * len(ordered) ** 2 + 4):
        found = judge(problem, Schedule(tuple(ordered)))
        if found.valid:
            return Schedule(tuple(ordered))
        assert found.violation is not None
        if not found.violation.startswith("event "):
            return None
        at = int(found.violation.split()[1])
        event = ordered[at]
        if at + 1 < len(ordered) and ordered[at + 1].time == event.time:
            ordered[at], ordered[at + 1] = ordered[at + 1], event
        elif isinstance(event, Drop):
            del ordered[at]
        else:
            return None
    return None


@dataclasses.dataclass
class _Stay:
    """present: literal. start, ready, end: variables. reads: literals of what reads it."""

    value: int
    memory: int
    present: Any
    start: Any
    ready: Any
    end: Any
    dropped: Any
    makers: list[Any] = dataclasses.field(default_factory=list)
    reads: list[Any] = dataclasses.field(default_factory=list)


class _Model:
    """The variables and constraints of one problem."""

    def __init__(self, cp: Any, problem: Problem, stays: int, most: float):
        self.problem, self.model = problem, cp.CpModel()
        self.horizon = self._horizon(stays)
        self.busy: list[list[Any]] = [[] for _ in problem.groups]
        self.bounds = Bounds(problem)
        self.end = self._time("end")
        self.begin = {v: self._time(f"begin{v}") for v in problem.operations}
        self.runs = [self._bool(f"runs{a}") for a in range(len(problem.allocations))]
        self.stays = {
            (v, m): [self._stay(v, m, i) for i in range(1 if m == problem.external else stays)]
            for v in range(len(problem.values))
            for m in range(len(problem.memories))
        }
        self.moves: list[tuple[int, int, Any, Any]] = []
        self._operations()
        self._transfers()
        self._lives()
        self._memories()
        self._objective(most)

    def _horizon(self, stays: int) -> int:
        problem = self.problem
        work = sum(
            max(problem.allocations[a].time for a in problem.allocations_of[v])
            for v in problem.operations
        )
        moves = sum(
            problem.transfer_time(c, v)
            for c in range(len(problem.channels))
            for v in range(len(problem.values))
        )
        return work + stays * moves + 1

    def _bool(self, name: str) -> Any:
        return self.model.new_bool_var(name)

    def _time(self, name: str) -> Any:
        return self.model.new_int_var(0, self.horizon, name)

    def _stay(self, v: int, m: int, i: int) -> _Stay:
        name = f"{v}_{m}_{i}"
        return _Stay(
            v,
            m,
            self._bool(f"stays{name}"),
            self._time(f"from{name}"),
            self._time(f"ready{name}"),
            self._time(f"until{name}"),
            self._bool(f"dropped{name}"),
        )

    def _interval(self, group: int, start: Any, time: int, present: Any) -> None:
        interval = self.model.new_optional_fixed_size_interval_var(start, time, present, "")
        self.busy[group].append(interval)

    def _made(self, stay: _Stay, start: Any, time: int, by: Any) -> None:
        """A stay begins with what makes it."""
        self.model.add(stay.start == start).only_enforce_if(by)
        self.model.add(stay.ready == start + time).only_enforce_if(by)
        stay.makers.append(by)

    def _read(self, stay: _Stay, start: Any, time: int, by: Any) -> None:
        """A stay goes on until what reads it is over."""
        self.model.add_implication(by, stay.present)
        self.model.add(start >= stay.ready).only_enforce_if(by)
        self.model.add(start + time <= stay.end).only_enforce_if(by)
        stay.reads.append(by)

    def _operations(self) -> None:
        problem = self.problem
        for v in problem.operations:
            ways = problem.allocations_of[v]
            self.model.add_exactly_one(self.runs[a] for a in ways)
            for a in ways:
                allocation, runs = problem.allocations[a], self.runs[a]
                self._interval(allocation.group, self.begin[v], allocation.time, runs)
                self._made(
                    self.stays[v, allocation.output][0], self.begin[v], allocation.time, runs
                )
                for i, (u, m) in enumerate(
                    zip(problem.values[v].inputs, allocation.inputs, strict=True)
                ):
                    chosen = [self._bool(f"reads{a}_{i}_{k}") for k in range(len(self.stays[u, m]))]
                    self.model.add(sum(chosen) == runs)
                    for stay, by in zip(self.stays[u, m], chosen, strict=True):
                        self._read(stay, self.begin[v], allocation.time, by)
                self.model.add(self.end >= self.begin[v] + allocation.time).only_enforce_if(runs)
            for u in problem.values[v].after:
                if u in self.begin:
                    self.model.add(self.begin[v] >= self.begin[u])
            self.model.add(self.end >= self.begin[v] + self.bounds.tail[v])

    def _transfers(self) -> None:
        problem = self.problem
        for c, channel in enumerate(problem.channels):
            for v in range(len(problem.values)):
                if channel.target == problem.external and v in problem.given:
                    continue
                time = problem.transfer_time(c, v)
                for source in self.stays[v, channel.source]:
                    for target in self.stays[v, channel.target]:
                        by = self._bool("moves")
                        self._interval(channel.group, target.start, time, by)
                        self._made(target, target.start, time, by)
                        self._read(source, target.start, time, by)
                        self.model.add(self.end >= target.ready).only_enforce_if(by)
                        self.moves.append((c, v, by, target.start))
        for intervals in self.busy:
            self.model.add_no_overlap(intervals)

    def _lives(self) -> None:
        problem, model = self.problem, self.model
        for v in range(len(problem.values)):
            every = [s for m in range(len(problem.memories)) for s in self.stays[v, m]]
            for m in range(len(problem.memories)):
                stays = self.stays[v, m]
                for earlier, later in itertools.pairwise(stays):
                    model.add_implication(later.present, earlier.present)
                    model.add(later.start >= earlier.end).only_enforce_if(later.present)
            for stay in every:
                at_home = stay.memory == problem.external
                if at_home and v in problem.given:
                    model.add(stay.present == 1)
                    model.add(stay.start == 0)
                    model.add(stay.ready == 0)
                else:
                    model.add(sum(stay.makers) == stay.present)
                    if not (at_home and v in problem.wanted):
                        # Nothing is brought where nothing reads it.
                        model.add_bool_or(stay.reads).only_enforce_if(stay.present)
                model.add(stay.end >= stay.ready)
                if at_home:
                    model.add(stay.end == self.horizon)
                    continue
                until = [self.begin[c] for c in problem.consumers[v]]
                if v in problem.wanted:
                    until = [self.horizon]
                for moment in until:
                    model.add(stay.end >= moment).only_enforce_if(~stay.dropped)
                self._covered(stay, [other for other in every if other is not stay])
            if v in problem.wanted:
                model.add(self.stays[v, problem.external][0].present == 1)

    def _covered(self, stay: _Stay, others: list[_Stay]) -> None:
        """Where a stay is dropped another one of the value is there, and stays longer."""
        covers = []
        for other in others:
            by = self._bool("covers")
            self.model.add_implication(by, other.present)
            self.model.add(other.start <= stay.end).only_enforce_if(by)
            self.model.add(other.end >= stay.end + 1).only_enforce_if(by)
            covers.append(by)
        self.model.add_bool_or([~stay.dropped, *covers])
        self.model.add_implication(stay.dropped, stay.present)

    def _memories(self) -> None:
        problem = self.problem
        self.peaks = []
        for m, memory in enumerate(problem.memories):
            if memory.bits is None:
                continue
            intervals, sizes = [], []
            for v, value in enumerate(problem.values):
                for stay in self.stays[v, m]:
                    length = self._time("length")
                    intervals.append(
                        self.model.new_optional_interval_var(
                            stay.start, length, stay.end, stay.present, ""
                        )
                    )
                    sizes.append(value.bits)
            peak: Any = memory.bits
            if problem.prices[2]:
                peak = self.model.new_int_var(0, memory.bits, f"peak{m}")
                self.peaks.append(peak)
            self.model.add_cumulative(intervals, sizes, peak)

    def _objective(self, most: float) -> None:
        problem = self.problem
        time, energy, peak = (price * UNITS for price in problem.prices)
        terms = [round(time) * self.end]
        terms += [round(peak) * x for x in self.peaks]
        for a, runs in enumerate(self.runs):
            terms.append(round(energy * problem.allocations[a].energy) * runs)
        for c, v, by, _ in self.moves:
            terms.append(round(energy * problem.transfer_energy(c, v)) * by)
        self.model.minimize(sum(terms))
        # Better than what is known, up to rounding.
        self.model.add(sum(terms) <= round(most * UNITS * (1 - 1e-6)))

    def events(self, solver: Any) -> list[Event]:
        """The starts, transfers and drops of a solution."""
        problem = self.problem
        found: list[Event] = []
        for a, runs in enumerate(self.runs):
            if solver.value(runs):
                found.append(Start(solver.value(self.begin[problem.allocations[a].value]), a))
        for c, v, by, start in self.moves:
            if solver.value(by):
                found.append(Transfer(solver.value(start), c, v))
        for stays in self.stays.values():
            for stay in stays:
                if solver.value(stay.present) and solver.value(stay.dropped):
                    found.append(Drop(solver.value(stay.end), stay.value, stay.memory))
        return found
