"""The game of cores: exact fronts, small optima, ResNet-18 of Stream.

    python benchmarks/cores.py fronts --machine TEXT
    python benchmarks/cores.py small --machine TEXT [--seconds 60]
    python benchmarks/cores.py resnet FOLDER --machine TEXT [--seconds 60] [--tiles 2]

FOLDER has Stream's `examples`. Every row is appended to --rows (results/cores/NAME.jsonl) when it
is there, and is not measured again; the table goes to docs/results/data/cores_NAME.json. Show it by
a line `<!-- table: cores_NAME -->` and one `<!-- end -->` in docs/results/cores.md, and
docs/results/render.py. Costs are the judge's.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from games.cores.judge import judge
from games.cores.mappers.exact import exact_front
from games.cores.mappers.in_game import random_games
from games.cores.mappers.registry import MAPPERS, compile_kernels
from games.cores.problem import Problem, Weights
from games.cores.replay import moves_of_schedule
from games.cores.stream.convert import import_problem
from games.cores.synthetic.fronts import cases
from games.cores.synthetic.random_problems import Size, random_problem

MACHINES = (
    "tpu_like_quad_core", "eyeriss_like_quad_core", "meta_prototype_dual_core_simd_offchip",
)  # fmt: skip
AIMS = {"time": Weights(1, 0, 0), "energy": Weights(0, 1, 0), "both": Weights(1, 1, 0)}
SMALL, SMALL_SEED = 20, 500
Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("fronts", "small", "resnet"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--machine", required=True, help="one line for the table")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--tiles", type=int, default=2)
    parser.add_argument("--rows", type=Path, default=Path("results/cores"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/data"))
    options = parser.parse_args()
    if options.what == "resnet" and options.folder is None:
        parser.error("resnet: needs the folder of Stream's examples")
    compile_kernels()
    tasks = {"fronts": fronts, "small": small, "resnet": resnet}[options.what](options)
    path = options.rows / f"{options.what}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {}
    if path.exists():
        done = {row["key"]: row for row in map(json.loads, path.read_text().splitlines())}
    rows = []
    for key, measure in tasks:
        if key not in done:
            done[key] = {"key": key} | measure()
            with path.open("a") as file:
                file.write(json.dumps(done[key]) + "\n")
            print(json.dumps(done[key]), flush=True)
        rows.append(done[key])
    table = json.dumps(_table(options, rows), indent=1) + "\n"
    (options.out / f"cores_{options.what}.json").write_text(table)
    return 0


Tasks = Iterator[tuple[str, Callable[[], Row]]]


def fronts(options: argparse.Namespace) -> Tasks:
    for name, (problem, front) in cases().items():

        def measure(problem: Problem = problem, front: Any = front) -> Row:
            began = time.perf_counter()
            found = exact_front(problem)
            seconds = time.perf_counter() - began
            got = tuple((p.time, p.energy) for p in found.points)
            reached = sum(_reached(problem, p.schedule, (p.time, p.energy)) for p in found.points)
            same = "yes" if found.proven and got == front else "no"
            return {"points": len(front), "same": same, "labels": found.labels,
                    "seconds": seconds, "reached": reached}  # fmt: skip

        yield name, measure


def _reached(problem: Problem, schedule: Any, point: tuple[int, float]) -> bool:
    """Whether the game makes a schedule of these figures: this one, or one by chance."""
    if moves_of_schedule(problem, schedule) is not None:
        return True
    for weights in (Weights(1, 0, 0), Weights(1, 1, 0), Weights(0, 1, 0), Weights(1, 20, 0)):
        weighted = dataclasses.replace(problem, weights=weights)
        for seed in range(3):
            found = judge(weighted, random_games(weighted, 4.0, seed).schedule)
            if (found.time, found.energy) == point:
                return True
    return False


def small(options: argparse.Namespace) -> Tasks:
    names = ("cpsat", "list", "heft", "genetic", "local_search", "random_games")
    for i in range(SMALL):
        problem = random_problem(SMALL_SEED + i, Size((4, 7), (2, 3)))
        if problem.prices[2]:  # the peak's optimum is rarely proven
            problem = dataclasses.replace(problem, weights=Weights(1, 1, 0))

        def measure(problem: Problem = problem) -> Row:
            row: Row = {"operations": len(problem.operations)}
            for name in names:
                made = MAPPERS[name](problem, options.seconds, 0)
                found = judge(problem, made.schedule)
                assert found.valid, (problem.name, name, found.violation)
                row[name] = found.cost
                if name == "cpsat":
                    row["proven"] = "yes" if made.proven else "no"
            return row

        yield problem.name, measure


def resnet(options: argparse.Namespace) -> Tasks:
    names = ("list", "heft", "genetic", "local_search", "cpsat")
    for machine in MACHINES:
        problem = import_problem(
            options.folder / "hardware" / f"{machine}.yaml",
            options.folder / "workload" / "resnet18.yaml",
            options.tiles,
        )
        for aim, weights in AIMS.items():
            weighted = dataclasses.replace(problem, weights=weights)
            for name in names:

                def measure(problem: Problem = weighted, name: str = name) -> Row:
                    began = time.perf_counter()
                    made = MAPPERS[name](problem, options.seconds, 0)
                    seconds = time.perf_counter() - began
                    found = judge(problem, made.schedule)
                    assert found.valid, (problem.name, name, found.violation)
                    return {"time": found.time, "energy": found.energy / 1e6,
                            "product": found.time * found.energy / 1e15,
                            "cost": found.cost, "seconds": seconds}  # fmt: skip

                yield f"{machine}, {aim}, {name}", measure


def _table(options: argparse.Namespace, rows: list[Row]) -> Row:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    keys = list(rows[0])
    decimals = {"seconds": 1, "time": 0, "energy": 1, "product": 4}
    whole = {"points", "labels", "reached", "operations"}
    titles = {
        "fronts": "Exact fronts of time and energy, as in the prototype's tests",
        "small": "Twenty small problems by chance: cost, 1 is the reference",
        "resnet": f"ResNet-18, {options.tiles} tiles a layer: cycles, energy in uJ, product in Js",
    }
    notes = {
        "fronts": ["reached: points for which the game makes a schedule."],
        "small": [f"{options.seconds:g} s each, one seed, one core."],
        "resnet": [f"{options.seconds:g} s each, one seed, one core. product: time times energy, "
                   "in 10^15 cycles times pJ. cost: of the weighted aim, 1 is the reference."],
    }  # fmt: skip
    if options.what == "small":
        for name in ("list", "heft", "genetic", "local_search", "random_games"):
            best = sum(row[name] <= row["cpsat"] + 1e-5 for row in rows if row["proven"] == "yes")
            notes["small"].append(f"{name}: at {best} proven optima.")
    text = {"key", "same", "proven"}
    return {
        "title": titles[options.what].replace(", product in Js", ", and their product"),
        "question": "How good are the opponents of the game of cores?",
        "machine": options.machine,
        "command": [f"python benchmarks/cores.py {options.what} --machine ..."],
        "commit": commit,
        "date": date.today().isoformat(),
        "columns": [
            {"name": "problem" if key == "key" else key, "unit": ""}
            | ({} if key in text | whole else {"decimals": decimals.get(key, 4)})
            for key in keys
        ],
        "rows": [[row[key] for key in keys] for row in rows],
        "notes": notes[options.what],
    }


if __name__ == "__main__":
    sys.exit(main())
