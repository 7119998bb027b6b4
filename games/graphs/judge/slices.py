"""Which slice of each tensor a step of a subgraph needs.

A slice is cut along rows and columns by the tile's row (ROW), the tile's column (COLUMN), the step
along the reduction (STEP), or not at all (ALL).
"""

from __future__ import annotations

import dataclasses

from games.graphs.judge.violation import Broken
from games.graphs.problem.problem import Problem
from games.graphs.problem.reading import Reading

ROW, COLUMN, STEP, ALL = "row", "column", "step", "all"
TILE = (ROW, COLUMN)
Role = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Slices:
    """How a subgraph's tensors are cut.

    made: the role of each operation's output, in topological order.
    loaded: the roles in which each tensor from outside is needed.
    stepping: MatMuls whose reduction the steps of a tile go along.
    """

    made: dict[int, Role]
    loaded: dict[int, set[Role]]
    stepping: frozenset[int]


def slices_of(
    problem: Problem,
    ops: tuple[int, ...],
    outputs: frozenset[int],
    tile: tuple[int, int, int],
    reading: Reading,
) -> Slices:
    """Works backwards from the tiles of the outputs.

    Raises:
      Broken: a tensor made inside is needed in two roles, or a tile does not span a reduction.
    """
    inside = set(ops)
    needed: dict[int, Role] = dict.fromkeys(outputs, TILE)
    made: dict[int, Role] = {}
    loaded: dict[int, set[Role]] = {}
    stepping = set()

    def need(tensor: int, role: Role) -> None:
        if problem.producer.get(tensor) not in inside:
            loaded.setdefault(tensor, set()).add(role)
        elif needed.setdefault(tensor, role) != role:
            raise Broken(
                "one slice",
                f"tensor {tensor} is made inside and needed cut by {' and '.join(role)}, "
                f"and by {' and '.join(needed[tensor])}",
            )

    for op in reversed([o for o in problem.order if o in inside]):
        rows, columns = made[op] = needed[problem.outputs[op]]
        if not problem.is_matmul(op):
            for tensor in problem.inputs[op]:
                need(tensor, (rows, columns))
            continue
        check_spans(problem, op, inside, tile, reading)
        depth = ALL
        if (rows, columns) == TILE:
            stepping.add(op)
            depth = STEP
        left, right = problem.inputs[op]
        need(left, (rows, depth))
        need(right, (depth, columns))
    return Slices(made, loaded, frozenset(stepping))


def check_spans(
    problem: Problem, op: int, inside: set[int], tile: tuple[int, int, int], reading: Reading
) -> None:
    """What feeds a MatMul inside must be computed over its whole reduction at once.

    Raises:
      Broken: it is not.
    """
    wide, high, depth = tile
    reduction = problem.reduction(op)
    for tensor, extent, what in zip(
        problem.inputs[op], (wide, high), ("wide", "high"), strict=True
    ):
        source = problem.producer.get(tensor)
        if source is None or source not in inside:
            continue
        rule, wanted = (
            ("chain", reading.chain)
            if problem.is_matmul(source)
            else ("prologue", reading.prologue)
        )
        if wanted != "free" and extent < reduction:
            raise Broken(
                rule,
                f"operation {source} feeds MatMul {op}, so tiles must be {reduction} {what} as its "
                f"reduction, got {extent}, {reduction - extent} too few",
            )
        if wanted == "unsplit" and depth < reduction:
            raise Broken(
                rule,
                f"operation {source} feeds MatMul {op}, so the depth must be {reduction} as its "
                f"reduction, got {depth}, {reduction - depth} too few",
            )
