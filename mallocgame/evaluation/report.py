"""The report of an evaluation: printed tables, Markdown, pictures, traces, one HTML page."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from gamekit.evaluation.evaluation import Evaluation, Finished, unwritable
from gamekit.text import file_name, say
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


def report(finished: Finished) -> None:
    """Prints the results, adds their summary to `finished.results`, and writes the rest.

    Raises:
      InputError: the folder cannot be written.
    """
    evaluation, results = finished.evaluation, finished.results
    results["summary"] = summarize(results["rows"])
    print_results(results)
    out = evaluation.out
    try:
        (out / "tables.md").write_text(markdown(result_tables(results)), encoding="utf-8")
        programs, suite = _draw(evaluation, results) if evaluation.pictures else ({}, {})
        write_report(results, out / "report.html", programs, suite)
    except OSError as error:
        raise unwritable(out, error) from None
    say(f"results, mappings and report.html are in {out}")


def _draw(
    evaluation: Evaluation, results: dict[str, Any]
) -> tuple[dict[str, ProgramPictures], dict[str, str]]:
    """The pictures of programs by name and of the suite by caption; files are written beside."""
    out = evaluation.out
    names = [instance.name for instance in evaluation.instances]
    tasks = (
        [Path(instance.source) for instance in evaluation.instances],
        [[row for row in results["rows"] if row["program"] == name] for name in names],
        [out] * len(names),
        [file_name(name) for name in names],
    )
    say(f"drawing {len(names)} programs", error=True)
    if min(evaluation.processes, len(names)) > 1:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(evaluation.processes, context) as processes:
            programs = dict(processes.map(draw_program, *tasks))
    else:
        programs = dict(map(draw_program, *tasks))
    suite = draw_suite(results["rows"], out / "pictures" / "suite")
    lines = load_metrics(evaluation.player.run) if evaluation.player else []
    learning = draw_learning(lines, out / "pictures" / "learning")
    return programs, suite | ({"Training of the agent": learning} if learning else {})
