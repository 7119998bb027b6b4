"""Opponents by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from games.fences.mappers.cpsat import cpsat
from games.fences.mappers.exhaustive import exhaustive
from games.fences.mappers.simple import batching, critical_path
from games.fences.program.naive import naive_placements
from games.fences.program.program import Program
from games.fences.program.schedule import Placement


@dataclasses.dataclass(frozen=True)
class Mapped:
    """proven: whether no schedule costs less."""

    placements: tuple[Placement, ...]
    proven: bool = False


def _exhaustive(program: Program, budget_s: float) -> Mapped:
    found = exhaustive(program, budget_s)
    return Mapped(found.placements, found.proven)


def _cpsat(program: Program, budget_s: float) -> Mapped:
    found = cpsat(program, budget_s)
    return Mapped(found.placements, found.proven)


# (program, budget in seconds) to a schedule.
MAPPERS: Mapping[str, Callable[[Program, float], Mapped]] = {
    "naive": lambda program, budget_s: Mapped(tuple(naive_placements(program))),
    "batching": lambda program, budget_s: Mapped(batching(program)),
    "critical_path": lambda program, budget_s: Mapped(critical_path(program)),
    "exhaustive": _exhaustive,
    "cpsat": _cpsat,
}
