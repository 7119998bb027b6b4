"""Search on the model, measure the best, correct the model, and again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from games.loops.fit.fit import Sample, fit
from games.loops.judge.clock import Clock, Measured
from games.loops.mappers.registry import MAPPERS
from games.loops.mappers.search import Search
from games.loops.program.computation import Computation
from games.loops.program.cost import seconds
from games.loops.program.machine import Machine, machine
from games.loops.program.nest import Nest, start


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The fastest nest by the clock, what was measured of it, and how many were."""

    nest: Nest
    measured: Measured
    count: int


def tune(
    computation: Computation,
    clock: Clock,
    solver: str,
    seconds_each: float,
    rounds: int,
    measured_each: int,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> Tuned:
    """Finds a nest that is fast by the clock.

    In each round the solver searches for so many seconds on the model, the fastest nests that it
    tried are measured, and the model is fitted again to all that was measured. `say` gets a line a
    round.

    Raises:
      InputError: a kernel cannot be compiled.
    """
    model: Machine = machine()
    known: dict[Nest, Measured] = {}
    begin = start(computation)
    known[begin] = clock.measure(computation, begin)
    for number in range(rounds):
        on_model = model
        search = Search(
            computation, lambda c, nest, on=on_model: seconds(c, nest, on), seconds_each
        )
        MAPPERS[solver](search, 20, seed + number)
        fresh = [nest for nest in search.fastest(len(known) + measured_each) if nest not in known]
        for nest in fresh[:measured_each]:
            known[nest] = clock.measure(computation, nest)
        best = min(known, key=lambda nest: known[nest].seconds / known[nest].reference_s)
        say(
            f"round {number + 1}: {search.tried} nests tried, {len(known)} measured, "
            f"best {known[best].speedup:.2f}x the starting nest"
        )
        samples = [Sample(computation, n, m.seconds, m.reference_s) for n, m in known.items()]
        model = fit(samples, model)
    best = min(known, key=lambda nest: known[nest].seconds / known[nest].reference_s)
    return Tuned(best, known[best], len(known))
