"""A flattened module: its steps, and the values that they read and write."""

from __future__ import annotations

from dataclasses import dataclass, field

from mallocgame.xla.read.hlo import ArrayShape, HloInstruction
from mallocgame.xla.read.trips import ASSUMED_TRIPS

Index = tuple[int, ...]
Tree = dict[Index, int]  # tuple index -> value


@dataclass
class RawValue:
    """A value under construction: the position where it is made, and its shape."""

    instruction: str
    index: Index
    shape: ArrayShape
    is_input: bool
    is_output: bool = False

    @property
    def name(self) -> str:
        """The position as XLA writes it."""
        suffix = "{" + ",".join(map(str, self.index)) + "}" if self.index else ""
        return self.instruction + suffix


@dataclass(frozen=True)
class RawRead:
    """Operand ``operand`` of a step is ``value``; ``bytes`` of it are read."""

    value: int
    operand: int
    bytes: int


@dataclass(frozen=True)
class RawWrite:
    """Output ``index`` of a step is ``value``."""

    value: int
    index: Index
    bytes: int
    defines: bool


@dataclass
class GraphStep:
    """One slot of the flattened schedule or, with ``hlo`` a while, a loop marker.

    share: how often it runs when the loop body or the entry that it is in does; less than 1 in the
        branch of a conditional.
    """

    name: str
    hlo: HloInstruction
    is_marker: bool = False
    reads: list[RawRead] = field(default_factory=list)
    writes: list[RawWrite] = field(default_factory=list)
    share: float = 1.0


@dataclass(frozen=True)
class RawLoop:
    """A while.

    entry, exit: numbers of the steps that are its markers.
    carries: (parameter, result) for each carried leaf that changes.
    """

    entry: int
    exit: int
    trip_count: int
    carries: tuple[tuple[int, int], ...]


@dataclass
class Graph:
    """Steps, values and loops; ``positions`` maps an instruction's name to its values.

    trips_if_unknown: taken for the count of loops that do not say theirs; assumed: those loops.
    """

    steps: list[GraphStep] = field(default_factory=list)
    values: list[RawValue] = field(default_factory=list)
    loops: list[RawLoop] = field(default_factory=list)
    positions: dict[str, Tree] = field(default_factory=dict)
    merged: dict[int, int] = field(default_factory=dict)
    trips_if_unknown: int = ASSUMED_TRIPS
    assumed: dict[str, int] = field(default_factory=dict)

    def find(self, value: int) -> int:
        """The value that stands for all that were found to be the same as this one."""
        while value in self.merged:
            value = self.merged[value]
        return value

    def new_value(self, name: str, index: Index, shape: ArrayShape, is_input: bool) -> int:
        """Adds a value that is made at a position, and returns its number."""
        self.values.append(RawValue(name, index, shape, is_input))
        return len(self.values) - 1

    def update_instead(self, old: int, new: int) -> None:
        """Makes two values one, of which ``new`` no longer is defined but updates ``old``."""
        for step in self.steps:
            step.writes = [
                RawWrite(w.value, w.index, w.bytes, False) if self.find(w.value) == new else w
                for w in step.writes
            ]
        self.merged[new] = old
