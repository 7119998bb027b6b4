"""The cores game with everything around it, for `train.py` and `evaluate.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamekit.domain import Domain, Instance, Made, Solved, Solver, Verdict, Words
from gamekit.errors import InputError
from games.cores.game.options import GAME_VERSION, CoresConfig
from games.cores.judge import judge
from games.cores.problem.schedule import Schedule, load_schedule, save_schedule

if TYPE_CHECKING:
    import numpy as np

    from games.cores.game.environment import CoresGame

NAIVE = "naive"


def _solver(name: str, **facts: Any) -> Solver:
    """A mapper of `games.cores.mappers.registry`, which is imported when it runs."""

    def run(instance: Instance, options: CoresConfig, budget_s: float, seed: int) -> Solved:
        import time

        from games.cores.mappers.registry import MAPPERS, compile_kernels

        compile_kernels()
        started = time.perf_counter()
        made = MAPPERS[name](instance.content, budget_s, seed)
        return Solved(made.schedule, time.perf_counter() - started)

    return Solver(run, **facts)


def _polish(instance: Instance, starts: Sequence[Schedule], budget_s: float, seed: int) -> Solved:
    """Local search from the plans of list scheduling, HEFT and these schedules; returns the best of
    all."""
    import time

    from games.cores.mappers.local_search import anneal, plan_of
    from games.cores.mappers.mapped import Mapped, better
    from games.cores.mappers.planner import Planner
    from games.cores.mappers.registry import compile_kernels

    compile_kernels()
    started, problem = time.perf_counter(), instance.content
    planner = Planner(problem)
    plans = [planner.listed(), planner.heft(), *(plan_of(planner, start) for start in starts)]
    found = anneal(planner, plans, started + budget_s, seed)
    given = [Mapped(start, judge(problem, start).cost) for start in starts]
    return Solved(better(*given, found).schedule, time.perf_counter() - started)


class CoresDomain(Domain):
    """Instances are problem files, solutions schedules.

    A score is the part of the reference's cost that a schedule saves; the cost is a weighted sum of
    time, energy and peak memory.
    """

    name = "cores"
    shipped = Path(__file__).with_name("checkpoint")
    version = GAME_VERSION
    options = CoresConfig
    words = Words(
        instance="problem",
        solver="mapper",
        solution="schedule",
        reference=NAIVE,
        score="saved",
        score_field="saved_fraction",
        valid_field="accepted",
        why_field="violation",
    )
    solvers: Mapping[str, Solver] = {
        "greedy": _solver("greedy"),
        "list": _solver("list"),
        "heft": _solver("heft"),
        "genetic": _solver("genetic", on_demand=True, searches=True, seeded=True),
        "local_search": _solver("local_search", on_demand=True, searches=True, seeded=True),
        "random_games": _solver("random_games", on_demand=True, searches=True, seeded=True),
        "exact": _solver("exact", on_demand=True, searches=True),
        "cpsat": _solver(
            "cpsat", on_demand=True, searches=True, seeded=True, package="ortools", extra="cpsat"
        ),
    }
    polish = staticmethod(_polish)
    blank_figures: Mapping[str, Any] = {"time": None, "energy": None, "peak": None}

    def instances(self, names: Sequence[str]) -> list[Instance]:
        from games.cores.instances import find_instances

        return [
            dataclasses.replace(instance, reference=instance.content.naive.schedule)
            for instance in find_instances(names)
        ]

    def knows(self, name: str) -> bool:
        from games.cores.instances import is_known

        return is_known(name)

    def build(self, instances: Sequence[Instance], options: CoresConfig) -> CoresGame:
        from games.cores.game.environment import build_game

        return build_game([instance.content for instance in instances])

    def solution(self, environment: Any, instance: Instance, index: int, moves: np.ndarray) -> Made:
        from games.cores.replay import schedule_of_moves

        return Made(schedule_of_moves(instance.content, moves.tolist()))

    def save(self, solution: Schedule, path: Path) -> None:
        save_schedule(solution, path)

    def load(self, path: Path, instance: Instance) -> Schedule:
        return load_schedule(path, instance.content)

    def judge(self, instance: Instance, solution: Schedule) -> Verdict:
        found = judge(instance.content, solution)
        figures = {"time": found.time, "energy": found.energy, "peak": found.peak}
        return Verdict(1 - found.cost, found.valid, found.violation, figures)

    def gain(self, score: float, reference: float) -> float:
        """How much less a schedule costs than the reference, as a factor less 1."""
        return (1 - reference) / (1 - score) - 1 if score < 1 else 0.0

    def show(self, score: float) -> str:
        return f"{100 * score:.2f} %"

    def lessons(
        self,
        instance: Instance,
        options: CoresConfig,
        names: Sequence[str],
        seconds: float,
        seed: int,
    ) -> list[np.ndarray]:
        """The moves of games that go like the mappers' schedules, as far as the game can; where it
        cannot and taking the first candidates scores higher, of that game."""
        import numpy as np

        from games.cores.game.tables import moves_limit
        from games.cores.mappers.registry import MAPPERS, compile_kernels
        from games.cores.oracle.game import Facts
        from games.cores.replay import first_candidates, moves_like

        for name in names:
            if name not in MAPPERS:
                raise InputError(f"demonstrations: must be of {', '.join(MAPPERS)}, got {name!r}")
        compile_kernels()
        problem, facts = instance.content, Facts(instance.content)
        simple = first_candidates(problem, facts)
        found = np.full((len(names), moves_limit(problem)), -1, np.int8)
        for lesson, name in zip(found, names, strict=True):
            made = MAPPERS[name](problem, seconds, seed)
            game = moves_like(problem, made.schedule, facts)
            moves, _ = max(game, simple, key=lambda game: game[1])
            lesson[: len(moves)] = moves
        return list(found)

    def openings(self, environment: CoresGame, instance: Instance) -> list[np.ndarray]:
        """The first candidate of every question."""
        import numpy as np

        return [np.ones(environment.spec.num_questions, np.int8)]

    def variants(self, instances: Sequence[Instance], count: int, seed: int) -> list[Instance]:
        from games.cores.synthetic.variants import variant

        if not instances:
            raise InputError("variants: there must be at least one problem to make them from")
        made = [variant(instances[i % len(instances)].content, seed, i) for i in range(count)]
        return [
            Instance(problem.name, problem.fingerprint, f"variant {i} of seed {seed}", problem)
            for i, problem in enumerate(made)
        ]


DOMAIN = CoresDomain()
