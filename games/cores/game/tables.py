"""Problems as arrays of equal size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from gamekit.errors import InputError
from games.cores.game.options import (
    MOST_INPUTS,
    MOST_VALUES,
    MOST_WAYS,
    MOVES_PER_OPERATION,
    SPARE_MOVES,
)
from games.cores.problem.problem import Problem
from games.cores.problem.routes import hops

# The room of memories without limit.
PLENTY = 1 << 30


class Tables(struct.PyTreeNode):
    """P problems; without the axis P, one problem. V values, I inputs of an operation, W values
    that it waits for, M memories, G groups, C channels, A allocations; -1 where there is none.

    count: int32 [P], operations. limit: int32 [P], moves. given, wanted: bool [P, V].
    bits, urgency, tail, uses: int32 [P, V]; uses: readers, and 1 if wanted. inputs: int32
    [P, V, I]. after: int32 [P, V, W]. share, least_energy: float32 [P, V]; share: of an
    operation in the reference's cost.
    op, group, output, time, rank: int32 [P, A]. memory: int32 [P, A, I], of each input.
    total: int32 [P, A, I], bits that the operation takes in the memory of each input.
    energy: float32 [P, A]. ways: float32 [P, A], time over the least of the operation.
    channel_group, source, target: int32 [P, C]. move_time: int32 [P, C, V].
    move_energy: float32 [P, C], per bit. toward: bool [P, C, M], which memories a channel leads
    nearer to. size, biggest: int32 [P, M]; biggest: bits that one operation takes at most.
    touches: bool [P, G, M]. external: int32 [P]. prices: float32 [P, 3]. weights: float32 [P, 3].
    unit: float32 [P, 3], mean time and energy of an operation in the reference, and its peak.
    """

    count: Array
    limit: Array
    given: Array
    wanted: Array
    bits: Array
    urgency: Array
    tail: Array
    uses: Array
    inputs: Array
    after: Array
    share: Array
    least_energy: Array
    op: Array
    group: Array
    output: Array
    time: Array
    rank: Array
    memory: Array
    total: Array
    energy: Array
    ways: Array
    channel_group: Array
    source: Array
    target: Array
    move_time: Array
    move_energy: Array
    toward: Array
    size: Array
    biggest: Array
    touches: Array
    external: Array
    prices: Array
    weights: Array
    unit: Array


def moves_limit(problem: Problem) -> int:
    """After so many moves a game is given up."""
    return MOVES_PER_OPERATION * len(problem.operations) + SPARE_MOVES


def tables_of(problems: Sequence[Problem]) -> Tables:
    """The tables of problems.

    Raises:
      InputError: a problem is too large for the game, or has nothing to decide.
    """
    rows = [_rows(problem) for problem in problems]
    # What pads a table: nothing that exists, or that is ever reached.
    fill = {"size": PLENTY, "toward": False, "touches": False, "given": True}
    least_one = {"after", "channel_group", "source", "target", "move_time", "move_energy", "toward"}
    stacked: dict[str, Array] = {}
    for name in rows[0]:
        shape = np.max([np.shape(row[name]) for row in rows], axis=0)
        if name in least_one:
            shape = np.maximum(shape, 1)
        padded = []
        for row in rows:
            x = np.asarray(row[name])
            pad = [(0, int(most - n)) for n, most in zip(x.shape, shape, strict=True)]
            padding = fill.get(name, -1 if x.dtype == np.int32 and name in _NUMBERS else 0)
            padded.append(np.pad(x, pad, constant_values=padding) if pad else x)
        stacked[name] = jnp.asarray(np.stack(padded))
    return Tables(**stacked)


# Tables of numbers of things, where -1 is none.
_NUMBERS = {
    "inputs", "after", "op", "group", "output", "memory", "channel_group", "source", "target",
}  # fmt: skip


def _check(problem: Problem) -> None:
    def refuse(field: str, text: str) -> InputError:
        return InputError(f"{problem.name}: {field}: the game plays {text}")

    values = problem.values
    if not problem.operations:
        raise refuse("allocations", "problems with at least one operation")
    if len(values) > MOST_VALUES:
        raise refuse("values", f"at most {MOST_VALUES} values, got {len(values)}")
    most = max(len(value.inputs) for value in values)
    if most > MOST_INPUTS:
        raise refuse("values", f"operations of at most {MOST_INPUTS} inputs, got {most}")
    if sum(value.bits for value in values) >= PLENTY:
        raise refuse("values", f"values of less than {PLENTY} bits together")
    if 8 * problem.naive.time >= 1 << 31 or any(a.time >= PLENTY for a in problem.allocations):
        raise refuse("allocations", "problems whose reference takes less than 2^28 units of time")


def _rows(problem: Problem) -> dict[str, Any]:
    _check(problem)
    values, allocations, channels = problem.values, problem.allocations, problem.channels
    naive = problem.naive
    wanted, given = set(problem.wanted), set(problem.given)
    count = len(problem.operations)
    most = max(len(value.inputs) for value in values)
    external = problem.external
    everything = range(len(values))

    def ints(data: Any, *shape: int) -> np.ndarray:
        return np.asarray(data, np.int64).clip(-PLENTY, PLENTY).astype(np.int32).reshape(shape)

    def padded(lists: Sequence[Sequence[int]], width: int) -> np.ndarray:
        rows = [[*entries, *[-1] * (width - len(entries))] for entries in lists]
        return ints(rows, len(rows), width)

    rooms = [problem.room_for(a) for a in range(len(allocations))]
    biggest = [
        max((room.get(m, 0) for room in rooms), default=0) if m != external else 0
        for m in range(len(problem.memories))
    ]
    distance = hops(problem)
    toward = [[distance[c.target][m] < distance[c.source][m] for m in range(len(problem.memories))]
              for c in channels]  # fmt: skip
    touches = np.zeros((len(problem.groups), len(problem.memories)), bool)
    for a in allocations:
        touches[a.group, [*a.inputs, a.output]] = True
    for c in channels:
        touches[c.group, [c.source, c.target]] = True
    least_time = {v: min(allocations[a].time for a in problem.allocations_of[v]) for v in
                  problem.operations}  # fmt: skip
    least_energy = [min((allocations[a].energy for a in problem.allocations_of[v]), default=0.0)
                    for v in everything]  # fmt: skip
    price_time, price_energy, price_peak = problem.prices
    weights = np.array([problem.weights.time, problem.weights.energy, problem.weights.peak])
    share = np.array([
        price_time * naive.times[v] + price_energy * naive.energies[v]
        + (price_peak * naive.peak / count if v not in given else 0.0)
        for v in everything
    ])  # fmt: skip
    move_time = [[problem.transfer_time(c, v) for v in everything] for c in range(len(channels))]
    return {
        "count": ints(count),
        "limit": ints(moves_limit(problem)),
        "given": np.array([v in given for v in everything]),
        "wanted": np.array([v in wanted for v in everything]),
        "bits": ints([value.bits for value in values], -1),
        "urgency": ints(problem.urgency, -1),
        "tail": ints(problem.tail, -1),
        "uses": ints([len(problem.consumers[v]) + (v in wanted) for v in everything], -1),
        "inputs": padded([value.inputs for value in values], most),
        "after": padded([value.after for value in values], max(len(v.after) for v in values)),
        "share": share.astype(np.float32),
        "least_energy": np.asarray(least_energy, np.float32),
        "op": ints([a.value for a in allocations], -1),
        "group": ints([a.group for a in allocations], -1),
        "output": ints([a.output for a in allocations], -1),
        "time": ints([a.time for a in allocations], -1),
        "rank": ints(_ranks(problem), -1),
        "memory": padded([a.inputs for a in allocations], most),
        "total": padded(
            [[room[m] for m in a.inputs] for a, room in zip(allocations, rooms, strict=True)], most
        ).clip(0),
        "energy": np.asarray([a.energy for a in allocations], np.float32),
        "ways": np.asarray(
            [a.time / max(least_time[a.value], 1) for a in allocations], np.float32
        ),
        "channel_group": ints([c.group for c in channels], -1),
        "source": ints([c.source for c in channels], -1),
        "target": ints([c.target for c in channels], -1),
        "move_time": ints(move_time, len(channels), len(values)),
        "move_energy": np.asarray([c.energy_per_bit for c in channels], np.float32),
        "toward": np.asarray(toward, bool).reshape(len(channels), len(problem.memories)),
        "size": ints([PLENTY if m.bits is None else m.bits for m in problem.memories], -1),
        "biggest": ints(biggest, -1),
        "touches": touches,
        "external": ints(external),
        "prices": np.asarray(problem.prices, np.float32),
        "weights": (weights / weights.sum()).astype(np.float32),
        "unit": np.asarray(
            [max(naive.time / count, 1.0), max(naive.energy / count, 1e-6), max(naive.peak, 1)],
            np.float32,
        ),
    }  # fmt: skip


def _ranks(problem: Problem) -> list[int]:
    """Of allocations as candidates: the urgency of the operation, then ways that take less time."""
    ranks = [0] * len(problem.allocations)
    for v in problem.operations:
        ways: dict[int, list[int]] = {}
        for a in problem.allocations_of[v]:
            ways.setdefault(problem.allocations[a].group, []).append(a)
        for group in ways.values():
            group.sort(key=lambda a: (problem.allocations[a].time, problem.allocations[a].energy))
            for i, a in enumerate(group):
                place = MOST_WAYS - 1 - min(i, MOST_WAYS - 1)
                ranks[a] = 1 + problem.urgency[v] * MOST_WAYS + place
    return ranks
