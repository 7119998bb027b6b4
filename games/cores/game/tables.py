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
    MOST_MEMORIES,
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
    """P problems; without the axis P, one problem. -1 where there is none.

    V values, O operations, I inputs of one, L values that one waits for, W ways to run one, K
    memories that a way reads from, R inputs that a value is, M memories, G groups, C channels, D
    channels of a group, S speeds of channels. A *mask* is an int32 whose bit m stands for memory m.

    count: int32 [P], operations. limit: int32 [P], moves. given, wanted: bool [P, V].
    bits, urgency, tail, uses: int32 [P, V]; uses: readers, and 1 if wanted. readers: int32
    [P, V, R], inputs by operation * I + input. share, least_energy: float32 [P, V]; share: of an
    operation in the reference's cost.
    made: int32 [P, O], the operations' values. inputs: int32 [P, O, I]. after: int32 [P, O, L].
    group, output, time, rank: int32 [P, O, W]. energy: float32 [P, O, W]. slower: float32
    [P, O, W], time over the least of the operation. reads: masks [P, O, W, I], where an input is
    read from. spots: int32 [P, O, W, K], the memories in `reads`. output_bits: int32 [P, O, W, K],
    those of the output if it is in that memory.
    channel_group, source, target, speed: int32 [P, C]. move_time: int32 [P, S, V]. move_energy:
    float32 [P, C], per bit. toward: masks [P, C], memories that a channel leads nearer to.
    channels: int32 [P, G, D]. size, biggest: int32 [P, M]; biggest: bits that one operation takes
    at most. touches: bool [P, G, M]. external: int32 [P]. prices: float32 [P, 3]. weights: float32
    [P, 3]. unit: float32 [P, 3], mean time and energy of an operation in the reference, and its
    peak.
    """

    count: Array
    limit: Array
    given: Array
    wanted: Array
    bits: Array
    urgency: Array
    tail: Array
    uses: Array
    readers: Array
    share: Array
    least_energy: Array
    made: Array
    inputs: Array
    after: Array
    group: Array
    output: Array
    time: Array
    rank: Array
    energy: Array
    slower: Array
    reads: Array
    spots: Array
    output_bits: Array
    channel_group: Array
    source: Array
    target: Array
    speed: Array
    move_time: Array
    move_energy: Array
    toward: Array
    channels: Array
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
    for problem in problems:
        _check(problem)
    # Places of inputs are numbered alike everywhere.
    inputs = max(len(value.inputs) for problem in problems for value in problem.values)
    rows = [_rows(problem, inputs) for problem in problems]
    # What pads a table: nothing that exists, or that is ever reached.
    fill = {"size": PLENTY, "touches": False, "given": True}
    stacked: dict[str, Array] = {}
    for name in rows[0]:
        shape = np.max([np.shape(row[name]) for row in rows], axis=0, initial=1)
        padded = []
        for row in rows:
            x = np.asarray(row[name])
            pad = [(0, int(most - n)) for n, most in zip(x.shape, shape, strict=True)]
            padding = fill.get(name, -1 if name in _NUMBERS else 0)
            padded.append(np.pad(x, pad, constant_values=padding) if pad else x)
        stacked[name] = jnp.asarray(np.stack(padded))
    return Tables(**stacked)


