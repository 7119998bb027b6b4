"""The opponents by name."""

from __future__ import annotations

from collections.abc import Callable

from games.cores.mappers.genetic import genetic
from games.cores.mappers.in_game import greedy, random_games
from games.cores.mappers.local_search import local_search
from games.cores.mappers.mapped import Mapped, reference
from games.cores.mappers.planner import Planner
from games.cores.problem.problem import Problem

# A mapper takes a problem, a budget in seconds and a seed.
Mapper = Callable[[Problem, float, int], Mapped]


def _listed(problem: Problem, budget_s: float, seed: int) -> Mapped:
    planner = Planner(problem)
    return planner.mapped(planner.listed())


def _heft(problem: Problem, budget_s: float, seed: int) -> Mapped:
    planner = Planner(problem)
    return planner.mapped(planner.heft())


def _cpsat(problem: Problem, budget_s: float, seed: int) -> Mapped:
    from games.cores.mappers.cpsat import cpsat

    return cpsat(problem, budget_s, seed)


def _exact(problem: Problem, budget_s: float, seed: int) -> Mapped:
    """The best point of the exact front; says nothing of the peak."""
    from games.cores.mappers.exact import exact_front
    from games.cores.mappers.mapped import better

    front = exact_front(problem, budget_s)
    proven = front.proven and problem.prices[2] == 0
    found = [Mapped(p.schedule, judged_cost(problem, p.schedule), proven) for p in front.points]
    return better(*found, reference(problem))


def judged_cost(problem: Problem, schedule) -> float:
    """The judge's cost of a schedule."""
    from games.cores.judge import judge

    return judge(problem, schedule).cost


MAPPERS: dict[str, Mapper] = {
    "naive": lambda problem, budget_s, seed: reference(problem),
    "greedy": greedy,
    "list": _listed,
    "heft": _heft,
    "genetic": genetic,
    "local_search": local_search,
    "random_games": random_games,
    "exact": _exact,
    "cpsat": _cpsat,
}


def compile_kernels() -> None:
    """Compiles what the mappers share, so that no budget pays for it."""
    from games.cores.synthetic.chains import Branches, chain_problem

    planner = Planner(chain_problem("warm", Branches(0, 1), 1, [(1, 1.0)]))
    planner.decode(planner.listed())
