"""Probes with a search outside the game: it knows the best answers, given time."""

from __future__ import annotations

from collections.abc import Sequence

from gamekit.domain import Instance, Solved
from gamekit.probe import ProbeDomain


def best_of(instance: Instance, starts: Sequence[list[int]], budget_s: float, seed: int) -> Solved:
    """The best answers with time; else what it starts from, or all FIRST."""
    del seed
    known = [*starts, [0] * len(instance.content.rewards)]
    return Solved(instance.reference if budget_s else known[0], budget_s)


class PolishingProbe(ProbeDomain):
    """The probes, whose `shipped` a test sets."""

    polish = staticmethod(best_of)


DOMAIN = PolishingProbe()
