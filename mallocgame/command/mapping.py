"""Maps programs: writes each one's mapping, and the options that make the compiler follow it.

    mallocgame map tpu_v4_sample/lstm_scan_v4_64mib -o mapped
    mallocgame map step.program.json.gz --mapper polished --budget 60 -o mapped
    mallocgame map my_model:step --args 'f32[8,128],f32[128,128]' --chip v5e -o mapped --report
    mallocgame map tpu_v4:test --budget 30 -o mapped

A function or a module is compiled first, which needs the extra tpu but no TPU.  The folder then has
for each program NAME.mapping.json.gz, NAME.options.json (for `compile(compiler_options=...)`) and,
where it was compiled, NAME.program.json.gz with the compiler's own mapping beside it.  summary.json
says what each mapping saves, and which programs are still to come (`waiting`; none at the end).
The progress shows what the best mapping so far saves in the simulation.  docs/walkthrough.md goes
through all of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamekit.errors import InputError
from gamekit.files import write_text
from gamekit.text import cell, file_name, say, shown
from mallocgame.command.importing import add_compile_arguments
from mallocgame.program.machine import MIB
from mallocgame.suites import SUFFIXES, SUITES
from mallocgame.xla.read.chips import CHIPS
from mallocgame.xla.steer.export import LEVERS

if TYPE_CHECKING:
    from rich.progress import Progress

    from mallocgame.api import Problem, Result

# Until a mapper tells what it has.
BEGINNING = "starting; its first run on a machine compiles for about a minute"
FUNCTION = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_]\w*")
MAPPING, OPTIONS, SUMMARY = ".mapping.json.gz", ".options.json", "summary.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "programs", nargs="+", metavar="WHAT",
        help="suites, programs of theirs, files, folders, MODULE:FUNCTION, FILE.mlir",
    )  # fmt: skip
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--mapper", default="local_search", help="default local_search")
    parser.add_argument(
        "--budget", type=float, default=10.0, metavar="S", help="for each program, default 10 s"
    )
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument(
        "--report", action="store_true", help="draw a report of each, OUT/NAME.report/report.html"
    )
    parser.add_argument(
        "--no-confirm", dest="confirm", action="store_false",
        help="do not compile the options of functions and modules at the end",
    )  # fmt: skip
    parser.add_argument(
        "--levers", choices=LEVERS, default="public",
        help="all: also an option without public documentation; default public",
    )  # fmt: skip
    parser.add_argument(
        "--search", type=float, default=0.0, metavar="S",
        help="seconds for a search with the compiler in the loop, for each program; default 0",
    )  # fmt: skip
    parser.add_argument("--args", metavar="SHAPES", help="a plain function's: f32[8,128],s32[]")
    parser.add_argument("--chip", default="v4", choices=sorted(CHIPS), help="default v4")
    parser.add_argument("--capacity", type=int, metavar="MIB", help="default: all of the chip's")
    add_compile_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Maps as told; 1 if some mapping breaks a rule, which would be a fault of the mapper."""
    problems = list(_problems(options))
    names = [problem.program.name for problem in problems]
    _check_free(options.out, names)
    results: list[Result] = []
    with _progress() as progress:
        for number, problem in enumerate(problems, 1):
            result = _mapped(problem, options, progress, f"[{number}/{len(problems)}]")
            _write(result, options)
            results.append(result)
            _summarize(results, names[number:], options.out)
    say(f"{options.out}: {', '.join(sorted(path.name for path in options.out.iterdir())[:8])}")
    return 0 if all(result.verified for result in results) else 1


def _problems(options: argparse.Namespace) -> Iterator[Problem]:
    """The programs, those of functions and modules compiled."""
    from mallocgame.api import MODULES, load_all

    for what in options.programs:
        if what.endswith(MODULES) or _is_function(what):
            yield _compiled(what, options)
        elif options.args:
            raise InputError(f"--args: must be left out with {what}, which is no function")
        else:
            yield from load_all(what)


def _is_function(what: str) -> bool:
    """Whether it is MODULE:FUNCTION, and not a suite's split."""
    match = FUNCTION.fullmatch(what)
    return bool(match) and not any((base / match[1]).is_dir() for base in (Path(), SUITES))


