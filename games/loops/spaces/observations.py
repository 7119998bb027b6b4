"""What a position shows, by the names that LoopTune's environment gives (docs/loops.md)."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from games.loops.game.options import ACTION_NAMES
from games.loops.oracle.oracle import Position
from games.loops.program.computation import Computation, Tensor
from games.loops.program.nest import COMPUTE, MAX_LOOPS, Line, to_record
from games.loops.report.tree import tree

LOOP_BUCKETS, STRIDE_BUCKETS = 16, 32
LOOP_FEATURES = 4 + LOOP_BUCKETS
PREVIOUS = 5


@dataclasses.dataclass(frozen=True)
class Seen:
    """A position of a game. seconds: what its nest takes. actions: so far, the newest last."""

    computation: Computation
    position: Position
    seconds: float
    actions: Sequence[int] = ()


def runtime(seen: Seen) -> float:
    """Seconds of the nest."""
    return seen.seconds


def flops(seen: Seen) -> float:
    """Floating-point operations a second; a multiplication and an addition are two."""
    return 2 * seen.computation.macs / seen.seconds


def ir(seen: Seen) -> str:
    """The computation and the nest as text, from which both can be read again."""
    return f"{seen.computation.text}\n{json.dumps(to_record(seen.position.nest))}\n"


def loop_tree(seen: Seen) -> str:
    """The tree as text, with the cursor."""
    return tree(seen.computation, seen.position.nest, seen.position.cursor)


def loop_tree_networkx(seen: Seen) -> Any:
    """The tree as a `networkx.DiGraph`: nodes `loop0`, `loop1` and so on in the tree's order with
    variable, size, tail, step, unroll, vector, cursor; and the leaves `multiply` and `write`."""
    import networkx

    graph = networkx.DiGraph()
    nest = seen.position.nest
    lines = nest.lines(seen.computation)
    names = {(x.nest, x.position): f"loop{i}" for i, x in enumerate(lines)}

    def name(row: int, place: int) -> str:
        return names[COMPUTE, place] if place < nest.shared else names[row, place]

    for line in lines:
        place = line.nest, line.position
        is_vector = place == (COMPUTE, len(nest.compute) - 1) and nest.vector
        graph.add_node(
            names[place],
            kind="loop",
            variable=line.loop.variable,
            size=line.size,
            tail=line.tail,
            step=line.loop.step,
            unroll=line.loop.unroll,
            vector=is_vector,
            cursor=place == seen.position.cursor,
        )
    for row, leaf in enumerate(("multiply", "write")):
        graph.add_node(leaf, kind=leaf)
        chain = [*(name(row, place) for place in range(len(nest.rows[row]))), leaf]
        graph.add_edges_from(itertools.pairwise(chain))
    return graph


def loop_graph_networkx(seen: Seen) -> Any:
    """The tree, and a node for each tensor and the accumulator: edges from what is read to the
    leaf that reads it, and from a leaf to what it writes. An edge from a loop to a tensor has the
    stride, in elements, by which an iteration moves its address."""
    graph = loop_tree_networkx(seen)
    c = seen.computation
    a, b = c.inputs
    for tensor in (*c.tensors,):
        graph.add_node(tensor.name, kind="tensor", shape=c.shape(tensor))
    graph.add_node("acc", kind="accumulator")
    graph.add_edges_from(
        [(a.name, "multiply"), (b.name, "multiply"), ("acc", "multiply"), ("multiply", "acc")]
    )
    graph.add_edges_from([("acc", "write"), ("write", c.out.name)])
    for number, line in enumerate(seen.position.nest.lines(c)):
        for tensor, _ in _accesses(c, line):
            graph.add_edge(f"loop{number}", tensor.name, stride=_stride(c, line, tensor))
    return graph


def loops_tensor(seen: Seen) -> np.ndarray:
    """Float32 [10, 20]: for each loop whether the cursor is there, size, tail, whether it is of the
    compute nest, and a histogram of the strides of its accesses: bucket 0 counts those that stay,
    bucket i strides from 2 ** (i - 1) elements on. It adds up to 1."""
    found = np.zeros((MAX_LOOPS, LOOP_FEATURES), np.float32)
    for row, line in zip(found, seen.position.nest.lines(seen.computation), strict=False):
        row[:4] = (
            (line.nest, line.position) == seen.position.cursor,
            line.size,
            line.tail,
            line.nest == COMPUTE,
        )
        row[4:] = _histogram(seen.computation, line, LOOP_BUCKETS)
    return found


def stride_tensor(seen: Seen) -> np.ndarray:
    """Float32 [32]: the same histogram for all loops, each weighed by how often it goes on."""
    found = np.zeros(STRIDE_BUCKETS)
    nest = seen.position.nest
    for line in nest.lines(seen.computation):
        extents = nest.extents(seen.computation, line.nest)[: line.position + 1]
        loops = nest.rows[line.nest]
        times = math.prod(x / loop.step for x, loop in zip(extents, loops, strict=False))
        found += times * _histogram(seen.computation, line, STRIDE_BUCKETS)
    return (found / found.sum()).astype(np.float32)


def previous_actions(seen: Seen) -> np.ndarray:
    """Float32 [5, A]: the last five actions, one-hot, the newest last; zeros before the first."""
    found = np.zeros((PREVIOUS, len(ACTION_NAMES)), np.float32)
    for at, action in enumerate(seen.actions[-PREVIOUS:], PREVIOUS - len(seen.actions[-PREVIOUS:])):
        found[at, action] = 1
    return found


def _accesses(computation: Computation, line: Line) -> list[tuple[Tensor, int]]:
    """Tensors that are touched inside a loop, and how often in each innermost iteration; what is
    added to counts as read and written."""
    a, b = computation.inputs
    return (
        [(computation.out, 2), (a, 1), (b, 1)] if line.nest == COMPUTE else [(computation.out, 1)]
    )


def _stride(computation: Computation, line: Line, tensor: Tensor) -> int:
    return computation.strides(tensor).get(line.loop.variable, 0) * line.loop.step


def _histogram(computation: Computation, line: Line, buckets: int) -> np.ndarray:
    found = np.zeros(buckets)
    for tensor, times in _accesses(computation, line):
        stride = _stride(computation, line, tensor)
        found[min(stride.bit_length(), buckets - 1)] += times
    return found / found.sum()


OBSERVATIONS: Mapping[str, Callable[[Seen], Any]] = {
    "runtime": runtime,
    "flops": flops,
    "ir": ir,
    "loop_tree": loop_tree,
    "loop_tree_networkx": loop_tree_networkx,
    "loop_graph_networkx": loop_graph_networkx,
    "loops_tensor": loops_tensor,
    "stride_tensor": stride_tensor,
    "previous_actions": previous_actions,
}
