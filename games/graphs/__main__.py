"""Solves, checks and draws graph schedules in the files of the MLSys 2026 contest.

python -m games.graphs solve problem.json solution.json --seconds 30
python -m games.graphs check problem.json solution.json [--reading base_cost=native ...]
python -m games.graphs draw problem.json solution.json picture.png
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gamekit.errors import InputError
from gamekit.pictures import check_picture
from gamekit.processes import run_command
from gamekit.text import say
from games.graphs.judge import Evaluation, evaluate
from games.graphs.problem import Problem, Solution, load_problem, load_solution, save_solution
from games.graphs.problem.reading import CHOICES, Reading

# The trained agent's games, and local search from the best of them.
LEARNED = ("agent", "polished")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command: 0, 1 for a solution that breaks a rule, 2 for unusable input."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: options.run(options), "error", "stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m games.graphs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    solve = commands.add_parser("solve", help="find a solution in the given time")
    check = commands.add_parser("check", help="say what a solution costs, or what it breaks")
    draw = commands.add_parser("draw", help="a picture of a solution")
    for command, run in ((solve, _solve), (check, _check), (draw, _draw)):
        command.set_defaults(run=run)
        command.add_argument("problem", type=Path)
        command.add_argument("solution", type=Path)
    solve.add_argument("--seconds", type=float, default=10.0, help="time to search (default: 10)")
    solve.add_argument("--seed", type=int, default=0)
    solve.add_argument(
        "--mapper",
        default="best",
        help="see docs/graphs.md; agent and polished are of the trained agent (default: best)",
    )
    solve.add_argument("--overwrite", action="store_true", help="replace the solution file")
    check.add_argument(
        "--reading",
        nargs="*",
        default=[],
        metavar="OPTION=VALUE",
        help=f"other readings of the rules: {', '.join(CHOICES)}",
    )
    draw.add_argument("picture", type=Path, help="PNG, PDF or SVG")
    return parser


def _solve(options: argparse.Namespace) -> int:
    from games.graphs.mappers.registry import MAPPERS

    if options.mapper not in (*MAPPERS, *LEARNED):
        known = ", ".join((*MAPPERS, *LEARNED))
        raise InputError(f"--mapper: must be one of {known}, got {options.mapper!r}")
    if not options.seconds > 0:
        raise InputError(f"--seconds: must be positive, got {options.seconds}")
    problem = load_problem(options.problem)
    if options.solution.exists() and not options.overwrite:
        raise InputError(f"{options.solution}: is there already; --overwrite replaces it")
    find = _learned if options.mapper in LEARNED else _mapped
    solution = find(problem, options.mapper, options.seconds, options.seed)
    save_solution(solution, options.solution)
    found = evaluate(problem, solution)
    say(f"{options.solution}: {_summary(problem, found)}")
    return 0 if found.valid else 1


def _mapped(problem: Problem, mapper: str, seconds: float, seed: int) -> Solution:
    """What an opponent finds; all of them in a row tell of every stage."""
    from games.graphs.closed_form import Costs
    from games.graphs.mappers.plans import solution_of
    from games.graphs.mappers.registry import MAPPERS, best_of_all, compile_kernels

    compile_kernels()
    began, costs = time.perf_counter(), Costs(problem)

    def tell(stage: str, latency: float) -> None:
        say(f"{time.perf_counter() - began:7.1f} s  {stage}: {latency:,.1f}", error=True)

    if mapper == "best":
        return solution_of(costs, best_of_all(costs, seconds, seed, tell))
    return solution_of(costs, MAPPERS[mapper](costs, seconds, seed))


def _learned(problem: Problem, mapper: str, seconds: float, seed: int) -> Solution:
    """What the agent finds that comes with the game; compiling counts."""
    from agent.run.player import shipped_contest
    from games.graphs.domain import DOMAIN
    from games.graphs.game.options import GraphsConfig

    found: Any = shipped_contest(DOMAIN, problem, GraphsConfig(), mapper, seconds, seed).solution
    return found


def _summary(problem: Problem, found: Evaluation) -> str:
    from games.graphs.domain import naive_latency

    naive = naive_latency(problem)
    return (
        f"latency {found.latency:,.1f}, {100 * (1 - found.latency / naive):.2f} % less than every "
        f"operation alone ({naive:,.1f}); nothing is below {problem.compute_bound:,.1f}"
    )


def _reading(settings: Sequence[str]) -> Reading:
    chosen: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name not in CHOICES:
            known = ", ".join(CHOICES)
            raise InputError(f"--reading: must be OPTION=VALUE of {known}, got {setting!r}")
        chosen[name] = value
    return dataclasses.replace(Reading(), **chosen)


def _check(options: argparse.Namespace) -> int:
    problem = load_problem(options.problem)
    solution = load_solution(options.solution, problem)
    found = evaluate(problem, solution, _reading(options.reading))
    for line in _table(solution, found).splitlines():
        say(line)
    if found.valid:
        say(f"accepted: {_summary(problem, found)}")
        return 0
    for violation in found.violations:
        say(f"rejected: {violation}")
    return 1


def _table(solution: Solution, found: Evaluation) -> str:
    """Figures of every subgraph, and its own claim where that differs."""
    lines = [
        f"{'subgraph':>8} {'latency':>14} {'compute':>14} {'transfer':>14} {'memory':>10}  ops"
    ]
    for number, (subgraph, figures) in enumerate(
        zip(solution.subgraphs, found.subgraphs, strict=True)
    ):
        ops = " ".join(map(str, subgraph.ops))
        if figures is None:
            lines.append(f"{number:8} {'-':>14} {'-':>14} {'-':>14} {'-':>10}  {ops}")
            continue
        claim = subgraph.latency
        differs = claim is not None and abs(claim - figures.latency) > 1e-6 * figures.latency
        note = f"  (claims {claim:,.1f})" if differs else ""
        lines.append(
            f"{number:8} {figures.latency:14,.1f} {figures.compute:14,.1f} "
            f"{figures.transfer:14,.1f} {figures.working_set:10,}  {ops}{note}"
        )
    return "\n".join(lines)


def _draw(options: argparse.Namespace) -> int:
    from games.graphs.picture import draw

    problem = load_problem(options.problem)
    solution = load_solution(options.solution, problem)
    check_picture(options.picture)
    draw(problem, solution, evaluate(problem, solution), options.picture)
    say(options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
