"""What a nest is worth by the model, in plain Python; the clock is in `games.loops.judge.clock`."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from games.loops.program.computation import Computation
from games.loops.program.cost import seconds
from games.loops.program.nest import from_record, start


@dataclasses.dataclass(frozen=True)
class Judged:
    """score: log2 of the speed-up over the starting nest. gflops: 10^9 floating-point operations a
    second, a multiplication and an addition being two. Both by the model."""

    score: float
    gflops: float


def judge_record(computation: Computation, solution: Any) -> Judged:
    """Verifies and rates a nest that is given as plain data.

    Raises:
      InputError: it is no nest of this computation; the message names the rule.
    """
    took = seconds(computation, from_record(solution, computation))
    begun = seconds(computation, start(computation))
    return Judged(math.log2(begun / took), 2e-9 * computation.macs / took)
