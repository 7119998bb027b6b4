"""Draws the report of an evaluation, or of one mapping.

    mallocgame report results/sample
    mallocgame report tpu_v4_sample/lstm_scan_v4_64mib NAME.mapping.json.gz -o drawn

The first draws anew what `mallocgame evaluate --out FOLDER` found, with pictures, from its
results.json.  The second judges a mapping and draws it beside the compiler's own.  docs/report.md
says how to read a report.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gamekit.errors import InputError
from gamekit.text import say

GIVEN = "given"  # what the report calls the mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "what", nargs="+", metavar="FOLDER | PROGRAM MAPPING",
        help="an evaluation's folder, or a program and a file",
    )  # fmt: skip
    parser.add_argument("-o", "--out", type=Path, help="folder for the report of a mapping")
    parser.add_argument(
        "--processes", type=int, metavar="N", help="programs drawn at a time; default: all cores"
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="the training run of the evaluation's agent"
    )


def run(options: argparse.Namespace) -> int:
    """Draws as told."""
    if len(options.what) > 2:
        raise InputError(
            f"report: must get a folder, or a program and a mapping, got {len(options.what)} names"
        )
    if len(options.what) == 2:
        if options.out is None:
            raise InputError("-o: is missing; a mapping's report needs a folder")
        say(_of_mapping(options.what[0], options.what[1], options.out))
        return 0
    from gamekit.processes import cores
    from mallocgame.evaluation.report import report_again

    if options.out is not None:
        raise InputError("-o: must be left out; an evaluation's report goes to its own folder")
    processes = cores() if options.processes is None else options.processes
    if processes < 1:
        raise InputError(f"--processes: must be at least 1, got {processes}")
    say(report_again(Path(options.what[0]), processes, options.checkpoint))
    return 0


def _of_mapping(program: str, mapping: str, out: Path) -> Path:
    from mallocgame import api
    from mallocgame.program.mapping import load_mapping

    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: must be a new or an empty folder")
    problem = api.load(program)
    given = load_mapping(mapping, problem.program)
    return api.Result(problem, given, GIVEN, budget_s=0.0, seed=0, seconds=0.0).report(out)
