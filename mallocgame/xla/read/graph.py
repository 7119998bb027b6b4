"""Flattens a module into one schedule and finds the values behind tuples, views, loops and updates.

A *position* is an instruction and a tuple index.  Several positions can be one value: views,
carried buffers, operands and results of in-place updates.  A loop's body stands where its ``while``
does, between two markers.
"""

from __future__ import annotations

from collections.abc import Sequence

from gamekit.errors import InputError
from mallocgame.xla.read.asynchronous import is_asynchronous, walk_asynchronous
from mallocgame.xla.read.carries import join_carries
from mallocgame.xla.read.hlo import (
    ArrayShape,
    HloComputation,
    HloInstruction,
    HloModule,
    TupleShape,
    leaves,
)
from mallocgame.xla.read.traffic import read_bytes, write_of
from mallocgame.xla.read.trips import ASSUMED_TRIPS, trip_count
from mallocgame.xla.read.values import Graph, GraphStep, Index, RawLoop, RawRead, RawWrite, Tree

_VIEWS = ("bitcast", "optimization-barrier", "copy-start", "copy-done", "slice-start", "slice-done")
_SOURCES = ("parameter", "constant")


def build_graph(module: HloModule, source: str, trips: int = ASSUMED_TRIPS) -> Graph:
    """Flattens a module.

    Args:
      source: names the file in errors.
      trips: executions of loops that do not say how often they run.

    Raises:
      InputError: a construct without placement rules.
    """
    graph = Graph(trips_if_unknown=trips)
    entry = module.computations[module.entry]
    outputs = _walk(graph, module, entry, None, source)
    parameters = entry.parameters()
    for index, number in module.donations:
        if index in outputs and number in parameters:
            given = graph.positions[parameters[number].name].get(())
            if given is not None:
                _merge_if_in_place(graph, given, outputs[index])
    for value in outputs.values():
        graph.values[graph.find(value)].is_output = True
    join_carries(graph)
    return graph


def _walk(
    graph: Graph,
    module: HloModule,
    computation: HloComputation,
    bound: Sequence[Tree] | None,
    source: str,
) -> Tree:
    """Adds a computation's steps and returns its root's values.

    bound: values of the parameters of what is called: a loop's body, a branch.
    """
    for hlo in computation.instructions.values():
        if hlo.opcode == "while":
            tree = _walk_loop(graph, module, hlo, source)
        elif hlo.opcode == "parameter" and bound is not None:
            tree = bound[int(hlo.literal)]
        elif hlo.opcode in _SOURCES:
            tree = {i: graph.new_value(hlo.name, i, s, True) for i, s in leaves(hlo.shape)}
        elif hlo.branches:
            tree = _walk_branches(graph, module, hlo, source)
        elif is_asynchronous(hlo):
            tree = walk_asynchronous(graph, hlo)
        elif _is_view(hlo):
            tree = _view(graph, hlo, source)
        else:
            tree = _add_step(graph, module, computation, hlo)
        graph.positions[hlo.name] = tree
    return graph.positions[computation.root]


def _is_view(hlo: HloInstruction) -> bool:
    return hlo.opcode in (*_VIEWS, "get-tuple-element", "tuple") or (
        hlo.opcode == "custom-call" and hlo.text("custom_call_target") == "ConcatBitcast"
    )


def _view(graph: Graph, hlo: HloInstruction, source: str) -> Tree:
    if hlo.opcode == "tuple":
        parts = enumerate(graph.positions[name] for name in hlo.operands)
        return {(n, *index): value for n, part in parts for index, value in part.items()}
    if not hlo.operands:
        raise InputError(f"{source}: {hlo.name}: {hlo.opcode} must have an operand")
    tree = graph.positions[hlo.operands[0]]
    if hlo.opcode == "get-tuple-element":
        text = hlo.text("index")
        if not text.isdigit():
            raise InputError(f"{source}: {hlo.name}: index: must be a number, got {text!r}")
        return {index[1:]: value for index, value in tree.items() if index[:1] == (int(text),)}
    if hlo.opcode.endswith("-start"):
        return {index: value for index, _ in leaves(hlo.shape) for value in tree.values()}
    if len(tree) != 1 and isinstance(hlo.shape, TupleShape):
        return tree
    return {(): next(iter(tree.values()))} if tree else {}


