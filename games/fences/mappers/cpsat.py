"""The whole problem as a constraint program, solved by CP-SAT of OR-Tools (extra `cpsat`).

Streams are circuits: an arc from one operation to the next of its device, with a node 0 for both
ends.  `fence[i, j]` says that a fence stands right behind i, and a sync on it right before j, on
the other device.  What is needed is handed over by a fence not before it and a sync not after its
reader; positions tell what is before what.  Times are whole ticks, one variable for each outcome of
the conditions.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from gamekit.errors import InputError
from games.fences.mappers.board import Board
from games.fences.mappers.exhaustive import replayed
from games.fences.mappers.simple import batching, critical_path
from games.fences.program.program import Program
from games.fences.program.schedule import Placement, shared_levels

# One unit of time or cost is so many ticks; figures of the language have at most three digits.
TICKS = 1000


@dataclasses.dataclass(frozen=True)
class Solution:
    """placements: of the best schedule found. proven: whether none costs less, up to ticks."""

    placements: tuple[Placement, ...]
    proven: bool


def cpsat(program: Program, budget_s: float, workers: int = 1) -> Solution:
    """Solves within a time limit; never worse than the simple rules, which it starts from.

    Raises:
      InputError: the package is not installed.
    """
    try:
        from ortools.sat.python import cp_model  # pyright: ignore[reportMissingImports]
    except ImportError:
        remedy = "pip install 'mallocgame[cpsat]'"
        raise InputError(f"cpsat: needs the package ortools; {remedy}") from None
    board = Board(program)
    simple = min(
        (replayed(board, rule(program)) for rule in (batching, critical_path)), key=board.cost
    )
    model = _Model(cp_model, program)
    model.hint(simple.placements)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = budget_s
    solver.parameters.num_workers = workers
    status = solver.solve(model.model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Solution(simple.placements, False)
    found = replayed(board, model.placements(solver))
    best = min(found, simple, key=board.cost)
    return Solution(best.placements, status == cp_model.OPTIMAL)


def _ticks(value: float) -> int:
    return round(value * TICKS)


class _Model:
    """The variables and constraints of one program."""

    def __init__(self, cp: Any, program: Program):
        self.program, self.model = program, cp.CpModel()
        self._n = len(program.operations)
        self._numbers = range(self._n)
        self._gpu = [self.model.new_bool_var(f"gpu{i}") for i in self._numbers]
        self._position = [
            self.model.new_int_var(0, self._n - 1, f"position{i}") for i in self._numbers
        ]
        # An order of both streams together, which keeps them from waiting for each other.
        self._rank = [self.model.new_int_var(0, self._n - 1, f"rank{i}") for i in self._numbers]
        self._devices()
        self._streams()
        self._fences()
        self._order()
        self._times()
        self._objective()

    def _devices(self) -> None:
        for i, op in enumerate(self.program.operations):
            if not op.may_run(1):
                self.model.add(self._gpu[i] == 0)
            elif not op.may_run(0):
                self.model.add(self._gpu[i] == 1)

    def _on(self, i: int, device: int) -> Any:
        return self._gpu[i] if device else ~self._gpu[i]

    def _streams(self) -> None:
        """follows[i, j]: j is right behind i in the stream of both."""
        self.follows: dict[tuple[int, int], Any] = {}
        of_device: list[dict[tuple[int, int], Any]] = [{}, {}]
        for device in (0, 1):
            arcs = [(0, 0, self.model.new_bool_var(f"empty{device}"))]
            for i in self._numbers:
                arcs.append((i + 1, i + 1, ~self._on(i, device)))
                for ends in ((0, i + 1), (i + 1, 0)):
                    arcs.append((*ends, self.model.new_bool_var(f"end{device}_{ends}")))
                for j in self._numbers:
                    if i != j:
                        arc = self.model.new_bool_var(f"arc{device}_{i}_{j}")
                        arcs.append((i + 1, j + 1, arc))
                        of_device[device][i, j] = arc
            self.model.add_circuit(arcs)
        for pair in of_device[0]:
            both = self.model.new_bool_var(f"follows{pair}")
            self.model.add(both == of_device[0][pair] + of_device[1][pair])
            self.model.add(self._position[pair[1]] == self._position[pair[0]] + 1).only_enforce_if(
                both
            )
            self._ranked(*pair, both)
            self.follows[pair] = both

    def _ranked(self, first: int, second: int, where: Any) -> None:
        self.model.add(self._rank[first] < self._rank[second]).only_enforce_if(where)

    def _fences(self) -> None:
        self.fence: dict[tuple[int, int], Any] = {}
        for i in self._numbers:
            for j in self._numbers:
                if i != j:
                    fence = self.model.new_bool_var(f"fence{i}_{j}")
                    self.model.add(self._gpu[i] + self._gpu[j] == 1).only_enforce_if(fence)
                    self._ranked(i, j, fence)
                    self.fence[i, j] = fence
        # A sync waits for one fence, and a fence is waited for once.
        for i in self._numbers:
            self.model.add_at_most_one(self.fence[i, j] for j in self._numbers if i != j)
            self.model.add_at_most_one(self.fence[j, i] for j in self._numbers if i != j)

    def _not_after(self, i: int, j: int) -> Any:
        """Whether i is j, or before it in the stream of both; means nothing on two devices."""
        if i == j:
            return True
        key = (i, j)
        if key not in self._before:
            before = self.model.new_bool_var(f"before{i}_{j}")
            self.model.add(self._position[i] < self._position[j]).only_enforce_if(before)
            self._before[key] = before
        return self._before[key]

    def _order(self) -> None:
        """What comes first is before its reader in one stream, or handed over to the other one."""
        self._before: dict[tuple[int, int], Any] = {}
        self._crosses: dict[int, list[Any]] = {}
        for c, op in enumerate(self.program.operations):
            for p in op.before:
                crosses = self.model.new_bool_var(f"crosses{p}_{c}")
                self.model.add_bool_xor(self._gpu[p], self._gpu[c], ~crosses)
                self.model.add(self._position[p] < self._position[c]).only_enforce_if(~crosses)
                ways = []
                for (i, j), fence in self.fence.items():
                    way = self.model.new_bool_var(f"way{p}_{c}_{i}_{j}")
                    self.model.add_implication(way, fence)
                    self.model.add(self._gpu[i] == self._gpu[p]).only_enforce_if(way)
                    for first, second in ((p, i), (j, c)):
                        if first != second:
                            self.model.add_implication(way, self._not_after(first, second))
                    ways.append(way)
                self.model.add_bool_or(ways).only_enforce_if(crosses)
                if p in op.data:
                    self._crosses.setdefault(p, []).append(crosses)

    def _times(self) -> None:
        program = self.program
        longest = sum(max(t for t in op.times if t is not None) for op in program.operations)
        horizon = _ticks(longest + program.weights.latency * (self._n + 1))
        latency = _ticks(program.weights.latency)
        self._spans = []
        for k in range(len(program.outcomes)):
            end = [self.model.new_int_var(0, horizon, f"end{i}_{k}") for i in self._numbers]
            begin = []
            for i, op in enumerate(program.operations):
                cpu, gpu = (_ticks(t or 0.0) * program.runs[i][k] for t in op.times)
                begin.append(end[i] - cpu - (gpu - cpu) * self._gpu[i])
                self.model.add(begin[i] >= 0)
            for (i, j), follows in self.follows.items():
                self.model.add(begin[j] >= end[i]).only_enforce_if(follows)
            for (i, j), fence in self.fence.items():
                self.model.add(begin[j] >= end[i] + latency).only_enforce_if(fence)
            span = self.model.new_int_var(0, horizon, f"span{k}")
            for i in self._numbers:
                self.model.add(span >= end[i])
            self._spans.append(span)

    def _objective(self) -> None:
        program, w = self.program, self.program.weights
        terms = [_ticks(w.fence + w.sync) * sum(self.fence.values())]
        constant = sum(_ticks(w.instruction) * (1 + len(op.guard)) for op in program.operations)
        for (i, j), follows in self.follows.items():
            shares = shared_levels(program.operations[i].guard, program.operations[j].guard)
            if shares:
                terms.append(-_ticks(w.instruction) * shares * follows)
        for p, crossing in self._crosses.items():
            moved = self.model.new_bool_var(f"moved{p}")
            for crosses in crossing:
                self.model.add_implication(crosses, moved)
            size = program.operations[p].bytes * program.share[p]
            terms.append(_ticks(w.byte * size) * moved)
        # The mean over outcomes, times their number, to stay whole.
        outcomes = len(self._spans)
        total = outcomes * (sum(terms) + constant)
        self.model.minimize(TICKS * total + _ticks(w.time) * sum(self._spans))

    def hint(self, placements: tuple[Placement, ...]) -> None:
        at = [0, 0]
        for it in placements:
            self.model.add_hint(self._gpu[it.operation], it.device)
            self.model.add_hint(self._position[it.operation], at[it.device])
            at[it.device] += 1

    def placements(self, solver: Any) -> tuple[Placement, ...]:
        """The streams of a solution, in an order in which both can be placed."""
        gpu = [int(solver.value(x)) for x in self._gpu]
        position = [int(solver.value(x)) for x in self._position]
        point = {j: i for (i, j), fence in self.fence.items() if solver.value(fence)}
        streams = [
            sorted((i for i in self._numbers if gpu[i] == device), key=position.__getitem__)
            for device in (0, 1)
        ]
        placed: list[Placement] = []
        done: set[int] = set()
        at = [0, 0]
        while len(placed) < self._n:
            moved = False
            for device in (0, 1):
                while at[device] < len(streams[device]):
                    i = streams[device][at[device]]
                    fences = (point[i],) if i in point else ()
                    if not {*self.program.operations[i].before, *fences} <= done:
                        break
                    placed.append(Placement(i, device, fences))
                    done.add(i)
                    at[device] += 1
                    moved = True
            assert moved, "the solution's streams wait for each other"
        return tuple(placed)
