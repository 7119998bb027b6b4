"""The mallocGame with mappers that do everything wrong, and an agent that is not one."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gamekit.domain import Domain, Instance, Solved, Solver
from gamekit.evaluation.plan import Entry
from mallocgame.domain import MallocGame
from mallocgame.game.options import GameConfig
from mallocgame.program.mapping import all_slow


def _raises(instance: Instance, options: Any, budget_s: float, seed: int) -> Solved:
    raise ZeroDivisionError("a bug\nof two lines")


def _dies(instance: Instance, options: Any, budget_s: float, seed: int) -> Solved:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def _sleeps(instance: Instance, options: Any, budget_s: float, seed: int) -> Solved:
    time.sleep(600)
    raise AssertionError("was not stopped")


def _cheats(instance: Instance, options: Any, budget_s: float, seed: int) -> Solved:
    """A value twice at one place."""
    assert instance.reference is not None
    twice = instance.reference.residencies[:1] * 2
    return Solved(dataclasses.replace(instance.reference, residencies=twice), 0.0)


class Faulty(MallocGame):
    """Mappers that do everything wrong; `production` and `bound` do it right."""

    solvers: Mapping[str, Solver] = MallocGame.solvers | {
        "all_fast": Solver(_raises),
        "greedy": Solver(_dies),
        "belady": Solver(_sleeps),
        "msa": Solver(_cheats),
    }


def _dawdles(instance: Instance, options: Any, budget_s: float, seed: int) -> Solved | None:
    time.sleep(1)
    return MallocGame.solvers["msa"].run(instance, options, budget_s, seed)


class Slow(MallocGame):
    """Its msa takes a second longer."""

    solvers: Mapping[str, Solver] = MallocGame.solvers | {"msa": Solver(_dawdles, seeded=True)}


class Killed(MallocGame):
    """The process dies of its mappers."""

    solvers: Mapping[str, Solver] = dict.fromkeys(MallocGame.solvers, Solver(_dies))


FAULTY, KILLED, SLOW = Faulty(), Killed(), Slow()


@dataclasses.dataclass(frozen=True)
class Learned:
    """An agent whose `played` is as good as production with seed 1, of no use with seed 0."""

    run: Path = Path("nowhere")

    def identity(self) -> dict[str, Any]:
        return {}

    def game(self) -> str:
        return "mallocgame"

    def options(self) -> GameConfig:
        return GameConfig()

    def best_game(self, domain: Domain, instance: Instance) -> Path:
        return self.run / instance.name

    def play(
        self, entry: Entry, domain: Domain, environment: Any, instance: Instance
    ) -> Solved | None:
        if entry.solver == "trained_best":
            return None
        return Solved(instance.reference if entry.seed else all_slow(instance.content), 1.0, 7)
