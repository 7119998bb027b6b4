"""Problems of the graph game that are written by hand, and the contest's where they are at hand."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

from games.graphs.problem import MATMUL, POINTWISE, Problem, Solution, Subgraph

MLSYS2026 = os.environ.get("MALLOCGAME_MLSYS2026", "")
needs_contest = pytest.mark.skipif(
    not MLSYS2026, reason="MALLOCGAME_MLSYS2026 names no folder of the contest's files"
)


def square(
    size: int,
    inputs: list[tuple[int, ...]],
    costs: list[float],
    kind: str,
    capacity: int,
    bandwidth: float = 10.0,
) -> Problem:
    """Operations of one kind on tensors of one size; tensors nobody makes come first or between.

    Operation i makes the i-th tensor that is not read before it is made.
    """
    first = max(inputs[0]) + 1
    made = list(range(first, first + len(inputs)))
    count = max(max(made), *(max(t) for t in inputs)) + 1
    return Problem(
        "square", (size,) * count, (size,) * count, tuple(inputs), tuple(made),
        tuple(costs), (kind,) * len(inputs), capacity, bandwidth, (128, 128),
    )  # fmt: skip


def plan(*subgraphs: Subgraph) -> Solution:
    return Solution(subgraphs)


def chain_of_two(size: int) -> Problem:
    """Two Pointwise operations, one after the other."""
    return square(size, [(0,), (1,)], [1000.0, 100.0], POINTWISE, 35000)


def diamond() -> Problem:
    """A tensor that the next operation reads, and the one after that too."""
    return square(128, [(0,), (1,), (1, 2)], [1500.0] * 3, POINTWISE, 50000)


def one_matmul() -> Problem:
    return square(128, [(0, 1)], [1500.0], MATMUL, 25000)


def two_matmuls() -> Problem:
    """(x @ a) @ b."""
    return Problem(
        "two_matmuls", (128,) * 5, (128,) * 5, ((0, 1), (3, 2)), (3, 4),
        (2000.0, 2000.0), (MATMUL,) * 2, 45000, 10.0, (128, 128),
    )  # fmt: skip


def referee() -> ModuleType:
    """The independent evaluator in the contest's folder."""
    spec = importlib.util.spec_from_file_location("referee", Path(MLSYS2026) / "evaluate.py")
    assert spec is not None and spec.loader is not None
    import sys

    module = importlib.util.module_from_spec(spec)
    sys.modules["referee"] = module
    spec.loader.exec_module(module)
    return module
