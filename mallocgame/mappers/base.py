"""The interface of every mapper: from a program, rules, seconds and a seed to a mapping."""

from __future__ import annotations

import dataclasses
import time
from typing import Protocol

from mallocgame.game.options import GameConfig
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping


@dataclasses.dataclass(frozen=True)
class Mapped:
    """A mapper's result.

    mapping: accepted by the judge.
    seconds: wall time, including compilation.
    decisions, drop_backups: counts from the game that made the mapping, 0 without a game.
    info: further figures, different for each mapper.
    """

    mapping: Mapping
    seconds: float
    decisions: int = 0
    drop_backups: int = 0
    info: dict[str, float] = dataclasses.field(default_factory=dict)


class Mapper(Protocol):
    """Makes a mapping; `budget_s` limits mappers that search, `seed` makes them repeatable."""

    def __call__(
        self, program: Program, config: GameConfig, budget_s: float, seed: int
    ) -> Mapped: ...


class Clock:
    """Measures the seconds since it was made against a budget."""

    def __init__(self, budget_s: float):
        self.budget_s = budget_s
        self.started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def expects(self, seconds: float) -> bool:
        """Whether this many more seconds fit into the budget."""
        return self.seconds + seconds <= self.budget_s
