"""What the time of a group of operations depends on, apart from its tile."""

from __future__ import annotations

import dataclasses

import numpy as np

from games.graphs.problem.problem import Problem

# What cuts an axis of a slice: nothing, the tile's row, its column, the step.
ALL, ROW, COLUMN, STEP = range(4)
# Columns of `Form.loads`; of `Form.upstream` the first one is the cost instead.
TENSOR, HEIGHT, WIDTH, ROWS_CUT, COLUMNS_CUT, LATE = range(6)


@dataclasses.dataclass(frozen=True)
class Form:
    """A group that keeps the rules with some tile.

    loads: int64 [L, 6], one row for each role in which a tensor is loaded; those of a tensor are
        adjacent.
    stepping: float64 [M, 2], cost and reduction of each MatMul that goes along the steps.
    late_cost: of Pointwise operations on the output tile.
    upstream: float64 [U, 5], cost, height, width and cuts of each output that feeds a MatMul
        inside.
    height, width: of the outputs. outputs: their tensors; tiled: all tensors made tile by tile.
    least: width, height and depth that a tile must have. deepest: the most depth.
    """

    loads: np.ndarray
    stepping: np.ndarray
    late_cost: float
    upstream: np.ndarray
    height: int
    width: int
    outputs: frozenset[int]
    tiled: frozenset[int]
    least: tuple[int, int, int]
    deepest: int

    @property
    def inputs(self) -> frozenset[int]:
        """Tensors that come from outside."""
        return frozenset(self.loads[:, TENSOR].tolist())


def form_of(problem: Problem, ops: frozenset[int]) -> Form | None:
    """The form of a group, None where no tile makes it legal."""
    made = {problem.outputs[op]: op for op in ops}
    outputs = frozenset(
        t for t in made if not any(reader in ops for reader in problem.consumers[t])
    )
    shapes = {(problem.heights[t], problem.widths[t]) for t in outputs}
    if len(shapes) != 1 or not _connected(problem, ops):
        return None
    (height, width) = shapes.pop()
    needed = dict.fromkeys(outputs, (ROW, COLUMN))
    loaded: dict[int, list[tuple[int, int]]] = {}
    stepping, upstream, late_cost = [], [], 0.0
    least = [1, 1, 1]
    deepest = problem.native[0]
    for op in sorted(ops, key=problem.rank.__getitem__, reverse=True):
        tensor, cost = problem.outputs[op], problem.base_costs[op]
        rows, columns = role = needed[tensor]
        cuts = (role,) * len(problem.inputs[op])
        if problem.is_matmul(op):
            reduction = problem.reduction(op)
            deepest = min(deepest, reduction)
            along = STEP if role == (ROW, COLUMN) else ALL
            cuts = ((rows, along), (along, columns))
            for axis, source in enumerate(problem.inputs[op]):
                if source in made:
                    least[axis] = max(least[axis], reduction)
                    if not problem.is_matmul(made[source]):
                        least[2] = max(least[2], reduction)
            if along == STEP:
                stepping.append((cost, reduction))
        elif role == (ROW, COLUMN):
            late_cost += cost
        if role != (ROW, COLUMN):
            upstream.append((cost, problem.heights[tensor], problem.widths[tensor], *role))
        for source, cut in zip(problem.inputs[op], cuts, strict=True):
            if source not in made:
                roles = loaded.setdefault(source, [])
                if cut not in roles:
                    roles.append(cut)
            elif needed.setdefault(source, cut) != cut:
                return None
    if least[0] > problem.native[0] or least[1] > problem.native[1] or least[2] > deepest:
        return None
    rows_of_loads = [
        (t, problem.heights[t], problem.widths[t], *cut, roles == [(ROW, COLUMN)])
        for t, roles in loaded.items()
        for cut in roles
    ]
    return Form(
        np.array(rows_of_loads, np.int64).reshape(-1, 6),
        np.array(stepping, np.float64).reshape(-1, 2),
        late_cost,
        np.array(upstream, np.float64).reshape(-1, 5),
        height,
        width,
        outputs,
        frozenset(t for t, role in needed.items() if role == (ROW, COLUMN)),
        (least[0], least[1], least[2]),
        deepest,
    )


def _connected(problem: Problem, ops: frozenset[int]) -> bool:
    """Whether tensors, shared inputs included, join the operations."""
    left = set(ops)
    stack = [left.pop()]
    while stack and left:
        op = stack.pop()
        joined = [r for t in problem.inputs[op] for r in problem.readers_and_maker[t] if r in left]
        joined += [r for r in problem.consumers[problem.outputs[op]] if r in left]
        left.difference_update(joined)
        stack.extend(joined)
    return not left
