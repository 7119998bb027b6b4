"""Best times of groups of operations, worked out once each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from games.graphs.closed_form.form import TENSOR, Form, form_of
from games.graphs.closed_form.kernel import (
    COLUMN_SNAKE,
    RASTER,
    ROW_SNAKE,
    best_tile,
    cut_loads,
    time_of,
)
from games.graphs.problem.problem import Problem
from games.graphs.problem.solution import Subgraph

NOTHING: frozenset[int] = frozenset()


class Choice(NamedTuple):
    """The best tile of a group: width, height, depth; working_set in elements."""

    latency: float
    tile: tuple[int, int, int]
    order: int
    working_set: int


class Costs:
    """Forms and best tiles of groups of one problem, cached."""

    def __init__(self, problem: Problem):
        self.problem = problem
        self._forms: dict[frozenset[int], Form | None] = {}
        self._choices: dict[tuple, Choice | None] = {}

    def form(self, ops: frozenset[int]) -> Form | None:
        """The form of a group, None for one that no tile makes legal."""
        if ops not in self._forms:
            self._forms[ops] = form_of(self.problem, ops)
        return self._forms[ops]

    def best(
        self,
        ops: frozenset[int],
        resident: frozenset[int] = NOTHING,
        retain: frozenset[int] = NOTHING,
    ) -> Choice | None:
        """The best tile of a group, None without one.

        resident: tensors that the group before retained. retain: those to be retained.
        """
        key = (ops, resident, retain)
        if key not in self._choices:
            self._choices[key] = self._find(ops, resident, retain)
        return self._choices[key]

    def latency(
        self,
        ops: frozenset[int],
        resident: frozenset[int] = NOTHING,
        retain: frozenset[int] = NOTHING,
    ) -> float:
        """Of the best tile; infinite without one."""
        choice = self.best(ops, resident, retain)
        return np.inf if choice is None else choice.latency

    def naive(self, op: int) -> float:
        """Time of an operation alone."""
        return self.latency(frozenset([op]))

    def subgraph(
        self, ops: frozenset[int], resident: Iterable[int] = (), retain: Iterable[int] = ()
    ) -> Subgraph:
        """The group with its best tile, as a part of a solution."""
        choice, form = self.best(ops, frozenset(resident), frozenset(retain)), self.form(ops)
        assert choice is not None and form is not None
        ordered = tuple(sorted(ops, key=self.problem.rank.__getitem__))
        order = tile_order(form, choice.tile, choice.order)
        return Subgraph(ordered, choice.tile, tuple(sorted(retain)), order, choice.latency)

    def at(
        self,
        ops: frozenset[int],
        tile: tuple[int, int, int],
        order: int,
        resident: frozenset[int] = NOTHING,
        retain: frozenset[int] = NOTHING,
    ) -> tuple[float, int] | None:
        """Latency and working set with this tile and order, whether it fits or not."""
        form = self.form(ops)
        if form is None or not retain <= form.tiled:
            return None
        loads, held, leaving = self._outside(form, resident, retain)
        cuts = np.empty((len(loads), 3), np.int64)
        area = min(tile[0], form.width) * min(tile[1], form.height)
        used = held + leaving * area + cut_loads(loads, *tile, cuts)
        time = time_of(
            loads, cuts, form.stepping, form.late_cost, form.upstream, form.height, form.width,
            tile, order, leaving * area, self.problem.bandwidth, self.problem.native,
        )  # fmt: skip
        return float(time), int(used)

    def _outside(
        self, form: Form, resident: frozenset[int], retain: frozenset[int]
    ) -> tuple[np.ndarray, int, int]:
        """Loads, elements that stay throughout, and outputs that are stored."""
        loads = form.loads
        if resident:
            loads = loads[[t not in resident for t in loads[:, TENSOR].tolist()]]
        held = sum(self.problem.size(t) for t in resident)
        held += sum(self.problem.size(t) for t in retain)
        return loads, held, len(form.outputs - retain)

    def _find(
        self, ops: frozenset[int], resident: frozenset[int], retain: frozenset[int]
    ) -> Choice | None:
        form = self.form(ops)
        if form is None or not retain <= form.tiled:
            return None
        loads, held, leaving = self._outside(form, resident, retain)
        found = best_tile(
            loads, form.stepping, form.late_cost, form.upstream, form.height, form.width,
            form.least, form.deepest, held, leaving,
            self.problem.capacity, self.problem.bandwidth, self.problem.native,
        )  # fmt: skip
        if not np.isfinite(found[0]):
            return None
        latency, wide, high, depth, order, used = found
        return Choice(float(latency), (int(wide), int(high), int(depth)), int(order), int(used))


def tile_order(form: Form, tile: tuple[int, int, int], order: int) -> tuple[int, ...] | None:
    """Numbers of the tiles in this order; None where that is row by row."""
    down, across = -(-form.height // tile[1]), -(-form.width // tile[0])
    numbers = np.arange(down * across).reshape(down, across)
    if order == RASTER or min(down, across) == 1:
        return None
    if order == ROW_SNAKE:
        numbers[1::2] = numbers[1::2, ::-1]
        return tuple(numbers.reshape(-1).tolist())
    assert order == COLUMN_SNAKE
    numbers[:, 1::2] = numbers[::-1, 1::2]
    return tuple(numbers.T.reshape(-1).tolist())
