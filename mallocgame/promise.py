"""What a mapping gains over production's, and how sure that is.

Two things stand between a simulated gain and the compiler's own figure (docs/calibration.md).

- The latencies are fitted to the compiler's estimates under the placements of a few compiles.
  Where a mapping places an instruction otherwise the fit guesses what it saves.  Placements that
  were held out of the fit tell how far off such guesses are.
- The compiler follows a mapping in part only (`mallocgame.followed`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mallocgame.followed import Follower, without_late_copies
from mallocgame.judge import Simulation, simulate, verify
from mallocgame.judge.simulation import elapsed_seconds
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping

# Error of what instructions save under a placement that the fit has not seen, as a share of it, and
# the number of placements that this counts for beside those that were held out.
USUAL_ERROR, USUAL_PLACEMENTS = 0.5, 2
# Share of what a new order is to save that the compiler makes come true: nine tenths of it, give or
# take three (docs/results/promises.md).
FOLLOWED, SPREAD = 0.9, 0.3
LEAST_SHARE = 0.001  # of the latency that is worth a word


@dataclasses.dataclass(frozen=True)
class Promise:
    """The speed-up over production that a mapping promises.

    gain: what is expected of the compiler: as `simulated`, less a tenth of `gained`, where waiting
        does not take off as much, and less what may be wrong of what is saved under placements
        that the fit has not seen.
    error: half the width of the interval in which the compiler's own figure is expected.
    simulated: ``latency(production) / latency(mapping) - 1``, the lesser of that with and without
        the time spent waiting for copies, and without what the compiler does not follow.
    gained: what the instructions that become faster save, as a share of the latency.
    unseen: what changes against production in instructions under placements that the fit has not
        seen, as a share of the latency.  A search looks for mappings in which such guesses are too
        good, so that the part of it that is saved is taken off `gain` as far as it may be wrong.
    assumed: share of the latency for which the compiler gives no estimate.
    """

    gain: float
    error: float
    simulated: float
    gained: float
    unseen: float
    assumed: float

    @property
    def is_clear(self) -> bool:
        """Whether there is a gain that can be told from zero."""
        return self.gain > max(self.error, LEAST_SHARE)

    def __str__(self) -> str:
        if self.gain < -self.error:
            return f"no gain over production ({self.gain:+.2%} +- {self.error:.2%})"
        if not self.is_clear:
            return f"no gain that can be told from zero ({self.gain:+.2%} +- {self.error:.2%})"
        return f"{self.gain:+.2%} +- {self.error:.2%} against production"


def promise(program: Program, production: Mapping, mapping: Mapping) -> Promise | None:
    """The promise of a mapping; None if production's own breaks a rule, or nothing takes time."""
    if verify(program, production):
        return None
    before, follower = simulate(program, production), Follower(program, production)
    mapping = without_late_copies(program, production, mapping)
    mapping, in_fast = follower.follows(mapping)
    after = simulate(program, mapping)
    weights = np.array(program.weights, float)
    was, now = weights * before.elapsed_s, weights * elapsed_seconds(program, in_fast)
    # What production has in fast memory stays there where there is room, which is no gain.
    now = np.maximum(now, weights * elapsed_seconds(program, in_fast | follower.served))
    if now.sum() <= 0:
        return None
    waits = after.latency_s - float((weights * after.elapsed_s).sum())
    with_waits = before.latency_s / (float(now.sum()) + waits) - 1
    without = float(was.sum() / now.sum() - 1)
    assumed, total = assumed_slots(program), float(now.sum())
    change = np.abs(was - now)
    unseen_slots = _unseen_slots(program, in_fast, assumed)
    unseen = float(change[unseen_slots].sum()) / total
    faster = np.maximum(was - now, 0.0) / total
    gained, guessed = float(faster.sum()), float(faster[unseen_slots].sum())
    off = abs(latency_error(program, before) or 0.0) * float(change.sum()) / total
    rate = _rate(program)
    return Promise(
        gain=min(with_waits, without - (1 - FOLLOWED) * gained) - rate * guessed,
        error=SPREAD * gained + rate * unseen + off + float(change[assumed].sum()) / total,
        simulated=min(with_waits, without),
        gained=gained,
        unseen=unseen,
        assumed=float(now[assumed].sum()) / total,
    )


def latency_error(program: Program, production: Simulation) -> float | None:
    """Relative error of production's simulated cycles against the compiler's estimate.

    Each loop body counts once, stalls do not count, and neither do instructions without an
    estimate.  None if the program does not say the estimate.
    """
    made = _facts(program, "production")
    if not made.get("estimated_cycles") or not program.machine.clock_hz:
        return None
    counted = np.ones(len(program.instructions), bool)
    counted[assumed_slots(program)] = False
    counted[list(made.get("missing", ()))] = False
    seconds = production.elapsed_s[counted].sum()
    return float(seconds * program.machine.clock_hz / made["estimated_cycles"] - 1)


def assumed_slots(program: Program) -> list[int]:
    """The slots whose times are not the compiler's estimates but bytes over bandwidth.

    Only a program of the compiler has both kinds.
    """
    if not _facts(program, "calibration"):
        return []
    return sorted({a.instruction for a in program.accesses if a.slow_s is None and a.bytes})


def import_notes(program: Program, production: Mapping | None) -> Iterator[str]:
    """What a user should know of how a program was made: clauses in plain words."""
    trips = program.provenance.get("assumed_trip_counts")
    if isinstance(trips, dict) and trips:
        counts = sorted({int(n) for n in trips.values()})
        yield (
            f"{len(trips)} loops whose count depends on data are taken to run "
            f"{' or '.join(map(str, counts))} times (trip_count)"
        )
    if program.provenance.get("branches"):
        yield "branches of a conditional are taken to be equally likely"
    assumed = assumed_slots(program)
    if assumed and production is not None:
        elapsed = np.array(program.weights) * simulate(program, production).elapsed_s
        share = elapsed[assumed].sum() / max(elapsed.sum(), 1e-30)
        if share >= LEAST_SHARE:
            yield f"{share:.1%} of its time is bytes over bandwidth, the compiler has no estimate"
    if production is not None:
        broken = len(verify(program, production))
        if broken:
            yield f"production's own mapping breaks {broken} rules, so no gain over it is given"


def _unseen_slots(program: Program, in_fast: np.ndarray, assumed: list[int]) -> list[int]:
    """The slots with an estimate whose placement no compile of the fit has had."""
    seen = _facts(program, "calibration").get("seen")
    bits = [0] * len(program.instructions)
    place = [0] * len(program.instructions)
    for access, is_fast in zip(program.accesses, in_fast, strict=True):
        bits[access.instruction] |= bool(is_fast) << place[access.instruction]
        place[access.instruction] += 1
    known = [set(masks) for masks in seen] if seen and len(seen) == len(bits) else [{0}] * len(bits)
    skipped = set(assumed)
    return [t for t, mask in enumerate(bits) if mask not in known[t] and t not in skipped]


def _rate(program: Program) -> float:
    """Error of what instructions save under placements that the fit has not seen, as a share of it.

    One or two held-out placements say little, so they are pooled with what is usual.
    """
    found = _facts(program, "calibration").get("unseen_savings", ())
    squares = [error**2 for error in found if error is not None]
    usual = USUAL_PLACEMENTS * USUAL_ERROR**2
    return math.sqrt((sum(squares) + usual) / (len(squares) + USUAL_PLACEMENTS))


def _facts(program: Program, name: str) -> dict[str, Any]:
    """A part of the provenance; empty if it is not there."""
    found = program.provenance.get(name)
    return found if isinstance(found, dict) else {}
