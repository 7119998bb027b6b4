"""Problems as arrays of equal size, operations numbered in topological order."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from gamekit.errors import InputError
from games.graphs.problem.problem import Problem

# Who makes an input: nobody (a graph input), or there is no such input.
GRAPH_INPUT, ABSENT = -1, -2


class Tables(struct.PyTreeNode):
    """P problems of up to N operations; without the axis P, one problem.

    count: int32 [P], operations. source: int32 [P, N, 2], who makes each input, GRAPH_INPUT or
    ABSENT. tensor: int32 [P, N, 2], a number of each input below 3 N; the output of operation i has
    number i. height, width: int32 [P, N, 2] of inputs. out_height, out_width: int32 [P, N].
    matmul: bool [P, N]. reduction: int32 [P, N], 0 for Pointwise. cost, bound: float32 [P, N].
    capacity: int32 [P]. bandwidth: float32 [P]. native: int32 [P, 2], width and height.
    naive: float32 [P, N], time of each operation alone; total: float32 [P], their sum.
    """

    count: Array
    source: Array
    tensor: Array
    height: Array
    width: Array
    out_height: Array
    out_width: Array
    matmul: Array
    reduction: Array
    cost: Array
    bound: Array
    capacity: Array
    bandwidth: Array
    native: Array
    naive: Array
    total: Array


def tables_of(problems: Sequence[Problem]) -> Tables:
    """The tables of problems, whose naive times are still zero.

    Raises:
      InputError: an operation has more than two inputs, or sizes do not fit 32-bit integers.
    """
    most = max(problem.num_ops for problem in problems)
    rows = [_rows(problem, most) for problem in problems]
    stacked = {name: jnp.asarray(np.stack([row[name] for row in rows])) for name in rows[0]}
    shape = (len(problems), most)
    return Tables(
        **stacked, naive=jnp.zeros(shape, jnp.float32), total=jnp.ones(shape[:1], jnp.float32)
    )


def _rows(problem: Problem, most: int) -> dict[str, np.ndarray | np.generic]:
    if max(map(len, problem.inputs)) > 2:
        raise InputError(f"{problem.name}: inputs: the game plays operations of at most two inputs")
    for op, tensors in enumerate(problem.inputs):
        if problem.is_matmul(op) and tensors[0] == tensors[1]:
            raise InputError(
                f"{problem.name}: inputs[{op}]: the game plays MatMuls of two different tensors"
            )
    # A working set sums up few tensors, twice the capacity is too much anyway.
    largest = max(problem.size(t) for t in range(problem.num_tensors))
    if 40 * largest >= 1 << 31 or problem.capacity >= 1 << 30:
        raise InputError(f"{problem.name}: sizes: the game counts elements in 32 bits")
    pair, single = np.zeros((most, 2), np.int32), np.zeros(most, np.int32)
    source, tensor = pair + ABSENT, pair - 1
    height, width = pair.copy(), pair.copy()
    rank = problem.rank
    inputs = {t: most + i for i, t in enumerate(sorted(problem.graph_inputs))}
    for op, tensors in enumerate(problem.inputs):
        for j, t in enumerate(tensors):
            at = (rank[op], j)
            made = t in problem.producer
            source[at] = rank[problem.producer[t]] if made else GRAPH_INPUT
            tensor[at] = rank[problem.producer[t]] if made else inputs[t]
            height[at], width[at] = problem.heights[t], problem.widths[t]

    def by_rank(values: Sequence[float], kind: type) -> np.ndarray:
        found = single.astype(kind)
        found[: problem.num_ops] = [values[op] for op in problem.order]
        return found

    ops = range(problem.num_ops)
    return {
        "count": np.int32(problem.num_ops),
        "source": source,
        "tensor": tensor,
        "height": height,
        "width": width,
        "out_height": by_rank([problem.heights[t] for t in problem.outputs], np.int32),
        "out_width": by_rank([problem.widths[t] for t in problem.outputs], np.int32),
        "matmul": by_rank([problem.is_matmul(op) for op in ops], np.bool_),
        "reduction": by_rank(
            [problem.reduction(op) if problem.is_matmul(op) else 0 for op in ops], np.int32
        ),
        "cost": by_rank(problem.base_costs, np.float32),
        "bound": by_rank(problem.compute_bounds, np.float32),
        "capacity": np.int32(problem.capacity),
        "bandwidth": np.float32(problem.bandwidth),
        "native": np.array(problem.native, np.int32),
    }
