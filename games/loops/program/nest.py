"""How it is computed: two nests of loops that share their outer ones (docs/loops.md, section 2)."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

from gamekit.errors import InputError
from games.loops.program.computation import WIDTH, Computation

MAX_LOOPS = 10
# An unrolled loop has at most so many iterations, and all of them together as many copies.
MAX_UNROLL, MAX_COPIES = 16, 64
# A vectorised loop of at most so many iterations is written out by the compiler: 16 vectors.
MAX_SHORT = 128
COMPUTE, WRITE = 0, 1


@dataclasses.dataclass(frozen=True)
class Loop:
    """variable; step: elements of the variable that one iteration covers; unroll: written out."""

    variable: str
    step: int
    unroll: bool = False

    @property
    def place(self) -> tuple[str, int]:
        """What two loops have to have in common to be shared."""
        return self.variable, self.step


@dataclasses.dataclass(frozen=True)
class Line:
    """A loop as the tree shows it: `size` full iterations, and a tail of `tail` elements.

    extent: size * step + tail, what the loop covers. shared: of both nests.
    """

    nest: int
    position: int
    loop: Loop
    extent: int
    shared: bool

    @property
    def size(self) -> int:
        return self.extent // self.loop.step

    @property
    def tail(self) -> int:
        return self.extent % self.loop.step


@dataclasses.dataclass(frozen=True)
class Nest:
    """compute: loops around multiply and add, outermost first; write: those around the write of the
    result; vector: whether the innermost loop of `compute` is vectorised."""

    compute: tuple[Loop, ...]
    write: tuple[Loop, ...]
    vector: bool = True

    @property
    def rows(self) -> tuple[tuple[Loop, ...], tuple[Loop, ...]]:
        return self.compute, self.write

    @functools.cached_property
    def shared(self) -> int:
        """How many outer loops both nests have in common."""
        count = 0
        for a, b in zip(self.compute, self.write, strict=False):
            if a.place != b.place:
                break
            count += 1
        return count

    def extents(self, computation: Computation, nest: int = COMPUTE) -> list[int]:
        """What each loop of a nest covers, in elements of its variable."""
        left = dict(computation.sizes)
        found = []
        for loop in self.rows[nest]:
            found.append(left[loop.variable])
            left[loop.variable] = loop.step
        return found

    def lines(self, computation: Computation) -> list[Line]:
        """The loops of the tree in their order: shared ones, then the rest of each nest."""
        made = []
        for nest, begin in ((COMPUTE, 0), (WRITE, self.shared)):
            extents = self.extents(computation, nest)
            for position in range(begin, len(extents)):
                loop = self.rows[nest][position]
                is_shared = nest == COMPUTE and position < self.shared
                made.append(Line(nest, position, loop, extents[position], is_shared))
        return made


def start(computation: Computation) -> Nest:
    """The nest that a game starts with: the output's indices but the last one, those that are
    summed over, the last one; and the output's indices around the write."""
    kept = [axis[0][0] for axis in computation.out.axes]
    summed = [v for v in computation.variables if v not in kept]
    order = [*kept[:-1], *summed, kept[-1]]
    return Nest(tuple(Loop(v, 1) for v in order), tuple(Loop(v, 1) for v in kept))


def innermost_is_right(computation: Computation, nest: Nest) -> bool:
    """Whether the innermost loop around the computation has size 1 or fills vectors."""
    size = nest.extents(computation)[-1] // nest.compute[-1].step
    return size == 1 or size % WIDTH == 0


