"""The judge's word on a schedule."""

from __future__ import annotations

import dataclasses

from gamekit.errors import InputError
from games.fences.judge.cost import Figures, figures
from games.fences.judge.interpreter import races
from games.fences.judge.rules import violations
from games.fences.program.parser import parse_blocks
from games.fences.program.program import Program
from games.fences.program.schedule import Schedule, read_schedule


@dataclasses.dataclass(frozen=True)
class Judged:
    """violations: one line each, none where the schedule is right; figures: of a right one."""

    violations: tuple[str, ...]
    figures: Figures | None = None


def judge_schedule(program: Program, schedule: Schedule) -> Judged:
    """Checks form, data and order, runs every interleaving, and only then counts."""
    found = violations(program, schedule)
    if not found:
        found = [f"in one interleaving {race.what}" for race in races(program, schedule)]
    if found:
        return Judged(tuple(dict.fromkeys(found)))
    return Judged((), figures(program, schedule))


def judge_text(program: Program, text: str, source: str = "schedule") -> Judged:
    """The same of a schedule's text."""
    try:
        return judge_schedule(program, read_schedule(program, parse_blocks(text, source)))
    except InputError as error:
        return Judged((str(error),))
