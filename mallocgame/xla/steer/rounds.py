"""Mappings in rounds: each is made with what the compiles of the last one taught.

A search finds what is good by our latencies, and so also where these are too good.  The compile
that shows it is one more placement for the fit (`mallocgame.xla.latency.times`), and the next
search does not fall for it again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from mallocgame.followed import without_late_copies
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping
from mallocgame.promise import promise
from mallocgame.xla.latency.times import learned
from mallocgame.xla.steer.confirm import LEAST_GAIN, Attempt

MOST_ROUNDS = 4  # searches, the first one included


@dataclasses.dataclass(frozen=True)
class Round:
    """A mapping, and the program and production's mapping with the latencies that it was made with.

    The mapping has the fingerprint of the first round's program.
    """

    program: Program
    production: Mapping
    mapping: Mapping


class Rounds:
    """The rounds of one program, for `mallocgame.xla.steer.confirm.confirm`."""

    def __init__(self, first: Round, search: Callable[[Program, Mapping], Mapping]):
        """search: makes a mapping of a program, given production's."""
        self.rounds, self._search, self._program = [first], search, first.program

    def again(self, attempts: Sequence[Attempt], gain: float) -> tuple[Mapping, float] | None:
        """Learns from compiles, searches, and gives the mapping and what it promises.

        None if there was nothing to learn, if the search promises no more than what is confirmed,
        or after `MOST_ROUNDS`.
        """
        first, program = self.rounds[0], self._program
        for placement in (a.placement for a in attempts if a.placement is not None):
            program = learned(program, placement.in_fast, placement.cycles)
        if program is self._program or len(self.rounds) == MOST_ROUNDS:
            return None
        self._program = program
        production = dataclasses.replace(first.production, fingerprint=program.fingerprint)
        mapping = self._search(program, production)
        mapping = without_late_copies(program, production, mapping)
        found = promise(program, production, mapping)
        mapping = dataclasses.replace(mapping, fingerprint=first.program.fingerprint)
        self.rounds.append(Round(program, production, mapping))
        if found is None or found.simulated <= gain + LEAST_GAIN:
            return None
        return mapping, found.simulated
