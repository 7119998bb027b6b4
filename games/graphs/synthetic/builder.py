"""Writes problems operation by operation."""

from __future__ import annotations

from games.graphs.problem.problem import MATMUL, POINTWISE, Problem


class Builder:
    """A problem under construction; methods return the numbers of tensors.

    Sizes are width first, in elements.
    """

    def __init__(self, matmul_cost: float, pointwise_cost: float):
        self.matmul_cost, self.pointwise_cost = matmul_cost, pointwise_cost
        self._shapes: list[tuple[int, int]] = []
        self._inputs: list[tuple[int, ...]] = []
        self._outputs: list[int] = []
        self._costs: list[float] = []
        self._kinds: list[str] = []

    @property
    def num_ops(self) -> int:
        return len(self._outputs)

    def tensor(self, width: int, height: int) -> int:
        """One that slow memory holds from the start."""
        self._shapes.append((width, height))
        return len(self._shapes) - 1

    def matmul(self, left: int, right: int) -> int:
        width, height = self._shapes[right][0], self._shapes[left][1]
        return self._add(MATMUL, (left, right), (width, height), self.matmul_cost)

    def times(self, left: int, width: int) -> int:
        """A product with new weights: `width` wide."""
        return self.matmul(left, self.tensor(width, self._shapes[left][0]))

    def pointwise(self, *tensors: int) -> int:
        return self._add(POINTWISE, tensors, self._shapes[tensors[0]], self.pointwise_cost)

    def joined(self, tensors: list[int]) -> int:
        """All of them added up, two at a time."""
        total = tensors[0]
        for tensor in tensors[1:]:
            total = self.pointwise(total, tensor)
        return total

    def width(self, tensor: int) -> int:
        return self._shapes[tensor][0]

    def _add(self, kind: str, inputs: tuple[int, ...], shape: tuple[int, int], cost: float) -> int:
        out = self.tensor(*shape)
        self._inputs.append(inputs)
        self._outputs.append(out)
        self._costs.append(cost)
        self._kinds.append(kind)
        return out

    def problem(
        self, name: str, capacity: int, bandwidth: float, native: tuple[int, int] = (128, 128)
    ) -> Problem:
        widths, heights = zip(*self._shapes, strict=True)
        return Problem(
            name,
            widths,
            heights,
            tuple(self._inputs),
            tuple(self._outputs),
            tuple(self._costs),
            tuple(self._kinds),
            capacity,
            bandwidth,
            native,
        )