def check(computation: Computation, nest: Nest, source: str = "nest") -> None:
    """Asserts what section 2 asks of a nest.

    Raises:
      InputError: a rule is broken; the message names the loop.
    """
    wanted = (set(computation.variables), set(computation.out.variables))
    for name, loops, variables in zip(("compute", "write"), nest.rows, wanted, strict=True):
        left = dict(computation.sizes)
        for at, loop in enumerate(loops):
            where = f"{source}: {name}[{at}]"
            if loop.variable not in variables:
                known = ", ".join(sorted(variables))
                raise InputError(f"{where}: index must be one of {known}, got {loop.variable!r}")
            if not 1 <= loop.step <= left[loop.variable]:
                raise InputError(
                    f"{where}: step must be in 1..{left[loop.variable]}, what the loops around it "
                    f"leave of {loop.variable}, got {loop.step}"
                )
            left[loop.variable] = loop.step
        for variable in sorted(variables):
            if variable not in {loop.variable for loop in loops}:
                raise InputError(f"{source}: {name}: has no loop over {variable}")
            if left[variable] != 1:
                raise InputError(
                    f"{source}: {name}: the innermost loop over {variable} must have step 1, "
                    f"got {left[variable]}"
                )
    lines = nest.lines(computation)
    if len(lines) > MAX_LOOPS:
        raise InputError(f"{source}: must have at most {MAX_LOOPS} loops, got {len(lines)}")
    if any(loop.unroll for loop in nest.write):
        raise InputError(f"{source}: write: only loops of compute can be unrolled")
    unrolled = [line.size for line in lines if line.loop.unroll]
    if any(size > MAX_UNROLL for size in unrolled) or math.prod(unrolled) > MAX_COPIES:
        raise InputError(
            f"{source}: unrolled loops must have at most {MAX_UNROLL} iterations and together "
            f"{MAX_COPIES} copies, got {unrolled}"
        )
    if not innermost_is_right(computation, nest):
        raise InputError(
            f"{source}: compute: the innermost loop must have size 1 or a multiple of {WIDTH}"
        )


def register_tile(computation: Computation, nest: Nest) -> int:
    """The place of the outermost loop of `compute` within which the accumulator's elements can stay
    in registers: a loop over a sum, all of whose inner loops over the output are unrolled, or
    vectorised and short. The number of loops where there is none."""
    kept = computation.out.variables
    extents = nest.extents(computation)
    last = len(nest.compute) - 1
    found = len(nest.compute)
    for place in range(last, nest.shared - 1, -1):
        loop = nest.compute[place]
        if loop.variable not in kept:
            found = place
        elif place == last and nest.vector:
            if extents[place] > MAX_SHORT:
                break
        elif not loop.unroll:
            break
    return found


def to_record(nest: Nest) -> dict[str, Any]:
    """A nest as plain data, for JSON."""
    compute, write = ([[x.variable, x.step, x.unroll] for x in row] for row in nest.rows)
    return {"compute": compute, "write": write, "vector": nest.vector}


def from_record(record: Any, computation: Computation, source: str = "nest") -> Nest:
    """A nest from plain data, checked.

    Raises:
      InputError: it is none, or none of this computation.
    """
    if not isinstance(record, dict) or {*record} != {"compute", "write", "vector"}:
        raise InputError(f"{source}: must have the fields compute, write and vector")
    if type(record["vector"]) is not bool:
        raise InputError(f"{source}: vector: must be true or false, got {record['vector']!r}")
    rows = [_row(record[name], f"{source}: {name}") for name in ("compute", "write")]
    nest = Nest(rows[0], rows[1], record["vector"])
    check(computation, nest, source)
    return nest


def _row(values: Any, source: str) -> tuple[Loop, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise InputError(f"{source}: must be a list of loops, got {type(values).__name__}")
    if not 1 <= len(values) <= MAX_LOOPS:
        raise InputError(f"{source}: must have 1 to {MAX_LOOPS} loops, got {len(values)}")
    row = []
    for at, value in enumerate(values):
        fits = isinstance(value, list | tuple) and [type(x) for x in value] == [str, int, bool]
        if not fits:
            raise InputError(f"{source}[{at}]: must be [index, step, unroll], got {value!r}")
        row.append(Loop(*value))
    return tuple(row)
