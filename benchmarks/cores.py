"""The game of cores: exact fronts, small optima, ResNet-18 of Stream.

    python benchmarks/cores.py fronts --machine TEXT
    python benchmarks/cores.py small --machine TEXT [--seconds 60] [--checkpoint runs/cores]
    python benchmarks/cores.py resnet FOLDER --machine TEXT [--seconds 60] [--tiles 2]
        [--checkpoint runs/cores]

FOLDER has Stream's `examples`. Every row is appended to --rows (results/cores/NAME.jsonl) when it
is there, and is not measured again; the table goes to docs/results/data/cores_NAME.json. Show it by
a line `<!-- table: cores_NAME -->` and one `<!-- end -->` in docs/results/cores.md, and
docs/results/render.py. Costs are the judge's.

With a checkpoint there are three solvers more: the network's best answer everywhere (`network`),
the best of its games within the seconds (`agent`), and local search from the best of its games,
each for half of the seconds (`polished`). One of the games takes the first candidate of every
question. Compilation and turning moves into a schedule do not count.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import jax

from agent.run.play import play
from agent.run.shipped import load_either
from gamekit.domain import Instance
from games.cores.domain import DOMAIN
from games.cores.game.options import CoresConfig
from games.cores.judge import judge
from games.cores.mappers.exact import exact_front
from games.cores.mappers.in_game import random_games
from games.cores.mappers.mapped import Mapped
from games.cores.mappers.registry import MAPPERS, compile_kernels
from games.cores.problem import Problem, Schedule, Weights
from games.cores.replay import moves_of_schedule
from games.cores.stream.convert import import_problem
from games.cores.synthetic.fronts import cases
from games.cores.synthetic.random_problems import Size, random_problem

MACHINES = (
    "tpu_like_quad_core", "eyeriss_like_quad_core", "meta_prototype_dual_core_simd_offchip",
)  # fmt: skip
AIMS = {"time": Weights(1, 0, 0), "both": Weights(1, 1, 0), "energy": Weights(0, 1, 0)}
SMALL, SMALL_SEED = 20, 500
OPPONENTS = ("list", "heft", "genetic", "local_search", "random_games")
LEARNED = ("network", "agent", "polished")
LEAST = 1e-3  # seconds, for one round of games
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
    parser.add_argument("--checkpoint", type=Path, help="a training run's folder")
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
    problems = []
    for i in range(SMALL):
        problem = random_problem(SMALL_SEED + i, Size((4, 7), (2, 3)))
        if problem.prices[2]:  # the peak's optimum is rarely proven
            problem = dataclasses.replace(problem, weights=Weights(1, 1, 0))
        problems.append(problem)
    for number in range(SMALL):
        for name in _names(options, "cpsat", *OPPONENTS):

            def measure(number: int = number, name: str = name) -> Row:
                row: Row = {"operations": len(problems[number].operations)}
                if name == "network":
                    return row | {"cost": _network(options, tuple(problems), number)}
                made, _ = _made(options, tuple(problems), number, name)
                proven = {"proven": "yes" if made.proven else "no"} if name == "cpsat" else {}
                return row | {"cost": made.cost} | proven

            yield f"{problems[number].name}, {name}", measure


def _names(options: argparse.Namespace, *mappers: str) -> tuple[str, ...]:
    return mappers + (LEARNED if options.checkpoint is not None else ())


def _made(
    options: argparse.Namespace, problems: tuple[Problem, ...], number: int, name: str
) -> tuple[Mapped, float]:
    """What a solver makes of one of several problems, with the judge's cost, and its seconds."""
    problem, began = problems[number], time.perf_counter()
    if name in LEARNED:
        made, seconds = _learned(options, problems, number, name)
    else:
        made = MAPPERS[name](problem, options.seconds, 0)
        seconds = time.perf_counter() - began
    found = judge(problem, made.schedule)
    assert found.valid, (problem.name, name, found.violation)
    return dataclasses.replace(made, cost=found.cost), seconds


@functools.lru_cache(maxsize=1)
def _compiled(checkpoint: Path, problems: tuple[Problem, ...]) -> tuple[Any, ...]:
    """Problems as one game, and the agent; compiled once."""
    agent, config = load_either(checkpoint)[:2]
    instances = [Instance(p.name, p.fingerprint, "", p) for p in problems]
    game, began = DOMAIN.build(instances, CoresConfig()), time.perf_counter()
    play(game, agent, config, 0, jax.random.key(0), games=_games(problems), seconds=LEAST)
    print(f"compiled, with the first games: {time.perf_counter() - began:.0f} s", flush=True)
    return game, agent, config, instances


