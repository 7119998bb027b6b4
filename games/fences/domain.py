"""The game of fences with everything around it, for `train.py` and `evaluate.py`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamekit.domain import Domain, Instance, Made, Solved, Solver, Verdict, Words
from gamekit.errors import InputError
from games.fences.game.actions import GAME_VERSION
from games.fences.judge import Judged, judge_schedule, judge_text
from games.fences.program.naive import naive_placements
from games.fences.program.parser import parse_blocks
from games.fences.program.program import Program
from games.fences.program.schedule import Placement, blocks_of, read_schedule
from games.fences.program.write import schedule_text

if TYPE_CHECKING:
    import numpy as np

    from games.fences.game.environment import Game


def text_of(program: Program, placements: Sequence[Placement]) -> str:
    """The schedule that placements make."""
    return schedule_text(blocks_of(program, placements))


def naive_cost(program: Program) -> float:
    """What the naive schedule costs, by the judge.

    Raises:
      InputError: it costs nothing, so that no share of it can be saved.
    """
    schedule = read_schedule(program, blocks_of(program, naive_placements(program)))
    judged = judge_schedule(program, schedule)
    assert judged.figures is not None, judged.violations
    if judged.figures.cost <= 0:
        raise InputError(f"{program.name}: its naive schedule costs nothing; give it weights")
    return judged.figures.cost


def _mapper(name: str, **facts: Any) -> Solver:
    """An opponent of `games.fences.mappers.registry`, which is imported when it runs."""

    def run(instance: Instance, options: Any, budget_s: float, seed: int) -> Solved:
        from games.fences.mappers.registry import MAPPERS

        started = time.perf_counter()
        made = MAPPERS[name](instance.content, budget_s)
        text = text_of(instance.content, made.placements)
        seconds = time.perf_counter() - started
        return Solved(text, seconds, figures={"proven": made.proven})

    return Solver(run, **facts)


class FencesDomain(Domain):
    """Instances are programs, solutions are texts of schedules.

    A score is the share of the naive schedule's cost that is saved.
    """

    name, version = "fences", GAME_VERSION
    # In writing, neighbours under one condition share an `if`: an inner one may then be entered
    # less often than in the game's order.
    score_is_bound = True
    words = Words(instance="program", solution="schedule", score="saved")
    solvers: Mapping[str, Solver] = {
        "naive": _mapper("naive"),
        "batching": _mapper("batching"),
        "critical_path": _mapper("critical_path"),
        "exhaustive": _mapper("exhaustive", searches=True),
        "cpsat": _mapper("cpsat", searches=True, on_demand=True, package="ortools", extra="cpsat"),
    }
    blank_figures: Mapping[str, Any] = {
        "proven": False,
        "cost": None,
        "instructions": None,
        "fences": None,
        "syncs": None,
        "bytes": None,
        "makespan": None,
    }

    def instances(self, names: Sequence[str]) -> list[Instance]:
        from games.fences.suites import find

        found = []
        for source, program in find(names):
            naive_cost(program)
            found.append(Instance(program.name, program.fingerprint, source, program))
        return found

    def knows(self, name: str) -> bool:
        from games.fences.suites import knows

        return knows(name)

    def build(self, instances: Sequence[Instance], options: Any) -> Game:
        from games.fences.game.environment import build_game

        return build_game([instance.content for instance in instances])

    def solution(self, environment: Any, instance: Instance, index: int, moves: np.ndarray) -> Made:
        from games.fences.game.replay import placements_of

        program = instance.content
        return Made(text_of(program, placements_of(environment, program, index, moves)))

    def load(self, path: Path, instance: Instance) -> str:
        text = super().load(path, instance)
        if not isinstance(text, str):
            raise InputError(f"{path}: solution: must be a text, got {type(text).__name__}")
        read_schedule(instance.content, parse_blocks(text, str(path)))
        return text

    def judge(self, instance: Instance, solution: str) -> Verdict:
        program: Program = instance.content
        judged: Judged = judge_text(program, solution)
        if judged.figures is None:
            return Verdict(0.0, False, judged.violations[0])
        f = judged.figures
        figures = {
            "cost": f.cost,
            "instructions": f.instructions,
            "fences": f.fences,
            "syncs": f.syncs,
            "bytes": f.bytes,
            "makespan": f.makespan,
        }
        return Verdict(1 - f.cost / naive_cost(program), figures=figures)

    def show(self, score: float) -> str:
        return f"{100 * score:.2f} %"


DOMAIN = FencesDomain()
