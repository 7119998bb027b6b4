"""The graph game with everything around it, for `train.py` and `evaluate.py`."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamekit.domain import Domain, Instance, Made, Solved, Solver, Verdict, Words
from gamekit.errors import InputError
from games.graphs.game.options import GAME_VERSION, GraphsConfig
from games.graphs.judge import evaluate
from games.graphs.problem.problem import Problem
from games.graphs.problem.solution import Solution, load_solution, save_solution

if TYPE_CHECKING:
    import numpy as np

    from games.graphs.closed_form import Costs
    from games.graphs.game.environment import GraphGame

NAIVE, BOUND = "naive", "bound"


@functools.lru_cache(maxsize=64)
def costs_of(problem: Problem) -> Costs:
    """Groups of a problem that were worked out before."""
    from games.graphs.closed_form import Costs

    return Costs(problem)


@functools.lru_cache(maxsize=256)
def naive_latency(problem: Problem) -> float:
    """Time of every operation alone, with its best tile."""
    from games.graphs.mappers.simple import naive

    return naive(costs_of(problem)).latency


def _solver(name: str, **facts: Any) -> Solver:
    """A mapper of `games.graphs.mappers.registry`, which is imported when it runs."""

    def run(instance: Instance, options: GraphsConfig, budget_s: float, seed: int) -> Solved:
        import time

        from games.graphs.closed_form import Costs
        from games.graphs.mappers.plans import solution_of
        from games.graphs.mappers.registry import MAPPERS, compile_kernels

        compile_kernels()
        started, costs = time.perf_counter(), Costs(instance.content)
        made = solution_of(costs, MAPPERS[name](costs, budget_s, seed))
        return Solved(made, time.perf_counter() - started)

    return Solver(run, **facts)


def _bound(instance: Instance, options: GraphsConfig, budget_s: float, seed: int) -> Solved:
    """A proven limit: every operation computes its output once."""
    return Solved(None, 0.0, figures={"bound": instance.content.compute_bound})


def _polish(instance: Instance, starts: Sequence[Solution], budget_s: float, seed: int) -> Solved:
    """Local search, from these solutions too."""
    import time

    from games.graphs.mappers.local_search import anneal
    from games.graphs.mappers.merging import merging
    from games.graphs.mappers.plans import Plan, solution_of
    from games.graphs.mappers.registry import compile_kernels

    compile_kernels()
    started, costs = time.perf_counter(), costs_of(instance.content)
    plans = [merging(costs)]
    for start in starts:
        groups = tuple(frozenset(s.ops) for s in start.subgraphs)
        retains = tuple(frozenset(s.retain) for s in start.subgraphs)
        latency = evaluate(instance.content, start).latency
        plans.append(Plan(latency, groups, retains))
    best = anneal(costs, plans, started + budget_s, seed)
    return Solved(solution_of(costs, best), time.perf_counter() - started)


class GraphsDomain(Domain):
    """Instances are problems of the MLSys 2026 contest's kind, solutions are theirs too.

    A score is the part of the naive time, every operation alone, that a solution saves.
    """

    name = "graphs"
    shipped = Path(__file__).with_name("checkpoint")
    version = GAME_VERSION
    options = GraphsConfig
    words = Words(
        instance="problem",
        solver="mapper",
        reference=NAIVE,
        score="saved",
        score_field="saved_fraction",
        valid_field="accepted",
        why_field="violation",
    )
    solvers: Mapping[str, Solver] = {
        "epilogue": _solver("epilogue"),
        "merging": _solver("merging"),
        "dynamic": _solver("dynamic"),
        "beam": _solver("beam", searches=True),
        "local_search": _solver("local_search", on_demand=True, searches=True, seeded=True),
        "partition": _solver("partition", on_demand=True, searches=True),
        "best": _solver("best", on_demand=True, searches=True, seeded=True),
        BOUND: Solver(_bound),
    }
    polish = staticmethod(_polish)
    # The game takes the largest depth that fits; of reductions that are no multiples of the native
    # size a smaller one may be faster.
    score_is_bound = True
    blank_figures: Mapping[str, Any] = {"latency": None, "naive": None, "bound": 0.0}

    def instances(self, names: Sequence[str]) -> list[Instance]:
        import dataclasses

        from games.graphs.instances import find_instances
        from games.graphs.mappers.plans import solution_of
        from games.graphs.mappers.simple import naive

        found = []
        for instance in find_instances(names):
            costs = costs_of(instance.content)
            found.append(dataclasses.replace(instance, reference=solution_of(costs, naive(costs))))
        return found

    def knows(self, name: str) -> bool:
        from games.graphs.instances import is_known

        return is_known(name)

    def build(self, instances: Sequence[Instance], options: GraphsConfig) -> GraphGame:
        from games.graphs.game.environment import build_game

        return build_game([instance.content for instance in instances], options)

    def solution(self, environment: Any, instance: Instance, index: int, moves: np.ndarray) -> Made:
        from games.graphs.replay import solution_of_moves

        config = GraphsConfig(environment.largest)
        return Made(solution_of_moves(costs_of(instance.content), config, moves.tolist()))

    def save(self, solution: Solution, path: Path) -> None:
        save_solution(solution, path)

    def load(self, path: Path, instance: Instance) -> Solution:
        return load_solution(path, instance.content)

    def judge(self, instance: Instance, solution: Solution) -> Verdict:
        problem = instance.content
        found, naive = evaluate(problem, solution), naive_latency(problem)
        figures = {"latency": found.latency, "naive": naive}
        why = str(found.violations[0]) if found.violations else None
        return Verdict(_saved(found.latency, naive), found.valid, why, figures)

    def limit(self, instance: Instance, figures: Mapping[str, Any]) -> Verdict:
        naive, bound = naive_latency(instance.content), figures["bound"]
        return Verdict(
            _saved(bound, naive), figures={"latency": bound, "naive": naive, "bound": bound}
        )

    def gain(self, score: float, reference: float) -> float:
        """How much faster a solution is than the reference."""
        return (1 - reference) / (1 - score) - 1

    def show(self, score: float) -> str:
        return f"{100 * score:.2f} %"

    def lessons(
        self,
        instance: Instance,
        options: GraphsConfig,
        names: Sequence[str],
        seconds: float,
        seed: int,
    ) -> list[np.ndarray]:
        """The moves of games that make the mappers' solutions, as far as the game can."""
        import numpy as np

        from games.graphs.game.rules import most_moves
        from games.graphs.mappers.registry import MAPPERS, compile_kernels
        from games.graphs.replay import moves_of_plan

        for name in names:
            if name not in MAPPERS:
                raise InputError(f"demonstrations: must be of {', '.join(MAPPERS)}, got {name!r}")
        compile_kernels()
        costs = costs_of(instance.content)
        plans = [MAPPERS[name](costs, seconds, seed) for name in names]
        found = np.full((len(plans), most_moves(instance.content.num_ops)), -1, np.int8)
        for lesson, plan in zip(found, plans, strict=True):
            moves = moves_of_plan(costs, options, plan)
            lesson[: len(moves)] = moves
        return list(found)

    def variants(self, instances: Sequence[Instance], count: int, seed: int) -> list[Instance]:
        from games.graphs.synthetic.variants import variant

        if not instances:
            raise InputError("variants: there must be at least one problem to make them from")
        made = [variant(instances[i % len(instances)].content, seed, i) for i in range(count)]
        return [
            Instance(problem.name, problem.fingerprint, f"variant {i} of seed {seed}", problem)
            for i, problem in enumerate(made)
        ]


def _saved(latency: float, naive: float) -> float:
    return 1 - latency / naive if naive > 0 else 0.0


DOMAIN = GraphsDomain()
