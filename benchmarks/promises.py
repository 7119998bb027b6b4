"""What is promised, what the compiler confirms, and what an import costs, over ordinary programs.

    python benchmarks/promises.py --work DIR --out rows.jsonl [--cases DIR] [--programs NAME,NAME]
        [--mappers local_search,greedy] [--budget 3] [--levers all] [--search 600]
    python benchmarks/promises.py --work DIR --out rows.jsonl --suite tpu_v4 --programs NAME,NAME
    python benchmarks/promises.py --work DIR --out rows.jsonl --again

The programs are those of `benchmarks.ordinary`, and with ``--cases`` each ``NAME.py`` of a folder
with ``function``, ``shapes`` and perhaps ``KW``, the keywords of `mallocgame.load`; or with
``--suite`` those of a suite's list, with the fast memory that they have there.  DIR of
``--work`` keeps compiles and mappings.  A row is one program and mapper, with the levers and the
search where they are not the default; rows that are there are kept, so a run can be stopped and
started again.  ``--again`` computes the promises of all rows of first mappings once
more, from the compiles and mappings that are kept, and keeps the first ones beside them.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import mallocgame
from benchmarks.ordinary import programs
from gamekit.errors import InputError
from gamekit.files import write_text
from mallocgame.api import Problem, Result
from mallocgame.followed import AWAY, ROOM, Follower, late_stays
from mallocgame.judge import simulate
from mallocgame.judge.reading import Reading
from mallocgame.program.latency import access_seconds
from mallocgame.program.mapping import Mapping, load_mapping
from mallocgame.promise import promise
from mallocgame.suites import SUITES
from mallocgame.xla.loading import module_of
from mallocgame.xla.make.build import read_index, read_list
from mallocgame.xla.workload import Workload

# New stays: those that the compiler should follow, and others by the reason; and what stays behind.
EXPECTED, LATE = "expected", "late copy"
KINDS = (EXPECTED, ROOM, LATE, AWAY)
SLOWER = "slower in fast memory"


@dataclasses.dataclass(frozen=True)
class Case:
    """A program and the keywords of its `mallocgame.load`."""

    name: str
    workload: Workload
    like: str
    keywords: dict[str, Any]


class Clock:
    """Seconds by part, told apart by the progress lines of a load."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.last = time.monotonic()

    def add(self, part: str) -> None:
        """Books the time since the last booking."""
        now = time.monotonic()
        self.parts[part] = round(self.parts.get(part, 0.0) + now - self.last, 2)
        self.last = now

    def line(self, text: str) -> None:
        """Books a compile by its line of progress, ``NAME: WHAT: ...``."""
        self.add(re.sub(r"\d+", "N", text.split(": ")[1]))


def main() -> int:
    """Adds the missing rows."""
    options = _options()
    done = {(row["program"], row["mapper"]) for row in read_rows(options.out)}
    try:
        if options.again:
            rows = [_promised_again(row, options) for row in read_rows(options.out)]
            write_text(options.out, "".join(json.dumps(row) + "\n" for row in rows))
            return 0
        for mapper in options.mappers.split(","):
            for case in _cases(options):
                if (case.name, _label(mapper, options)) not in done:
                    row = _row(case, mapper, options)
                    with options.out.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(json.dumps(row), file=sys.stderr, flush=True)
    except InputError as error:
        print(f"promises.py: {error}", file=sys.stderr)
        return 2
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of compiles and mappings")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, one a row")
    parser.add_argument("--cases", type=Path, help="folder of more programs")
    parser.add_argument("--programs", help="names, separated by commas; default all")
    parser.add_argument("--mappers", default="local_search", help="names, separated by commas")
    parser.add_argument("--budget", type=float, default=3.0, help="seconds of a mapper")
    parser.add_argument("--suite", help="a suite of the package, whose programs are taken instead")
    parser.add_argument("--levers", default="public", help="public or all; see mallocgame.map")
    parser.add_argument("--search", type=float, default=0.0, help="seconds with the compiler asked")
    parser.add_argument("--seed", type=int, default=0, help="of the mappers")
    parser.add_argument("--again", action="store_true", help="the promises of the rows, again")
    return parser.parse_args()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; none if it is not there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    """The programs that are asked for, in that order."""
    asked = options.programs.split(",") if options.programs else []
    if options.suite:
        yield from _of_suite(options.suite, asked)
        return
    own = programs()
    given = {p.stem: p for p in sorted(options.cases.glob("*.py"))} if options.cases else {}
    for name in asked or (*own, *given):
        if name in own:
            each = own[name]
            keywords = {"chip": each.chip, "capacity_mib": each.capacity_mib}
            yield Case(name, each.workload, each.like, keywords)
        elif name not in given:
            raise InputError(f"--programs: must be among {', '.join((*own, *given))}, got {name!r}")
        elif found := _given(given[name]):
            yield found


