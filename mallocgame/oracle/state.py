"""What the oracle's moves change: residencies, promises, and the state that Drop-backup restores.

Section numbers are those of `docs/game.md`; see `oracle.py`.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import NamedTuple

from mallocgame.program.mapping import Transfer

COPY, NO_COPY, DROP = 0, 1, 2


class Question(NamedTuple):
    """What is decided: 'read' (a read that finds its value in slow memory), 'define', 'depart'."""

    kind: str
    value: int
    slot: int


@dataclasses.dataclass(frozen=True)
class Stay:
    """A residency over the slots [start, end).

    Attributes:
      origin: the decision that began it.
      end: what is known so far; meaningless while `evicting`.
      demand: ticks of supply its eviction still needs.
      evicted_at: the slot in which its eviction started.
      read_in_eviction: whether a stop read it since then.
    """

    value: int
    offset: int
    start: int
    end: int
    arrival: str
    origin: Question
    dirty: bool = False
    evicting: bool = False
    demand: int = 0
    evicted_at: int = 0
    read_in_eviction: bool = False

    def meets(self, start: int, end: int) -> bool:
        """Whether it is in fast memory during [start, end); an eviction never ends (4)."""
        return self.start < end and (self.evicting or self.end > start)


class Promise(NamedTuple):
    """The place that a held group keeps for its result, whose definition is at `start` (7)."""

    value: int
    offset: int
    start: int
    end: int
    origin: Question


class Fetch(NamedTuple):
    """How a COPY would be done: supply `taken` per slot, a residency [start, end) at `offset`, and
    the weighted ticks that its reader waits for the rest."""

    start: int
    end: int
    offset: int
    taken: dict[int, int]
    stall: int


@dataclasses.dataclass
class State:
    """Everything that a move changes and Drop-backup restores."""

    slot: int
    agenda: list[tuple[str, int]]  # what is left to do in this slot
    stays: list[Stay]  # every residency so far
    here: dict[int, int]  # value -> index of its present residency
    queue: list[int]  # residencies in eviction, in the order of their start
    promises: dict[int, Promise]  # result -> place
    slow_since: dict[int, int]  # value -> slot from whose start slow memory holds it
    left: list[int]  # supply left over, per finished slot
    fast: set[tuple[int, str]]  # (value, read or write) of this slot's accesses in fast memory
    up: list[int]  # values whose hold ends at this slot, in the order of the stops that said so
    prefetches: list[Transfer]
    evictions: list[Transfer]
    saved: int = 0
    paid: int = 0
    done: bool = False

    def snapshot(self) -> State:
        """A copy that shares nothing mutable."""
        fields = dataclasses.fields(self)
        return State(**{f.name: copy.copy(getattr(self, f.name)) for f in fields})


class InfeasibleError(Exception):
    """The state is infeasible; `origin` is the decision to return to (6)."""

    def __init__(self, origin: Question):
        super().__init__(origin)
        self.origin = origin


def overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two half-open ranges share anything."""
    return one[0] < other[1] and other[0] < one[1]
