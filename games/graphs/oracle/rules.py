"""A second reading of the rules: what is in fast memory, step by step, as explicit slices.

Only with the default options, and slow.  A slice is (tensor, (axis, number), (axis, number)): which
part of the rows and which of the columns.  An axis is "y" or "x" (the tile's place in the output),
"k" (the step), or "" for an axis that is not cut.
"""

from __future__ import annotations

from collections.abc import Iterable

from games.graphs.problem.problem import Problem
from games.graphs.problem.solution import Solution, Subgraph

Cut = tuple[str, str]


class Rejected(Exception):
    """A solution breaks a rule."""


def cost(problem: Problem, solution: Solution) -> float:
    """The time that a solution takes.

    Raises:
      Rejected: it breaks a rule.
    """
    stored = {t for t in range(problem.num_tensors) if t not in problem.outputs}
    kept: set[int] = set()
    total, run = 0.0, set()
    for subgraph in solution.subgraphs:
        play = Run(problem, subgraph, kept)
        for tensor in play.demands:
            if tensor not in stored | kept:
                raise Rejected(f"tensor {tensor} is nowhere")
        total += play.time(subgraph.order)
        run |= set(subgraph.ops)
        kept = set(subgraph.retain)
        stored |= {t for t in play.results if t not in kept}
    if len(run) < problem.num_ops:
        raise Rejected("an operation never runs")
    for op in range(problem.num_ops):
        tensor = problem.outputs[op]
        if not any(tensor in tensors for tensors in problem.inputs) and tensor not in stored:
            raise Rejected(f"tensor {tensor} is not stored at the end")
    return total


def subgraph_run(problem: Problem, subgraph: Subgraph, kept: Iterable[int]) -> Run:
    """One subgraph, given what the one before retained.

    Raises:
      Rejected: it breaks a rule.
    """
    return Run(problem, subgraph, set(kept))


