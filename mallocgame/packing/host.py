"""The host packer: greedy rounds that learn, between restarts of a complete search."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from mallocgame.packing.greedy import best_fit
from mallocgame.packing.problem import Packed, PackingProblem, live_bytes, simple_problem
from mallocgame.packing.search import INFEASIBLE, SOLVED, fresh_state, search
from mallocgame.packing.tables import Tables, items_in, tables_of

GREEDY_ROUNDS = 16  # before each search
NODES = 3000  # of the first searches
BLUR = 0.05  # standard deviation of the logarithm of a key, after the first round
SECONDS_PER_INCIDENCE = 2e-8  # of a node, an upper guess until one was measured


def pack(problem: PackingProblem, seconds: float = 10.0, seed: int = 0) -> Packed:
    """Places all items, or as many as it can.

    Greedy rounds place items at the best fit, by bytes times slots, and put what found no place
    ahead in the next round.  Between them a complete search runs over and over, with another order
    of preference each time and more nodes.  It ends when all is placed, when the search has shown
    that not all can be, or with the time.

    Args:
      seconds: the budget on one core.  The first call on a machine compiles before it counts.
      seed: the same seed gives the same answer, unless the time ends it.
    """
    compile_kernels()
    begin = time.perf_counter()
    return _Packer(problem, begin, begin + seconds, seed).run()


def compile_kernels() -> None:
    """Compiles the kernels, or loads them where an earlier process has compiled them."""
    if not search.signatures:
        problem = simple_problem(1, [1], [0], [1])
        _Packer(problem, 0.0, 0.0, 0).warm()


class _Packer:
    def __init__(self, problem: PackingProblem, begin: float, end: float, seed: int):
        self.problem = problem
        self.begin, self.end = begin, end
        self.rng = np.random.default_rng(seed)
        self.tables = tables_of(problem)
        n = len(self.tables.size)
        self.salt = self.rng.integers(1, 1 << 62, n)
        self.area = (self.tables.size * self.tables.slots).astype(np.float64)
        self.items = items_in(self.tables, np.arange(n), self.salt)
        self.weight = self.area.copy()
        self.failures = np.zeros(n, np.int64)
        self.tries = 0
        self.best = np.full(n, -1)
        self.node_seconds = SECONDS_PER_INCIDENCE * max(self.tables.alive.sum(), 1)

    def warm(self) -> None:
        self._greedy()
        self._search(np.arange(len(self.tables.size)), 1)

    def run(self) -> Packed:
        possible = live_bytes(self.problem) <= self.problem.capacity
        orders = _orders(self.tables, self.rng)
        while True:
            for _ in range(GREEDY_ROUNDS):
                if self._greedy() == 0 or self._late():
                    return self._packed()
            if not possible or self._late():
                return self._packed()
            order, nodes = next(orders)
            outcome = self._search(order, nodes)
            if outcome == SOLVED or self._late():
                return self._packed()
            possible = outcome != INFEASIBLE

    def _late(self) -> bool:
        return time.perf_counter() >= self.end

    def _greedy(self) -> int:
        """One round; returns how many items the best round so far has not placed."""
        offset = np.full(len(self.area), -1)
        order = np.argsort(-self.weight, kind="stable")
        best_fit(self.items, order, self.tables.limit, offset)
        self.tries += 1
        failed = offset < 0
        self.failures += failed
        self.weight[failed] *= 2.0
        if failed.sum() < (self.best < 0).sum():
            self.best = offset
        return int((self.best < 0).sum())

    def _search(self, order: np.ndarray, nodes: int) -> int:
        """A search for at most `nodes` nodes; keeps what it finds."""
        items = items_in(self.tables, order, self.salt)
        begin = time.perf_counter()
        affordable = int(max(self.end - begin, 0.0) / self.node_seconds) + 1
        budget = min(nodes, affordable)
        state = fresh_state(items, self.tables.alive.shape[1], budget)
        outcome, seen = search(items, state, self.tables.limit, budget)
        self.tries += 1
        if seen > 1000:
            self.node_seconds = (time.perf_counter() - begin) / seen
        if outcome == SOLVED:
            self.best = np.empty_like(self.best)
            self.best[order] = state.offset
        return outcome

    def _packed(self) -> Packed:
        offsets = np.where(self.problem.blocks, -1, 0)
        placed = self.best >= 0
        offsets[self.tables.number[placed]] = self.best[placed] * self.tables.unit
        missing = np.flatnonzero(~placed)
        missing = missing[np.lexsort([-self.area[missing], -self.failures[missing]])]
        unplaced = tuple(int(i) for i in self.tables.number[missing])
        return Packed(offsets, unplaced, self.tries, time.perf_counter() - self.begin)


def _orders(tables: Tables, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, int]]:
    """Orders of preference with nodes to spend on each.

    The keys are MiniMalloc's: the most load over an item, its slots, and its bytes times slots.
    After one round of them they are blurred, which also breaks the ties between loads.
    """
    load = (tables.alive * tables.size[:, None]).sum(0)
    total = (tables.alive * load).max(1, initial=0).astype(np.float64)
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
