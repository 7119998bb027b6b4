"""The host packer: local search and restarts of a complete search, in turn."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from mallocgame.packing.greedy import best_fit
from mallocgame.packing.problem import Packed, PackingProblem, live_bytes, simple_problem
from mallocgame.packing.repair import repair
from mallocgame.packing.search import INFEASIBLE, SOLVED, fresh_state, search
from mallocgame.packing.tables import Tables, items_in, tables_of

MOVES = 500  # of local search before each complete search
PATIENCE = 200_000  # moves without progress, once it is known that not all can be placed
NODES = 3000  # of the first complete searches
BLUR = 0.1  # standard deviation of the logarithm of a key, after the first round
SECONDS_PER_INCIDENCE = 2e-8  # of a node or a move, an upper guess until one was measured


def pack(problem: PackingProblem, seconds: float = 10.0, seed: int = 0) -> Packed:
    """Places all items, or as many as it can.

    Items are placed at the best fit first, by bytes times slots.  Then two take turns: local
    search, which goes on where it was, and a complete search, which starts again with another order
    of preference and more nodes.  It ends when all is placed or with the time.  Once it is known
    that not all can be placed, it ends when local search makes no more progress.

    Args:
      seconds: the budget on one core.  What is compiled on a machine's first calls does not count:
        little for what the best fit solves, ten seconds and more for the first that it does not.
      seed: the same seed gives the same answer, unless the time ends it.
    """
    packer = _Packer(problem, seed)
    if packer.missing():
        compile_kernels()
    return packer.run(seconds)


def compile_kernels() -> None:
    """Compiles the kernels, or loads them where an earlier process has compiled them."""
    if not search.signatures:
        packer = _Packer(simple_problem(1, [1, 1], [0, 0], [1, 1]), 0)
        packer.search(np.arange(2), 1)
        packer.repair(1)


class _Packer:
    """One problem being packed; times are those of `time.perf_counter`."""

    def __init__(self, problem: PackingProblem, seed: int):
        self.problem = problem
        self.begin = self.end = 0.0
        self.rng = np.random.default_rng(seed)
        self.tables = tables_of(problem)
        n = len(self.tables.size)
        self.salt = self.rng.integers(1, 1 << 62, n)
        self.draw = self.rng.integers(1, 1 << 62, 1)
        self.items = items_in(self.tables, np.arange(n), self.salt)
        self.weight = np.ones(n)
        self.tries = 1
        self.best = np.full(n, -1)
        order = np.argsort(-self.tables.size * self.tables.slots, kind="stable")
        best_fit(self.items, order, self.tables.limit, self.best)
        self.now = self.best.copy()
        work = max(len(self.tables.section), len(self.items.neighbour), 1)
        self.node_seconds = self.move_seconds = SECONDS_PER_INCIDENCE * work

    def run(self, seconds: float) -> Packed:
        self.begin = time.perf_counter()
        self.end = self.begin + seconds
        possible = live_bytes(self.problem) <= self.problem.capacity
        orders = _orders(self.tables, self.rng)
        idle = 0
        while self.missing() and self._left() > 0 and (possible or idle < PATIENCE):
            before = self.missing()
            self.repair(MOVES)
            idle = 0 if self.missing() < before else idle + MOVES
            if possible and self.missing() and self._left() > 0:
                possible = self.search(*next(orders)) != INFEASIBLE
        return self._packed()

    def missing(self) -> int:
        return int((self.best < 0).sum())

    def _left(self) -> float:
        return max(self.end - time.perf_counter(), 0.0)

    def repair(self, moves: int) -> None:
        """Goes on with local search."""
        budget = min(moves, int(self._left() / self.move_seconds) + 1)
        begin = time.perf_counter()
        made = repair(
            self.items, self.tables.limit, self.now, self.best, self.weight, self.draw, budget
        )
        self.tries += 1
        if made:
            self.move_seconds = (time.perf_counter() - begin) / made

    def search(self, order: np.ndarray, nodes: int) -> int:
        """Starts a complete search of at most `nodes` nodes; keeps what it finds."""
        items = items_in(self.tables, order, self.salt)
        budget = min(nodes, int(self._left() / self.node_seconds) + 1)
        begin = time.perf_counter()
        state = fresh_state(items, self.tables.sections, budget)
        outcome, seen = search(items, state, self.tables.limit, budget)
        self.tries += 1
        if seen:
            self.node_seconds = (time.perf_counter() - begin) / seen
        if outcome == SOLVED:
            self.best[order] = state.offset
        return outcome

    def _packed(self) -> Packed:
        offsets = np.where(self.problem.blocks, -1, 0)
        placed = self.best >= 0
        offsets[self.tables.number[placed]] = self.best[placed] * self.tables.unit
        missing = np.flatnonzero(~placed)
        missing = missing[np.argsort(-self.weight[missing], kind="stable")]
        unplaced = tuple(int(i) for i in self.tables.number[missing])
        return Packed(offsets, unplaced, self.tries, time.perf_counter() - self.begin)


def _orders(tables: Tables, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, int]]:
    """Orders of preference with nodes to spend on each.

    The keys are MiniMalloc's: the most load over an item, its slots, and its bytes times slots.
    After one round of them they are blurred, which also breaks the ties between loads.
    """
    load = np.zeros(tables.sections, np.int64)
    np.add.at(load, tables.section, np.repeat(tables.size, np.diff(tables.section_at)))
    total = np.maximum.reduceat(load[tables.section], tables.section_at[:-1]).astype(np.float64)
    slots = tables.slots.astype(np.float64)
    area = slots * tables.size
    nodes, blur = NODES, 0.0
    while True:
        for keys in ((slots, area, total), (total, slots, area), (area,), (total, area, slots)):
            blurred = [
                k if k is total else k * np.exp(blur * rng.normal(size=len(k))) for k in keys
            ]
            yield np.lexsort([-k for k in reversed(blurred)]), nodes
        nodes, blur = nodes + NODES // 20, BLUR
