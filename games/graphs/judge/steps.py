"""The time of a subgraph, step by step: the longer of computing and moving, summed up."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from games.graphs.judge.group import Group, extent, plain_role
from games.graphs.judge.slices import ALL, COLUMN, ROW, STEP, TILE, Role
from games.graphs.problem.problem import Problem
from games.graphs.problem.reading import Reading
from games.graphs.problem.solution import Subgraph

# Steps that are looked at together.
CHUNK = 1 << 16


@dataclasses.dataclass(frozen=True)
class Times:
    """Sums over the steps of a subgraph, in units of time: latency, computing, moving."""

    latency: float
    compute: float
    transfer: float


@dataclasses.dataclass
class _Seen:
    """What earlier steps leave behind: the last key of each slice, keys that were computed."""

    last: dict[object, int]
    done: dict[int, set[int]]


def times_of(problem: Problem, subgraph: Subgraph, group: Group, reading: Reading) -> Times:
    """Runs the tiles in their order, and the steps of each."""
    seen = _Seen({}, {})
    latency = compute = transfer = 0.0
    for rows, columns in _chunks(subgraph, group):
        moved = _moved(group, rows, columns, seen, reading)
        busy = _computed(problem, subgraph, group, rows, columns, seen, reading)
        moving = moved / problem.bandwidth
        latency += float(np.maximum(busy, moving).sum())
        compute += float(busy.sum())
        transfer += float(moving.sum())
    return Times(latency, compute, transfer)


def _chunks(subgraph: Subgraph, group: Group) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of consecutive tiles, int [n]."""
    tiles = group.rows * group.columns
    count = max(1, CHUNK // group.steps)
    for begin in range(0, tiles, count):
        end = min(begin + count, tiles)
        numbers = (
            np.arange(begin, end)
            if subgraph.order is None
            else np.asarray(subgraph.order[begin:end])
        )
        yield numbers // group.columns, numbers % group.columns


def _keys(role: Role, group: Group, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A number for the slice of every step, int [tiles, steps]; different slices differ."""
    steps = np.arange(group.steps)
    index = {
        ROW: rows[:, None],
        COLUMN: columns[:, None],
        STEP: steps[None, :],
        ALL: np.zeros((1, 1), int),
    }
    most = max(group.rows, group.columns, group.steps)
    keys = index[role[0]] * most + index[role[1]]
    return np.broadcast_to(keys, (len(rows), group.steps))


def _changes(keys: np.ndarray, name: object, seen: _Seen, within_tile: bool) -> np.ndarray:
    """Where the key is not that of the step before, bool as `keys`."""
    flat = keys.reshape(-1)
    before = np.concatenate([[seen.last.get(name, -1)], flat[:-1]])
    seen.last[name] = int(flat[-1])
    changed = (flat != before).reshape(keys.shape)
    if within_tile:
        changed[:, 0] = True
    return changed


def _moved(
    group: Group, rows: np.ndarray, columns: np.ndarray, seen: _Seen, reading: Reading
) -> np.ndarray:
    """Elements loaded and stored in every step, [tiles, steps]."""
    moved = np.zeros((len(rows), group.steps))
    within_tile = reading.reuse == "within_tile"
    for i, load in enumerate(group.loads):
        keys = _keys(load.role, group, rows, columns)
        if load.late:
            changed = _changes(keys[:, -1:], ("load", i), seen, within_tile)
            moved[:, -1:] += load.size * changed
        else:
            moved += load.size * _changes(keys, ("load", i), seen, within_tile)
    moved[:, -1] += group.stored
    return moved


def _computed(
    problem: Problem,
    subgraph: Subgraph,
    group: Group,
    rows: np.ndarray,
    columns: np.ndarray,
    seen: _Seen,
    reading: Reading,
) -> np.ndarray:
    """Time of computing in every step, [tiles, steps]."""
    busy = np.zeros((len(rows), group.steps))
    depth = subgraph.tile[2]
    for op, role in group.slices.made.items():
        cost = problem.base_costs[op] * _passes(problem, op, role, subgraph.tile)
        if op in group.slices.stepping:
            reduction = problem.reduction(op)
            share = min(depth, reduction)
            covers = reduction if reading.base_cost == "reduction" else problem.native[0]
            busy[:, : math.ceil(reduction / depth)] += cost * share / covers
        elif role == TILE:
            if reading.epilogue == "spread":
                busy += cost / group.steps
            else:
                busy[:, -1] += cost
        else:
            if problem.is_matmul(op) and reading.base_cost == "native":
                cost *= problem.reduction(op) / problem.native[0]
            plain = plain_role(problem, problem.outputs[op], role, subgraph.tile)
            keys = _keys(plain, group, rows, columns)
            if reading.upstream == "once":
                busy += cost * _first_times(keys, seen.done.setdefault(op, set()))
            else:
                busy += cost * _changes(keys, ("upstream", op), seen, within_tile=False)
    return busy


def _first_times(keys: np.ndarray, done: set[int]) -> np.ndarray:
    """Where a key is there for the first time, bool as `keys`."""
    flat = keys.reshape(-1)
    values, first = np.unique(flat, return_index=True)
    new = np.array([value not in done for value in values.tolist()], bool)
    done.update(values.tolist())
    found = np.zeros(len(flat), bool)
    found[first[new]] = True
    return found.reshape(keys.shape)


def _passes(problem: Problem, op: int, role: Role, tile: tuple[int, int, int]) -> float:
    """Native tiles that one slice of an operation's output takes.

    An axis that is cut along a reduction counts by its length, others by whole native tiles.
    """
    tensor = problem.outputs[op]
    plain = plain_role(problem, tensor, role, tile)
    found = 1.0
    sizes = zip(extent(problem, tensor, role, tile), reversed(problem.native), plain, strict=True)
    for size, native, cut in sizes:
        found *= size / native if cut == STEP else math.ceil(size / native)
    return found