def _of_suite(suite: str, names: list[str]) -> Iterator[Case]:
    """Programs of a suite that ships, with the fast memory that they have there."""
    folder = SUITES / suite
    index = read_index(folder)["programs"]
    entries = {entry.name: entry for entry in read_list(folder.with_suffix(".yaml"))}
    for name in names or list(index):
        if name not in entries or name not in index:
            raise InputError(f"--programs: must be of {suite}, got {name!r}")
        entry = entries[name]
        module, _, factory = entry.function.partition(":")
        workload = getattr(importlib.import_module(module), factory)(**entry.arguments)
        keywords = {"chip": entry.chip, "capacity_mib": index[name]["capacity_mib"]}
        yield Case(name, workload, entry.family, keywords)


def _given(path: Path) -> Case | None:
    """The program of a file; None if it has none."""
    if "\nshapes" not in path.read_text():
        return None
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: must be a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "function"):
        return None
    keywords = dict(getattr(module, "KW", {}))
    donate = keywords.pop("donate", ())
    return Case(
        path.stem, Workload(module.function, tuple(module.shapes), donate, path.stem), "", keywords
    )


def _label(mapper: str, options: argparse.Namespace) -> str:
    """A row's mapper, with what is not the default."""
    levers = f", {options.levers} levers" if options.levers != "public" else ""
    seed = f", seed {options.seed}" if options.seed else ""
    return mapper + levers + seed + (f", {options.search:.0f} s of search" * (options.search > 0))


def _row(case: Case, mapper: str, options: argparse.Namespace) -> dict[str, Any]:
    label, work = _label(mapper, options), options.work
    row = {"program": case.name, "mapper": label, "like": case.like, **case.keywords}
    clock = Clock()
    try:
        module_of(case.workload, case.name)
        clock.add("tracing")
        problem = mallocgame.load(
            case.workload, name=case.name, work=work / case.name, progress=clock.line,
            **case.keywords,
        )  # fmt: skip
        clock.add("fit")
        result = mallocgame.map(
            problem, mapper, budget_s=options.budget, seed=options.seed, levers=options.levers,
            search_s=options.search,
        )  # fmt: skip
    except InputError as error:
        return {**row, "refused": str(error), "seconds": clock.parts}
    clock.parts["search"] = round(result.seconds, 2)
    if result.confirmation:
        clock.parts["confirm"] = round(result.confirmation.seconds, 2)
    result.save(work / case.name / f"{label}.mapping.json.gz")
    if said := result.confirmation:
        own = (a.placement for a in said.attempts if a.number == said.number)
        if placement := next(own, None):
            found = json.dumps(np.flatnonzero(placement.in_fast).tolist())
            write_text(_placed(work, case.name, label), found)
    stays = _stays(problem, result.mapping, _placed(work, case.name, label))
    return {**row, **figures(problem, result), "stays": stays, "seconds": clock.parts}


