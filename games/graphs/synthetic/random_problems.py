"""Small problems and solutions by chance, for tests of the rules: any shape that is allowed."""

from __future__ import annotations

import dataclasses

import numpy as np

from games.graphs.oracle.rules import Rejected, subgraph_run
from games.graphs.problem.problem import MATMUL, POINTWISE, Problem
from games.graphs.problem.solution import Solution, Subgraph

SIZES = (4, 8, 12, 16, 24)


def random_problem(
    rng: np.random.Generator,
    most_ops: int = 8,
    sizes: tuple[int, ...] = SIZES,
    native: int = 8,
    most_inputs: int = 3,
) -> Problem:
    """A problem of 1 to `most_ops` operations, with square native tiles and sizes from `sizes`.

    Operations read earlier tensors of fitting shape more often than new ones, so that chains,
    joins, shared inputs and several readers of one tensor are frequent.
    """
    wide: list[int] = []
    high: list[int] = []
    inputs, outputs, kinds = [], [], []

    def tensor(width: int, height: int, fresh: float) -> int:
        fitting = [t for t in range(len(wide)) if (wide[t], high[t]) == (width, height)]
        if fitting and rng.random() > fresh:
            return fitting[-1 - min(int(rng.geometric(0.5)) - 1, len(fitting) - 1)]
        wide.append(width)
        high.append(height)
        return len(wide) - 1

    few = rng.choice(sizes, int(rng.integers(1, 4)))
    for _ in range(int(rng.integers(1, most_ops + 1))):
        if wide and rng.random() < 0.8:
            source = len(wide) - 1 - min(int(rng.geometric(0.4)) - 1, len(wide) - 1)
        else:
            source = tensor(int(rng.choice(few)), int(rng.choice(few)), 0.5)
        if rng.random() < 0.5:
            fitting = [s for s in few if s in (wide[source], high[source])] or few
            other = int(rng.choice(fitting if rng.random() < 0.5 else few))
            if rng.random() < 0.5:
                pair = (source, tensor(other, wide[source], 0.4))
            else:
                pair = (tensor(high[source], other, 0.4), source)
            inputs.append(pair)
            shape = (wide[pair[1]], high[pair[0]])
            kinds.append(MATMUL)
        else:
            shape = (wide[source], high[source])
            more = min(int(rng.choice([0, 1, 1, 2])), most_inputs - 1)
            inputs.append((source, *(tensor(*shape, 0.3) for _ in range(more))))
            kinds.append(POINTWISE)
        wide.append(shape[0])
        high.append(shape[1])
        outputs.append(len(wide) - 1)
    costs = rng.integers(0, 60, len(outputs)) * 5.0
    return Problem(
        "random",
        tuple(wide),
        tuple(high),
        tuple(inputs),
        tuple(outputs),
        tuple(float(c) for c in costs),
        tuple(kinds),
        int(rng.choice([60, 150, 300, 600, 2000])),
        float(rng.choice([0.5, 1, 3, 10])),
        (native, native),
    )


def random_solution(problem: Problem, rng: np.random.Generator) -> Solution:
    """Groups along a topological order, many of which keep the rules; some do not."""
    order, subgraphs, at = list(problem.order), [], 0
    while at < len(order):
        count = int(rng.integers(1, 4))
        ops = order[at : at + count]
        at += count
        # Recomputation: a group may also hold an operation that ran before.
        if at > count and rng.random() < 0.15:
            ops = [int(rng.choice(order[: at - count])), *ops]
        subgraphs.append(_random_subgraph(problem, tuple(dict.fromkeys(ops)), rng))
    if rng.random() < 0.1:
        subgraphs.pop(int(rng.integers(len(subgraphs))))
    return Solution(tuple(subgraphs))


def valid_solution(problem: Problem, rng: np.random.Generator) -> Solution:
    """Groups of up to four operations that keep the rules, by the oracle; retained by chance."""
    subgraphs: list[Subgraph] = []
    left = list(problem.order)
    while left:
        kept = subgraphs[-1].retain if subgraphs else ()
        waiting = {op for tensor in kept for op in problem.consumers[tensor]} & set(left)
        choices = [_random_subgraph(problem, tuple(left[: int(n)]), rng) for n in (4, 3, 2, 2, 1)]
        choices += [_alone(problem, left[0], rng) for _ in range(2)]
        fitting = (
            s for s in choices if waiting <= set(s.ops) and _fits(problem, s, kept, set(left))
        )
        subgraph = next(fitting, None)
        if subgraph is None:
            subgraphs[-1:] = [dataclasses.replace(s, retain=()) for s in subgraphs[-1:]]
            subgraph = _alone(problem, left[0], rng, (1, 1, 1))
        subgraphs.append(subgraph)
        left = [op for op in left if op not in subgraph.ops]
    return Solution(tuple(subgraphs))


def _alone(
    problem: Problem,
    op: int,
    rng: np.random.Generator,
    tile: tuple[int, int, int] | None = None,
) -> Subgraph:
    subgraph = _random_subgraph(problem, (op,), rng)
    return dataclasses.replace(
        subgraph, retain=(), order=None, tile=tile or (*subgraph.tile[:2], 1)
    )


def _fits(problem: Problem, subgraph: Subgraph, kept: tuple[int, ...], left: set[int]) -> bool:
    """Whether a subgraph keeps the rules, and what it makes is there for whoever reads it later."""
    ops = set(subgraph.ops)
    for op in subgraph.ops:
        tensor = problem.outputs[op]
        later = set(problem.consumers[tensor]) & (left - ops)
        ephemeral = bool(set(problem.consumers[tensor]) & ops)
        if (ephemeral and later) or (tensor in subgraph.retain and (ephemeral or not later)):
            return False
    try:
        subgraph_run(problem, subgraph, kept).time(subgraph.order)
    except Rejected:
        return False
    return True


def _random_subgraph(problem: Problem, ops: tuple[int, ...], rng: np.random.Generator) -> Subgraph:
    matmuls = [op for op in ops if problem.is_matmul(op)]
    deepest = min([problem.native[0], *(problem.reduction(op) for op in matmuls)])
    depth = int(rng.choice([deepest, deepest, 4, 2, 1, 3, 6, 8]))
    wide, high = (int(rng.choice([8, 8, 8, 4, 2, 1, 3, 5, 6])) for _ in range(2))
    if rng.random() < 0.03:
        wide += 4
    read = {t for op in ops for t in problem.inputs[op]}
    results = [problem.outputs[op] for op in ops if problem.outputs[op] not in read]
    retain: tuple[int, ...] = ()
    dice = rng.random()
    if dice < 0.25 and results:
        retain = (int(rng.choice(results)),)
    elif dice < 0.3:
        retain = (int(rng.integers(problem.num_tensors)),)
    last = results[0] if results else problem.outputs[ops[0]]
    tiles = -(-problem.heights[last] // high) * -(-problem.widths[last] // wide)
    order = None
    if rng.random() < 0.5:
        order = tuple(int(t) for t in rng.permutation(tiles))
    if order and rng.random() < 0.03:
        order = order[1:]
    return Subgraph(ops, (wide, high, depth), retain, order)
