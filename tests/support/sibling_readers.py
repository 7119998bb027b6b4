"""Valid files of the sibling games and their readers, for `tests.support.fuzz_readers`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from gamekit.domain import Domain, Instance
from games.fences.domain import DOMAIN as FENCES
from games.fences.domain import text_of
from games.fences.mappers.registry import MAPPERS as FENCES_MAPPERS
from games.fences.suites import FOLDER
from games.fences.suites import find as find_programs
from games.graphs.domain import DOMAIN as GRAPHS
from games.graphs.instances import LIBRARY
from games.graphs.judge import evaluate
from games.graphs.problem.problem import load_problem
from games.graphs.problem.solution import load_solution
from games.loops.domain import DOMAIN as LOOPS
from games.loops.fit.fit import read_samples
from games.loops.program.machine import FILE, load_machine
from games.loops.program.nest import start, to_record
from games.loops.suites import find as find_computations

STATEMENT = "C[m, n] += A[m, k] * B[k, n]; m=16 n=16 k=8"
PROGRAM_TEXT = (FOLDER / "handmade" / "shared_if.txt").read_text(encoding="utf-8")
GRAPH = next(LIBRARY.suites.glob("small/*.json"))
MACHINE = "some machine"


def _instance(domain: Domain, name: str) -> Instance:
    return domain.instances([name])[0]


MATMUL, PROGRAM = _instance(LOOPS, "mm16_16_8"), _instance(FENCES, "handmade/shared_if")
PROBLEM = _instance(GRAPHS, f"small/{GRAPH.stem}")


def saved(domain: Domain, solution: Any) -> dict[str, Any]:
    """A solution's file as plain data."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "solution.json"
        domain.save(solution, path)
        return json.loads(path.read_text(encoding="utf-8"))


def measurement() -> dict[str, Any]:
    """A line of measurements of loop nests."""
    nest = to_record(start(MATMUL.content))
    return {
        "key": "0123456789abcdef0123", "machine": MACHINE, "seconds": 1e-5, "reference_s": 2e-5,
        "error": 1e-7, "computation": MATMUL.content.text, "nest": nest,
    }  # fmt: skip


def fences_schedule() -> dict[str, Any]:
    program = PROGRAM.content
    return saved(FENCES, text_of(program, FENCES_MAPPERS["naive"](program, 1.0).placements))


def read_nest(path: Path) -> None:
    LOOPS.load(path, MATMUL)


def read_machine(path: Path) -> None:
    load_machine(path)


def read_measured(path: Path) -> None:
    read_samples(path, MACHINE)


def read_computation(path: Path) -> None:
    find_computations([str(path)])


def read_program(path: Path) -> None:
    for _, program in find_programs([str(path)]):
        FENCES_MAPPERS["naive"](program, 1.0)


def read_schedule(path: Path) -> None:
    FENCES.judge(PROGRAM, FENCES.load(path, PROGRAM))


def read_graph(path: Path) -> None:
    load_problem(path)


def read_solution(path: Path) -> None:
    evaluate(PROBLEM.content, load_solution(path, PROBLEM.content))


# Name of the file, what it holds when all is well, and who reads it.
SIBLINGS = (
    ("loops_nest.json", saved(LOOPS, to_record(start(MATMUL.content))), read_nest),
    ("loops_machine.json", json.loads(FILE.read_text(encoding="utf-8")), read_machine),
    ("measured.jsonl", [measurement(), measurement()], read_measured),
    ("computation.txt", STATEMENT + "\n", read_computation),
    ("fences.txt", PROGRAM_TEXT, read_program),
    ("fences_schedule.json", fences_schedule(), read_schedule),
    ("graph.json", json.loads(GRAPH.read_text(encoding="utf-8")), read_graph),
    ("solution.json", saved(GRAPHS, PROBLEM.reference), read_solution),
)
