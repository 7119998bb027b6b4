"""Flattens a module into one schedule and finds the values behind tuples, views, loops and updates.

A *position* is an instruction and a tuple index.  Several positions can be one value: views,
carried buffers, operands and results of in-place updates.  A loop's body stands where its ``while``
does, between two markers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gamekit.errors import InputError
from mallocgame.xla.read.hlo import (
    ArrayShape,
    HloComputation,
    HloInstruction,
    HloModule,
    TupleShape,
    leaves,
)
from mallocgame.xla.read.traffic import read_bytes, write_of

Index = tuple[int, ...]
Tree = dict[Index, int]  # tuple index -> value

_VIEWS = ("bitcast", "optimization-barrier", "copy-start", "copy-done", "slice-start", "slice-done")
_SOURCES = ("parameter", "constant")


@dataclass
class RawValue:
    """A value under construction: the position where it is made, and its shape."""

    instruction: str
    index: Index
    shape: ArrayShape
    is_input: bool
    is_output: bool = False

    @property
    def name(self) -> str:
        """The position as XLA writes it."""
        suffix = "{" + ",".join(map(str, self.index)) + "}" if self.index else ""
        return self.instruction + suffix


@dataclass(frozen=True)
class RawRead:
    """Operand ``operand`` of a step is ``value``; ``bytes`` of it are read."""

    value: int
    operand: int
    bytes: int


@dataclass(frozen=True)
class RawWrite:
    """Output ``index`` of a step is ``value``."""

    value: int
    index: Index
    bytes: int
    defines: bool


@dataclass
class GraphStep:
    """One slot of the flattened schedule or, with ``hlo`` a while, a loop marker."""

    name: str
    hlo: HloInstruction
    is_marker: bool = False
    reads: list[RawRead] = field(default_factory=list)
    writes: list[RawWrite] = field(default_factory=list)


@dataclass(frozen=True)
class RawLoop:
    """A while.

    entry, exit: numbers of the steps that are its markers.
    carries: (parameter, result) for each carried leaf that changes.
    """

    entry: int
    exit: int
    trip_count: int
    carries: tuple[tuple[int, int], ...]


@dataclass
class Graph:
    """Steps, values and loops; ``positions`` maps an instruction's name to its values."""

    steps: list[GraphStep] = field(default_factory=list)
    values: list[RawValue] = field(default_factory=list)
    loops: list[RawLoop] = field(default_factory=list)
    positions: dict[str, Tree] = field(default_factory=dict)
    merged: dict[int, int] = field(default_factory=dict)

    def find(self, value: int) -> int:
        """The value that stands for all that were found to be the same as this one."""
        while value in self.merged:
            value = self.merged[value]
        return value


def build_graph(module: HloModule, source: str) -> Graph:
    """Flattens a module; ``source`` names the file in errors.

    Raises:
      InputError: a construct without placement rules (a conditional, an unknown trip count).
    """
    graph = Graph()
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
    return graph


def _walk(
    graph: Graph, module: HloModule, computation: HloComputation, bound: Tree | None, source: str
) -> Tree:
    """Adds a computation's steps and returns its root's values.

    bound: values of the parameter, for the body of a loop.
    """
    for hlo in computation.instructions.values():
        if hlo.opcode == "while":
            tree = _walk_loop(graph, module, hlo, source)
        elif hlo.opcode == "parameter" and bound is not None:
            tree = bound
        elif hlo.opcode in _SOURCES:
            tree = {i: _new_value(graph, hlo.name, i, s, True) for i, s in leaves(hlo.shape)}
        elif hlo.opcode == "conditional":
            raise InputError(f"{source}: {hlo.name}: opcode: conditional is not supported")
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


def _new_value(graph: Graph, name: str, index: Index, shape: ArrayShape, is_input: bool) -> int:
    graph.values.append(RawValue(name, index, shape, is_input))
    return len(graph.values) - 1


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
    return _new_value(graph, hlo.name, index, shape, False)


def _walk_loop(graph: Graph, module: HloModule, hlo: HloInstruction, source: str) -> Tree:
    body, condition = hlo.callee("body"), hlo.callee("condition")
    if body is None or condition is None:
        raise InputError(f"{source}: {hlo.name}: while must have a body and a condition")
    trips = _trip_count(module, hlo, condition, source)
    given = graph.positions[hlo.operands[0]]
    entry = len(graph.steps)
    graph.steps.append(GraphStep(f"{hlo.name}:entry", hlo, is_marker=True))
    made = _walk(graph, module, module.computations[body], given, source)
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


def _trip_count(module: HloModule, hlo: HloInstruction, condition: str, source: str) -> int:
    """The trip count that the compiler states, or of ``for (i = start; i < bound; i += step)``.

    Raises:
      InputError: the loop's condition, start or step is not a constant.
    """
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', hlo.attributes)
    if known:
        return int(known.group(1))
    test = module.computations[condition]
    root = test.instructions[test.root]
    if root.opcode == "compare" and root.text("direction") == "LT" and len(root.operands) == 2:
        counter = test.instructions[root.operands[0]].text("index")
        bound = _constant(test, root.operands[1])
        start = _counter_start(module, hlo, counter)
        step = _counter_step(module, hlo, counter)
        if bound is not None and start is not None and step and bound > start:
            return -(-(bound - start) // step)
    raise InputError(f"{source}: {hlo.name}: condition {condition}: no constant trip count")


def _constant(computation: HloComputation, name: str) -> int | None:
    """The integer behind copies of a constant; None for anything else."""
    instruction = computation.instructions[name]
    while instruction.opcode in ("copy", "bitcast"):
        instruction = computation.instructions[instruction.operands[0]]
    is_integer = instruction.opcode == "constant" and instruction.literal.lstrip("-").isdigit()
    return int(instruction.literal) if is_integer else None


def _counter_start(module: HloModule, hlo: HloInstruction, counter: str) -> int | None:
    for computation in module.computations.values():
        if computation.instructions.get(hlo.name) is hlo and counter.isdigit():
            initial = computation.instructions[hlo.operands[0]]
            if initial.opcode == "tuple" and int(counter) < len(initial.operands):
                return _constant(computation, initial.operands[int(counter)])
    return None


def _counter_step(module: HloModule, hlo: HloInstruction, counter: str) -> int | None:
    """The constant that the body adds to the counter; None if it does something else."""
    body = module.computations[hlo.callee("body") or ""]
    root = body.instructions[body.root]
    if root.opcode != "tuple" or not counter.isdigit() or int(counter) >= len(root.operands):
        return None
    update = body.instructions[root.operands[int(counter)]]
    if update.opcode != "add" or len(update.operands) != 2:
        return None
    before, step = (body.instructions[name] for name in update.operands)
    while before.opcode in ("copy", "bitcast"):
        before = body.instructions[before.operands[0]]
    if before.opcode != "get-tuple-element" or before.text("index") != counter:
        return None
    return _constant(body, step.name)
