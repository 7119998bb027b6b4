"""Kernels that no nest is behind: numpy's, and the compiler's own -O3 of the starting nest."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from games.loops.judge.clock import arrays_of, difference, in_python, take_turns
from games.loops.judge.code import code, plain_code
from games.loops.judge.compiler import Kernel
from games.loops.program.computation import Computation, view
from games.loops.program.nest import Nest, start


def compared(computation: Computation, nests: Mapping[str, Nest]) -> dict[str, float]:
    """Seconds of the kernels of some nests, by name, of "numpy", of "gcc" (-O3 of the plain loops)
    and of "start", all in turns on one core, and every result checked.

    Raises:
      WrongResult: one of them computes something else than numpy.
      InputError: there is no compiler, or a nest breaks a rule.
    """
    sources = {name: code(computation, nest) for name, nest in nests.items()}
    kernels = {name: Kernel(source) for name, source in sources.items()}
    kernels["start"] = Kernel(code(computation, start(computation)))
    kernels["gcc"] = Kernel(plain_code(computation, start(computation)), as_told=False)
    arrays = arrays_of(computation)
    numpy_kernel = by_numpy(computation)
    try:
        calls = {"numpy": in_python(numpy_kernel)}
        for name, kernel in kernels.items():
            arrays[2].fill(np.nan)
            kernel.run(*arrays)
            difference(computation, arrays)
            calls[name] = kernel.best
        numpy_kernel(*arrays[:3])
        difference(computation, arrays)
        return dict(zip(calls, take_turns(list(calls.values()), arrays), strict=True))
    finally:
        for kernel in kernels.values():
            kernel.close()


def by_numpy(computation: Computation) -> Callable[..., object]:
    """numpy's own way, (a, b, out): `matmul` where the computation is one, else `einsum`. On one
    thread if the environment says so (OPENBLAS_NUM_THREADS=1)."""
    of = _as_matmul(computation)
    if of is not None:
        first, second = of
        return lambda a, b, out: np.matmul(a.transpose(first), b.transpose(second), out=out)
    names = {v: chr(ord("a") + i) for i, v in enumerate(computation.variables)}
    used = [
        "".join(names[v] for v in computation.variables if v in t.variables)
        for t in computation.inputs
    ]
    out = "".join(names[axis[0][0]] for axis in computation.out.axes)
    a_of, b_of = computation.inputs

    def einsum(a: np.ndarray, b: np.ndarray, result: np.ndarray) -> object:
        return np.einsum(
            f"{used[0]},{used[1]}->{out}",
            view(computation, a_of, a),
            view(computation, b_of, b),
            out=result,
            optimize=True,
        )

    return einsum


def _as_matmul(computation: Computation) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """How the axes of a and b have to stand for a (batched) matrix product; None if it is none."""
    axes = [[axis for axis in t.axes] for t in computation.inputs]
    if any(len(axis) != 1 or axis[0][1] != 1 for row in axes for axis in row):
        return None
    a, b = ([axis[0][0] for axis in row] for row in axes)
    kept = [axis[0][0] for axis in computation.out.axes]
    sums = [v for v in computation.variables if v not in kept]
    if len(kept) < 2 or len(sums) != 1:
        return None
    *batch, m, n = kept
    if {*a} != {*batch, m, sums[0]} or {*b} != {*batch, sums[0], n}:
        return None
    return (
        tuple(a.index(v) for v in (*batch, m, sums[0])),
        tuple(b.index(v) for v in (*batch, sums[0], n)),
    )
