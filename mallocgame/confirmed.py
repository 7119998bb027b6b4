"""The compiler's word on a result of `mallocgame.map`."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable

from mallocgame.api import Problem, Result
from mallocgame.followed import without_late_copies
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping
from mallocgame.xla.steer.confirm import confirm
from mallocgame.xla.steer.rounds import Round, Rounds
from mallocgame.xla.steer.steer import chip_of


def confirmed(
    result: Result,
    search: Callable[[Program, Mapping], Mapping] | None,
    search_s: float,
    progress: Callable[[str], None] | None,
) -> Result:
    """The result with the compiler's word on it, if it can be asked.

    search: makes another mapping when the compiler has taught something.
    """
    problem, promised = result.problem, result.promise
    if problem.module is None or importlib.util.find_spec("libtpu") is None:
        return result
    mapping, rounds = result.mapping, None
    if promised is not None and problem.production is not None:
        mapping = without_late_copies(problem.program, problem.production, mapping)
        if search is not None:
            rounds = Rounds(Round(problem.program, problem.production, mapping), search)
    confirmation = confirm(
        problem.program, mapping, problem.module, chip_of(problem.program), levers=result.levers,
        promised=promised.simulated if promised else result.speed_up or 0.0,
        again=rounds.again if rounds else None, search_s=search_s, progress=progress,
    )  # fmt: skip
    result = dataclasses.replace(result, confirmation=confirmation)
    if rounds is None or not confirmation.number:
        return result
    chosen = rounds.rounds[confirmation.number]
    learned = Problem(chosen.program, chosen.production, problem.module)
    return dataclasses.replace(result, mapping=chosen.mapping, learned=learned)
