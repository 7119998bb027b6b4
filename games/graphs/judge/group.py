"""What a subgraph is made of, before any tile of it runs."""

from __future__ import annotations

import dataclasses
import math

from games.graphs.judge.slices import ALL, STEP, TILE, Role, Slices, slices_of
from games.graphs.judge.violation import Broken
from games.graphs.problem.problem import Problem
from games.graphs.problem.reading import Reading
from games.graphs.problem.solution import Subgraph


@dataclasses.dataclass(frozen=True)
class Load:
    """A slice that is loaded; size in elements; late: with the last step of a tile only."""

    tensor: int
    role: Role
    size: int
    late: bool


@dataclasses.dataclass(frozen=True)
class Group:
    """A checked subgraph.

    rows, columns: tiles down and across. steps: of each tile.
    stored: elements that a tile's last step stores. working_set: elements of fast memory.
    """

    slices: Slices
    loads: tuple[Load, ...]
    rows: int
    columns: int
    steps: int
    stored: int
    working_set: int


def outputs_of(problem: Problem, ops: tuple[int, ...], reading: Reading) -> frozenset[int]:
    """Tensors that a subgraph stores or retains; what it reads itself is ephemeral."""
    inside, found = set(ops), set()
    for op in ops:
        tensor = problem.outputs[op]
        readers = set(problem.consumers[tensor])
        stored_too = reading.read_outside == "stored" and readers - inside
        if not readers & inside or stored_too:
            found.add(tensor)
    return frozenset(found)


def check_group(
    problem: Problem, subgraph: Subgraph, resident: frozenset[int], reading: Reading
) -> Group:
    """Checks the rules of one subgraph, given the tensors that the one before retained.

    Raises:
      Broken: the first rule that it breaks.
    """
    ops = subgraph.ops
    _check_ops(problem, ops, reading)
    _check_tile(problem, subgraph, reading)
    outputs = outputs_of(problem, ops, reading)
    wide, high = _output_shape(problem, outputs)
    slices = slices_of(problem, ops, outputs, subgraph.tile, reading)
    extra = _check_retained(problem, subgraph, outputs, slices, reading)
    across, down, depth = subgraph.tile
    rows, columns = math.ceil(high / down), math.ceil(wide / across)
    if subgraph.order is not None and sorted(subgraph.order) != list(range(rows * columns)):
        raise Broken(
            "order",
            f"must have each of the {rows * columns} tiles once, got {len(subgraph.order)} entries "
            f"with {len(set(subgraph.order) & set(range(rows * columns)))} of them",
        )
    steps = max((math.ceil(problem.reduction(op) / depth) for op in slices.stepping), default=1)
    loads = tuple(_loads(problem, slices, subgraph.tile, resident, reading))
    area = min(across, wide) * min(down, high)
    retained = set(subgraph.retain)
    kept = sum(_kept_size(problem, t, area, reading) for t in retained)
    stored = area * len((outputs | extra) - retained)
    held = sum(problem.size(t) for t in resident)
    inputs = sum(load.size for load in loads)
    working_set = held + inputs + kept + stored
    if working_set > problem.capacity:
        raise Broken(
            "working set",
            f"{working_set} elements at {across} x {down} x {depth}, "
            f"{working_set - problem.capacity} more than the capacity of {problem.capacity} "
            f"({held} retained before, {inputs} of inputs, {stored} of outputs, {kept} retained)",
        )
    return Group(slices, loads, rows, columns, steps, stored, working_set)


def extent(
    problem: Problem, tensor: int, role: Role, tile: tuple[int, int, int]
) -> tuple[int, int]:
    """Rows and columns of a slice, in elements."""
    wide, high, depth = tile
    sizes = {"row": high, "column": wide, STEP: depth}
    full = (problem.heights[tensor], problem.widths[tensor])
    found = [
        size if cut == ALL else min(sizes[cut], size) for cut, size in zip(role, full, strict=True)
    ]
    return found[0], found[1]


def plain_role(problem: Problem, tensor: int, role: Role, tile: tuple[int, int, int]) -> Role:
    """The role with ALL for every axis that one slice covers."""
    part = extent(problem, tensor, role, tile)
    full = (problem.heights[tensor], problem.widths[tensor])
    cuts = [ALL if a == b else cut for cut, a, b in zip(role, part, full, strict=True)]
    return cuts[0], cuts[1]


