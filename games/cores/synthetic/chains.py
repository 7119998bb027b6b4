"""Cores in a row behind an external memory, and graphs of parallel branches.

The machine and the graphs on which the prototype of the game was tested
(github.com/KarelPeeters/scheduler, 2a633b2).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from games.cores.problem.problem import (
    Allocation,
    Channel,
    Memory,
    Problem,
    Value,
    Weights,
)

EXTERNAL = "external"


@dataclasses.dataclass(frozen=True)
class Link:
    """latency: in units of time. time, energy: of a bit."""

    latency: int
    time: float
    energy: float


OUTER, INNER = Link(0, 2, 4), Link(0, 1, 2)
TIME_ONLY = Weights()


@dataclasses.dataclass(frozen=True)
class Branches:
    """A graph: `depth` layers of `count` operations between an input and an output.

    Layer 0 reads the input, later ones read their own branch; each reads a weight of its own of
    `weight_bits` too, if that is not 0. The output's operation reads the whole last layer.
    """

    depth: int
    count: int
    bits: int = 500
    weight_bits: int = 0


def chain_problem(
    name: str,
    graph: Branches,
    cores: int,
    operations: Sequence[tuple[int, float]],
    memory: int | None = None,
    outer: Link = OUTER,
    inner: Link = INNER,
    weights: Weights = TIME_ONLY,
) -> Problem:
    """A graph on cores in a row.

    operations: time and energy of the ways in which a core can run any operation. memory: bits of
    each core's own; None for enough. outer: between external memory and core 0, both ways. inner:
    between neighbours.
    """
    values, given = _graph(graph)
    enough = sum(value.bits for value in values)
    size = enough if memory is None else memory
    memories = [Memory(EXTERNAL, None), *(Memory(f"memory {i}", size) for i in range(cores))]
    groups = [*(f"core {i}" for i in range(cores)), *(f"link {i}" for i in range(cores))]
    channels = []
    for i in range(cores):
        link = inner if i else outer
        for ends in ((i, i + 1), (i + 1, i)):
            channels.append(Channel(cores + i, *ends, link.latency, link.time, link.energy))
    allocations = [
        Allocation(v, core, (core + 1,) * len(value.inputs), core + 1, time, energy)
        for v, value in enumerate(values)
        if v not in given
        for core in range(cores)
        for time, energy in operations
    ]
    return Problem(
        name,
        tuple(values),
        tuple(memories),
        tuple(groups),
        tuple(channels),
        tuple(allocations),
        tuple(given),
        (len(values) - 1,),
        weights,
    )


def _graph(graph: Branches) -> tuple[list[Value], list[int]]:
    values, given = [Value("x", graph.bits)], [0]
    last = [0]
    for layer in range(graph.depth):
        made = []
        for branch in range(graph.count):
            inputs = [last[branch] if layer else 0]
            if graph.weight_bits:
                given.append(len(values))
                inputs.append(len(values))
                values.append(Value(f"w{layer}.{branch}", graph.weight_bits))
            made.append(len(values))
            values.append(Value(f"a{layer}.{branch}", graph.bits, tuple(inputs)))
        last = made
    values.append(Value("y", graph.bits, tuple(last)))
    return values, given
