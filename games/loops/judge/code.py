"""A nest as a function in C, with constant sizes. Nothing of it is text that others wrote: tensors
and loops get names of their own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

from games.loops.program.computation import Computation, Tensor
from games.loops.program.nest import COMPUTE, WRITE, Line, Nest, check, register_tile

HEAD = """\
#include <time.h>

__attribute__((noinline))
static void kernel(const float *restrict a, const float *restrict b, float *restrict out,
                   float *restrict acc) {
"""
# Times the calls of the kernel in portions and returns the seconds of a call of the fastest. It is
# the thread's own time: what others do on the core meanwhile does not count.
FOOT = """\
}

void run(const float *a, const float *b, float *out, float *acc) { kernel(a, b, out, acc); }

double best(const float *a, const float *b, float *out, float *acc, int portions, int calls) {
  double best = 1e9;
  for (int p = 0; p < portions; p++) {
    struct timespec begin, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (int c = 0; c < calls; c++) {
      kernel(a, b, out, acc);
      __asm__ volatile("" ::: "memory");
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    double s = (end.tv_sec - begin.tv_sec) + 1e-9 * (end.tv_nsec - begin.tv_nsec);
    if (s / calls < best) best = s / calls;
  }
  return best;
}
"""


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where an iteration is, for each variable: terms of a sum, (name of a counter, factor) and a
    constant under the name "", and what is left of it."""

    terms: Mapping[str, tuple[tuple[str, int], ...]]
    left: Mapping[str, int]

    def at(self, variable: str, counter: str, factor: int, left: int) -> _Place:
        terms = {**self.terms, variable: (*self.terms.get(variable, ()), (counter, factor))}
        return _Place(terms, {**self.left, variable: left})


def code(computation: Computation, nest: Nest) -> str:
    """The C source of a nest: `run(a, b, out, acc)` and `best(a, b, out, acc, portions,
    calls)`, where acc is room for as many floats as the output has.

    Raises:
      InputError: the nest breaks a rule; no code is made of it.
    """
    check(computation, nest)
    return HEAD + "\n".join(_Writer(computation, nest).lines()) + "\n" + FOOT


class _Writer:
    def __init__(self, computation: Computation, nest: Nest):
        self._computation, self._nest = computation, nest
        lines = nest.lines(computation)
        self._compute = [x for x in lines if x.nest == COMPUTE]
        self._write = [x for x in lines if x.nest == WRITE]
        kept = [axis[0][0] for axis in computation.out.axes]
        left = dict(computation.sizes)
        for line in self._compute[: nest.shared]:
            left[line.loop.variable] = line.loop.step
        # The accumulator holds what the shared loops leave of the output.
        self._acc_shape = [left[v] for v in kept]
        strides = [math.prod(self._acc_shape[i + 1 :]) for i in range(len(kept))]
        self._acc_strides = dict(zip(kept, strides, strict=True))

    def lines(self) -> Iterator[str]:
        outside = _Place({}, dict(self._computation.sizes))
        yield from self._loops(self._compute[: self._nest.shared], outside, self._inside, 1)

    def _inside(self, outside: _Place, depth: int) -> Iterator[str]:
        """What stands in the shared loops."""
        pad = "  " * depth
        yield f"{pad}#pragma omp simd"
        yield f"{pad}for (int z = 0; z < {math.prod(self._acc_shape)}; z++) acc[z] = 0;"
        begin = _Place({}, outside.left)
        rest = self._compute[self._nest.shared :]
        at = register_tile(self._computation, self._nest) - self._nest.shared

        def tiled(place: _Place, deep: int) -> Iterator[str]:
            yield from self._tiled(rest[at:], outside, place, deep)

        if at < len(rest):
            yield from self._loops(rest[:at], begin, tiled, depth)
        else:
            yield from self._multiplied(rest, outside, begin, "acc", depth)

        def write(place: _Place, deep: int) -> Iterator[str]:
            out = self._element("out", self._computation.out, outside, place)
            yield f"{'  ' * deep}{out} = {self._acc(place)};"

        yield from self._loops(self._write, begin, write, depth, True)

    def _tiled(
        self, lines: list[Line], outside: _Place, place: _Place, depth: int
    ) -> Iterator[str]:
        """Loops within which the part of the accumulator that they add to stays the same: it is
        kept in an array whose indices are constants, that is, in registers."""
        pad = "  " * depth
        kept = [line for line in lines if line.loop.variable in self._acc_strides]
        shape = {v: place.left[v] for v in self._acc_strides}
        names = list(self._acc_strides)
        strides = {v: math.prod(shape[u] for u in names[i + 1 :]) for i, v in enumerate(names)}
        inner = _Place({}, place.left)

        def copy(to_tile: bool) -> Callable[[_Place, int], Iterator[str]]:
            def emit(at: _Place, deep: int) -> Iterator[str]:
                tile = f"tile[{_sum(strides, at)}]"
                both = f"acc[{_sum(self._acc_strides, place, at)}]"
                pair = (tile, both) if to_tile else (both, tile)
                yield f"{'  ' * deep}{pair[0]} = {pair[1]};"

            return emit

        yield f"{pad}{{ float tile[{math.prod(shape.values())}];"
        yield from self._loops(kept, inner, copy(True), depth, True)
        yield from self._multiplied(lines, _joined(outside, place), inner, "tile", depth, strides)
        yield from self._loops(kept, inner, copy(False), depth, True)
        yield f"{pad}}}"

    def _multiplied(
        self,
        lines: list[Line],
        outside: _Place,
        begin: _Place,
        name: str,
        depth: int,
        strides: Mapping[str, int] | None = None,
    ) -> Iterator[str]:
        """Loops around multiply and add to the array `name`, by its strides."""
        of = self._acc_strides if strides is None else strides

        def total(place: _Place) -> str:
            return f"{name}[{_sum(of, place)}]"

        def multiply(place: _Place, deep: int) -> Iterator[str]:
            yield f"{'  ' * deep}{total(place)} += {self._product(outside, place)};"

        if lines and self._nest.vector:
            vector = self._vector(outside, lines[-1], total)
            yield from self._loops(lines[:-1], begin, vector, depth)
        else:
            yield from self._loops(lines, begin, multiply, depth)

    def _vector(
        self, outside: _Place, line: Line, total: Callable[[_Place], str]
    ) -> Callable[[_Place, int], Iterator[str]]:
        """The innermost loop, vectorised; sums over it are added up in a vector of their own."""
        variable, counter = line.loop.variable, f"i{line.position}"
        is_sum = variable not in self._acc_strides

        def emit(place: _Place, depth: int) -> Iterator[str]:
            pad, count = "  " * depth, place.left[variable]
            inner = place.at(variable, counter, 1, 1)
            head = f"for (int {counter} = 0; {counter} < {count}; {counter}++)"
            product = self._product(outside, inner)
            if is_sum:
                yield f"{pad}{{ float sum = 0;"
                yield f"{pad}#pragma omp simd reduction(+:sum)"
                yield f"{pad}{head} sum += {product};"
                yield f"{pad}{total(place)} += sum; }}"
            else:
                yield f"{pad}#pragma omp simd"
                yield f"{pad}{head} {total(inner)} += {product};"

        return emit

    def _loops(
        self,
        lines: list[Line],
        place: _Place,
        inside: Callable[[_Place, int], Iterator[str]],
        depth: int,
        copies: bool = False,
    ) -> Iterator[str]:
        """Loops around what stands inside, each with its full iterations and its tail.

        copies: what stands inside only copies elements; the innermost loop is vectorised then.
        """
        if not lines:
            yield from inside(place, depth)
            return
        line, rest = lines[0], lines[1:]
        variable, step = line.loop.variable, line.loop.step
        full, tail = divmod(place.left[variable], step)
        pad = "  " * depth
        if line.loop.unroll or full == 1:
            for i in range(full):
                copy = place.at(variable, "", i * step, step)
                yield from self._loops(rest, copy, inside, depth, copies)
        elif full:
            counter = f"{'ij'[line.nest]}{line.position}"
            # The compiler writes short loops out by itself only where they are of vectors.
            vectors = copies and not rest
            yield f"{pad}#pragma {'omp simd' if vectors else 'GCC unroll 1'}"
            yield f"{pad}for (int {counter} = 0; {counter} < {full}; {counter}++) {{"
            inner = place.at(variable, counter, step, step)
            yield from self._loops(rest, inner, inside, depth + 1, copies)
            yield f"{pad}}}"
        if tail:
            end = place.at(variable, "", full * step, tail)
            yield from self._loops(rest, end, inside, depth, copies)

    def _product(self, outside: _Place, place: _Place) -> str:
        first, second = self._computation.inputs
        a = self._element("a", first, outside, place)
        return f"{a} * {self._element('b', second, outside, place)}"

    def _element(self, name: str, tensor: Tensor, outside: _Place, place: _Place) -> str:
        return f"{name}[{_sum(self._computation.strides(tensor), outside, place)}]"

    def _acc(self, place: _Place) -> str:
        return f"acc[{_sum(self._acc_strides, place)}]"


def _sum(strides: Mapping[str, int], *places: _Place) -> str:
    """An address: strides by variable, times where the places are."""
    constant, words = 0, []
    for variable, stride in strides.items():
        for place in places:
            for counter, factor in place.terms.get(variable, ()):
                if counter:
                    words.append(f"{counter}*{factor * stride}")
                else:
                    constant += factor * stride
    return " + ".join([*words, str(constant)] if constant or not words else words)


def _joined(outer: _Place, inner: _Place) -> _Place:
    terms = {
        v: (*outer.terms.get(v, ()), *inner.terms.get(v, ())) for v in {*outer.terms, *inner.terms}
    }
    return _Place(terms, inner.left)


def plain_code(computation: Computation, nest: Nest) -> str:
    """The same loops as anybody would write them: they add to the output in memory, without
    annotations or tails. For the compiler's own -O3 of the starting nest."""
    check(computation, nest)
    count = math.prod(computation.shape(computation.out))
    place = _Place({}, {})
    body = [f"  for (int z = 0; z < {count}; z++) out[z] = 0;"]
    for depth, (variable, size) in enumerate(
        (loop.variable, computation.size[loop.variable]) for loop in nest.compute
    ):
        place = place.at(variable, f"i{depth}", 1, 1)
        body.append(f"  for (int i{depth} = 0; i{depth} < {size}; i{depth}++)")
    names = ("out", "a", "b")
    out, a, b = (
        f"{name}[{_sum(computation.strides(tensor), place)}]"
        for name, tensor in zip(names, computation.tensors, strict=True)
    )
    return HEAD + "\n".join([*body, f"    {out} += {a} * {b};"]) + "\n" + FOOT
