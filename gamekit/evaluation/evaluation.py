"""An evaluation from the first row to the report."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from gamekit.cluster import Cluster
from gamekit.domain import Domain, Instance
from gamekit.errors import InputError
from gamekit.evaluation.contest import Contestants, Player
from gamekit.evaluation.plan import Entry, Job, plan_jobs
from gamekit.evaluation.pool import run_jobs
from gamekit.evaluation.progress import RowProgress
from gamekit.evaluation.rows import BETTER_IS, UNFINISHED, Row, finish, row_record
from gamekit.evaluation.rows_file import RowsFile
from gamekit.evaluation.tasks import run_jobs_on
from gamekit.files import locked, unwritable, write_text
from gamekit.text import say, shown

RESULTS, LOCK = "results.json", ".lock"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What to evaluate, and where the results go.

    game: its name. player: the trained agent, None without one.
    names: what the instances were found by, for commands that read the results.
    grace_s: seconds that a row may take beyond its budget.
    scheduler: address of a Dask scheduler whose workers run the rows; None for `processes` here.
    retry: rows that came to nothing are run again; overwrite: all are.
    is_part: whether it is one of several, of which finished ones are taken as they are.
    """

    game: str
    domain: Domain
    suite: str
    names: Sequence[str]
    instances: Sequence[Instance]
    entries: Sequence[Entry]
    player: Player | None
    command: list[str]
    out: Path
    grace_s: float
    processes: int
    retry: bool
    overwrite: bool
    pictures: bool
    scheduler: str | None = None
    is_part: bool = False

    @property
    def is_reported(self) -> bool:
        """Whether the results are there, and what is written after them."""
        files = RESULTS, self.domain.report_file
        return all((self.out / name).exists() for name in files)

    @property
    def solutions(self) -> Path:
        """The folder for solutions."""
        return self.out / f"{self.domain.words.solution}s"


@dataclasses.dataclass(frozen=True)
class Finished:
    """A finished evaluation, for reports.

    rows: all of them. results: what `results.json` holds.
    """

    evaluation: Evaluation
    rows: Sequence[Row]
    results: dict[str, Any]


def evaluate(evaluation: Evaluation) -> int:
    """Runs what is not there yet, then writes and prints results; returns the exit code.

    Raises:
      InputError: the folder or the player cannot be used.
    """
    return verdict(evaluated(evaluation))


def evaluated(evaluation: Evaluation) -> Finished:
    """Runs what is not there yet, then writes and prints results, and returns them.

    Raises:
      InputError: the folder or the player cannot be used.
    """
    _check_best_games(evaluation)
    with opened(evaluation.out):
        return _evaluated(evaluation)


@contextlib.contextmanager
def opened(out: Path) -> Iterator[None]:
    """Makes a folder for results, and keeps other evaluations out of it.

    Raises:
      InputError: it cannot be made, or another one is at work there.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: must be a folder, got a file")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(f"--out {out}", error) from None
    with locked(out / LOCK, f"--out {out}: another evaluation is at work there"):
        yield


def _evaluated(evaluation: Evaluation) -> Finished:
    domain = evaluation.domain
    _make_room(evaluation)
    jobs = plan_jobs(domain, evaluation.instances, evaluation.entries, evaluation.solutions)
    file = RowsFile(domain, evaluation.out, _configuration(evaluation))
    try:
        if evaluation.retry:
            file.forget(UNFINISHED)
        waiting = [job for job in jobs if job.key not in file.found]
        if len(waiting) < len(jobs):
            say(f"{len(jobs) - len(waiting)} rows are there already", error=True)
        with RowProgress(domain, waiting, len(jobs), evaluation.processes) as progress:

            def take(row: Row) -> None:
                file.add(row)
                progress.show(row)

            _run(evaluation, waiting, take)
    finally:
        file.close()
    rows = finish(
        domain, file.found, evaluation.instances, evaluation.entries, evaluation.solutions
    )
    finished = Finished(evaluation, rows, _results(evaluation, rows))
    if waiting or not evaluation.is_reported:
        write_text(evaluation.out / RESULTS, json.dumps(finished.results, indent=1) + "\n")
        domain.report(finished)
    return finished


def _run(evaluation: Evaluation, jobs: Sequence[Job], take: Callable[[Row], None]) -> None:
    """Runs jobs on this machine or, with a scheduler, on a cluster."""
    contest = Contestants(evaluation.game, evaluation.player)

    def limit_s(job: Job) -> float:
        return (job.entry.budget_s or 0.0) + evaluation.grace_s

    if evaluation.scheduler is None:
        fingerprints = {i.name: i.fingerprint for i in evaluation.instances}
        run_jobs(
            jobs, fingerprints, contest,
            processes=evaluation.processes, limit_s=limit_s, done=take,
        )  # fmt: skip
    elif jobs:
        instances = {i.name: i for i in evaluation.instances}
        with Cluster(evaluation.scheduler) as cluster:
            run_jobs_on(cluster, jobs, instances, contest, limit_s=limit_s, done=take)


def _results(evaluation: Evaluation, rows: Sequence[Row]) -> dict[str, Any]:
    """What `results.json` holds."""
    domain = evaluation.domain
    for row in rows:
        if row.solution and not (evaluation.solutions / row.solution).is_file():
            raise InputError(
                f"{evaluation.solutions / row.solution}: is gone; --overwrite makes all again"
            )
    results = {
        "suite": evaluation.suite,
        "names": list(evaluation.names),
        **domain.facts(evaluation.instances),
        "versions": _versions(domain),
        "command": evaluation.command,
        "rows": [row_record(domain, row) for row in rows],
    }
    return results | domain.summary(results["rows"])


def _check_best_games(evaluation: Evaluation) -> None:
    """The training's best games must be of these very instances; said before anything is run."""
    player, domain = evaluation.player, evaluation.domain
    wanted = any(entry.solver == "trained_best" for entry in evaluation.entries)
    for instance in evaluation.instances if player and wanted else ():
        assert player is not None
        path = player.best_game(domain, instance)
        if path.exists():
            domain.load(path, instance)


