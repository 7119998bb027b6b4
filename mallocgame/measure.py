"""Production against the options of a mapping, on the device itself.

Both compiles of one function run on the same inputs, warm and interleaved, so that drifts of the
machine meet both alike.  What counts is the ratio of each pair of neighbouring runs.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from gamekit.errors import InputError
from gamekit.jsonfile import short

LEAST_PAIRS = 5
RESAMPLES = 2_000


@dataclasses.dataclass(frozen=True)
class Measured:
    """How much faster the second of two compiles is.

    ratio: geometric mean of time(production) / time(options) over the pairs.
    low, high: its 95 % bootstrap interval.
    production_s, options_s: medians of the runs in seconds.
    pairs: of runs; platform: of the device, such as "tpu" or "cpu".
    """

    ratio: float
    low: float
    high: float
    production_s: float
    options_s: float
    pairs: int
    platform: str

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 1: one is faster than the other."""
        return not self.low <= 1 <= self.high

    def row(self) -> dict[str, Any]:
        """The figures, for a row of a report."""
        return {**dataclasses.asdict(self), "is_clear": self.is_clear}

    def __str__(self) -> str:
        told = "" if self.is_clear else ": no difference that can be told from none"
        return (
            f"{self.ratio - 1:+.2%} on {self.platform}, 95 % interval {self.low - 1:+.2%} to "
            f"{self.high - 1:+.2%}, {self.pairs} pairs{told}"
        )


def measure(
    production: Callable[..., Any],
    options: Callable[..., Any],
    *inputs: Any,
    pairs: int = 30,
    warm: int = 3,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Measures two compiles of one function.

    Args:
      production, options: compiled functions, ``jax.jit(f).lower(...).compile(...)``, without and
        with the options of a result.  They must not donate their arguments, which are used again.
      inputs: of both, arrays on the device.
      pairs: runs of each; which of a pair goes first is drawn.
      warm: runs of each beforehand that do not count.

    Raises:
      InputError: there are too few pairs, a run fails, or the two compute different things.
    """
    for name, value, least in (("pairs", pairs, LEAST_PAIRS), ("warm", warm, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(
                f"{name}: must be a whole number of at least {least}, got {short(value)}"
            )
    compiled = (production, options)
    results = [_run(function, inputs, clock)[1] for function in compiled]
    _check_alike(results)
    for function in compiled * warm:
        _run(function, inputs, clock)
    rng = np.random.default_rng(seed)
    seconds = np.zeros((pairs, 2))
    for pair in range(pairs):
        for which in rng.permutation(2):
            seconds[pair, which], _ = _run(compiled[which], inputs, clock)
    if not (seconds > 0).all():
        raise InputError("measure: a run took no time; the function does too little to be measured")
    logs = np.log(seconds[:, 0] / seconds[:, 1])
    means = logs[rng.integers(0, pairs, (RESAMPLES, pairs))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    medians = np.median(seconds, axis=0)
    return Measured(
        math.exp(logs.mean()), math.exp(low), math.exp(high), float(medians[0]),
        float(medians[1]), pairs, _platform(results[0]),
    )  # fmt: skip


def _run(
    function: Callable[..., Any], inputs: Sequence[Any], clock: Callable[[], float]
) -> tuple[float, Any]:
    """Seconds of a run until its results are there, and these."""
    started = clock()
    try:
        result = jax.block_until_ready(function(*inputs))
    except Exception as error:  # whatever a device has to say
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"measure: a run failed: {type(error).__name__}: {reason}") from error
    return clock() - started, result


def _check_alike(results: Sequence[Any]) -> None:
    """Raises InputError unless both results have the same shapes and, nearly, the same numbers."""
    trees = [jax.tree.structure(result) for result in results]
    leaves = [jax.tree.leaves(result) for result in results]
    if trees[0] != trees[1] or any(
        np.shape(a) != np.shape(b) for a, b in zip(*leaves, strict=True)
    ):
        raise InputError("measure: both must be compiles of one function, got different results")
    for a, b in zip(*leaves, strict=True):
        first, second = (np.asarray(x).astype(np.complex128) for x in (a, b))
        scale = float(np.abs(first).max(initial=0.0)) or 1.0
        if not np.allclose(first, second, rtol=0, atol=0.05 * scale, equal_nan=True):
            raise InputError("measure: both must be compiles of one function, got other numbers")


def _platform(result: Any) -> str:
    for leaf in jax.tree.leaves(result):
        if isinstance(leaf, jax.Array):
            return next(iter(leaf.devices())).platform
    return "unknown"
