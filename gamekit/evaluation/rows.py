"""Rows of results: what the judge says of a solution, and how those of one instance compare."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gamekit.domain import Domain, Instance, Solved
from gamekit.evaluation.plan import Entry, Job, better_of, solution_name
from gamekit.jsonfile import Record, short
from gamekit.text import one_line

# "absent" is a solver that does not apply to an instance; it makes no row of the results.
OK, ABSENT, FAILED, TIMED_OUT, DIED = "ok", "absent", "failed", "timed out", "died"
UNFINISHED = (FAILED, TIMED_OUT, DIED)
STATUSES = (OK, ABSENT, *UNFINISHED)
Key = tuple[str, str, int | None]
MAX_REASON = 300
LARGEST = 1e100
# The figure of the better of two that says which one it is.
BETTER_IS = "better_is"


@dataclasses.dataclass(frozen=True)
class Row:
    """One contestant on one instance.

    solver: the entry's label. status: OK, or what went wrong, with a reason of one line.
    score, valid, why: the judge's verdict, None without a solution.
    seconds, moves, backtracks: see `gamekit.domain.Solved`.
    solution: the name of its file, None for a limit.
    figures: the game's own, by name.
    """

    instance: str
    fingerprint: str
    solver: str
    budget_s: float | None
    seed: int | None
    status: str = OK
    reason: str = ""
    score: float | None = None
    valid: bool | None = None
    why: str | None = None
    seconds: float = 0.0
    moves: int = 0
    backtracks: int = 0
    solution: str | None = None
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether it has figures."""
        return self.status == OK

    @property
    def key(self) -> Key:
        """Tells the row among those of the evaluation."""
        return (self.instance, self.solver, self.seed)

    def with_figures(self, **figures: Any) -> Row:
        """The row with further figures of the game."""
        return dataclasses.replace(self, figures={**self.figures, **figures})


def names(domain: Domain) -> dict[str, str]:
    """What a game calls the fields of a row in its files."""
    words = domain.words
    return {
        "instance": words.instance,
        "solver": words.solver,
        "score": words.score_field,
        "valid": words.valid_field,
        "why": words.why_field,
        "moves": words.moves_field,
        "backtracks": words.backtracks_field,
        "solution": words.solution,
    }


def row_record(domain: Domain, row: Row) -> dict[str, Any]:
    """A row as plain data, in the game's words."""
    called = names(domain)
    fields = {f.name: getattr(row, f.name) for f in dataclasses.fields(row) if f.name != "figures"}
    return {called.get(name, name): value for name, value in fields.items()} | dict(row.figures)


def row_from_record(domain: Domain, record: Record) -> Row:
    """A row from plain data that was read from a file.

    Raises:
      InputError: a field is missing, or is not what a row of this game has there.
    """
    called = names(domain)
    own = {f.name: called.get(f.name, f.name) for f in dataclasses.fields(Row)}
    del own["figures"]
    status = record.string("status")
    if status not in STATUSES:
        raise record.error("status", f"must be one of {', '.join(STATUSES)}, got {short(status)}")
    is_done = status == OK
    needed: dict[str, Any] = {} if is_done else {"default": None}
    solution = record.string(own["solution"], None)
    if solution is not None and not _is_file_name(solution):
        raise record.error(own["solution"], f"must be a file's name, got {short(solution)}")
    valid = record.boolean(own["valid"], **needed)
    return Row(
        instance=record.string(own["instance"]),
        fingerprint=record.string("fingerprint"),
        solver=record.string(own["solver"]),
        budget_s=record.number("budget_s", None),
        seed=record.integer("seed", None),
        status=status,
        reason=record.string("reason"),
        score=_number(record, own["score"], **needed),
        valid=valid,
        why=record.string(own["why"], None),
        seconds=_number(record, "seconds"),
        moves=record.integer(own["moves"]),
        backtracks=record.integer(own["backtracks"]),
        solution=solution,
        figures={
            key: _figure(domain, record, key, is_done and valid)
            for key in (*record.fields(), *domain.blank_figures)
            if key not in own.values()
        },
    )


