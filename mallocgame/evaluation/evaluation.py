"""An evaluation from the first row to the report."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

from gamekit.errors import InputError
from mallocgame.evaluation.bench import Bench
from mallocgame.evaluation.plan import Entry, Subject, file_name, plan_jobs
from mallocgame.evaluation.pool import run_jobs
from mallocgame.evaluation.progress import Progress
from mallocgame.evaluation.rows import OK, UNFINISHED, Row, finish
from mallocgame.evaluation.store import Store
from mallocgame.game.options import GAME_VERSION
from mallocgame.program.mapping import load_mapping
from mallocgame.report import (
    ProgramPictures,
    markdown,
    print_results,
    result_tables,
    summarize,
    write_report,
)
from mallocgame.report.program_pictures import draw_program
from mallocgame.report.suite_pictures import draw_learning, draw_suite, load_metrics


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What to evaluate, and where the results go.

    player: what tells the agent from others, empty without one; run: its training run's folder.
    grace_s: seconds that a row may take beyond its budget.
    retry: rows that came to nothing are run again; overwrite: all are.
    """

    suite: str
    subjects: Sequence[Subject]
    entries: Sequence[Entry]
    bench: Bench
    player: dict[str, Any]
    run: Path | None
    command: list[str]
    out: Path
    grace_s: float
    processes: int
    retry: bool
    overwrite: bool
    pictures: bool

    @property
    def mappings(self) -> Path:
        """Where mappings are written."""
        return self.out / "mappings"


def evaluate(evaluation: Evaluation) -> int:
    """Runs what is not there yet, then writes and prints results; returns the exit code.

    Raises:
      InputError: the folder or the player cannot be used.
    """
    _check_best_games(evaluation)
    _make_room(evaluation)
    jobs = plan_jobs(evaluation.subjects, evaluation.entries, evaluation.mappings)
    store = Store(evaluation.out, _configuration(evaluation))
    try:
        if evaluation.retry:
            store.forget(UNFINISHED)
        waiting = [job for job in jobs if job.key not in store.found]
        if len(waiting) < len(jobs):
            print(f"{len(jobs) - len(waiting)} rows are there already", file=sys.stderr)
        with Progress(waiting, len(jobs), evaluation.processes) as progress:

            def take(row: Row) -> None:
                store.add(row)
                progress.show(row)

            run_jobs(
                waiting,
                {s.program.name: s.program.fingerprint for s in evaluation.subjects},
                evaluation.bench,
                processes=evaluation.processes,
                limit_s=lambda job: (job.entry.budget_s or 0.0) + evaluation.grace_s,
                done=take,
            )
    finally:
        store.close()
    rows = finish(store.found, evaluation.subjects, evaluation.entries, evaluation.mappings)
    results = {
        "suite": evaluation.suite,
        "machine": sorted({s.program.machine.name for s in evaluation.subjects}),
        "versions": _versions(),
        "command": evaluation.command,
        "rows": rows,
        "summary": summarize(rows),
    }
    print_results(results)
    _write(evaluation, results)
    print(f"results, mappings and report.html are in {evaluation.out}")
    return _verdict(rows)


def _write(evaluation: Evaluation, results: dict[str, Any]) -> None:
    """Writes tables, pictures and the report, and at last `results.json`: then all is there."""
    out = evaluation.out
    try:
        (out / "tables.md").write_text(markdown(result_tables(results)), encoding="utf-8")
        programs, suite = _draw(evaluation, results) if evaluation.pictures else ({}, {})
        write_report(results, out / "report.html", programs, suite)
        (out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written: {error.strerror or error}") from None


def _draw(
    evaluation: Evaluation, results: dict[str, Any]
) -> tuple[dict[str, ProgramPictures], dict[str, str]]:
    """The pictures of programs by name and of the suite by caption; files are written beside."""
    out = evaluation.out
    names = [subject.program.name for subject in evaluation.subjects]
    tasks = (
        [subject.path for subject in evaluation.subjects],
        [[row for row in results["rows"] if row["program"] == name] for name in names],
        [out] * len(names),
        [file_name(name) for name in names],
    )
    print(f"drawing {len(names)} programs", file=sys.stderr, flush=True)
    if min(evaluation.processes, len(names)) > 1:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(evaluation.processes, context) as processes:
            programs = dict(processes.map(draw_program, *tasks))
    else:
        programs = dict(map(draw_program, *tasks))
    suite = draw_suite(results["rows"], out / "pictures" / "suite")
    lines = load_metrics(evaluation.run) if evaluation.run else []
    learning = draw_learning(lines, out / "pictures" / "learning")
    return programs, suite | ({"Training of the agent": learning} if learning else {})


def _check_best_games(evaluation: Evaluation) -> None:
    """The training's best games must be of these very programs; said before anything is run."""
    wanted = any(entry.mapper == "trained_best" for entry in evaluation.entries)
    for subject in evaluation.subjects if evaluation.run and wanted else ():
        assert evaluation.run is not None
        path = evaluation.run / "best" / f"{subject.program.name}.mapping.json"
        if path.exists():
            load_mapping(path, subject.program)


def _make_room(evaluation: Evaluation) -> None:
    """Refuses finished results, or takes away what is to be made again."""
    out = evaluation.out
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file")
    again = evaluation.retry or evaluation.overwrite
    if (out / "results.json").exists() and not again:
        raise InputError(
            f"--out {out}: holds results already; choose another or say --overwrite "
            "(--retry: only what failed)"
        )
    patterns = ["results.json"] if again else []
    if evaluation.overwrite:
        patterns += ["rows.jsonl", "tables.md", "report.html", "mappings/*.mapping.json.gz"]
        patterns += ["pictures/*.svg", "pictures/*.png", "traces/*.trace.json"]
    try:
        for pattern in patterns:
            for path in out.glob(pattern):
                path.unlink()
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written: {error.strerror or error}") from None


def _configuration(evaluation: Evaluation) -> dict[str, Any]:
    """What rows depend on."""
    entries = evaluation.entries
    return {
        "game": GAME_VERSION,
        "programs": {s.program.name: s.program.fingerprint for s in evaluation.subjects},
        "production": [s.program.name for s in evaluation.subjects if s.production],
        "mappers": list(dict.fromkeys(entry.mapper for entry in entries)),
        "budget": list(dict.fromkeys(e.budget_s for e in entries if e.budget_s is not None)),
        "seeds": list(dict.fromkeys(e.seed for e in entries if e.seed is not None)),
        "checkpoint": evaluation.player,
    }


def _versions() -> dict[str, str]:
    names = ("jax", "flax", "optax", "mctx", "numpy")
    own = {"game": str(GAME_VERSION), "python": sys.version.split()[0]}
    return own | {name: metadata.version(name) for name in names}


def _verdict(rows: Sequence[Row]) -> int:
    """Names rows without a valid mapping; 1 if there are any.

    Production's own mapping may break rules.
    """
    bad = [row for row in rows if row["status"] != OK]
    rejected = [
        row
        for row in rows
        if row["status"] == OK
        and not row["verified"]
        and "production" not in (row["mapper"], row.get("better_is"))
    ]
    for row in bad:
        print(
            f"{row['program']}: {row['mapper']}: {row['status']}: {row['reason']}", file=sys.stderr
        )
    for row in rejected:
        what = f"{row['program']}: {row['mapper']}: the judge rejects it: {row['violation']}"
        print(what, file=sys.stderr)
    return 1 if bad or rejected else 0
