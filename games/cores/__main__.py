"""Schedules networks on machines of several cores.

python -m games.cores schedule problem.json schedule.json --seconds 30
python -m games.cores check problem.json schedule.json
python -m games.cores draw problem.json schedule.json picture.png
python -m games.cores draw problem.json schedule.json schedule.trace.json
python -m games.cores import machine.yaml workload.onnx problem.json --tiles 2
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gamekit.errors import InputError
from gamekit.processes import run_command
from gamekit.text import say
from games.cores.judge import Judged, judge
from games.cores.problem.files import load_problem, save_problem
from games.cores.problem.problem import Problem, Weights
from games.cores.problem.schedule import Schedule, load_schedule, save_schedule

# The trained agent's games, and local search from the best of them.
LEARNED = ("agent", "polished")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command: 0, 1 for a schedule that breaks a rule, 2 for unusable input."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: options.run(options), "error", "stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m games.cores",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    schedule = commands.add_parser("schedule", help="find a schedule in the given time")
    check = commands.add_parser("check", help="say what a schedule takes, or which rule it breaks")
    draw = commands.add_parser("draw", help="a picture of a schedule, or a trace of it")
    bring = commands.add_parser("import", help="a problem from a machine and a workload of Stream")
    for command, run in ((schedule, _schedule), (check, _check), (draw, _draw)):
        command.set_defaults(run=run)
        command.add_argument("problem", type=Path)
        command.add_argument("schedule", type=Path)
        command.add_argument(
            "--weights", metavar="TIME,ENERGY,PEAK", help="instead of those of the problem"
        )
    schedule.add_argument("--seconds", type=float, default=10.0, help="to search (default: 10)")
    schedule.add_argument("--seed", type=int, default=0)
    schedule.add_argument(
        "--mapper",
        default="local_search",
        help="see docs/cores.md; agent and polished are of the trained agent",
    )
    draw.add_argument("picture", type=Path, help="PNG, PDF, SVG; .json for a Perfetto trace")
    bring.set_defaults(run=_import)
    bring.add_argument("machine", type=Path, help="YAML of a machine")
    bring.add_argument("workload", type=Path, help="YAML of layers, or ONNX (extra `onnx`)")
    bring.add_argument("problem", type=Path, help="the problem file to be written")
    bring.add_argument("--tiles", type=int, default=1, help="parts of a layer (default: 1)")
    for command in (schedule, bring):
        command.add_argument("--overwrite", action="store_true", help="replace the file")
    return parser


def _read(options: argparse.Namespace) -> Problem:
    problem = load_problem(options.problem)
    if options.weights is None:
        return problem
    try:
        numbers = [float(part) for part in options.weights.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(0 <= n < math.inf for n in numbers) or not any(numbers):
        raise InputError(
            f"--weights: must be three numbers of at least 0, not all 0, got {options.weights!r}"
        )
    return dataclasses.replace(problem, weights=Weights(*numbers))


def _free(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise InputError(f"{path}: is there already; --overwrite replaces it")


def _schedule(options: argparse.Namespace) -> int:
    from games.cores.mappers.registry import MAPPERS, compile_kernels

    if options.mapper not in (*MAPPERS, *LEARNED):
        known = ", ".join((*MAPPERS, *LEARNED))
        raise InputError(f"--mapper: must be one of {known}, got {options.mapper!r}")
    if not 0 < options.seconds < math.inf:
        raise InputError(f"--seconds: must be positive, got {options.seconds}")
    if options.seed < 0:
        raise InputError(f"--seed: must be at least 0, got {options.seed}")
    problem = _read(options)
    _free(options.schedule, options.overwrite)
    proven = ""
    if options.mapper in LEARNED:
        schedule = _learned(problem, options.mapper, options.seconds, options.seed)
    else:
        compile_kernels()
        made = MAPPERS[options.mapper](problem, options.seconds, options.seed)
        schedule, proven = made.schedule, "; no schedule costs less" if made.proven else ""
    save_schedule(schedule, options.schedule)
    found = judge(problem, schedule)
    say(f"{options.schedule}: {_summary(problem, found)}{proven}")
    return 0 if found.valid else 1


def _learned(problem: Problem, mapper: str, seconds: float, seed: int) -> Schedule:
    """What the agent finds that comes with the game; compiling counts."""
    from agent.run.player import shipped_contest
    from games.cores.domain import DOMAIN
    from games.cores.game.options import CoresConfig

    found: Any = shipped_contest(DOMAIN, problem, CoresConfig(), mapper, seconds, seed).solution
    return found


def _summary(problem: Problem, found: Judged) -> str:
    naive = problem.naive
    return (
        f"time {found.time:,}, energy {found.energy:,.6g}, peak {found.peak:,} bits; cost "
        f"{found.cost:.4f} of the reference's (time {naive.time:,}, energy {naive.energy:,.6g}, "
        f"peak {naive.peak:,} bits)"
    )


def _check(options: argparse.Namespace) -> int:
    problem = _read(options)
    found = judge(problem, load_schedule(options.schedule, problem))
    for memory, peak in zip(problem.memories, found.peaks, strict=True):
        if memory.bits is not None:
            share = 100 * peak / memory.bits if memory.bits else 0.0
            say(f"{memory.name}: at most {peak:,} of {memory.bits:,} bits ({share:.1f} %)")
    if not found.valid:
        say(f"rejected: {found.violation}")
        return 1
    say(f"accepted: {_summary(problem, found)}")
    return 0


def _draw(options: argparse.Namespace) -> int:
    from games.cores.report.gantt import draw
    from games.cores.report.trace import write_trace

    problem = _read(options)
    found = judge(problem, load_schedule(options.schedule, problem))
    write = write_trace if options.picture.suffix == ".json" else draw
    write(problem, found, options.picture)
    say(options.picture)
    if not found.valid:
        say(f"rejected: {found.violation}")
        return 1
    return 0


def _import(options: argparse.Namespace) -> int:
    from games.cores.stream.convert import import_problem

    _free(options.problem, options.overwrite)
    problem = import_problem(options.machine, options.workload, options.tiles)
    save_problem(problem, options.problem)
    naive = problem.naive
    say(
        f"{options.problem}: {len(problem.operations)} operations, {len(problem.allocations)} "
        f"ways to run them, {len(problem.memories)} memories, {len(problem.channels)} channels; "
        f"reference: time {naive.time:,}, energy {naive.energy:,.6g}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
