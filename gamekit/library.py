"""Instances by name: files, folders of them, the suites that come with a game, generated ones."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from gamekit.domain import Instance
from gamekit.errors import InputError

# generated:COUNT or generated:COUNT:SEED
GENERATED = re.compile(r"generated:(\d+)(?::(\d+))?")
MOST_GENERATED = 100_000


Problem = TypeVar("Problem")


@dataclasses.dataclass(frozen=True)
class Library(Generic[Problem]):
    """Where a game finds its problems.

    suites: a folder of suites, each a folder of problem files (*.json).
    load: reads a problem file.
    generate: makes so many problems of a seed.
    """

    suites: Path
    load: Callable[[Path], Problem]
    generate: Callable[[int, int], Sequence[Problem]]

    def problems(self, name: str) -> list[tuple[Problem, str]]:
        """The problems of a file, a folder, a suite, one of a suite's, or `generated:COUNT[:SEED]`,
        each with its source.

        Raises:
          InputError: there are none, or one is invalid.
        """
        match = GENERATED.fullmatch(name)
        if match is not None:
            count, seed = int(match[1]), int(match[2] or 0)
            if not 1 <= count <= MOST_GENERATED:
                raise InputError(f"{name}: must be 1..{MOST_GENERATED} problems")
            return [(problem, name) for problem in self.generate(count, seed)]
        for path in (Path(name), self.suites / name, self.suites / f"{name}.json"):
            if path.is_file():
                return [(self.load(path), str(path))]
            if path.is_dir():
                files = sorted(path.glob("*.json"), key=_by_number)
                if not files:
                    raise InputError(f"{path}: must hold problem files (*.json)")
                return [(self.load(file), str(file)) for file in files]
        raise InputError(
            f"problem must be a file, a folder, a suite ({', '.join(self.names)}) or "
            f"generated:COUNT, got {name!r}"
        )

    @property
    def names(self) -> list[str]:
        """The suites' names."""
        return sorted(path.name for path in self.suites.iterdir() if path.is_dir())

    def has(self, name: str) -> bool:
        """Whether a name leads to a suite or to a problem of one."""
        return name.split("/")[0] in self.names


def instances(found: Iterable[tuple[Any, str]]) -> list[Instance]:
    """Problems, which have a name and a fingerprint, with their sources as instances.

    Raises:
      InputError: two have one name.
    """
    by_name: dict[str, Instance] = {}
    for problem, source in found:
        if problem.name in by_name:
            raise InputError(f"{source}: the name {problem.name!r} is there twice")
        by_name[problem.name] = Instance(problem.name, problem.fingerprint, source, problem)
    return list(by_name.values())


def _by_number(path: Path) -> list[int | str]:
    """Files in order, with numbers in their names by size."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
