"""What runs beside other instructions: copies to and from the host, and collectives.

Copies between fast and slow memory are not meant: these move a value, and the rules know them.
"""

from __future__ import annotations

from mallocgame.xla.read.hlo import ArrayShape, HloInstruction, leaves
from mallocgame.xla.read.values import Graph, GraphStep, RawRead, RawWrite, Tree

HOST = 5  # number of the host's memory in layouts


def is_asynchronous(hlo: HloInstruction) -> bool:
    """Whether it begins or ends something that makes a value of its own beside others."""
    if not hlo.opcode.endswith(("-start", "-done")) or hlo.opcode.startswith("slice-"):
        return False
    spaces = {array.memory_space for _, array in leaves(hlo.shape)}
    return not hlo.opcode.startswith("copy-") or HOST in spaces


def walk_asynchronous(graph: Graph, hlo: HloInstruction) -> Tree:
    """Adds the step that begins it; its end is a view of what the beginning makes."""
    if hlo.opcode.endswith("-done"):
        return _ended(graph, hlo)
    operands = [next(iter(graph.positions[name].values()), -1) for name in hlo.operands]
    step, tree = GraphStep(hlo.name, hlo), {}
    is_update = hlo.opcode.startswith("dynamic-update-slice")
    for index, shape in leaves(hlo.shape):
        alike = [v for v in operands if v >= 0 and _same(graph.values[v].shape, shape)]
        is_alias = is_update or hlo.opcode == "copy-start" or index[:1] == (0,)
        if alike and is_alias:
            tree[index] = alike[0]
            continue
        tree[index] = graph.new_value(hlo.name, index, shape, False)
        if shape.dims:
            step.writes.append(RawWrite(tree[index], index, shape.size_bytes, True))
    moved = sum(write.bytes for write in step.writes)
    for operand, value in enumerate(operands):
        if value >= 0 and graph.values[value].shape.dims:
            size = graph.values[value].shape.size_bytes
            if hlo.opcode.startswith("dynamic-"):
                size = 0 if is_update and not operand else size if is_update else min(size, moved)
            step.reads.append(RawRead(value, operand, size))
    graph.steps.append(step)
    return tree


def _ended(graph: Graph, hlo: HloInstruction) -> Tree:
    """For each array of the end, the value of that shape that the beginning made."""
    begun = graph.positions[hlo.operands[0]] if hlo.operands else {}
    tree: Tree = {}
    for index, shape in leaves(hlo.shape):
        alike = [v for v in begun.values() if _same(graph.values[v].shape, shape)]
        made = [v for v in alike if graph.values[v].instruction == hlo.operands[0]]
        tree[index] = (
            (made or alike)[-1] if alike else graph.new_value(hlo.name, index, shape, False)
        )
    return tree


def _same(a: ArrayShape, b: ArrayShape) -> bool:
    return (a.dtype, a.dims, a.memory_space) == (b.dtype, b.dims, b.memory_space)