class Run:
    """One subgraph: what its steps need, and the time of them.

    results: tensors that leave it, height x width each. demands: the cuts in which each tensor from
    outside is read; cuts: those of tensors made here.
    """

    def __init__(self, problem: Problem, subgraph: Subgraph, kept: set[int]):
        self.problem, self.subgraph, self.kept = problem, subgraph, kept
        self.ops = list(subgraph.ops)
        self.maker = {problem.outputs[op]: op for op in self.ops}
        self._check_ops()
        read = {t for op in self.ops for t in problem.inputs[op]}
        self.results = [t for t in self.maker if t not in read]
        shapes = {(problem.heights[t], problem.widths[t]) for t in self.results}
        if len(shapes) != 1:
            raise Rejected("results of different shapes")
        self.height, self.width = shapes.pop()
        self.cuts: dict[int, Cut] = {}
        self.demands: dict[int, set[Cut]] = {}
        for tensor in self.results:
            self._demand(tensor, ("y", "x"))
        self._check_retained()
        self._check_memory()

    def _check_ops(self) -> None:
        problem, (wide, high, depth) = self.problem, self.subgraph.tile
        if not self.ops or len(set(self.ops)) != len(self.ops):
            raise Rejected("no operations, or one twice")
        if min(wide, high, depth) < 1 or wide > problem.native[0] or high > problem.native[1]:
            raise Rejected("tile out of range")
        for op in self.ops:
            if problem.kinds[op] == "MatMul":
                inner = problem.widths[problem.inputs[op][0]]
                if depth > min(inner, problem.native[0]):
                    raise Rejected("depth out of range")
                self._check_feeders(op, inner)
        parts = [{*problem.inputs[op], problem.outputs[op]} for op in self.ops]
        while len(parts) > 1:
            other = next((p for p in parts[1:] if p & parts[0]), None)
            if other is None:
                raise Rejected("not connected")
            parts.remove(other)
            parts[0] = parts[0] | other

    def _check_feeders(self, op: int, inner: int) -> None:
        wide, high, depth = self.subgraph.tile
        for tensor, spanned in zip(self.problem.inputs[op], (wide, high), strict=True):
            if tensor not in self.maker:
                continue
            if spanned < inner:
                raise Rejected("the tile does not span a reduction that is fed from inside")
            if self.problem.kinds[self.maker[tensor]] == "Pointwise" and depth != inner:
                raise Rejected("a reduction that a Pointwise operation feeds is split")

    def _demand(self, tensor: int, cut: Cut) -> None:
        """Asks for slices of a tensor and, where it is made here, of what it is made of."""
        if tensor not in self.maker:
            self.demands.setdefault(tensor, set()).add(cut)
            return
        if tensor in self.cuts:
            if self.cuts[tensor] != cut:
                raise Rejected("one tensor made here is cut in two ways")
            return
        self.cuts[tensor] = cut
        op = self.maker[tensor]
        if self.problem.kinds[op] == "Pointwise":
            for source in self.problem.inputs[op]:
                self._demand(source, cut)
            return
        inner = "k" if cut == ("y", "x") else ""
        left, right = self.problem.inputs[op]
        self._demand(left, (cut[0], inner))
        self._demand(right, (inner, cut[1]))

    def _check_retained(self) -> None:
        for tensor in self.subgraph.retain:
            if tensor not in self.maker or self.cuts[tensor] != ("y", "x"):
                raise Rejected("a retained tensor is not made here, tile by tile")

    def _spans(self, tensor: int, cut: Cut) -> list[tuple[str, int]]:
        """The axis and the extent of a slice, for rows and columns."""
        wide, high, depth = self.subgraph.tile
        step = {"y": high, "x": wide, "k": depth}
        found = []
        for axis, full in zip(cut, (self.problem.heights[tensor], self.problem.widths[tensor]),
                              strict=True):  # fmt: skip
            cuts = axis != "" and step[axis] < full
            found.append((axis, step[axis]) if cuts else ("", full))
        return found

    def _slices(self, tensor: int) -> set[tuple[tuple[str, int], ...]]:
        """The different slices of a tensor from outside that a step needs, as axes and extents."""
        found = {tuple(self._spans(tensor, cut)) for cut in self.demands[tensor]}
        whole = [s for s in found if s[0][0] == "" and s[1][0] == ""]
        return set(whole) or found

    def _area(self) -> int:
        wide, high, _ = self.subgraph.tile
        return min(wide, self.width) * min(high, self.height)

    def _size(self, tensor: int) -> int:
        return self.problem.widths[tensor] * self.problem.heights[tensor]

    def _leaving(self) -> list[int]:
        return [t for t in self.results if t not in self.subgraph.retain]

    def _check_memory(self) -> None:
        used = sum(self._size(t) for t in self.kept)
        used += sum(self._size(t) for t in set(self.subgraph.retain))
        used += self._area() * len(self._leaving())
        for tensor in self.demands:
            if tensor not in self.kept:
                used += sum(rows * columns for (_, rows), (_, columns) in self._slices(tensor))
        if used > self.problem.capacity:
            raise Rejected("too little fast memory")

    def time(self, order: tuple[int, ...] | None = None) -> float:
        """Goes through all steps, tile by tile in this order, with what fast memory holds.

        Raises:
          Rejected: the order of the tiles is none.
        """
        wide, high, depth = self.subgraph.tile
        down, across = -(-self.height // high), -(-self.width // wide)
        if order is None:
            order = tuple(range(down * across))
        if sorted(order) != list(range(down * across)):
            raise Rejected("the order is none of the tiles")
        inner = [
            self.problem.widths[self.problem.inputs[op][0]]
            for op in self.ops
            if self.problem.kinds[op] == "MatMul"
            and self.cuts[self.problem.outputs[op]] == ("y", "x")
        ]
        steps = max([1, *(-(-k // depth) for k in inner)])
        holds: dict[int, set] = {t: set() for t in self.demands}
        computed: set = set()
        total = 0.0
        for tile in order:
            for step in range(steps):
                place = {"y": tile // across, "x": tile % across, "k": step, "": 0}
                moved = self._move(holds, place, step == steps - 1)
                busy = self._compute(computed, place, step, step == steps - 1)
                total += max(busy, moved / self.problem.bandwidth)
        return total

    def _move(self, holds: dict[int, set], place: dict[str, int], last: bool) -> int:
        """Loads what is missing for a step, drops what it does not need, stores what is ready."""
        moved = 0
        for tensor in self.demands:
            if tensor in self.kept or (self.demands[tensor] == {("y", "x")} and not last):
                continue
            needed = {
                ((a, place[a]), (b, place[b])): rows * columns
                for (a, rows), (b, columns) in self._slices(tensor)
            }
            moved += sum(size for key, size in needed.items() if key not in holds[tensor])
            holds[tensor] = set(needed)
        return moved + last * self._area() * len(self._leaving())

    def _compute(self, computed: set, place: dict[str, int], step: int, last: bool) -> float:
        busy = 0.0
        depth = self.subgraph.tile[2]
        for op in self.ops:
            tensor, price = self.problem.outputs[op], self.problem.base_costs[op]
            matmul = self.problem.kinds[op] == "MatMul"
            if self.cuts[tensor] != ("y", "x"):
                (a, rows), (b, columns) = self._spans(tensor, self.cuts[tensor])
                key = (op, (a, place[a]), (b, place[b]))
                if key not in computed:
                    computed.add(key)
                    across, down = self.problem.native
                    parts = ((a, rows, down), (b, columns, across))
                    for axis, extent, native in parts:
                        price *= extent / native if axis == "k" else -(-extent // native)
                    busy += price
            elif matmul:
                inner = self.problem.widths[self.problem.inputs[op][0]]
                if step * depth < inner:
                    busy += price * min(depth, inner) / inner
            elif last:
                busy += price
        return busy
