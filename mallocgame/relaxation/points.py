"""The life of each value as points and the pieces of the schedule between them.

For every piece the lower bound and the exact model decide whether a value crosses it in fast
memory. Points are the value's accesses and the boundaries of segments (docs/game.md, section 1),
since copies do not cross those.
"""

from __future__ import annotations

import dataclasses
import itertools

from mallocgame.program import Program
from mallocgame.program.levels import Levels
from mallocgame.program.needs import Needs


@dataclasses.dataclass(frozen=True)
class Point:
    """An access or a boundary, which lies before slot `slot` begins.

    slot: of the access, or the first slot of the next segment (T at the program's end).
    accesses: indices of the accesses at this slot, reads first; empty for a boundary.
    """

    slot: int
    accesses: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Piece:
    """What lies between two points of one value, inside one segment.

    before, after: numbers of the points, -1 for the beginning of the program.
    first, last: the slots strictly between, [first, last); `last` is the slot of the next point.
    segment: first slot of the segment.
    written: the last slot before the piece in which the value is written, -1 if there is none.
    needed: whether content that fast memory gives up here is needed later.
    at_boundary: whether the piece ends at a boundary.
    """

    before: int
    after: int
    first: int
    last: int
    segment: int
    written: int
    needed: bool
    at_boundary: bool


@dataclasses.dataclass(frozen=True)
class Life:
    """One value's P points and its pieces, piece k leading to point k.

    An input has P pieces, the first from slot 0.  Any other value starts at its first access, which
    defines it, and has P - 1 pieces, piece k leading to point k + 1.
    """

    value: int
    points: tuple[Point, ...]
    pieces: tuple[Piece, ...]


def lives(program: Program) -> list[Life]:
    """The lives of all values that are accessed and may be in fast memory."""
    return _Lives(program).run()


class _Lives:
    def __init__(self, program: Program):
        self.program, self.levels = program, Levels(program)
        self.needed = Needs(program, self.levels)
        total = len(program.instructions)
        self.starts = [t for t in range(total) if self.levels.segment[t] == t] + [total]
        self.rows: dict[int, list[tuple[int, int]]] = {}
        index = {id(a): i for i, a in enumerate(program.accesses)}
        for accesses in program.accesses_at:
            for access in accesses:
                self.rows.setdefault(access.value, []).append(
                    (access.instruction, index[id(access)])
                )

    def run(self) -> list[Life]:
        return [self._life(v) for v in sorted(self.rows) if self.program.fits(v)]

    def _life(self, v: int) -> Life:
        at: dict[int, list[int]] = {}
        for slot, index in self.rows[v]:
            at.setdefault(slot, []).append(index)
        is_input = self.program.values[v].is_input
        first = 0 if is_input else min(at)
        last = self._until(v, max(at))
        points = [Point(slot, tuple(accesses)) for slot, accesses in at.items()]
        points += [Point(slot) for slot in self.starts if first < slot <= last]
        # A boundary lies before its slot, so it comes before an access there.
        points.sort(key=lambda p: (p.slot, bool(p.accesses)))
        pieces = [self._piece(v, -1, Point(0), points[0], -1)] if is_input else []
        written = -1
        for k, (point, after) in enumerate(itertools.pairwise(points)):
            if any(self.program.accesses[i].kind == "write" for i in point.accesses):
                written = point.slot
            pieces.append(self._piece(v, k, point, after, written))
        return Life(v, tuple(points), tuple(pieces))

    def _piece(self, v: int, before: int, begin: Point, after: Point, written: int) -> Piece:
        # After an access in the last slot of a segment there is an empty piece of that segment.
        first = begin.slot + bool(begin.accesses)
        return Piece(
            before=before,
            after=before + 1,
            first=first,
            last=after.slot,
            segment=self.levels.segment[begin.slot],
            written=written,
            needed=self.needed(v, first, begin.slot),
            at_boundary=not after.accesses,
        )

    def _until(self, v: int, last: int) -> int:
        """The last boundary at which the content that an access at `last` leaves may be needed."""
        end = last
        for start in self.starts:
            if start > last and self.needed(v, end + 1, end):
                end = start
        return end
