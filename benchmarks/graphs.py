"""The contest's 24 graphs: every opponent within the contest's time limits, on one core.

    python benchmarks/graphs.py FOLDER [--out docs/results/data/graphs.json] [--mappers A,B]
        [--checkpoint runs/graphs] [--seconds 300] [--graphs 5,8] [--learned network,agent]
        [--evaluator evaluate.py]

FOLDER has instances/mlsys-2026-N.json, and best_known.json with `instances.N.best_solution.cost`
and `instances.N.official_track_a_best`.  Prints a line for each problem.
With a checkpoint there are three columns more: the network's best answer everywhere (`network`),
the best of its games within the limit (`agent`), and local search from that solution and merging's
for as long again (`polished`).  Costs are the judge's, divided by the best known one; what is
above 1 is worse.  Solutions go to --save, NAME.MAPPER.json.  With --evaluator every one is also
judged by that program, which is called with a problem and a solution, and prints the cost.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import jax
import numpy as np

from agent.run.play import play
from agent.run.shipped import load_either
from gamekit.domain import Instance
from games.graphs.closed_form import Costs
from games.graphs.domain import DOMAIN
from games.graphs.game.options import GraphsConfig
from games.graphs.judge import evaluate
from games.graphs.mappers.plans import solution_of
from games.graphs.mappers.registry import MAPPERS, compile_kernels
from games.graphs.problem import Problem, Solution, load_problem, save_solution

# Seconds for problems 1-4, 5-8 and so on; the contest gave them on eight cores.
LIMITS = (2, 5, 15, 30, 60, 120)
BEST = "best"
LEARNED = ("network", "agent", "polished")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/results/data/graphs.json"))
    parser.add_argument("--save", type=Path, help="folder for the solutions")
    parser.add_argument("--evaluator", type=Path, help="a program that judges the solutions too")
    parser.add_argument("--mappers", default=",".join(MAPPERS))
    parser.add_argument("--graphs", help="numbers, separated by commas; default all")
    parser.add_argument("--learned", default=",".join(LEARNED), help="columns of a checkpoint")
    parser.add_argument("--seconds", type=float, help="for each graph, instead of the contest's")
    parser.add_argument("--checkpoint", type=Path, help="a training run's folder")
    parser.add_argument("--machine", required=True, help="one line for the table")
    options = parser.parse_args()
    names = options.mappers.split(",") if options.mappers else []
    columns = [name for name in LEARNED if name in options.learned.split(",")]
    chosen = {int(n) for n in options.graphs.split(",")} if options.graphs else set(range(1, 25))
    if options.evaluator is not None and options.save is None:
        parser.error("--save: must be there for --evaluator")
    known = json.loads((options.folder / "best_known.json").read_text())["instances"]
    compile_kernels()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    rows = []
    problems = [
        load_problem(options.folder / "instances" / f"mlsys-2026-{number}.json")
        for number in range(1, 25)
    ]
    for number, problem in enumerate(problems, start=1):
        if number not in chosen:
            continue
        limit = options.seconds or LIMITS[(number - 1) // 4]
        row: list[Any] = [str(number), problem.num_ops, problem.compute_bound]
        best = known[str(number)]["best_solution"]["cost"]
        row += [best, (known[str(number)]["official_track_a_best"] or [None])[0]]
        for name in names:
            solution = solve(problem, name, limit, number)
            row.append(_judged(problem, solution, name, number, options))
        if options.checkpoint is not None:
            group = problems[(number - 1) // 4 * 4 :][:4]
            found = learned(options.checkpoint, group, (number - 1) % 4, limit, columns)
            row += [
                each if isinstance(each, float)
                else _judged(problem, each, name, number, options)
                for name, each in zip(columns, found, strict=True)
            ]  # fmt: skip
        rows.append(row)
        print(json.dumps(row), flush=True)
    names += columns if options.checkpoint is not None else ()
    options.out.write_text(json.dumps(table(names, rows, options, commit), indent=1) + "\n")
    return 0


def solve(problem: Problem, name: str, limit: float, number: int) -> Solution:
    """What a mapper makes within its limit; says where it takes longer."""
    began, costs = time.perf_counter(), Costs(problem)
    solution = solution_of(costs, MAPPERS[name](costs, limit, 0))
    seconds = time.perf_counter() - began
    if seconds > 1.1 * limit + 1:
        print(f"{number}: {name}: {seconds:.1f} s of {limit} s", file=sys.stderr)
    return solution


def _judged(
    problem: Problem, solution: Solution, name: str, number: int, options: argparse.Namespace
) -> float:
    """The judge's cost of a solution, which is saved and judged again where that is asked for.

    Raises:
      SystemExit: it is rejected, or the evaluator gives another cost.
    """
    found = evaluate(problem, solution)
    if not found.valid:
        raise SystemExit(f"{number}: {name}: rejected: {found.violations[0]}")
    if options.save is not None:
        options.save.mkdir(parents=True, exist_ok=True)
        path = options.save / f"mlsys-2026-{number}.{name}.json"
        save_solution(solution, path)
        if options.evaluator is not None:
            given = options.folder / "instances" / f"mlsys-2026-{number}.json"
            again = subprocess.run(
                [sys.executable, options.evaluator, given, path], capture_output=True, text=True
            )
            cost = float(again.stdout.split()[0]) if again.returncode == 0 else None
            if cost is None or abs(cost - found.latency) > 1e-6 * found.latency:
                said = again.stderr.strip() or cost
                raise SystemExit(f"{number}: {name}: the evaluator says {said}")
    return found.latency


@functools.lru_cache(maxsize=1)
def _compiled(checkpoint: Path, group: tuple[Problem, ...]) -> tuple[Any, ...]:
    """Problems of similar size as one game, compiled once."""
    agent, config = load_either(checkpoint)[:2]
    game = DOMAIN.build([Instance(p.name, p.fingerprint, "", p) for p in group], GraphsConfig())
    play(game, agent, config, 0, jax.random.key(0), seconds=1e-3)
    return game, agent, config


def learned(
    checkpoint: Path, group: Sequence[Problem], number: int, limit: float, columns: Sequence[str]
) -> list[float | Solution]:
    """What those of `LEARNED` make of one problem of a group; of the network the cost alone."""
    game, agent, config = _compiled(checkpoint, tuple(group))
    problem, costs = group[number], Costs(group[number])
    instance = Instance(problem.name, problem.fingerprint, "", problem)
    played = play(game, agent, config, number, jax.random.key(1), seconds=limit)
    made = DOMAIN.solution(game, instance, number, played.moves).solution
    naive = sum(costs.naive(op) for op in range(problem.num_ops))
    found = {"network": (1 - played.greedy) * naive, "agent": made}
    if "polished" in columns:
        found["polished"] = DOMAIN.polish(instance, [made], limit, 0).solution
    return [found[name] for name in columns]


def table(
    names: list[str], rows: list[list[Any]], options: argparse.Namespace, commit: str
) -> dict[str, Any]:
    """The results in the format of docs/results/render.py."""
    cells = [
        [row[0], row[1], row[3], row[4], row[2], *(cost / row[3] for cost in row[5:])]
        for row in rows
    ]
    figures = np.array([row[5:] for row in cells], float)
    notes = []
    for i, name in enumerate(names):
        column = figures[:, i]
        notes.append(
            f"{name}: geometric mean {np.exp(np.log(column).mean()):.4f}, within 2 % of the best "
            f"known on {int((column <= 1.02).sum())}, better than it by more than 0.01 % on "
            f"{int((column < 0.9999).sum())}."
        )
    if options.evaluator is not None:
        notes.append("Every solution was judged by an independent evaluator too: all are accepted, "
                     "at the same costs.")  # fmt: skip
    return {
        "title": "The contest's 24 graphs: cost, divided by the best known one",
        "question": "How good are the opponents of the graph game?",
        "machine": options.machine,
        "command": ["python benchmarks/graphs.py FOLDER --machine ..."],
        "commit": commit,
        "date": date.today().isoformat(),
        "columns": [
            {"name": "graph", "unit": ""},
            {"name": "operations", "unit": ""},
            {"name": "best known", "unit": "", "decimals": 0},
            {"name": "official best, at least", "unit": "", "decimals": 0},
            {"name": "bound", "unit": "", "decimals": 0},
            *({"name": name, "unit": "", "decimals": 4} for name in names),
        ],
        "rows": cells,
        "notes": notes,
    }


if __name__ == "__main__":
    sys.exit(main())