def _compiled(what: str, options: argparse.Namespace) -> Problem:
    from mallocgame.api import MODULES, Problem
    from mallocgame.arguments import check_capacity
    from mallocgame.xla.compile.compiler import Function
    from mallocgame.xla.loading import given_module, work_folder
    from mallocgame.xla.make.wanted import StableHlo, Wanted, make
    from mallocgame.xla.read.chips import chip_by_name

    if what.endswith(MODULES):
        path = Path(what)
        source: Function | StableHlo = StableHlo(given_module(path)[0], path.name)
        name = file_name(path.name.split(".")[0])
    else:
        source, name = Function(what, options.args), file_name(what.rpartition(":")[2])
    capacity = (
        chip_by_name(options.chip).largest_bytes
        if options.capacity is None
        else check_capacity(options.capacity) * MIB
    )
    with work_folder(options.work / name if options.work else None, name) as work:
        made = make(Wanted(name, source, options.chip, capacity, work, options.timeout), say)
    problem = Problem(made.item.program, made.item.mapping, made.module)
    path = options.out / f"{name}{SUFFIXES[0]}"
    if path.exists():
        raise InputError(f"{path}: already exists; choose another folder")
    problem.save(path)
    return problem


def _check_free(out: Path, names: Sequence[str]) -> None:
    """Nothing is overwritten, and no two programs share a file."""
    stems = [file_name(name) for name in names]
    for stem in stems:
        if stems.count(stem) > 1:
            raise InputError(f"{shown(stem)}: must be unique, but is the name of two programs")
    for name in (*(f"{stem}{MAPPING}" for stem in stems), SUMMARY):
        if (out / name).exists():
            raise InputError(f"{out / name}: already exists; choose another folder")


def _progress() -> Progress:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    text = TextColumn("{task.description}", markup=False)
    bar = (text, BarColumn(), TimeElapsedColumn())
    return Progress(*bar, console=console, transient=True, disable=not console.is_terminal)


def _mapped(
    problem: Problem, options: argparse.Namespace, progress: Progress, number: str
) -> Result:
    from mallocgame import api
    from mallocgame.mappers.registry import WATCHED

    say(f"{number} {problem}")
    own = _saved_by_production(problem)
    what = cell(f"{number} {problem.program.name}: {options.mapper}").plain
    total = options.budget if options.mapper in WATCHED else None
    task = progress.add_task(f"{what}: {BEGINNING}", total=total)

    def show(saved: float) -> None:
        promise = f"saves {saved:.2%}"
        if own is not None and saved < 1:
            promise += f", {(1 - own) / (1 - saved) - 1:+.2%} against production"
        elapsed = progress.tasks[task].elapsed or 0.0
        progress.update(task, completed=elapsed, description=f"{what}: {promise}")

    result = api.map(
        problem,
        options.mapper,
        budget_s=options.budget,
        seed=options.seed,
        confirm=options.confirm,
        levers=options.levers,
        search_s=options.search,
        progress=say,
        watch=show,
    )
    progress.remove_task(task)
    say(f"  {result}")
    return result


def _saved_by_production(problem: Problem) -> float | None:
    from mallocgame.judge import simulate

    if problem.production is None:
        return None
    return simulate(problem.program, problem.production).saved_fraction


def _write(result: Result, options: argparse.Namespace) -> None:
    stem = file_name(result.problem.program.name)
    result.save(options.out / f"{stem}{MAPPING}")
    try:
        exported = result.compiler_options()
    except InputError as error:
        say(f"  no options for the compiler: {error}")
    else:
        write_text(options.out / f"{stem}{OPTIONS}", json.dumps(exported, indent=1) + "\n")
    if options.report:
        say(f"  {result.report(options.out / f'{stem}.report')}")


def _summarize(results: Sequence[Result], waiting: Sequence[str], out: Path) -> None:
    """Writes what is there; anew after each program, as the command may be interrupted."""
    summary = {"programs": [_record(result) for result in results], "waiting": list(waiting)}
    write_text(out / SUMMARY, json.dumps(summary, indent=1) + "\n")


def _record(result: Result) -> dict[str, Any]:
    """What `summary.json` says of a program."""
    return {
        "program": result.problem.program.name,
        "fingerprint": result.problem.program.fingerprint,
        "mapper": result.mapper,
        "budget_s": result.budget_s,
        "seed": result.seed,
        "seconds": round(result.seconds, 3),
        "saved_fraction": result.saved,
        "speedup_vs_production": result.speed_up,
        "promise": dataclasses.asdict(result.promise) if result.promise else None,
        "confirmed": result.confirmation.gain if result.confirmation else None,
        "verified": result.verified,
        "mapping": f"{file_name(result.problem.program.name)}{MAPPING}",
    }
