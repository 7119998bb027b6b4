"""The report of one result: the files of `evaluate.py` for one program, and what it promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamekit.domain import Instance, Solved
from gamekit.evaluation.contest import Contestants
from gamekit.evaluation.plan import Entry, plan_jobs
from gamekit.evaluation.rows import finish, measure, row_record
from gamekit.files import write_text
from gamekit.text import file_name
from mallocgame.domain import BOUND, DOMAIN, PRODUCTION
from mallocgame.report import summarize, write_report
from mallocgame.report.program_pictures import draw_program
from mallocgame.suites import SUFFIXES

if TYPE_CHECKING:
    from mallocgame.api import Result
    from mallocgame.measure import Measured


def write_result(result: Result, folder: Path, measured: Measured | None = None) -> Path:
    """Writes the report with production and the bound; returns the page's path.

    measured: of production against the options, on a device.
    """
    program, production = result.problem.program, result.problem.production
    own = Entry(result.mapper, result.mapper, result.budget_s, result.seed)
    others = [Entry(name, name, None, None) for name in (PRODUCTION, BOUND)]
    entries = [others[0], own, others[1]]
    mappings = folder / "mappings"
    mappings.mkdir(parents=True, exist_ok=True)
    stem = file_name(program.name)
    path = folder / f"{stem}{SUFFIXES[0]}"
    result.problem.save(path)
    instance = Instance(program.name, program.fingerprint, str(path), program, production)
    contest = Contestants(DOMAIN.name)
    made = Solved(result.mapping, result.seconds, result.decisions, result.drop_backups)
    found = {}
    for job in plan_jobs(DOMAIN, [instance], entries, mappings):
        solved = made if job.entry is own else contest.run(instance, job.entry)
        found[job.key] = measure(DOMAIN, job, instance, solved)
    finished = finish(DOMAIN, found, [instance], entries, mappings)
    rows = [row_record(DOMAIN, row) for row in finished]
    results = {
        "suite": program.name,
        "machine": program.machine.name,
        "versions": dict(program.provenance.get("versions", {})),
        "rows": rows,
        "summary": summarize(rows),
        "gains": gains(result, measured),
    }
    write_text(folder / "results.json", json.dumps(results, indent=1) + "\n")
    _, pictures = draw_program(path, rows, folder, stem)
    write_report(results, folder / "report.html", {program.name: pictures})
    return folder / "report.html"


def gains(result: Result, measured: Measured | None) -> list[dict[str, Any]]:
    """The gains over production as far as they are known, each with its witness.

    what: promised, compiled, confirmed or measured.
    gain: as a fraction; None for options that the compiler refused.
    low, high: where the gain is expected, or None.
    by: whose account it is, in words.
    """
    found: list[dict[str, Any]] = []

    def add(what: str, gain: float | None, low: Any, high: Any, by: str) -> None:
        found.append({"what": what, "gain": gain, "low": low, "high": high, "by": by})

    if promise := result.promise:
        low, high = promise.gain - promise.error, promise.gain + promise.error
        add("promised", promise.gain, low, high, "fitted latencies")
    if said := result.confirmation:
        for attempt in said.attempts:
            gain = said.production_cycles / attempt.cycles - 1 if attempt.cycles else None
            told = "refused" if gain is None else f"{attempt.followed or 0:.0%} followed"
            add("compiled", gain, None, None, f"the compiler's cycles, {attempt.what}: {told}")
        add("confirmed", said.gain, None, None, f"the compiler's cycles: {said.what}")
    if measured is not None:
        by = f"{measured.pairs} pairs of runs on {measured.platform}, 95 % interval"
        add("measured", measured.ratio - 1, measured.low - 1, measured.high - 1, by)
    return found
