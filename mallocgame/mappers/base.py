"""What every mapper is: program, rules, seconds and a seed in, a mapping out."""

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

    mapping: what it found, accepted by the judge.
    seconds: wall time it took, compilation included.
    decisions, drop_backups: of the game that made the mapping, 0 without one.
    info: further figures, each mapper's own.
    """

    mapping: Mapping
    seconds: float
    decisions: int = 0
    drop_backups: int = 0
    info: dict[str, float] = dataclasses.field(default_factory=dict)


class Mapper(Protocol):
    """Makes a mapping; `budget_s` bounds those that search, `seed` makes them repeatable."""

    def __call__(
        self, program: Program, config: GameConfig, budget_s: float, seed: int
    ) -> Mapped: ...


class Clock:
    """Seconds since it was made, and whether they exceed the budget."""

    def __init__(self, budget_s: float):
        self.budget_s = budget_s
        self.started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def expects(self, seconds: float) -> bool:
        """Whether that many more seconds fit into the budget."""
        return self.seconds + seconds <= self.budget_s
