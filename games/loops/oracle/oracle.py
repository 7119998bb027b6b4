"""The rules in plain Python (docs/loops.md, section 4); searches play by them too."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from games.loops.game.options import (
    ACTION_NAMES,
    DOWN,
    FIRST_SPLIT,
    MERGE,
    SPLITS,
    STOP,
    SWAP_DOWN,
    SWAP_UP,
    UNROLL,
    UP,
    VECTORIZE,
)
from games.loops.program.computation import Computation
from games.loops.program.nest import (
    COMPUTE,
    MAX_COPIES,
    MAX_LOOPS,
    MAX_UNROLL,
    WRITE,
    Loop,
    Nest,
    innermost_is_right,
    start,
)

Row = tuple[Loop, ...]


@dataclasses.dataclass(frozen=True)
class Position:
    """A nest, and the loop at which the cursor is: the nest it is of, and its place there. The
    cursor at a shared loop is in the compute nest."""

    nest: Nest
    cursor: tuple[int, int] = (COMPUTE, 0)


def first(computation: Computation) -> Position:
    """Where a game begins."""
    return Position(start(computation))


def moved(computation: Computation, at: Position, action: int) -> Position | None:
    """What an action makes of a position; None where it is illegal. `stop` changes nothing."""
    if action == STOP:
        return at
    after = _change(computation, at, action)
    if after is None:
        return None
    nest = after.nest
    if len(nest.lines(computation)) > MAX_LOOPS or not innermost_is_right(computation, nest):
        return None
    row, place = after.cursor
    if row == WRITE and place < nest.shared:
        after = dataclasses.replace(after, cursor=(COMPUTE, place))
    return after


def legal(computation: Computation, at: Position) -> list[bool]:
    """Which actions may be played, one an action."""
    return [moved(computation, at, a) is not None for a in range(len(ACTION_NAMES))]


def _change(computation: Computation, at: Position, action: int) -> Position | None:
    nest, (row, place) = at.nest, at.cursor
    shared, loops = nest.shared, at.nest.rows[row]
    if action == UP:
        return _up(at)
    if action == DOWN:
        return _down(at)
    if action in (SWAP_UP, SWAP_DOWN):
        other = place - 1 if action == SWAP_UP else place + 1
        if not 0 <= other < len(loops) or loops[other].variable == loops[place].variable:
            return None
        both = max(place, other) < shared
        return Position(_edited(nest, row, both, lambda x: _swap(x, place, other)), (row, other))
    extent = nest.extents(computation, row)[place]
    loop, both = loops[place], row == COMPUTE and place < shared
    if FIRST_SPLIT <= action < FIRST_SPLIT + len(SPLITS):
        factor = SPLITS[action - FIRST_SPLIT]
        if extent // loop.step < factor:
            return None
        pair = (Loop(loop.variable, factor * loop.step), Loop(loop.variable, loop.step))
        split = lambda x: (*x[:place], *pair, *x[place + 1 :])  # noqa: E731
        return Position(_edited(nest, row, both, split), (row, place))
    if action == MERGE:
        around = [i for i in range(place) if loops[i].variable == loop.variable]
        if not around:
            return None
        outer = around[-1]

        def merge(x):
            return (
                *x[:outer],
                Loop(loop.variable, loop.step),
                *x[outer + 1 : place],
                *x[place + 1 :],
            )

        return Position(_edited(nest, row, both, merge), (row, outer))
    is_innermost = (row, place) == (COMPUTE, len(nest.compute) - 1)
    if action == VECTORIZE:
        flipped = dataclasses.replace(nest, vector=not nest.vector)
        return Position(flipped, at.cursor) if is_innermost else None
    assert action == UNROLL
    if row == WRITE or (is_innermost and nest.vector):
        return None
    return _unroll(computation, at, extent // loop.step)


def _up(at: Position) -> Position | None:
    row, place = at.cursor
    if row == WRITE and place == at.nest.shared:
        return Position(at.nest, (COMPUTE, len(at.nest.compute) - 1))
    return Position(at.nest, (row, place - 1)) if place > 0 else None


def _down(at: Position) -> Position | None:
    row, place = at.cursor
    if place + 1 < len(at.nest.rows[row]):
        return Position(at.nest, (row, place + 1))
    if row == COMPUTE and at.nest.shared < len(at.nest.write):
        return Position(at.nest, (WRITE, at.nest.shared))
    return None


def _edited(nest: Nest, row: int, both: bool, edit: Callable[[Row], Row]) -> Nest:
    """The nest with one row edited, or both; loops of `write` are never unrolled."""
    if row == COMPUTE:
        nest = dataclasses.replace(nest, compute=edit(nest.compute))
    if row == WRITE or both:
        nest = dataclasses.replace(nest, write=edit(nest.write))
    return nest


def _swap(loops: Row, a: int, b: int) -> Row:
    changed = list(loops)
    changed[a], changed[b] = changed[b], changed[a]
    return tuple(changed)


def _unroll(computation: Computation, at: Position, size: int) -> Position | None:
    nest, (_, place) = at.nest, at.cursor
    loop = nest.compute[place]
    turned = dataclasses.replace(loop, unroll=not loop.unroll)
    compute = (*nest.compute[:place], turned, *nest.compute[place + 1 :])
    extents = nest.extents(computation)
    copies = math.prod(
        extent // x.step for extent, x in zip(extents, compute, strict=True) if x.unroll
    )
    if turned.unroll and (size > MAX_UNROLL or copies > MAX_COPIES):
        return None
    return Position(dataclasses.replace(nest, compute=compute), at.cursor)


class Game:
    """One game from its start, as the jitted one plays it.

    seconds: what a nest costs. The score is log2(seconds of the start / seconds of the nest).
    """

    def __init__(
        self, computation: Computation, seconds: Callable[[Computation, Nest], float], moves: int
    ):
        self.computation, self._seconds, self._moves = computation, seconds, moves
        self.at, self.played, self.stopped = first(computation), 0, False
        self._start = seconds(computation, self.at.nest)

    @property
    def done(self) -> bool:
        return self.stopped or self.played >= self._moves

    def legal(self) -> list[bool]:
        """All actions are legal in a finished game."""
        return [True] * len(ACTION_NAMES) if self.done else legal(self.computation, self.at)

    def play(self, action: int) -> None:
        """Plays a legal action; a finished game stays as it is."""
        if self.done:
            return
        after = moved(self.computation, self.at, action)
        assert after is not None, f"{ACTION_NAMES[action]} is illegal"
        self.at, self.played, self.stopped = after, self.played + 1, action == STOP

    def score(self) -> float:
        return math.log2(self._start / self._seconds(self.computation, self.at.nest))
