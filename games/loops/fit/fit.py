"""Constants of the cost model from measured nests."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import spearmanr

from gamekit.errors import InputError
from gamekit.jsonfile import read_lines
from games.loops.program.computation import Computation, parse
from games.loops.program.cost import counts
from games.loops.program.machine import CONSTANTS, Machine
from games.loops.program.nest import Nest, from_record, start

CORE = 4
# Ratios to the reference in the same run are what to trust; the seconds themselves weigh less.
ABSOLUTE_WEIGHT = 0.3
# How much a constant may stay where it was: a change by a factor of e weighs as so many nests that
# are off by as much.
PRIOR_WEIGHT = 0.3
LARGEST = 5.0


@dataclasses.dataclass(frozen=True)
class Sample:
    """A measured nest. seconds, reference_s: as in `games.loops.judge.clock.Measured`."""

    computation: Computation
    nest: Nest
    seconds: float
    reference_s: float

    @property
    def speedup(self) -> float:
        return self.reference_s / self.seconds


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Of model and clock. spearman: rank correlation of the speed-ups over the starting nest.
    typical: the geometric mean of by what factor speed-ups are off."""

    nests: int
    spearman: float
    typical: float


def read_samples(path: Path, machine: str) -> list[Sample]:
    """The nests that a clock measured on a machine, from its file.

    Raises:
      InputError: the file cannot be read, or holds none.
    """
    found = []
    for number, (_, line) in enumerate(read_lines(path), 1):
        if line is None or line.get("machine") != machine:
            continue
        where = f"{path}: line {number}"
        computation = parse(str(line.get("computation")), where)
        nest = from_record(line.get("nest"), computation, where)
        own, reference = line.get("seconds"), line.get("reference_s")
        if type(own) is not float or type(reference) is not float:
            raise InputError(f"{where}: seconds and reference_s must be numbers")
        if not (0 < own < 1e6 and 0 < reference < 1e6):
            raise InputError(f"{where}: seconds and reference_s must be positive")
        found.append(Sample(computation, nest, own, reference))
    if not found:
        raise InputError(f"{path}: holds no measurement of this machine, {machine}")
    return found


def is_held_out(sample: Sample) -> bool:
    """A fifth of the computations is not fitted on."""
    return int(sample.computation.fingerprint, 16) % 5 == 0


def fit(samples: Sequence[Sample], begin: Machine, name: str | None = None) -> Machine:
    """The constants with which the model is nearest to measurements, beginning with some machine's,
    whose name is kept unless there is another one.

    It minimises squares of differences of logarithms, with a soft loss, as a few times are bad.
    """
    caches = begin.caches
    nests = _matrix(samples, caches)
    starts = _matrix([dataclasses.replace(x, nest=start(x.computation)) for x in samples], caches)
    measured = np.log([x.seconds for x in samples]), np.log([x.reference_s for x in samples])
    at = np.log(begin.constants)

    def residuals(x: np.ndarray) -> np.ndarray:
        own, reference = (_log_seconds(m, np.exp(x)) for m in (nests, starts))
        ratio = (own - reference) - (measured[0] - measured[1])
        return np.concatenate(
            [ratio, ABSOLUTE_WEIGHT * (own - measured[0]), PRIOR_WEIGHT * (x - at)]
        )

    bounds = (at - LARGEST, at + LARGEST)
    found = least_squares(residuals, at, bounds=bounds, loss="soft_l1", f_scale=0.3)
    constants = tuple(float(c) for c in np.exp(found.x))
    return Machine(name or begin.name, caches, constants, len(samples))


def agreement(samples: Sequence[Sample], modelled: np.ndarray) -> Agreement:
    """How far logarithms of speed-ups, as `predicted` gives them, are from the clock's."""
    measured = np.log([x.speedup for x in samples])
    rank = float(np.asarray(spearmanr(modelled, measured))[0])
    return Agreement(len(samples), rank, float(np.exp(np.abs(modelled - measured).mean())))


def predicted(samples: Sequence[Sample], machine: Machine) -> np.ndarray:
    """Logarithms of modelled speed-ups over the starting nests, [N]."""
    prices = np.array(machine.constants)
    starts = [dataclasses.replace(x, nest=start(x.computation)) for x in samples]
    own, reference = (
        _log_seconds(_matrix(each, machine.caches), prices) for each in (samples, starts)
    )
    return reference - own


def _matrix(samples: Sequence[Sample], caches: tuple[int, int]) -> np.ndarray:
    """How often each nest pays each constant, [N, constants]."""
    rows = []
    for sample in samples:
        count = counts(sample.computation, sample.nest, caches)
        both = {**count.core, **count.others}
        rows.append([both[name] for name in CONSTANTS])
    return np.array(rows)


def _log_seconds(matrix: np.ndarray, prices: np.ndarray) -> np.ndarray:
    paid = matrix * prices
    return np.log(1e-9 * (paid[:, :CORE].max(axis=1) + paid[:, CORE:].sum(axis=1)))
