"""The problems on which the prototype was tested, and their exact fronts of time and energy.

From the tests of github.com/KarelPeeters/scheduler (2a633b2): figures and settings. `empty`, a
graph without operations whose front is (0, 0), is left out here: a problem has operations.
"""

from __future__ import annotations

from typing import NamedTuple

from games.cores.problem.problem import Problem
from games.cores.synthetic.chains import Branches, Link, chain_problem

SLOW, MID, FAST = (8000, 750.0), (4000, 1000.0), (2000, 1500.0)
SLOWER = (6000, 500.0)

Points = tuple[tuple[int, float], ...]


class Case(NamedTuple):
    """front: times and energies of all schedules that no other one beats in both."""

    problem: Problem
    front: Points


def cases() -> dict[str, Case]:
    """By name."""
    made = (
        (chain_problem("single", Branches(0, 1), 1, [MID]), ((6000, 5000),)),
        (chain_problem("single_empty", Branches(0, 1, 0), 1, [MID]), ((4000, 1000),)),
        (chain_problem("linear", Branches(4, 1), 2, [MID]), ((22000, 9000),)),
        (chain_problem("split", Branches(4, 2), 2, [MID]), ((23000, 15000), (38000, 13000))),
        (
            chain_problem("slow_link", Branches(4, 2), 2, [MID], inner=Link(0, 20, 1)),
            ((38000, 13000),),
        ),
        (
            chain_problem("three_speeds", Branches(4, 1), 1, [SLOW, MID, FAST]),
            (
                (12000, 11500), (14000, 11000), (16000, 10500), (18000, 10000), (20000, 9500),
                (22000, 9000), (26000, 8750), (30000, 8500), (34000, 8250), (38000, 8000),
                (42000, 7750),
            ),
        ),
        (
            chain_problem("drop", Branches(1, 2, 500, 500), 2, [MID], 1500),
            ((12500, 14000), (16500, 13000)),
        ),
        (
            chain_problem("drop_single", Branches(2, 2, 500, 500), 1, [MID], 1500),
            ((29000, 23000),),
        ),
        (
            chain_problem("split_shallow", Branches(2, 2), 2, [SLOWER, MID, FAST]),
            (
                (9000, 13500), (10000, 13000), (11000, 12500), (12000, 11500), (14000, 11000),
                (15000, 10500), (16000, 10000), (17000, 9500), (19000, 9000), (21000, 8500),
                (26000, 8000), (28000, 7500), (30000, 7000), (32000, 6500),
            ),
        ),
        (
            chain_problem("split_two_speeds", Branches(4, 2), 2, [MID, FAST]),
            (
                (13000, 19500), (14000, 19000), (15000, 18500), (16000, 18000), (17000, 17500),
                (18000, 17000), (19000, 16500), (20000, 16000), (21000, 15500), (23000, 15000),
                (32000, 14500), (34000, 14000), (36000, 13500), (38000, 13000),
            ),
        ),
    )  # fmt: skip
    return {problem.name: Case(problem, front) for problem, front in made}
