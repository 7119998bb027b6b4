"""The report of an evaluation: printed tables, Markdown, pictures, traces, one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gamekit.domain import Instance
from gamekit.errors import InputError
from gamekit.evaluation.evaluation import RESULTS, Finished
from gamekit.files import unwritable, write_text
from gamekit.processes import cores, in_processes
from gamekit.status import StatusLine
from gamekit.text import cell, file_name, say, shown
from mallocgame.domain import DOMAIN
from mallocgame.evaluation.results import load_results
from mallocgame.report import (
    ProgramPictures,
    markdown,
    print_results,
    result_tables,
    write_report,
)
from mallocgame.report.program_pictures import draw_program
from mallocgame.report.suite_pictures import draw_learning, draw_suite, load_metrics


def report(finished: Finished) -> None:
    """Prints the results, draws, and writes all that people read.

    Raises:
      InputError: the folder cannot be written.
    """
    evaluation, results = finished.evaluation, finished.results
    print_results(results)
    out = evaluation.out
    write_text(out / "tables.md", markdown(result_tables(results)))
    run = evaluation.player.run if evaluation.player else None
    programs, suite = {}, {}
    if evaluation.pictures:
        processes = max(evaluation.processes, cores())
        programs, suite = draw(evaluation.instances, results["rows"], out, processes, run)
    write_report(results, out / "report.html", programs, suite)
    say(f"results, mappings and report.html are in {out}")


def report_again(folder: Path, processes: int, run: Path | None = None) -> Path:
    """Draws and writes the report of finished results once more.

    Args:
      run: a training run, for its curves.

    Returns:
      The page's path.

    Raises:
      InputError: there are no results, or they are of other programs than are found now.
    """
    results = load_results(folder / RESULTS)
    instances = DOMAIN.instances(results["names"])
    fingerprints = {row["program"]: row["fingerprint"] for row in results["rows"]}
    for instance in instances:
        if fingerprints.get(instance.name, instance.fingerprint) != instance.fingerprint:
            raise InputError(
                f"{folder / RESULTS}: {shown(instance.name)}: must be the program in "
                f"{instance.source}, got results of another one"
            )
    write_text(folder / "tables.md", markdown(result_tables(results)))
    programs, suite = draw(instances, results["rows"], folder, processes, run)
    write_report(results, folder / "report.html", programs, suite)
    return folder / "report.html"


def draw(
    instances: Sequence[Instance],
    rows: Sequence[dict[str, Any]],
    out: Path,
    processes: int,
    run: Path | None,
) -> tuple[dict[str, ProgramPictures], dict[str, str]]:
    """The pictures of programs by name and of the suite by caption; files are written beside.

    Args:
      rows: as in `results.json`.
      processes: programs that are drawn at a time.
      run: a training run, for its curves.

    Raises:
      InputError: a folder cannot be written.
    """
    tasks = [
        (
            Path(instance.source),
            [row for row in rows if row["program"] == instance.name],
            out,
            file_name(instance.name),
        )
        for instance in instances
    ]
    drawn: dict[int, tuple[str, ProgramPictures]] = {}
    try:
        with DrawingProgress(len(tasks)) as progress:

            def take(number: int, made: tuple[str, ProgramPictures]) -> None:
                drawn[number] = made
                progress.show(made[0])

            if min(processes, len(tasks)) > 1:
                in_processes(draw_program, tasks, processes, take)
            else:
                for number, task in enumerate(tasks):
                    take(number, draw_program(*task))
        suite = draw_suite(rows, out / "pictures" / "suite")
        lines = load_metrics(run) if run else []
        learning = draw_learning(lines, out / "pictures" / "learning")
    except OSError as error:
        raise unwritable(f"--out {out}", error) from None
    programs = dict(drawn[i] for i in range(len(tasks)))
    return programs, suite | ({"Training of the agent": learning} if learning else {})


class DrawingProgress(StatusLine):
    """Says how many of some programs are drawn; use as a context manager."""

    def __init__(self, total: int):
        super().__init__()
        self._total, self._done = total, 0
        if not self._live:
            say(f"drawing {total} program{'s' if total > 1 else ''}", error=True)

    def show(self, name: str) -> None:
        """Takes the name of a program that is drawn."""
        self._done += 1
        if self._live:
            self._live.update(cell(f"drawn {self._done}/{self._total}  {name}"))
