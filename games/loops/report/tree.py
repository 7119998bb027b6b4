"""A nest as a tree of text."""

from __future__ import annotations

from games.loops.program.computation import Computation
from games.loops.program.nest import COMPUTE, WRITE, Line, Nest


def tree(computation: Computation, nest: Nest, cursor: tuple[int, int] | None = None) -> str:
    """A line a loop, deeper ones further right, and what they are around.

    "m 12 x 16 + 5": 12 iterations of 16 elements each, and a tail of 5. A `>` marks the cursor,
    which is (nest, place).
    """
    lines = nest.lines(computation)
    out, (a, b) = computation.out, computation.inputs
    texts = []
    for line in (x for x in lines if x.nest == COMPUTE):
        texts.append(_text(line, line.position, nest, cursor))
    deep = len(nest.compute)
    texts.append(f"  {'  ' * deep}acc += {a} * {b}")
    for line in (x for x in lines if x.nest == WRITE):
        texts.append(_text(line, line.position, nest, cursor))
    texts.append(f"  {'  ' * len(nest.write)}{out} = acc")
    return "\n".join(texts) + "\n"


def _text(line: Line, depth: int, nest: Nest, cursor: tuple[int, int] | None) -> str:
    words = [line.loop.variable, str(line.size)]
    if line.loop.step > 1:
        words += ["x", str(line.loop.step)]
    if line.tail:
        words += ["+", str(line.tail)]
    if line.nest == COMPUTE and line.position == len(nest.compute) - 1 and nest.vector:
        words.append("vectorized")
    elif line.loop.unroll:
        words.append("unrolled")
    mark = "> " if cursor == (line.nest, line.position) else "  "
    return f"{mark}{'  ' * depth}{' '.join(words)}"
