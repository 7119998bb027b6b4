"""What a mapping gains over production's, and how sure that is.

The gain is simulated, with latencies that are fitted to the compiler's estimates.  The fit has seen
the instructions under the placements of a few compiles.  Where a mapping places them otherwise it
guesses, and placements that were held out of the fit tell how far off such guesses are
(docs/calibration.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from mallocgame.judge import Simulation, simulate, verify
from mallocgame.judge.reading import Reading
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping

# Relative error of an instruction under a placement that the fit has not seen, where no placement
# could be held out.
USUAL_ERROR = 0.1
LEAST_SHARE = 0.001  # of the latency that is worth a word


@dataclasses.dataclass(frozen=True)
class Promise:
    """The speed-up over production that a mapping promises.

    gain: ``latency(production) / latency(mapping) - 1``, the lesser of that with and without the
        time spent waiting for copies, and without copies that nothing could hide.
    error: half the width of the interval in which the compiler's own figure is expected.
    unseen: share of the latency from instructions under placements that the fit has not seen.
    assumed: share of the latency for which the compiler gives no estimate.
    """

    gain: float
    error: float
    unseen: float
    assumed: float

    @property
    def is_clear(self) -> bool:
        """Whether the gain can be told from zero."""
        return abs(self.gain) > self.error

    def __str__(self) -> str:
        if not self.is_clear:
            return f"no gain that can be told from zero ({self.gain:+.2%} +- {self.error:.2%})"
        return f"{self.gain:+.2%} +- {self.error:.2%} against production"


def promise(program: Program, production: Mapping, mapping: Mapping) -> Promise | None:
    """The promise of a mapping; None if production's own breaks a rule, or nothing takes time."""
    if verify(program, production):
        return None
    before = simulate(program, production)
    after = simulate(program, without_waits(program, mapping))
    weights = np.array(program.weights, float)
    was, now = weights * before.elapsed_s, weights * after.elapsed_s
    if now.sum() <= 0:
        return None
    gain = min(before.latency_s / after.latency_s - 1, was.sum() / now.sum() - 1)
    assumed = assumed_slots(program)
    unseen = now[_unseen_slots(program, mapping, assumed)].sum()
    changed = was[before.elapsed_s != after.elapsed_s].sum()
    bias = abs(latency_error(program, before) or 0.0)
    error = _rate(program) * unseen + bias * changed + np.abs(was - now)[assumed].sum()
    total = now.sum()
    return Promise(
        float(gain), float(error / total), float(unseen / total), float(now[assumed].sum() / total)
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


def without_waits(program: Program, mapping: Mapping) -> Mapping:
    """A mapping without the stays whose copy nothing could hide.

    A prefetch over an empty interval makes the program wait for all of it.  The compiler makes no
    such copies, so what they seem to gain cannot be had.
    """
    waits = {(t.value, t.start) for t in mapping.prefetches if t.start == t.end}
    if not waits:
        return mapping
    gone = [r for r in mapping.residencies if (r.value, r.start) in waits]
    spans = [(r.value, r.start, r.end) for r in gone]
    return dataclasses.replace(
        mapping,
        residencies=tuple(r for r in mapping.residencies if r not in gone),
        prefetches=tuple(t for t in mapping.prefetches if (t.value, t.start) not in waits),
        evictions=tuple(
            t for t in mapping.evictions
            if not any(v == t.value and start < t.start <= end for v, start, end in spans)
        ),
    )  # fmt: skip


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


def _unseen_slots(program: Program, mapping: Mapping, assumed: list[int]) -> list[int]:
    """The slots with an estimate whose placement no compile of the fit has had."""
    seen = _facts(program, "calibration").get("seen")
    bits = [0] * len(program.instructions)
    place = [0] * len(program.instructions)
    served = Reading(program, mapping).served_fast()
    for access, is_fast in zip(program.accesses, served, strict=True):
        bits[access.instruction] |= bool(is_fast) << place[access.instruction]
        place[access.instruction] += 1
    known = [set(masks) for masks in seen] if seen and len(seen) == len(bits) else [{0}] * len(bits)
    skipped = set(assumed)
    return [t for t, mask in enumerate(bits) if mask not in known[t] and t not in skipped]


def _rate(program: Program) -> float:
    """Relative error of instructions under placements that the fit has not seen.

    Programs of earlier imports have errors of whole held-out placements only.
    """
    calibration = _facts(program, "calibration")
    if "unseen_error" in calibration:
        return float(calibration["unseen_error"] or USUAL_ERROR)
    errors = [e for e in calibration.get("held_out_errors", ()) if e is not None]
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else USUAL_ERROR


def _facts(program: Program, name: str) -> dict[str, Any]:
    """A part of the provenance; empty if it is not there."""
    found = program.provenance.get(name)
    return found if isinstance(found, dict) else {}