def _check_ops(problem: Problem, ops: tuple[int, ...], reading: Reading) -> None:
    if not ops:
        raise Broken("operations", "must have at least one, got none")
    if len(set(ops)) < len(ops):
        twice = next(op for op in ops if ops.count(op) > 1)
        raise Broken("operations", f"must be different, operation {twice} is there twice")
    if reading.connected == "free":
        return
    reached, left = {ops[0]}, set(ops[1:])
    while True:
        touched = {t for op in reached for t in _joins(problem, op, set(ops), reading)}
        more = {op for op in left if touched & _joins(problem, op, set(ops), reading)}
        if not more:
            break
        reached |= more
        left -= more
    if left:
        raise Broken(
            "connected",
            f"operations {sorted(left)} share no tensor with {sorted(reached)}",
        )


def _joins(problem: Problem, op: int, inside: set[int], reading: Reading) -> set[int]:
    """The tensors that join an operation to others."""
    tensors = {*problem.inputs[op], problem.outputs[op]}
    if reading.connected == "inside":
        return {t for t in tensors if problem.producer.get(t) in inside}
    return tensors


def _check_tile(problem: Problem, subgraph: Subgraph, reading: Reading) -> None:
    wide, high, depth = subgraph.tile
    matmuls = [op for op in subgraph.ops if problem.is_matmul(op)]
    limits = (problem.native[0], problem.native[1], problem.native[0] if matmuls else depth)
    names = ("width", "height", "depth")
    for name, value, limit in zip(names, (wide, high, depth), limits, strict=True):
        if value < 1:
            raise Broken("tile", f"{name} must be at least 1, got {value}")
        if reading.above_native == "forbid" and value > limit:
            raise Broken("tile", f"{name} must be at most {limit} as native, got {value}")
    for op in matmuls:
        reduction = problem.reduction(op)
        if reading.above_reduction == "forbid" and depth > reduction:
            raise Broken(
                "tile",
                f"depth must be at most {reduction} as the reduction of MatMul {op}, got {depth}",
            )


def _output_shape(problem: Problem, outputs: frozenset[int]) -> tuple[int, int]:
    shapes = {(problem.widths[t], problem.heights[t]): t for t in sorted(outputs)}
    if len(shapes) > 1:
        named = ", ".join(f"tensor {t} is {w} x {h}" for (w, h), t in shapes.items())
        raise Broken("outputs", f"must have one shape, got {named}")
    return next(iter(shapes))


def _check_retained(
    problem: Problem,
    subgraph: Subgraph,
    outputs: frozenset[int],
    slices: Slices,
    reading: Reading,
) -> set[int]:
    """Ephemeral tensors that are retained all the same.

    Raises:
      Broken: one is not made inside, or not tiled as the outputs are.
    """
    made = {problem.outputs[op]: role for op, role in slices.made.items()}
    extra = set()
    for tensor in subgraph.retain:
        if tensor in outputs:
            continue
        if tensor in made:
            if made[tensor] != TILE:
                raise Broken("retain", f"tensor {tensor} is not made tile by tile as the outputs")
            extra.add(tensor)
        elif reading.retain_inputs == "forbid" or tensor not in slices.loaded:
            raise Broken("retain", f"tensor {tensor} is not made by this subgraph")
    return extra


def _kept_size(problem: Problem, tensor: int, area: int, reading: Reading) -> int:
    return {"full": problem.size(tensor), "tile": area, "free": 0}[reading.retained_output]


def _loads(
    problem: Problem,
    slices: Slices,
    tile: tuple[int, int, int],
    resident: frozenset[int],
    reading: Reading,
) -> list[Load]:
    found = []
    for tensor, roles in sorted(slices.loaded.items()):
        if tensor in resident:
            continue
        late = reading.epilogue == "last" and roles == {TILE}
        plain = {plain_role(problem, tensor, role, tile) for role in roles}
        if (ALL, ALL) in plain:  # the whole tensor covers its slices
            plain = {(ALL, ALL)}
        for role in sorted(plain):
            down, across = extent(problem, tensor, role, tile)
            found.append(Load(tensor, role, down * across, late))
    return found
