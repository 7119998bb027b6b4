"""The verdict on a solution: which rules it breaks, and what it costs."""

from __future__ import annotations

import dataclasses

from games.graphs.judge.group import check_group, outputs_of
from games.graphs.judge.steps import times_of
from games.graphs.judge.violation import Broken, Violation
from games.graphs.problem.problem import Problem
from games.graphs.problem.reading import Reading
from games.graphs.problem.solution import Solution, Subgraph


@dataclasses.dataclass(frozen=True)
class Figures:
    """Of one subgraph, in units of time; working_set in elements of fast memory."""

    latency: float
    compute: float
    transfer: float
    working_set: int


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What the judge says.

    latency: sum over the subgraphs without a violation; the solution's cost if it is valid.
    subgraphs: their figures, None for one that breaks a rule.
    violations: at most one a subgraph, then those of the whole.
    """

    latency: float
    subgraphs: tuple[Figures | None, ...]
    violations: tuple[Violation, ...]

    @property
    def valid(self) -> bool:
        return not self.violations


def evaluate(problem: Problem, solution: Solution, reading: Reading | None = None) -> Evaluation:
    """Judges a solution by the rules of docs/graphs.md, as `reading` reads them."""
    reading = reading or Reading()
    slow, resident = set(problem.graph_inputs), frozenset[int]()
    figures: list[Figures | None] = []
    broken: list[Violation] = []
    for number, subgraph in enumerate(solution.subgraphs):
        try:
            _check_available(problem, subgraph, slow, resident)
            group = check_group(problem, subgraph, resident, reading)
            times = times_of(problem, subgraph, group, reading)
            figures.append(Figures(times.latency, times.compute, times.transfer, group.working_set))
        except Broken as error:
            broken.append(Violation(error.rule, number, error.message))
            figures.append(None)
        resident = frozenset(subgraph.retain)
        slow |= outputs_of(problem, subgraph.ops, reading) - resident
    run = {op for subgraph in solution.subgraphs for op in subgraph.ops}
    missing = sorted(set(range(problem.num_ops)) - run)
    if missing:
        broken.append(Violation("coverage", None, f"operations {missing} never run"))
    unstored = sorted(problem.graph_outputs - slow)
    if unstored:
        broken.append(
            Violation("graph output", None, f"tensors {unstored} are not in slow memory at the end")
        )
    latency = sum(f.latency for f in figures if f is not None)
    return Evaluation(latency, tuple(figures), tuple(broken))


def _check_available(
    problem: Problem, subgraph: Subgraph, slow: set[int], resident: frozenset[int]
) -> None:
    made = {problem.outputs[op] for op in subgraph.ops}
    for op in subgraph.ops:
        for tensor in problem.inputs[op]:
            if tensor not in made and tensor not in slow and tensor not in resident:
                raise Broken(
                    "available",
                    f"operation {op} reads tensor {tensor}, which is neither in slow memory nor "
                    f"retained by the subgraph before",
                )
