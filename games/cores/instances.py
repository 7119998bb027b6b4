"""Instances by name: files, folders of them, the suites that ship, generated problems."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from gamekit.domain import Instance
from gamekit.errors import InputError
from games.cores.problem.files import load_problem
from games.cores.problem.problem import Problem, Weights
from games.cores.synthetic.random_problems import random_problem

SUITES = Path(__file__).with_name("suites")
# generated:COUNT or generated:COUNT:SEED
GENERATED = re.compile(r"generated:(\d+)(?::(\d+))?")
# Any name may end in other weights: NAME@TIME,ENERGY,PEAK
NUMBER = r"\d+(?:\.\d+)?"
WEIGHTED = re.compile(rf"(.+)@({NUMBER}),({NUMBER}),({NUMBER})")
# Seeds of generated problems are so far apart.
STRIDE = 1_000_000
MOST_GENERATED = 100_000


def find_instances(names: Sequence[str]) -> list[Instance]:
    """The instances of files, folders (of *.json), suites and `generated:COUNT[:SEED]`.

    A name that ends in @TIME,ENERGY,PEAK stands for its problems with these weights, and so do the
    names of the instances.

    Raises:
      InputError: there are none, one is invalid, or two have one name.
    """
    found: dict[str, Instance] = {}
    for name in names:
        plain, weights = _split(name)
        for problem, source in _problems(plain):
            if weights is not None:
                suffix = ",".join(f"{w:g}" for w in dataclasses.astuple(weights))
                own = f"{problem.name}@{suffix}"
                problem = dataclasses.replace(problem, name=own, weights=weights)
                source = f"{source}@{suffix}"
            if problem.name in found:
                raise InputError(f"{source}: the name {problem.name!r} is there twice")
            found[problem.name] = Instance(problem.name, problem.fingerprint, source, problem)
    return list(found.values())


def is_known(name: str) -> bool:
    """Whether a name leads to a suite of this game."""
    suites = {path.name for path in SUITES.iterdir() if path.is_dir()}
    return _split(name)[0].split("/")[0] in suites


def _split(name: str) -> tuple[str, Weights | None]:
    match = WEIGHTED.fullmatch(name)
    if match is None:
        return name, None
    weights = Weights(*map(float, match.groups()[1:]))
    if not any(dataclasses.astuple(weights)):
        raise InputError(f"{name}: one weight must be positive")
    return match[1], weights


def _problems(name: str) -> list[tuple[Problem, str]]:
    match = GENERATED.fullmatch(name)
    if match is not None:
        count, seed = int(match[1]), int(match[2] or 0)
        if not 1 <= count <= MOST_GENERATED:
            raise InputError(f"{name}: must be 1..{MOST_GENERATED} problems")
        made = [random_problem(seed * STRIDE + i) for i in range(count)]
        return [(problem, name) for problem in made]
    for path in (Path(name), SUITES / name, SUITES / f"{name}.json"):
        if path.is_file():
            return [(load_problem(path), str(path))]
        if path.is_dir():
            files = sorted(path.glob("*.json"), key=_by_number)
            if not files:
                raise InputError(f"{path}: must hold problem files (*.json)")
            return [(load_problem(file), str(file)) for file in files]
    suites = ", ".join(sorted(p.name for p in SUITES.iterdir() if p.is_dir()))
    raise InputError(
        f"problem must be a file, a folder, a suite ({suites}) or generated:COUNT, got {name!r}"
    )


def _by_number(path: Path) -> list[int | str]:
    """Files in order, with numbers in their names by size."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
