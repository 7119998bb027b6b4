"""Instances by name: files, folders of them, the suites that ship, generated problems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gamekit.domain import Instance
from gamekit.library import GENERATED, Library, instances
from games.graphs.problem.problem import load_problem
from games.graphs.synthetic.families import generate_many

LIBRARY = Library(Path(__file__).with_name("suites"), load_problem, generate_many)


def find_instances(names: Sequence[str]) -> list[Instance]:
    """The instances of files, folders (of *.json), suites and `generated:COUNT[:SEED]`.

    Raises:
      InputError: there are none, one is invalid, or two have one name.
    """
    return instances(pair for name in names for pair in LIBRARY.problems(name))


def is_known(name: str) -> bool:
    """Whether a name leads to a suite of this game or to generated problems."""
    return GENERATED.fullmatch(name) is not None or LIBRARY.has(name)
