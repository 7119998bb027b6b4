"""What the oracle's moves are about and what they change: questions, stays and write-backs.

Section numbers are those of `docs/game.md`; see `oracle.py`.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

COPY, NO_COPY, DROP = 0, 1, 2


class Question(NamedTuple):
    """What is decided: 'read' (a read that finds its value in slow memory), 'define', 'depart'."""

    kind: str
    value: int
    slot: int


class Origin(NamedTuple):
    """A question as Drop-backup forces it (6).

    kind: 'arrival' for a *read* or *define* question; 'enter' for the question at an entry marker,
        be it *read* or *depart*.
    """

    kind: str
    value: int
    slot: int


@dataclasses.dataclass(frozen=True)
class Stay:
    """A residency over the slots [start, end), as far as it is decided.

    Attributes:
      ready: the first slot whose accesses fast memory serves: the prefetch's end, else `start`.
      arrival: `COPIED` or `DEFINED`, see `mallocgame.program.mapping`.
      origin: the question that began it.
      tied: index of the residency whose offset it must share, the parameter's for the result of a
        held group (7).
      dirty: slow memory does not hold its content.
      written: the slot of the last write in fast memory; -1 if there is none.
      leaving: it is being written back, or was.
    """

    value: int
    start: int
    end: int
    ready: int
    arrival: str
    origin: Origin
    tied: int | None = None
    dirty: bool = False
    written: int = -1
    leaving: bool = False

    def covers(self, slot: int) -> bool:
        return self.start <= slot < self.end


@dataclasses.dataclass(frozen=True)
class WriteBack:
    """An eviction (5): window [start, end), and the ticks of supply that it takes per slot.

    stay: index of the residency that it ends.
    """

    stay: int
    start: int
    end: int
    taken: dict[int, int]


class Move(NamedTuple):
    """What an answer other than DROP would do.

    start: the slot at which the residency begins, for a *read* or *define* question.
    taken: ticks of supply that a prefetch takes per slot.
    stall: weighted ticks that the instruction in question waits.
    waits: the write-backs in progress end at once, for their room (4).
    """

    start: int
    taken: dict[int, int]
    stall: int
    waits: bool
