"""What all searches have in common: nests that are tried, the best one, and the time."""

from __future__ import annotations

import time
from collections.abc import Callable

from games.loops.program.computation import Computation
from games.loops.program.nest import Nest, start

# (computation, nest) to seconds: the model, or the clock.
Seconds = Callable[[Computation, Nest], float]


class Search:
    """Counts and remembers the nests of one computation that a search tries.

    best, best_seconds: the fastest so far, at first the starting nest. tried: different nests.
    """

    def __init__(self, computation: Computation, seconds: Seconds, budget_s: float):
        self.computation = computation
        self._seconds, self._ends = seconds, time.perf_counter() + budget_s
        self._known: dict[Nest, float] = {}
        self.best = start(computation)
        self.best_seconds = float("inf")
        self.cost(self.best)

    @property
    def tried(self) -> int:
        return len(self._known)

    @property
    def is_over(self) -> bool:
        """Whether the time is."""
        return time.perf_counter() >= self._ends

    def cost(self, nest: Nest) -> float:
        """Seconds of a nest; each is asked for once."""
        if nest not in self._known:
            self._known[nest] = self._seconds(self.computation, nest)
            if self._known[nest] < self.best_seconds:
                self.best, self.best_seconds = nest, self._known[nest]
        return self._known[nest]

    def fastest(self, count: int) -> list[Nest]:
        """The best nests that were tried, the fastest first."""
        return sorted(self._known, key=lambda nest: self._known[nest])[:count]
