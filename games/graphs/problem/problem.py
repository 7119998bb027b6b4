"""A problem: operations on matrices, a fast memory, and a bandwidth to the slow one."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import heapq
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gamekit.jsonfile import Record, read_object, write_json

MATMUL, POINTWISE = "MatMul", "Pointwise"
KINDS = (MATMUL, POINTWISE)
# The sizes of a file are refused beyond this, so that products of them fit 64-bit integers.
MAX_SIZE = 1 << 24


@dataclasses.dataclass(frozen=True)
class Problem:
    """A graph of operations and the machine that it runs on.

    name: of the file. Tensors and operations are numbered from 0 on.
    widths, heights: of every tensor, in elements.
    inputs: tensors that each operation reads; of a MatMul the left one (K wide, H high) and the
        right one (W wide, K high). outputs: the one tensor that it makes.
    base_costs: time of each operation for one native tile of its output, of a MatMul with the whole
        reduction. kinds: MATMUL or POINTWISE.
    capacity: of fast memory, in elements. bandwidth: elements moved in a unit of time.
    native: width and height of a native tile.
    """

    name: str
    widths: tuple[int, ...]
    heights: tuple[int, ...]
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...]
    base_costs: tuple[float, ...]
    kinds: tuple[str, ...]
    capacity: int
    bandwidth: float
    native: tuple[int, int]

    @property
    def num_ops(self) -> int:
        return len(self.outputs)

    @property
    def num_tensors(self) -> int:
        return len(self.widths)

    def size(self, tensor: int) -> int:
        """Elements of a tensor."""
        return self.widths[tensor] * self.heights[tensor]

    def is_matmul(self, op: int) -> bool:
        return self.kinds[op] == MATMUL

    def reduction(self, op: int) -> int:
        """K of a MatMul: the width of its left input."""
        return self.widths[self.inputs[op][0]]

    @functools.cached_property
    def producer(self) -> dict[int, int]:
        """The operation that makes a tensor, for those that are made."""
        return {tensor: op for op, tensor in enumerate(self.outputs)}

    @functools.cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """The operations that read each tensor, once each, in order."""
        found: list[list[int]] = [[] for _ in self.widths]
        for op, tensors in enumerate(self.inputs):
            for tensor in dict.fromkeys(tensors):
                found[tensor].append(op)
        return tuple(tuple(ops) for ops in found)

    @functools.cached_property
    def graph_inputs(self) -> frozenset[int]:
        """Tensors that no operation makes; slow memory holds them from the start."""
        return frozenset(range(self.num_tensors)) - frozenset(self.producer)

    @functools.cached_property
    def graph_outputs(self) -> frozenset[int]:
        """Tensors that are made and that no operation reads."""
        return frozenset(t for t in self.producer if not self.consumers[t])

    @functools.cached_property
    def order(self) -> tuple[int, ...]:
        """The operations in a topological order, small numbers first."""
        return tuple(topological_order(self.inputs, self.producer))

    @functools.cached_property
    def rank(self) -> tuple[int, ...]:
        """The place of each operation in `order`."""
        places = {op: place for place, op in enumerate(self.order)}
        return tuple(places[op] for op in range(self.num_ops))

    @functools.cached_property
    def readers_and_maker(self) -> tuple[tuple[int, ...], ...]:
        """The operations that touch each tensor."""
        return tuple(
            (*self.consumers[t], *([self.producer[t]] if t in self.producer else []))
            for t in range(self.num_tensors)
        )

    @functools.cached_property
    def compute_bound(self) -> float:
        """Time that no solution falls below: every operation computes its output once.

        Padding of a tile counts except above MatMuls, where a slice that is cut along a reduction
        is charged without it (docs/graphs.md, "Steps").
        """
        return sum(self.compute_bounds)

    @functools.cached_property
    def compute_bounds(self) -> tuple[float, ...]:
        """`compute_bound` of each operation."""
        feeds_matmul: set[int] = set()
        for op in reversed(self.order):
            readers = self.consumers[self.outputs[op]]
            if any(self.is_matmul(r) or r in feeds_matmul for r in readers):
                feeds_matmul.add(op)
        found = []
        for op, tensor in enumerate(self.outputs):
            across, down = (
                self.widths[tensor] / self.native[0],
                self.heights[tensor] / self.native[1],
            )
            if op not in feeds_matmul:
                across, down = math.ceil(across), math.ceil(down)
            found.append(self.base_costs[op] * across * down)
        return tuple(found)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of the content, without the name."""
        text = json.dumps(_record(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def topological_order(inputs: Sequence[Sequence[int]], producer: dict[int, int]) -> list[int]:
    """Operations after those whose tensors they read; shorter than `inputs` if there is a cycle."""
    above = [{producer[t] for t in tensors if t in producer} for tensors in inputs]
    below: list[list[int]] = [[] for _ in inputs]
    for op, sources in enumerate(above):
        for source in sources:
            below[source].append(op)
    missing = [len(sources) for sources in above]
    ready = [op for op, count in enumerate(missing) if not count]
    order = []
    while ready:
        op = heapq.heappop(ready)
        order.append(op)
        for reader in below[op]:
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    return order


def load_problem(path: str | Path) -> Problem:
    """Reads and checks a problem file of the contest; its other fields are ignored.

    Raises:
      InputError: the file is unusable; the message names it, the field and the value.
    """
    path = Path(path)
    return problem_from_record(read_object(path), path.name.split(".json")[0], str(path))


def problem_from_record(data: dict[str, Any], name: str, source: str) -> Problem:
    """A problem from the content of a file; see `load_problem`."""
    record = Record(data, source)
    widths, heights = record.integers("widths"), record.integers("heights")
    kinds = record.strings("op_types")
    inputs = record.lists_of_integers("inputs")
    outputs = record.lists_of_integers("outputs")
    problem = Problem(
        name=name,
        widths=widths,
        heights=heights,
        inputs=inputs,
        outputs=tuple(_only_output(record, op, made) for op, made in enumerate(outputs)),
        base_costs=record.numbers("base_costs"),
        kinds=kinds,
        capacity=record.integer("fast_memory_capacity"),
        bandwidth=record.number("slow_memory_bandwidth"),
        native=_native(record),
    )
    _check_sizes(record, problem)
    for op in range(problem.num_ops):
        _check_operation(record, problem, op)
    _check_graph(record, problem)
    return problem


def save_problem(problem: Problem, path: str | Path) -> None:
    """Writes a problem file of the contest.

    Raises:
      InputError: the place cannot be written.
    """
    write_json(path, _record(problem))


def _record(problem: Problem) -> dict[str, Any]:
    return {
        "widths": list(problem.widths),
        "heights": list(problem.heights),
        "inputs": [list(tensors) for tensors in problem.inputs],
        "outputs": [[tensor] for tensor in problem.outputs],
        "base_costs": list(problem.base_costs),
        "op_types": list(problem.kinds),
        "fast_memory_capacity": problem.capacity,
        "slow_memory_bandwidth": problem.bandwidth,
        "native_granularity": list(problem.native),
    }


def _only_output(record: Record, op: int, made: tuple[int, ...]) -> int:
    if len(made) != 1:
        raise record.error(f"outputs[{op}]", f"must be one tensor, got {len(made)}")
    return made[0]


def _native(record: Record) -> tuple[int, int]:
    native = record.integers("native_granularity")
    if len(native) != 2:
        raise record.error("native_granularity", f"must be [width, height], got {list(native)}")
    return native[0], native[1]


def _check_sizes(record: Record, problem: Problem) -> None:
    if not problem.outputs:
        raise record.error("outputs", "must have at least one operation")
    if len(problem.heights) != len(problem.widths):
        found = f"{len(problem.heights)} and {len(problem.widths)}"
        raise record.error("heights", f"must have as many entries as widths, got {found}")
    for field, values in (
        ("inputs", problem.inputs),
        ("base_costs", problem.base_costs),
        ("op_types", problem.kinds),
    ):
        if len(values) != problem.num_ops:
            found = f"{len(values)} and {problem.num_ops}"
            raise record.error(field, f"must have as many entries as outputs, got {found}")
    sizes = {
        "widths": problem.widths,
        "heights": problem.heights,
        "native_granularity": problem.native,
    }
    for field, values in sizes.items():
        for i, value in enumerate(values):
            if not 1 <= value <= MAX_SIZE:
                raise record.error(f"{field}[{i}]", f"must be in 1..{MAX_SIZE}, got {value}")
    if problem.capacity < 1:
        raise record.error("fast_memory_capacity", f"must be positive, got {problem.capacity}")
    if not 0 < problem.bandwidth < math.inf:
        raise record.error("slow_memory_bandwidth", f"must be positive, got {problem.bandwidth}")
    for i, cost in enumerate(problem.base_costs):
        if not 0 <= cost < math.inf:
            raise record.error(f"base_costs[{i}]", f"must be at least 0, got {cost}")


def _check_operation(record: Record, problem: Problem, op: int) -> None:
    kind, tensors, out = problem.kinds[op], problem.inputs[op], problem.outputs[op]
    if kind not in KINDS:
        raise record.error(f"op_types[{op}]", f"must be one of {', '.join(KINDS)}, got {kind!r}")
    for field, group in (("inputs", tensors), ("outputs", (out,))):
        for tensor in group:
            if not 0 <= tensor < problem.num_tensors:
                limit = problem.num_tensors
                raise record.error(f"{field}[{op}]", f"must be tensors below {limit}, got {tensor}")
    if kind == MATMUL and len(tensors) != 2:
        raise record.error(f"inputs[{op}]", f"must be two tensors of a MatMul, got {len(tensors)}")
    if not tensors:
        raise record.error(f"inputs[{op}]", "must be at least one tensor, got none")
    shapes = [(problem.widths[t], problem.heights[t]) for t in (*tensors, out)]
    made = f"{shapes[-1][0]} x {shapes[-1][1]}"
    if kind == MATMUL:
        (inner, high), (wide, below), last = shapes
        if inner != below:
            raise record.error(
                f"inputs[{op}]",
                f"a MatMul's left width must be its right height, got {inner} and {below}",
            )
        if last != (wide, high):
            raise record.error(f"outputs[{op}]", f"must be {wide} x {high}, got {made}")
    for tensor, (wide, high) in zip(tensors, shapes, strict=False):
        if kind == POINTWISE and (wide, high) != shapes[-1]:
            raise record.error(
                f"inputs[{op}]",
                f"a Pointwise operation's tensor {tensor} must be {made} as its output, "
                f"got {wide} x {high}",
            )
    # The smallest tile needs one element of each tensor.
    least = len(set(tensors)) + 1
    if least > problem.capacity:
        raise record.error(
            "fast_memory_capacity",
            f"must hold {least} elements for operation {op}, got {problem.capacity}",
        )


def _check_graph(record: Record, problem: Problem) -> None:
    seen: dict[int, int] = {}
    for op, tensor in enumerate(problem.outputs):
        if tensor in seen:
            raise record.error(
                f"outputs[{op}]", f"tensor {tensor} must have one producer, {seen[tensor]} is one"
            )
        seen[tensor] = op
    order = topological_order(problem.inputs, problem.producer)
    if len(order) < problem.num_ops:
        left = sorted(set(range(problem.num_ops)) - set(order))
        raise record.error("inputs", f"must be without cycles, got one through operation {left[0]}")
