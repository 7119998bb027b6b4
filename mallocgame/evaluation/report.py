"""The report of an evaluation: printed tables, Markdown, pictures, traces, one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gamekit.evaluation.evaluation import Evaluation, Finished
from gamekit.files import unwritable, write_text
from gamekit.processes import cores, in_processes
from gamekit.text import file_name, say
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
    try:
        programs, suite = _draw(evaluation, results) if evaluation.pictures else ({}, {})
    except OSError as error:
        raise unwritable(f"--out {out}", error) from None
    write_report(results, out / "report.html", programs, suite)
    say(f"results, mappings and report.html are in {out}")


def _draw(
    evaluation: Evaluation, results: dict[str, Any]
) -> tuple[dict[str, ProgramPictures], dict[str, str]]:
    """The pictures of programs by name and of the suite by caption; files are written beside."""
    out = evaluation.out
    names = [instance.name for instance in evaluation.instances]
    tasks = [
        (
            Path(instance.source),
            [row for row in results["rows"] if row["program"] == instance.name],
            out,
            file_name(instance.name),
        )
        for instance in evaluation.instances
    ]
    say(f"drawing {len(names)} programs", error=True)
    drawn: dict[int, tuple[str, ProgramPictures]] = {}
    processes = max(evaluation.processes, cores())
    if min(processes, len(names)) > 1:
        in_processes(draw_program, tasks, processes, drawn.__setitem__)
    else:
        drawn = {i: draw_program(*task) for i, task in enumerate(tasks)}
    programs = dict(drawn[i] for i in range(len(tasks)))
    suite = draw_suite(results["rows"], out / "pictures" / "suite")
    lines = load_metrics(evaluation.player.run) if evaluation.player else []
    learning = draw_learning(lines, out / "pictures" / "learning")
    return programs, suite | ({"Training of the agent": learning} if learning else {})