def _games(problems: tuple[Problem, ...]) -> int:
    """Games of a round: fewer of large problems, so that there is time for several rounds."""
    return 32 if max(len(p.operations) for p in problems) <= 32 else 8


def _network(options: argparse.Namespace, problems: tuple[Problem, ...], number: int) -> float:
    """The cost of the network's best answers, by the game's account."""
    game, agent, config, _ = _compiled(options.checkpoint, problems)
    games = _games(problems)
    played = play(game, agent, config, number, jax.random.key(1), games=games, seconds=LEAST)
    return 1 - played.greedy


def _learned(
    options: argparse.Namespace, problems: tuple[Problem, ...], number: int, name: str
) -> tuple[Mapped, float]:
    """The best of the agent's games, and what local search makes of it in the other half."""
    game, agent, config, instances = _compiled(options.checkpoint, problems)
    began, instance = time.perf_counter(), instances[number]
    seconds = options.seconds / (2 if name == "polished" else 1)
    played = play(
        game, agent, config, number, jax.random.key(1), games=_games(problems), seconds=seconds,
        openings=DOMAIN.openings(game, instance),
    )  # fmt: skip
    took = time.perf_counter() - began
    schedule: Schedule = DOMAIN.solution(game, instance, number, played.moves).solution
    if name == "polished":
        assert DOMAIN.polish is not None
        polished = DOMAIN.polish(instance, [schedule], max(options.seconds - took, 0), 0)
        assert polished.solution is not None
        schedule, took = polished.solution, took + polished.seconds
    return Mapped(schedule, 1 - played.score), took


def resnet(options: argparse.Namespace) -> Tasks:
    names = _names(options, "list", "heft", "genetic", "local_search", "cpsat")
    folder = options.folder
    imported = {
        machine: import_problem(
            folder / "hardware" / f"{machine}.yaml",
            folder / "workload" / "resnet18.yaml",
            options.tiles,
        )
        for machine in MACHINES
    }
    problems = tuple(
        dataclasses.replace(problem, weights=weights, name=f"{machine}, {aim}")
        for aim, weights in AIMS.items()
        for machine, problem in imported.items()
    )
    for number, problem in enumerate(problems):
        for name in names:

            def measure(number: int = number, name: str = name) -> Row:
                if name == "network":
                    cost = _network(options, problems, number)
                    return {"time": None, "energy": None, "product": None, "cost": cost,
                            "seconds": None}  # fmt: skip
                made, seconds = _made(options, problems, number, name)
                found = judge(problems[number], made.schedule)
                return {"time": found.time, "energy": found.energy / 1e6,
                        "product": found.time * found.energy / 1e15,
                        "cost": found.cost, "seconds": seconds}  # fmt: skip

            yield f"{problem.name}, {name}", measure


def _pivoted(rows: list[Row]) -> list[Row]:
    """One row for each problem, with a column for each solver."""
    found: dict[str, Row] = {}
    for row in rows:
        problem, name = row["key"].split(", ")
        one = found.setdefault(problem, {"key": problem, "operations": row["operations"]})
        if "proven" in row:
            one["proven"] = row["proven"]
        one[name] = row["cost"]
    return list(found.values())


def _command(options: argparse.Namespace) -> str:
    folder = " FOLDER" if options.what == "resnet" else ""
    seconds = "" if options.what == "fronts" else f" --seconds {options.seconds:g}"
    learned = "" if options.checkpoint is None else " --checkpoint runs/cores"
    return f"python benchmarks/cores.py {options.what}{folder}{seconds}{learned} --machine ..."


def _table(options: argparse.Namespace, rows: list[Row]) -> Row:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if options.what == "small":
        rows = _pivoted(rows)
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
        proven = [row for row in rows if row["proven"] == "yes"]
        notes["small"].append(f"cpsat: proved {len(proven)} optima.")
        for name in _names(options, *OPPONENTS):
            best, level = (
                sum(row[name] <= row["cpsat"] + 1e-5 for row in some) for some in (proven, rows)
            )
            notes["small"].append(
                f"{name}: at {best} of them, as cheap as cpsat's schedule or cheaper on {level} of "
                f"{len(rows)}."
            )
    text = {"key", "same", "proven"}
    return {
        "title": titles[options.what].replace(", product in Js", ", and their product"),
        "question": "How good are the opponents of the game of cores?",
        "machine": options.machine,
        "command": [_command(options)],
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
