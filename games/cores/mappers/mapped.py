"""What a mapper returns."""

from __future__ import annotations

import dataclasses

from games.cores.problem.problem import Problem
from games.cores.problem.schedule import Schedule


@dataclasses.dataclass(frozen=True)
class Mapped:
    """A valid schedule. cost: weighted, 1 is the reference. proven: whether none costs less."""

    schedule: Schedule
    cost: float
    proven: bool = False


def reference(problem: Problem) -> Mapped:
    """The reference itself."""
    naive = problem.naive
    return Mapped(naive.schedule, problem.cost(naive.time, naive.energy, naive.peak))


def better(*found: Mapped | None) -> Mapped:
    """The cheapest, of equals the first; at least one must be there."""
    return min((m for m in found if m is not None), key=lambda m: m.cost)