def _figure(domain: Domain, record: Record, key: str, needed: bool) -> Any:
    """A figure of the game's own."""
    default = {} if needed else {"default": None}
    if isinstance(domain.blank_figures.get(key), bool):
        return record.boolean(key, **default)
    if key in domain.blank_figures:
        return _number(record, key, **default)
    if key in domain.compared_figures:
        return _number(record, key, default=None)
    return record.string(key) if key == BETTER_IS else record.any(key)


def _number(record: Record, key: str, **default: Any) -> Any:
    """A number of which many can be added up."""
    number = record.number(key, **default)
    if number is not None and abs(number) > LARGEST:
        raise record.error(key, f"must be a number up to {LARGEST:g}, got {short(number)}")
    return number


def _is_file_name(text: str) -> bool:
    return text == Path(text).name and text not in ("", ".", "..") and "\0" not in text


def blank(domain: Domain, job: Job, fingerprint: str, status: str, reason: str = "") -> Row:
    """A row without figures."""
    entry = job.entry
    return Row(
        job.instance,
        fingerprint,
        entry.label,
        entry.budget_s,
        entry.seed,
        status,
        one_line(reason, MAX_REASON),
        figures=domain.blank_figures,
    )


def measure(domain: Domain, job: Job, instance: Instance, solved: Solved | None) -> Row:
    """Writes the solution, reads it back and has it judged.

    Raises:
      InputError: the file cannot be written.
    """
    if solved is None:
        return blank(domain, job, instance.fingerprint, ABSENT)
    row = blank(domain, job, instance.fingerprint, OK)
    if solved.solution is None:
        verdict, name = domain.limit(instance, solved.figures), None
    else:
        domain.save(solved.solution, job.solution)
        verdict = domain.judge(instance, domain.load(job.solution, instance))
        name = job.solution.name
    row = row.with_figures(**{**solved.figures, **verdict.figures})
    return dataclasses.replace(
        row,
        score=verdict.score,
        valid=verdict.valid,
        why=verdict.why,
        seconds=solved.seconds,
        moves=solved.moves,
        backtracks=solved.backtracks,
        solution=name,
    )


def finish(
    domain: Domain,
    found: Mapping[Key, Row],
    instances: Sequence[Instance],
    entries: Sequence[Entry],
    folder: Path,
) -> list[Row]:
    """The results' rows: those found, the better of two, and how those of an instance compare.

    found: by `Row.key`.  Solutions of the better of two are copied in `folder`.
    """
    rows = []
    pairs = better_of(domain)
    depth = {solver: number for number, solver in enumerate(pairs, start=1)}
    in_turn = sorted(entries, key=lambda entry: depth.get(entry.solver, 0))
    for instance in instances:
        mine: list[tuple[Entry, Row]] = []
        for entry in in_turn:
            row = found.get((instance.name, entry.label, entry.seed))
            if entry.solver in pairs:
                file = solution_name(domain, instance.name, entry, entries)
                row = _better(entry, pairs[entry.solver], mine, file, folder)
            if row is not None and row.status != ABSENT:
                mine.append((entry, row))
        ordered = [row for _, row in sorted(mine, key=lambda pair: entries.index(pair[0]))]
        rows += domain.compared(ordered)
    return rows


def _better(
    entry: Entry,
    pair: tuple[str, str],
    mine: Sequence[tuple[Entry, Row]],
    file: str,
    folder: Path,
) -> Row | None:
    """The row of the higher score; of equal seeds where a solver has seeds."""
    candidates = [
        row for other, row in mine if other.solver in pair and other.seed in (None, entry.seed)
    ]
    if not candidates:
        return None
    done = [row for row in candidates if row.is_done]
    best = max(done, key=lambda row: row.score or 0.0) if done else candidates[0]
    if best.solution:
        shutil.copyfile(folder / best.solution, folder / file)
    return dataclasses.replace(
        best,
        solver=entry.label,
        seed=entry.seed,
        solution=file if best.solution else None,
    ).with_figures(**{BETTER_IS: best.solver})