# Tables of numbers of things, where -1 is none.
_NUMBERS = {
    "readers", "made", "inputs", "after", "group", "output", "spots", "channel_group", "source",
    "target", "channels",
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
    if len(problem.memories) > MOST_MEMORIES:
        raise refuse("memories", f"at most {MOST_MEMORIES} memories, got {len(problem.memories)}")
    if 8 * problem.naive.time >= 1 << 31 or any(a.time >= PLENTY for a in problem.allocations):
        raise refuse("allocations", "problems whose reference takes less than 2^28 units of time")


def _ints(data: Any, *shape: int) -> np.ndarray:
    return np.asarray(data, np.int64).clip(-PLENTY, PLENTY).astype(np.int32).reshape(shape)


def _padded(data: Any, depth: int = 2, padding: int = -1, dtype: Any = np.int32) -> np.ndarray:
    """Lists in lists, `depth` levels, as an array that has room for the longest ones."""
    shape, level = [len(data)], data
    for _ in range(depth - 1):
        shape.append(max(map(len, level), default=0))
        level = [entry for entries in level for entry in entries]
    found = np.full(shape, padding, dtype)

    def put(where: tuple[int, ...], entries: Any) -> None:
        if len(where) == depth:
            found[where] = entries
            return
        for i, entry in enumerate(entries):
            put((*where, i), entry)

    put((), data)
    return found


def _rows(problem: Problem, inputs: int) -> dict[str, Any]:
    naive, external = problem.naive, problem.external
    wanted, given = set(problem.wanted), set(problem.given)
    everything = range(len(problem.values))
    price_time, price_energy, price_peak = problem.prices
    count = len(problem.operations)
    share = np.array([
        price_time * naive.times[v] + price_energy * naive.energies[v]
        + (price_peak * naive.peak / count if v not in given else 0.0)
        for v in everything
    ])  # fmt: skip
    weights = np.array([problem.weights.time, problem.weights.energy, problem.weights.peak])
    rooms = [problem.room_for(a) for a in range(len(problem.allocations))]
    biggest = [
        max((room.get(m, 0) for room in rooms), default=0) if m != external else 0
        for m in range(len(problem.memories))
    ]
    values = problem.values
    return {
        "count": _ints(count),
        "limit": _ints(moves_limit(problem)),
        "given": np.array([v in given for v in everything]),
        "wanted": np.array([v in wanted for v in everything]),
        "bits": _ints([value.bits for value in values], -1),
        "urgency": _ints(problem.urgency, -1),
        "tail": _ints(problem.tail, -1),
        "uses": _ints([len(problem.consumers[v]) + (v in wanted) for v in everything], -1),
        "share": share.astype(np.float32),
        "size": _ints([PLENTY if m.bits is None else m.bits for m in problem.memories], -1),
        "biggest": _ints(biggest, -1),
        "external": _ints(external),
        "prices": np.asarray(problem.prices, np.float32),
        "weights": (weights / weights.sum()).astype(np.float32),
        "unit": np.asarray(
            [max(naive.time / count, 1.0), max(naive.energy / count, 1e-6), max(naive.peak, 1)],
            np.float32,
        ),
        **_operations(problem, inputs),
        **_channels(problem),
    }  # fmt: skip


def _operations(problem: Problem, inputs: int) -> dict[str, Any]:
    """The tables of operations and of the ways to run them."""
    values, ranks = problem.values, _ranks(problem)
    made = sorted(problem.operations)
    ways = [[problem.allocations[a] for a in problem.allocations_of[v]] for v in made]
    readers: list[list[int]] = [[] for _ in values]
    for o, v in enumerate(made):
        for i, value in enumerate(values[v].inputs):
            readers[value].append(o * inputs + i)
    spots = [[sorted(set(a.inputs)) for a in own] for own in ways]
    output_bits = [
        [
            [values[a.value].bits if m == a.output else 0 for m in mine]
            for a, mine in zip(own, those, strict=True)
        ]
        for own, those in zip(ways, spots, strict=True)
    ]
    least_energy = np.zeros(len(values), np.float32)
    least_energy[made] = [min(a.energy for a in own) for own in ways]
    time = _padded([[a.time for a in own] for own in ways], padding=0)
    least = [max(min(a.time for a in own), 1) for own in ways]
    return {
        "readers": _padded(readers),
        "least_energy": least_energy,
        "made": _ints(made, -1),
        "inputs": _padded([values[v].inputs for v in made]),
        "after": _padded([values[v].after for v in made]),
        "group": _padded([[a.group for a in own] for own in ways]),
        "output": _padded([[a.output for a in own] for own in ways]),
        "time": time,
        "rank": _padded([[ranks[a] for a in problem.allocations_of[v]] for v in made], padding=0),
        "energy": _padded([[a.energy for a in own] for own in ways], 2, 0, np.float32),
        "slower": (time / np.array(least)[:, None]).astype(np.float32),
        "reads": _padded([[[1 << m for m in a.inputs] for a in own] for own in ways], 3, 0),
        "spots": _padded(spots, 3),
        "output_bits": _padded(output_bits, 3, 0),
    }


def _channels(problem: Problem) -> dict[str, Any]:
    """The tables of channels and groups."""
    channels, memories = problem.channels, range(len(problem.memories))
    distance = hops(problem)
    toward = [
        sum(1 << m for m in memories if distance[c.target][m] < distance[c.source][m])
        for c in channels
    ]
    touches = np.zeros((len(problem.groups), len(memories)), bool)
    for a in problem.allocations:
        touches[a.group, [*a.inputs, a.output]] = True
    of_group: list[list[int]] = [[] for _ in problem.groups]
    for i, c in enumerate(channels):
        touches[c.group, [c.source, c.target]] = True
        of_group[c.group].append(i)
    speeds = dict.fromkeys((c.latency, c.time_per_bit) for c in channels)
    first = [
        next(i for i, c in enumerate(channels) if (c.latency, c.time_per_bit) == s) for s in speeds
    ]
    numbers = {speed: i for i, speed in enumerate(speeds)}
    everything = range(len(problem.values))
    move_time = [[problem.transfer_time(i, v) for v in everything] for i in first]
    return {
        "channel_group": _ints([c.group for c in channels], -1),
        "source": _ints([c.source for c in channels], -1),
        "target": _ints([c.target for c in channels], -1),
        "speed": _ints([numbers[c.latency, c.time_per_bit] for c in channels], -1),
        "move_time": _ints(move_time, len(first), len(everything)),
        "move_energy": np.asarray([c.energy_per_bit for c in channels], np.float32),
        "toward": _ints(toward, -1),
        "channels": _padded(of_group),
        "touches": touches,
    }


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
