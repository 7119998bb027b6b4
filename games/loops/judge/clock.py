"""What a nest's kernel computes, and how long it takes on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from gamekit.errors import InputError
from gamekit.files import unwritable
from gamekit.jsonfile import read_lines
from games.loops.judge.code import code
from games.loops.judge.compiler import AS_TOLD, FLAGS, Kernel, machine
from games.loops.program.computation import Computation, random_inputs, reference
from games.loops.program.nest import Nest, start, to_record

# Rounds in which kernel and reference take turns, and the seconds of each turn. In each round the
# arrays lie elsewhere: on some processors the same kernel takes more than twice the time where two
# addresses collide in what predicts the way of the cache.
ROUNDS = 10
TURN_S, PORTION_S = 0.003, 0.0003
MOST_CALLS = 1000
PAGE_FLOATS, MOST_PAGES = 1024, 64
# Of a sum of K products of numbers in [-1, 1): float32 rounds each to 6e-8 of it.
TOLERANCE = 1e-6
# Grows when other code is made of a nest.
CODE_VERSION = 2


@dataclasses.dataclass(frozen=True)
class Measured:
    """seconds: of the fastest call. reference_s: of the starting nest's kernel, whose calls took
    turns with it. error: the largest difference from numpy, as a share of the largest number."""

    seconds: float
    reference_s: float
    error: float

    @property
    def speedup(self) -> float:
        return self.reference_s / self.seconds


class WrongResult(InputError):
    """A kernel computes something else than numpy."""


class Clock:
    """Measures nests; what was measured once on this machine is known from then on.

    path: a file of JSON lines that keeps measurements, of any machine; None keeps none.
    """

    def __init__(self, path: Path | None = None):
        """Raises InputError where there is no compiler, or the file cannot be used."""
        self.machine = machine()
        self._path = path
        self._known: dict[str, Measured] = {}
        if path is not None and path.exists():
            for _, line in read_lines(path):
                if line and line.get("machine") == self.machine and _is_right(line):
                    self._known[str(line["key"])] = Measured(
                        float(line["seconds"]), float(line["reference_s"]), float(line["error"])
                    )

    def measure(self, computation: Computation, nest: Nest) -> Measured:
        """Compiles, checks and times a nest's kernel, unless it is known.

        Raises:
          WrongResult: the kernel does not compute what numpy computes.
          InputError: the nest breaks a rule, or the compiler fails.
        """
        key = _key(computation, nest)
        if key not in self._known:
            self._known[key] = _measure(computation, nest)
            self._keep(key, computation, nest)
        return self._known[key]

    def knows(self, computation: Computation, nest: Nest) -> bool:
        return _key(computation, nest) in self._known

    def _keep(self, key: str, computation: Computation, nest: Nest) -> None:
        if self._path is None:
            return
        line = {
            "key": key,
            "machine": self.machine,
            **dataclasses.asdict(self._known[key]),
            "computation": computation.text,
            "nest": to_record(nest),
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise unwritable(self._path, error) from None


def _is_right(line: dict) -> bool:
    numbers = [line.get(name, -1) for name in ("seconds", "reference_s", "error")]
    in_range = all(type(x) in (int, float) and 0 <= float(x) < 1e9 for x in numbers)
    return isinstance(line.get("key"), str) and in_range


def _key(computation: Computation, nest: Nest) -> str:
    text = [CODE_VERSION, computation.text, to_record(nest), FLAGS, AS_TOLD]
    return hashlib.sha256(json.dumps(text).encode()).hexdigest()[:20]


def _measure(computation: Computation, nest: Nest) -> Measured:
    kernel = Kernel(code(computation, nest))
    try:
        arrays = arrays_of(computation)
        kernel.run(*arrays)
        error = difference(computation, arrays)
        turns = take_turns([kernel.best, _reference(computation).best], arrays)
        return Measured(turns[0], turns[1], error)
    finally:
        kernel.close()


@functools.lru_cache(maxsize=1)
def _reference(computation: Computation) -> Kernel:
    return Kernel(code(computation, start(computation)))


def arrays_of(computation: Computation) -> list[np.ndarray]:
    """Both inputs, and room for the output and for an accumulator, without numbers."""
    shape = computation.shape(computation.out)
    room = (np.full(shape, np.nan, np.float32) for _ in range(2))
    return [*random_inputs(computation), *room]


def difference(computation: Computation, arrays: Sequence[np.ndarray]) -> float:
    """How far the output among `arrays` is from numpy's, as a share of the largest number.

    Raises:
      WrongResult: too far.
    """
    a, b, out, *_ = arrays
    right = reference(computation, a, b)
    largest = float(np.abs(right).max()) or 1.0
    error = float(np.abs(out - right).max()) / largest
    terms = computation.macs / right.size
    if not error <= TOLERANCE * max(terms, 16) ** 0.5:
        raise WrongResult(f"{computation.name}: the kernel's result is off by {error:.2g}")
    return error


# (arrays, portions, calls of each) to the seconds of a call, of the fastest portion.
Call = Callable[[Sequence[np.ndarray], int, int], float]


def take_turns(calls: Sequence[Call], arrays: Sequence[np.ndarray]) -> list[float]:
    """The best seconds of each of some kernels, on one core; arrays as `arrays_of` gives them."""
    rng = np.random.default_rng(0)
    best = [math.inf] * len(calls)
    with _pinned():
        once = [call(arrays, 1, 1) for call in calls]
        for _ in range(ROUNDS):
            moved = [_elsewhere(array, int(rng.integers(MOST_PAGES))) for array in arrays]
            for at, call in enumerate(calls):
                count = int(np.clip(PORTION_S / max(once[at], 1e-9), 1, MOST_CALLS))
                portions = int(np.clip(TURN_S / (count * once[at]), 1, TURN_S / PORTION_S))
                best[at] = min(best[at], call(moved, portions, count))
    return best


def _elsewhere(array: np.ndarray, page: int) -> np.ndarray:
    """A copy that begins at a page's begin."""
    raw = np.empty(array.size + PAGE_FLOATS * (MOST_PAGES + 1), np.float32)
    begin = -raw.ctypes.data % (4 * PAGE_FLOATS) // 4 + page * PAGE_FLOATS
    copy = raw[begin : begin + array.size].reshape(array.shape)
    copy[...] = array
    return copy


def in_python(function: Callable[..., object]) -> Call:
    """A Python function of a, b and out as one whose calls are timed."""

    def call(arrays: Sequence[np.ndarray], portions: int, calls: int) -> float:
        best = math.inf
        for _ in range(portions):
            began = time.thread_time()
            for _ in range(calls):
                function(*arrays[:3])
            best = min(best, (time.thread_time() - began) / calls)
        return best

    return call


@contextlib.contextmanager
def _pinned() -> Iterator[None]:
    """This thread stays on one core meanwhile, the last that it may use."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
