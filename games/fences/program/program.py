"""A compiled program: operations with their dataflow, devices, times and order."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Mapping, Sequence

from games.fences.program.syntax import Expression, Item
from games.fences.program.tokens import Place

CPU, GPU = 0, 1
DEVICE_NAMES = ("CPU", "GPU")
MAX_OPERATIONS, MAX_CONDITIONS = 64, 3


@dataclasses.dataclass(frozen=True)
class Weights:
    """What a schedule costs: of each instruction, fence, sync, byte handed over, and unit of time.

    latency: the time that passes between a fence and the end of a sync on it, at least.
    """

    instruction: float = 1.0
    fence: float = 10.0
    sync: float = 10.0
    byte: float = 0.1
    time: float = 1.0
    latency: float = 1.0


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation of a program.

    name, prints: it computes the value `name`, or prints it. value: None for a print.
    reads_input: whether `input()` is in its value.
    guard: (condition, branch) from the outside in; it runs where all hold. Conditions are numbers.
    data: the operations that may make what it reads, conditions of its guard included.
    after: those that have to be over before it starts, without handing it data.
    times: on CPU and GPU; None where it has no version. bytes: of its result.
    """

    name: str
    prints: bool
    value: Expression | None
    reads_input: bool
    guard: tuple[tuple[int, bool], ...]
    data: tuple[int, ...]
    after: tuple[int, ...]
    times: tuple[float | None, float | None]
    bytes: float
    place: Place = dataclasses.field(compare=False)

    @property
    def item(self) -> Item:
        """As annotations and schedules name it."""
        return Item(self.name, self.prints, self.place)

    @property
    def before(self) -> tuple[int, ...]:
        """All operations that come before it for one reason or another."""
        return tuple(sorted({*self.data, *self.after}))

    def may_run(self, device: int) -> bool:
        return self.times[device] is not None

    def time(self, device: int) -> float:
        """Its time on a device that it may run on."""
        time = self.times[device]
        assert time is not None, f"{self.item} may not run on the {DEVICE_NAMES[device]}"
        return time


@dataclasses.dataclass(frozen=True)
class Program:
    """N operations in the order of the text.

    conditions: the names of the values that `if` asks for, C of them.
    text: the program in the normal form of `games.fences.program.write`.
    """

    name: str
    operations: tuple[Operation, ...]
    conditions: tuple[str, ...]
    weights: Weights
    text: str = dataclasses.field(default="", compare=False)

    @functools.cached_property
    def outcomes(self) -> tuple[tuple[bool, ...], ...]:
        """What the conditions may be: K = 2 ** C tuples. Costs take them for equally likely."""
        return tuple(itertools.product((False, True), repeat=len(self.conditions)))

    @functools.cached_property
    def runs(self) -> tuple[tuple[bool, ...], ...]:
        """Whether each operation runs under each outcome, [N][K]."""
        return tuple(
            tuple(all(outcome[c] == branch for c, branch in op.guard) for outcome in self.outcomes)
            for op in self.operations
        )

    @functools.cached_property
    def share(self) -> tuple[float, ...]:
        """The share of the outcomes under which each operation runs, [N]."""
        return tuple(sum(row) / len(row) for row in self.runs)

    @functools.cached_property
    def readers(self) -> tuple[tuple[int, ...], ...]:
        """The operations before which each one comes, [N]."""
        return tuple(
            tuple(c for c, op in enumerate(self.operations) if p in op.before)
            for p in range(len(self.operations))
        )

    @functools.cached_property
    def order(self) -> tuple[int, ...]:
        """The operations in an order that keeps all of theirs, and else that of the text."""
        return topological([op.before for op in self.operations])

    @functools.cached_property
    def tails(self) -> tuple[tuple[float, ...], ...]:
        """The least time from the start of each operation to the end of the program, [N][K]."""
        found: list[tuple[float, ...]] = [()] * len(self.operations)
        for i in reversed(self.order):
            least = min(t for t in self.operations[i].times if t is not None)
            found[i] = tuple(
                runs * least + max((found[c][k] for c in self.readers[i]), default=0.0)
                for k, runs in enumerate(self.runs[i])
            )
        return tuple(found)

    @functools.cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def find(self, item: Item) -> list[int]:
        """The operations that an item names: more than one where branches exclude each other."""
        key = (item.name, item.prints)
        return [i for i, op in enumerate(self.operations) if (op.name, op.prints) == key]


def exclude(
    first: Sequence[tuple[int, bool]] | Sequence[tuple[str, bool]],
    second: Sequence[tuple[int, bool]] | Sequence[tuple[str, bool]],
) -> bool:
    """Whether two guards never hold in one run."""
    other: Mapping = dict(second)
    return any(other.get(condition, branch) != branch for condition, branch in first)


def topological(before: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Numbers in an order in which those of `before` come first, else from small to large.

    Raises:
      ValueError: there is a circle.
    """
    done: list[int] = []
    left = list(range(len(before)))
    while left:
        ready = next((i for i in left if all(b in done for b in before[i])), None)
        if ready is None:
            raise ValueError(f"a circle among {left}")
        done.append(ready)
        left.remove(ready)
    return tuple(done)
