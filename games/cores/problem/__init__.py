"""Problems, schedules, and the reference schedule."""

from games.cores.problem.files import load_problem, problem_from_record, save_problem
from games.cores.problem.problem import (
    Allocation,
    Channel,
    Memory,
    Problem,
    Value,
    Weights,
)
from games.cores.problem.schedule import Drop, Schedule, Start, Transfer

__all__ = [
    "Allocation",
    "Channel",
    "Drop",
    "Memory",
    "Problem",
    "Schedule",
    "Start",
    "Transfer",
    "Value",
    "Weights",
    "load_problem",
    "problem_from_record",
    "save_problem",
]