def _add_step(
    graph: Graph, module: HloModule, computation: HloComputation, hlo: HloInstruction
) -> Tree:
    step = GraphStep(hlo.name, hlo)
    for operand, name in enumerate(hlo.operands):
        values = graph.positions[name]
        if len(values) == 1:
            amount = read_bytes(module, computation, hlo.name, operand)
            step.reads.append(RawRead(next(iter(values.values())), operand, amount))
        else:
            step.reads.extend(
                RawRead(v, operand, graph.values[v].shape.size_bytes) for v in values.values()
            )
    tree: Tree = {}
    for index, shape in leaves(hlo.shape):
        amount, operand = write_of(module, computation, hlo.name, index)
        known = len(graph.values)
        tree[index] = _output(graph, hlo, index, shape, operand)
        step.writes.append(RawWrite(tree[index], index, amount, tree[index] >= known))
    graph.steps.append(step)
    return tree


def _output(
    graph: Graph, hlo: HloInstruction, index: Index, shape: ArrayShape, operand: int | None
) -> int:
    """The value of one output: for an update in place the operand's, else a new one."""
    if operand is not None:
        values = list(graph.positions[hlo.operands[operand]].values())
        if len(values) == 1 and graph.values[values[0]].shape.size_bytes == shape.size_bytes:
            return values[0]
    return graph.new_value(hlo.name, index, shape, False)


def _walk_loop(graph: Graph, module: HloModule, hlo: HloInstruction, source: str) -> Tree:
    body, condition = hlo.callee("body"), hlo.callee("condition")
    if body is None or condition is None:
        raise InputError(f"{source}: {hlo.name}: while must have a body and a condition")
    trips = trip_count(module, hlo, condition)
    if trips is None:
        trips = graph.assumed[hlo.name] = graph.trips_if_unknown
    given = graph.positions[hlo.operands[0]]
    entry = len(graph.steps)
    graph.steps.append(GraphStep(f"{hlo.name}:entry", hlo, is_marker=True))
    made = _walk(graph, module, module.computations[body], [given], source)
    if set(made) != set(given):
        raise InputError(f"{source}: {hlo.name}: body and operand must have the same shape")
    graph.steps.append(GraphStep(f"{hlo.name}:exit", hlo, is_marker=True))
    carries = []
    for index, value in made.items():
        if graph.find(value) != graph.find(given[index]):
            _merge_if_in_place(graph, given[index], value)
        if graph.find(value) != graph.find(given[index]):
            carries.append((given[index], value))
    graph.loops.append(RawLoop(entry, len(graph.steps) - 1, trips, tuple(carries)))
    return made


def _walk_branches(graph: Graph, module: HloModule, hlo: HloInstruction, source: str) -> Tree:
    """Adds the branches of a conditional, one after the other, or what a call calls.

    They make their results in one buffer, so these are one value; the first one defines it, or it
    is what a branch hands through, and all others update it.
    """
    given = [graph.positions[name] for name in hlo.operands]
    if hlo.opcode == "call":
        return _walk(graph, module, module.computations[hlo.branches[0]], given, source)
    first = len(graph.steps)
    made = []
    for branch, operand in zip(hlo.branches, given[1:], strict=True):
        made.append(_walk(graph, module, module.computations[branch], [operand], source))
    for step in graph.steps[first:]:
        step.share /= len(hlo.branches)
    inside = {graph.find(w.value) for step in graph.steps[first:] for w in step.writes if w.defines}
    tree: Tree = {}
    for index in made[0]:
        values = [graph.find(branch[index]) for branch in made]
        kept = next((v for v in values if v not in inside), values[0])
        for value in values:
            if value != kept and value in inside:
                graph.update_instead(kept, value)
        tree[index] = kept
    return tree


def _merge_if_in_place(graph: Graph, old: int, new: int) -> None:
    """Makes two values one if the instruction that defines ``new`` is the last to read ``old``.

    Both share one buffer, because a loop carries it or the caller donated it, so such an
    instruction overwrites its operand.
    """
    old, new = graph.find(old), graph.find(new)
    if old == new:
        return
    last_read = defined = None
    for number, step in enumerate(graph.steps):
        if any(graph.find(r.value) == old for r in step.reads):
            last_read = number
        if defined is None and any(graph.find(w.value) == new for w in step.writes):
            defined = number
    if defined is None or last_read != defined:
        return
    step = graph.steps[defined]
    step.writes = [
        RawWrite(w.value, w.index, w.bytes, False) if graph.find(w.value) == new else w
        for w in step.writes
    ]
    graph.merged[new] = old
