"""Instances by name: files, folders of them, the suites that ship, generated problems."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from gamekit.domain import Instance
from gamekit.errors import InputError
from games.graphs.problem.problem import Problem, load_problem
from games.graphs.synthetic.families import generate_many

SUITES = Path(__file__).with_name("suites")
# generated:COUNT or generated:COUNT:SEED
GENERATED = re.compile(r"generated:(\d+)(?::(\d+))?")


def find_instances(names: Sequence[str]) -> list[Instance]:
    """The instances of files, folders (of *.json), suites and `generated:COUNT[:SEED]`.

    Raises:
      InputError: there are none, one is invalid, or two have one name.
    """
    found: dict[str, Instance] = {}
    for name in names:
        for problem, source in _problems(name):
            if problem.name in found:
                raise InputError(f"{source}: the name {problem.name!r} is there twice")
            found[problem.name] = Instance(problem.name, problem.fingerprint, source, problem)
    return list(found.values())


def is_known(name: str) -> bool:
    """Whether a name leads to a suite of this game or to generated problems."""
    suites = {path.name for path in SUITES.iterdir() if path.is_dir()}
    return GENERATED.fullmatch(name) is not None or name.split("/")[0] in suites


def _problems(name: str) -> list[tuple[Problem, str]]:
    match = GENERATED.fullmatch(name)
    if match is not None:
        made = generate_many(int(match[1]), int(match[2] or 0))
        if not made:
            raise InputError(f"{name}: must be at least one problem")
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
