"""A solution: subgraphs one after another, each with its tile, its order and what it retains."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gamekit.jsonfile import Record, read_object, write_json
from games.graphs.problem.problem import Problem


@dataclasses.dataclass(frozen=True)
class Subgraph:
    """Operations that run together.

    ops: their numbers. tile: width, height and depth (along reductions) of a step, in elements.
    retain: tensors that stay in fast memory through the next subgraph.
    order: of the tiles, numbered row by row; None is that order itself.
    latency: what whoever made it claims, or None.
    """

    ops: tuple[int, ...]
    tile: tuple[int, int, int]
    retain: tuple[int, ...] = ()
    order: tuple[int, ...] | None = None
    latency: float | None = None


@dataclasses.dataclass(frozen=True)
class Solution:
    """Subgraphs, in the order in which they run."""

    subgraphs: tuple[Subgraph, ...]


def load_solution(path: str | Path, problem: Problem) -> Solution:
    """Reads a solution file of the contest and checks its form; the judge checks the rules.

    Raises:
      InputError: the file is unusable, or names operations or tensors that the problem lacks.
    """
    path = Path(path)
    return solution_from_record(read_object(path), problem, str(path))


def solution_from_record(data: dict[str, Any], problem: Problem, source: str) -> Solution:
    """A solution from the content of a file; see `load_solution`."""
    record = Record(data, source)
    groups = record.lists_of_integers("subgraphs")
    tiles = record.lists_of_integers("granularities")
    retained = record.lists_of_integers("tensors_to_retain")
    orders = record.optional_lists_of_integers("traversal_orders", len(groups))
    claims = record.numbers("subgraph_latencies") if data.get("subgraph_latencies") else None
    for field, values in (
        ("granularities", tiles),
        ("tensors_to_retain", retained),
        ("traversal_orders", orders),
        ("subgraph_latencies", claims),
    ):
        if values is not None and len(values) != len(groups):
            found = f"{len(values)} and {len(groups)}"
            raise record.error(field, f"must have as many entries as subgraphs, got {found}")
    subgraphs = []
    for i, (ops, tile, keep) in enumerate(zip(groups, tiles, retained, strict=True)):
        _check_numbers(record, f"subgraphs[{i}]", "operations", ops, problem.num_ops)
        _check_numbers(record, f"tensors_to_retain[{i}]", "tensors", keep, problem.num_tensors)
        if len(tile) != 3:
            raise record.error(
                f"granularities[{i}]", f"must be [width, height, depth], got {list(tile)}"
            )
        claim = None if claims is None else claims[i]
        subgraphs.append(Subgraph(ops, (tile[0], tile[1], tile[2]), keep, orders[i], claim))
    return Solution(tuple(subgraphs))


def save_solution(solution: Solution, path: str | Path) -> None:
    """Writes a solution file of the contest.

    Raises:
      InputError: the place cannot be written.
    """
    subgraphs = solution.subgraphs
    record: dict[str, Any] = {
        "subgraphs": [list(s.ops) for s in subgraphs],
        "granularities": [list(s.tile) for s in subgraphs],
        "tensors_to_retain": [list(s.retain) for s in subgraphs],
        "traversal_orders": [None if s.order is None else list(s.order) for s in subgraphs],
    }
    if all(s.latency is not None for s in subgraphs):
        record["subgraph_latencies"] = [s.latency for s in subgraphs]
    write_json(path, record)


def _check_numbers(
    record: Record, field: str, what: str, values: tuple[int, ...], limit: int
) -> None:
    for value in values:
        if not 0 <= value < limit:
            raise record.error(field, f"must be {what} below {limit}, got {value}")