def _make_room(evaluation: Evaluation) -> None:
    """Refuses finished results, or takes away what is to be made again.

    Results without a report are not finished: the report was interrupted.
    """
    out, domain = evaluation.out, evaluation.domain
    word, last = domain.words.solution, domain.report_file
    again = evaluation.retry or evaluation.overwrite
    if evaluation.is_reported and not again:
        if evaluation.is_part:
            return
        raise holds_results(out)
    patterns = [RESULTS, last] if again else []
    if evaluation.overwrite:
        patterns += ["rows.jsonl", "tables.md", f"{word}s/*.{word}.json.gz"]
        patterns += ["pictures/*.svg", "pictures/*.png", "traces/*.trace.json"]
    try:
        for pattern in patterns:
            for path in out.glob(pattern):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(f"--out {out}", error) from None


def holds_results(out: Path) -> InputError:
    """The error of a folder whose evaluation is finished."""
    return InputError(
        f"--out {out}: holds results already; choose another or say --overwrite "
        "(--retry: only what failed)"
    )


def _configuration(evaluation: Evaluation) -> dict[str, Any]:
    """What rows depend on."""
    entries, words = evaluation.entries, evaluation.domain.words
    instances, player = evaluation.instances, evaluation.player
    return {
        "game": evaluation.domain.version,
        f"{words.instance}s": {i.name: i.fingerprint for i in instances},
        words.reference: [i.name for i in instances if i.reference is not None],
        f"{words.solver}s": list(dict.fromkeys(entry.solver for entry in entries)),
        "budget": list(dict.fromkeys(e.budget_s for e in entries if e.budget_s is not None)),
        "seeds": list(dict.fromkeys(e.seed for e in entries if e.seed is not None)),
        "checkpoint": player.identity() if player else {},
    }


def _versions(domain: Domain) -> dict[str, str]:
    names = ("jax", "flax", "optax", "mctx", "numpy")
    own = {"game": str(domain.version), "python": sys.version.split()[0]}
    return own | {name: metadata.version(name) for name in names}


def verdict(finished: Finished) -> int:
    """Names rows without a valid solution; 1 if there are any, else 0: the exit code.

    Reference solutions may break rules.
    """
    domain, rows = finished.evaluation.domain, finished.rows
    reference = domain.words.reference
    bad = [row for row in rows if not row.is_done]
    rejected = [
        row
        for row in rows
        if row.is_done
        and not row.valid
        and reference not in (row.solver, row.figures.get(BETTER_IS))
    ]
    for row in bad:
        say(f"{shown(row.instance)}: {row.solver}: {row.status}: {row.reason}", error=True)
    for row in rejected:
        say(f"{shown(row.instance)}: {row.solver}: the judge rejects it: {row.why}", error=True)
    return 1 if bad or rejected else 0