def _promised_again(row: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The row with the promise that its mapping has by the present code."""
    work = options.work / row["program"]
    path = work / f"{row['mapper']}.mapping.json.gz"
    if not path.exists() or "refused" in row or row.get("number"):
        return row
    options.programs = row["program"]
    (case,) = _cases(options)
    problem = mallocgame.load(case.workload, name=case.name, work=work, **case.keywords)
    if problem.production is None:
        return row
    mapping = load_mapping(path, problem.program)
    found = promise(problem.program, problem.production, mapping)
    first = row.get("promise_first", row["promise"])
    now = None if found is None else dataclasses.asdict(found)
    stays = _stays(problem, mapping, _placed(options.work, case.name, row["mapper"]))
    return {**row, "promise": now, "promise_first": first, "stays": stays}


def _placed(work: Path, program: str, mapper: str) -> Path:
    """Where the accesses are listed that the first compile has in fast memory."""
    return work / program / f"{mapper}.placed.json"


def _stays(problem: Problem, mapping: Mapping, path: Path) -> dict[str, list[float]]:
    """What the mapping's new stays save, and how much of that the compile does as well.

    New is an access that production has in slow memory.  ``[stays, seconds, of them followed]`` of
    the stays that are expected to be followed, and of others by the reason; beside them
    ``[accesses, seconds, of them followed]`` of what the mapping has in slow memory because it is
    faster there than in fast memory, where production has it; {} without a compile.
    """
    if problem.production is None or not path.exists():
        return {}
    program, follower = problem.program, Follower(problem.program, problem.production)
    placed = np.zeros(len(program.accesses), bool)
    placed[json.loads(path.read_text())] = True
    late = late_stays(program, problem.production, mapping)
    served, before = Reading(program, mapping).served_fast(), follower.served
    slow_s, fast_s = access_seconds(program)
    weights = np.array([program.weights[a.instruction] for a in program.accesses])
    saves = (slow_s - fast_s) * weights
    found = {kind: [0, 0.0, 0.0] for kind in (*KINDS, SLOWER)}
    for stay, during, why in follower.looks(mapping):
        new = [i for i in during if not before[i]]
        if new:
            kind = LATE if (stay.value, stay.start) in late else why or EXPECTED
            _add(found[kind], 1, saves[new], placed[new])
    kept = before & ~served & (saves < 0)
    _add(found[SLOWER], int(kept.sum()), -saves[kept], ~placed[kept])
    return found


def _add(row: list[float], count: int, saves: np.ndarray, followed: np.ndarray) -> None:
    row[0] += count
    row[1] += float(saves.sum())
    row[2] += float(saves[followed].sum())


def figures(problem: Problem, result: Result) -> dict[str, Any]:
    """What a row says of a mapping."""
    program, promised, said = problem.program, result.promise, result.confirmation
    found: dict[str, Any] = {
        "instructions": len(program.instructions),
        "notes": list(problem.notes),
        "off": problem.latency_error,
        "verified": result.verified,
        "promise": None if promised is None else dataclasses.asdict(promised),
    }
    if said is not None:
        found["production_cycles"] = said.production_cycles
        found["production_s"] = _production_seconds(problem)
        found["confirmed"] = said.gain
        found["number"] = said.number
        found["attempts"] = [
            {"what": a.what, "cycles": a.cycles, "followed": a.followed,
             "simulated_s": a.simulated_s, "number": a.number} for a in said.attempts
        ]  # fmt: skip
    return found


def _production_seconds(problem: Problem) -> float | None:
    """Our latency of production's compile without stalls, to compare with `Attempt.simulated_s`."""
    if problem.production is None:
        return None
    program = problem.program
    seconds = np.array(program.weights) * simulate(program, problem.production).elapsed_s
    made: Any = program.provenance.get("production", {})
    seconds[list(made.get("missing", ()))] = 0.0
    return float(seconds.sum())


if __name__ == "__main__":
    sys.exit(main())
