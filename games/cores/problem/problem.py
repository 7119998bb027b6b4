"""A problem: a graph of operations, a machine, and where each operation may run."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import heapq
import json
import math
from typing import TYPE_CHECKING, Any

from games.cores.problem.routes import Routes

if TYPE_CHECKING:
    from games.cores.problem.naive import Naive

# Sizes and times of a file are refused beyond this, so that sums of them fit 64-bit integers.
MAX_SIZE = 1 << 40


@dataclasses.dataclass(frozen=True)
class Value:
    """A piece of data, and the operation that makes it if it is not given.

    bits: its size. inputs: the values that its operation reads. after: values whose operations must
    have started before its own may start. Both are numbers of values.
    """

    name: str
    bits: int
    inputs: tuple[int, ...] = ()
    after: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Memory:
    """bits: its size; None for the external memory, which has no limit."""

    name: str
    bits: int | None


@dataclasses.dataclass(frozen=True)
class Channel:
    """One direction of a link or bus.

    group: number of what it occupies. source, target: memories. latency: in units of time.
    time_per_bit, energy_per_bit: of a transfer.
    """

    group: int
    source: int
    target: int
    latency: int
    time_per_bit: float
    energy_per_bit: float


@dataclasses.dataclass(frozen=True)
class Allocation:
    """A way to run the operation of a value.

    group: number of what it occupies. inputs: the memory that each input is read from.
    output: the memory that the value is written to. time, energy: what it takes.
    """

    value: int
    group: int
    inputs: tuple[int, ...]
    output: int
    time: int
    energy: float


@dataclasses.dataclass(frozen=True)
class Weights:
    """What counts: parts of the cost, at least 0, not all 0."""

    time: float = 1.0
    energy: float = 0.0
    peak: float = 0.0


@dataclasses.dataclass(frozen=True)
class Problem:
    """A graph, a machine, and where operations may run; everything is numbered from 0 on.

    groups: names of what does one thing at a time, such as a core or a bus.
    given: values that external memory holds at the start. wanted: values that it must hold at the
    end. Values that are not given are made by operations, one each.
    """

    name: str
    values: tuple[Value, ...]
    memories: tuple[Memory, ...]
    groups: tuple[str, ...]
    channels: tuple[Channel, ...]
    allocations: tuple[Allocation, ...]
    given: tuple[int, ...]
    wanted: tuple[int, ...]
    weights: Weights = Weights()

    @functools.cached_property
    def external(self) -> int:
        """The memory without limit."""
        return next(m for m, memory in enumerate(self.memories) if memory.bits is None)

    @functools.cached_property
    def operations(self) -> tuple[int, ...]:
        """The values that are made, in a topological order, small numbers first."""
        given = set(self.given)
        return tuple(v for v in topological_order(self.values) if v not in given)

    @functools.cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """The values whose operations read each value, in order."""
        found: list[list[int]] = [[] for _ in self.values]
        for v, value in enumerate(self.values):
            for i in value.inputs:
                found[i].append(v)
        return tuple(map(tuple, found))

    @functools.cached_property
    def allocations_of(self) -> tuple[tuple[int, ...], ...]:
        """The allocations of each value, in order."""
        found: list[list[int]] = [[] for _ in self.values]
        for a, allocation in enumerate(self.allocations):
            found[allocation.value].append(a)
        return tuple(map(tuple, found))

    @functools.cached_property
    def routes(self) -> Routes:
        """Fastest ways between memories."""
        return Routes(self)

    @functools.cached_property
    def naive(self) -> Naive:
        """The reference schedule."""
        from games.cores.problem.naive import naive_of

        return naive_of(self)

    @functools.cached_property
    def prices(self) -> tuple[float, float, float]:
        """What a unit of time, of energy and a bit of the peak cost.

        The reference costs 1. A figure that is 0 in the reference costs nothing, and its weight
        goes to the others.
        """
        naive, w = self.naive, self.weights
        pairs = ((w.time, naive.time), (w.energy, naive.energy), (w.peak, naive.peak))
        total = sum(weight for weight, of in pairs if of > 0)
        time, energy, peak = (weight / (total * of) if of * weight else 0.0 for weight, of in pairs)
        return time, energy, peak

    def cost(self, time: float, energy: float, peak: float) -> float:
        """The weighted cost of a schedule."""
        figures = time, energy, peak
        return sum(price * x for price, x in zip(self.prices, figures, strict=True))

    def transfer_time(self, channel: int, value: int) -> int:
        """Time of a transfer, rounded up to whole units."""
        c = self.channels[channel]
        exact = self.values[value].bits * c.time_per_bit
        # What is a whole number but for rounding counts as that number.
        near = round(exact)
        return c.latency + (near if abs(exact - near) <= 1e-9 * max(near, 1) else math.ceil(exact))

    def transfer_energy(self, channel: int, value: int) -> float:
        """Energy of a transfer."""
        return self.values[value].bits * self.channels[channel].energy_per_bit

    def room_for(self, allocation: int) -> dict[int, int]:
        """Bits that an operation takes in each memory: its inputs and its output."""
        found: dict[int, int] = {}
        a = self.allocations[allocation]
        value = self.values[a.value]
        for v, m in (*zip(value.inputs, a.inputs, strict=True), (a.value, a.output)):
            found[m] = found.get(m, 0) + self.values[v].bits
        return found

    @functools.cached_property
    def tail(self) -> tuple[int, ...]:
        """From the start of each operation to the end of everything: at least this time.

        The upward rank without transfers: the longest path of least operation times.
        """
        found = [0] * len(self.values)
        for v in reversed(self.operations):
            least = min(self.allocations[a].time for a in self.allocations_of[v])
            found[v] = least + max((found[c] for c in self.consumers[v]), default=0)
        return tuple(found)

    @functools.cached_property
    def urgency(self) -> tuple[int, ...]:
        """Operations numbered from 1 on by `tail`, the longest last; 0 for given values.

        Of equal ones that with the smaller place in `operations` has the higher number.
        """
        found = [0] * len(self.values)
        place = {v: i for i, v in enumerate(self.operations)}
        for i, v in enumerate(sorted(self.operations, key=lambda v: (self.tail[v], -place[v]))):
            found[v] = i + 1
        return tuple(found)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of the content, without the name."""
        text = json.dumps(record_of(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def topological_order(values: tuple[Value, ...]) -> list[int]:
    """Values after those that they are made of or wait for; shorter if there is a cycle."""
    below: list[list[int]] = [[] for _ in values]
    missing = []
    for v, value in enumerate(values):
        sources = {*value.inputs, *value.after}
        missing.append(len(sources))
        for source in sources:
            below[source].append(v)
    ready = [v for v, count in enumerate(missing) if not count]
    order = []
    while ready:
        v = heapq.heappop(ready)
        order.append(v)
        for reader in below[v]:
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    return order


def record_of(problem: Problem) -> dict[str, Any]:
    """The content of a problem file, without format, version and name."""
    names = [value.name for value in problem.values]
    memories = [memory.name for memory in problem.memories]

    def of_value(value: Value) -> dict[str, Any]:
        record: dict[str, Any] = {"name": value.name, "bits": value.bits}
        if value.inputs:
            record["inputs"] = [names[i] for i in value.inputs]
        if value.after:
            record["after"] = [names[i] for i in value.after]
        return record

    return {
        "values": [of_value(value) for value in problem.values],
        "memories": [{"name": m.name, "bits": m.bits} for m in problem.memories],
        "groups": list(problem.groups),
        "channels": [
            {
                "group": problem.groups[c.group],
                "source": memories[c.source],
                "target": memories[c.target],
                "latency": c.latency,
                "time_per_bit": c.time_per_bit,
                "energy_per_bit": c.energy_per_bit,
            }
            for c in problem.channels
        ],
        "allocations": [
            {
                "value": names[a.value],
                "group": problem.groups[a.group],
                "inputs": [memories[m] for m in a.inputs],
                "output": memories[a.output],
                "time": a.time,
                "energy": a.energy,
            }
            for a in problem.allocations
        ],
        "given": [names[v] for v in problem.given],
        "wanted": [names[v] for v in problem.wanted],
        "weights": dataclasses.asdict(problem.weights),
    }
