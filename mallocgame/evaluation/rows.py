"""Rows of results: what the judge says of a mapping, and how mappers of one program compare."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mallocgame.evaluation.bench import Outcome
from mallocgame.evaluation.plan import BETTER_OF, Entry, Job, Subject, mapping_name
from mallocgame.judge import simulate, verify
from mallocgame.program import Program
from mallocgame.program.mapping import all_slow, load_mapping, save_mapping

Row = dict[str, Any]
# "absent" is a mapper that does not apply to a program; it makes no row of the results.
OK, ABSENT, FAILED, TIMED_OUT, DIED = "ok", "absent", "failed", "timed out", "died"
UNFINISHED = (FAILED, TIMED_OUT, DIED)
_EMPTY = {
    "latency_s": None,
    "all_slow_latency_s": None,
    "floor_latency_s": None,
    "saved_fraction": None,
    "stall_fraction": None,
    "verified": None,
    "violation": None,
    "seconds": 0.0,
    "decisions": 0,
    "drop_backups": 0,
    "bound_s": 0.0,
    "mapping": None,
}


def blank(job: Job, fingerprint: str, status: str, reason: str = "") -> Row:
    """A row without figures."""
    entry = job.entry
    return {
        "program": job.program,
        "fingerprint": fingerprint,
        "mapper": entry.label,
        "budget_s": entry.budget_s,
        "seed": entry.seed,
        "status": status,
        "reason": " ".join(reason.split())[:300],
    } | _EMPTY


def measure(job: Job, program: Program, outcome: Outcome | None) -> Row:
    """Writes the mapping, reads it back and has it judged.

    Raises:
      InputError: the file cannot be written.
    """
    if outcome is None:
        return blank(job, program.fingerprint, ABSENT)
    row = blank(job, program.fingerprint, OK)
    row |= {
        "seconds": outcome.seconds,
        "decisions": outcome.decisions,
        "drop_backups": outcome.drop_backups,
        "bound_s": outcome.bound_s,
    }
    if outcome.mapping is None:
        simulation = simulate(program, all_slow(program))
        slow = simulation.all_slow_latency_s
        # Gains that cost nothing in fast memory are a limit too.
        limit = max(outcome.bound_s, simulation.floor_latency_s)
        row |= {"latency_s": limit, "bound_s": limit, "stall_fraction": 0.0, "verified": True}
    else:
        save_mapping(outcome.mapping, job.mapping)
        mapping = load_mapping(job.mapping, program)
        simulation = simulate(program, mapping)
        slow = simulation.all_slow_latency_s
        pairs = zip(program.weights, simulation.stall_s.tolist(), strict=True)
        violations = verify(program, mapping)
        row |= {
            "latency_s": simulation.latency_s,
            "stall_fraction": sum(w * s for w, s in pairs) / slow if slow > 0 else 0.0,
            "verified": not violations,
            "violation": violations[0].message if violations else None,
            "mapping": job.mapping.name,
        }
    row["all_slow_latency_s"] = slow
    row["floor_latency_s"] = simulation.floor_latency_s
    row["saved_fraction"] = 1 - row["latency_s"] / slow if slow > 0 else 0.0
    return row


def finish(
    found: dict[tuple[str, str, int | None], Row],
    subjects: Sequence[Subject],
    entries: Sequence[Entry],
    folder: Path,
) -> list[Row]:
    """The results' rows: those found, the better of two, and each against production and bound.

    found: by `Job.key`.  Mappings of the better of two are copied in `folder`.
    """
    rows = []
    depth = {mapper: number for number, mapper in enumerate(BETTER_OF, start=1)}
    in_turn = sorted(entries, key=lambda entry: depth.get(entry.mapper, 0))
    for subject in subjects:
        mine: list[tuple[Entry, Row]] = []
        for entry in in_turn:
            row = found.get((subject.program.name, entry.label, entry.seed))
            if entry.mapper in BETTER_OF:
                row = _better(entry, mine, mapping_name(subject.program.name, entry, entries))
                if row is not None and row["mapping"]:
                    _copy(folder, row)
            if row is not None and row["status"] != ABSENT:
                mine.append((entry, row))
        rows += _compared([row for _, row in sorted(mine, key=lambda pair: entries.index(pair[0]))])
    return rows


def _better(entry: Entry, mine: Sequence[tuple[Entry, Row]], mapping: str) -> Row | None:
    """The row of the lower latency; of equal seeds where a mapper has seeds."""
    candidates = [
        row
        for other, row in mine
        if other.mapper in BETTER_OF[entry.mapper] and other.seed in (None, entry.seed)
    ]
    if not candidates:
        return None
    done = [row for row in candidates if row["status"] == OK]
    best = min(done, key=lambda row: row["latency_s"]) if done else candidates[0]
    return best | {
        "mapper": entry.label,
        "seed": entry.seed,
        "mapping": mapping if best["mapping"] else None,
        "better_is": best["mapper"],
        "copied_from": best["mapping"],
    }


def _copy(folder: Path, row: Row) -> None:
    shutil.copyfile(folder / row.pop("copied_from"), folder / row["mapping"])


def _compared(rows: Sequence[Row]) -> list[Row]:
    """Rows of one program with what production and the bound make of them."""
    done = [row for row in rows if row["status"] == OK]
    production = next((row["latency_s"] for row in done if row["mapper"] == "production"), None)
    limit = max((max(row["bound_s"], row["floor_latency_s"]) for row in done), default=0.0)
    finished = []
    for row in rows:
        row = {key: value for key, value in row.items() if key != "copied_from"}
        speedup = closed = None
        if row["status"] == OK:
            if row["mapper"] == "bound":
                slow = row["all_slow_latency_s"]
                row |= {"latency_s": limit, "saved_fraction": 1 - limit / slow if slow > 0 else 0.0}
            latency = row["latency_s"]
            if production is not None and latency > 0:
                speedup = production / latency - 1
            if production is not None and production > limit:
                closed = (production - latency) / (production - limit)
        finished.append(row | {"speedup_vs_production": speedup, "gap_to_bound_closed": closed})
    return finished
