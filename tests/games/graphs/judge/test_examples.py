"""The worked examples of the contest's problem statement, by judge and by second reading."""

from __future__ import annotations

import pytest

from games.graphs.judge import evaluate
from games.graphs.oracle.rules import Rejected, cost
from games.graphs.problem import Problem, Solution, Subgraph
from tests.support.graphs import chain_of_two, diamond, one_matmul, plan, two_matmuls

NATIVE = (128, 128, 1)
EXAMPLES: dict[str, tuple[Problem, Solution, float]] = {
    "1A": (chain_of_two(128), plan(Subgraph((0,), NATIVE), Subgraph((1,), NATIVE)), 6553.6),
    "1B": (chain_of_two(128), plan(Subgraph((0, 1), NATIVE)), 3276.8),
    "1C": (chain_of_two(128), plan(Subgraph((0, 1), (64, 64, 1))), 4400.0),
    "2A": (chain_of_two(256), plan(Subgraph((0,), NATIVE), Subgraph((1,), NATIVE)), 26214.4),
    "2B": (chain_of_two(256), plan(Subgraph((0, 1), NATIVE)), 13107.2),
    "3A": (diamond(), plan(*(Subgraph((op,), NATIVE) for op in range(3))), 11468.8),
    "3B": (diamond(), plan(Subgraph((0, 1), NATIVE, (2,)), Subgraph((0, 2), NATIVE)), 6276.8),
    "3C": (diamond(), plan(Subgraph((0,), NATIVE, (1,)), Subgraph((1, 2), NATIVE)), 4638.4),
    "4A": (one_matmul(), plan(Subgraph((0,), (64, 64, 128))), 7096.0),
    "4B": (one_matmul(), plan(Subgraph((0,), (64, 64, 128), (), (0, 1, 3, 2))), 6548.0),
    "5B": (two_matmuls(), plan(Subgraph((0, 1), (128, 128, 32))), 6915.2),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_worked_examples(name):
    problem, solution, expected = EXAMPLES[name]
    found = evaluate(problem, solution)
    assert found.violations == ()
    assert found.latency == pytest.approx(expected, rel=1e-12)
    assert cost(problem, solution) == pytest.approx(expected, rel=1e-12)


def test_the_example_that_does_not_fit():
    solution = plan(Subgraph((0, 1), (128, 128, 128)))
    found = evaluate(two_matmuls(), solution)
    assert [str(v) for v in found.violations] == [
        "subgraph 0: working set: 65536 elements at 128 x 128 x 128, 20536 more than the capacity "
        "of 45000 (0 retained before, 49152 of inputs, 16384 of outputs, 0 retained)"
    ]
    with pytest.raises(Rejected):
        cost(two_matmuls(), solution)


def test_figures_of_a_subgraph():
    problem, solution, _ = EXAMPLES["1B"]
    (figures,) = evaluate(problem, solution).subgraphs
    assert figures is not None
    assert (figures.compute, figures.transfer) == (1100.0, 3276.8)
    assert figures.working_set == 2 * 128 * 128
