"""The contest's 24 graphs: every opponent within the contest's time limits, on one core.

    python benchmarks/graphs.py FOLDER [--out docs/results/data/graphs.json] [--mappers A,B]
        [--checkpoint runs/graphs]

FOLDER has instances/mlsys-2026-N.json, and best_known.json with `instances.N.best_solution.cost`
and `instances.N.official_track_a_best`.  Prints a line for each problem; solutions go to --save.
With a checkpoint there are three columns more: the network's best answer everywhere (`network`),
the best of its games within the limit (`agent`), and local search from that solution and merging's
for as long again (`polished`).  Costs are the judge's, divided by the best known one; what is
above 1 is worse.
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
from games.graphs.problem import Problem, load_problem, save_solution

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
    parser.add_argument("--save", type=Path, help="folder for the solutions of the last mapper")
    parser.add_argument("--mappers", default=",".join(MAPPERS))
    parser.add_argument("--checkpoint", type=Path, help="a training run's folder")
    parser.add_argument("--machine", required=True, help="one line for the table")
    options = parser.parse_args()
    names = options.mappers.split(",")
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
        limit = LIMITS[(number - 1) // 4]
        row: list[Any] = [str(number), problem.num_ops, problem.compute_bound]
        best = known[str(number)]["best_solution"]["cost"]
        row += [best, (known[str(number)]["official_track_a_best"] or [None])[0]]
        for name in names:
            row.append(solve(problem, name, limit, options.save, number))
        if options.checkpoint is not None:
            group = problems[(number - 1) // 4 * 4 :][:4]
            row += learned(options.checkpoint, group, (number - 1) % 4, limit)
        rows.append(row)
        print(json.dumps(row), flush=True)
    names += LEARNED if options.checkpoint is not None else ()
    options.out.write_text(json.dumps(table(names, rows, options.machine, commit), indent=1) + "\n")
    return 0


def solve(problem: Problem, name: str, limit: float, save: Path | None, number: int) -> float:
    """The judge's cost of what a mapper makes within its limit; says where it takes longer.

    Raises:
      SystemExit: a solution is rejected.
    """
    began, costs = time.perf_counter(), Costs(problem)
    solution = solution_of(costs, MAPPERS[name](costs, limit, 0))
    seconds = time.perf_counter() - began
    found = evaluate(problem, solution)
    if not found.valid:
        raise SystemExit(f"{number}: {name}: rejected: {found.violations[0]}")
    if seconds > 1.1 * limit + 1:
        print(f"{number}: {name}: {seconds:.1f} s of {limit} s", file=sys.stderr)
    if save is not None:
        save_solution(solution, save / f"mlsys-2026-{number}.json")
    return found.latency


@functools.lru_cache(maxsize=1)
def _compiled(checkpoint: Path, group: tuple[Problem, ...]) -> tuple[Any, ...]:
    """Problems of similar size as one game, compiled once."""
    agent, config = load_either(checkpoint)[:2]
    game = DOMAIN.build([Instance(p.name, p.fingerprint, "", p) for p in group], GraphsConfig())
    play(game, agent, config, 0, jax.random.key(0), seconds=1e-3)
    return game, agent, config


def learned(
    checkpoint: Path, group: Sequence[Problem], number: int, limit: float
) -> tuple[float, float, float]:
    """The judge's costs of `LEARNED`, for one problem of a group."""
    game, agent, config = _compiled(checkpoint, tuple(group))
    problem, costs = group[number], Costs(group[number])
    instance = Instance(problem.name, problem.fingerprint, "", problem)
    played = play(game, agent, config, number, jax.random.key(1), seconds=limit)
    made = DOMAIN.solution(game, instance, number, played.moves).solution
    polished = DOMAIN.polish(instance, [made], limit, 0).solution
    naive = sum(costs.naive(op) for op in range(problem.num_ops))
    found = [evaluate(problem, each) for each in (made, polished)]
    if not all(each.valid for each in found):
        raise SystemExit(f"{problem.name}: the agent's solution is rejected")
    return (1 - played.greedy) * naive, found[0].latency, found[1].latency


def table(names: list[str], rows: list[list[Any]], machine: str, commit: str) -> dict[str, Any]:
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
    return {
        "title": "The contest's 24 graphs: cost, divided by the best known one",
        "question": "How good are the opponents of the graph game?",
        "machine": machine,
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
