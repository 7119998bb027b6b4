"""The data of the game: problems and solutions, in the files of the MLSys 2026 contest."""

from games.graphs.problem.problem import MATMUL, POINTWISE, Problem, load_problem, save_problem
from games.graphs.problem.solution import Solution, Subgraph, load_solution, save_solution

__all__ = [
    "MATMUL",
    "POINTWISE",
    "Problem",
    "Solution",
    "Subgraph",
    "load_problem",
    "load_solution",
    "save_problem",
    "save_solution",
]
