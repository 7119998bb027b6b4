"""Instances by name: files, folders of them, the suites that ship, generated problems."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from gamekit.domain import Instance
from gamekit.errors import InputError
from gamekit.library import Library, instances
from games.cores.problem.files import load_problem
from games.cores.problem.problem import Problem, Weights
from games.cores.synthetic.networks import network_problem
from games.cores.synthetic.random_problems import random_problem

# Any name may end in other weights: NAME@TIME,ENERGY,PEAK
NUMBER = r"\d+(?:\.\d+)?"
WEIGHTED = re.compile(rf"(.+)@({NUMBER}),({NUMBER}),({NUMBER})")
# Seeds of generated problems are so far apart.
STRIDE = 1_000_000
# networks:COUNT or networks:COUNT:SEED, larger problems than generated:COUNT:SEED.
NETWORKS = re.compile(r"networks:(\d+(?::\d+)?)")


def find_instances(names: Sequence[str]) -> list[Instance]:
    """The instances of files, folders (of *.json), suites, `generated:COUNT[:SEED]` and
    `networks:COUNT[:SEED]`.

    A name that ends in @TIME,ENERGY,PEAK stands for its problems with these weights, and so do the
    names of the instances.

    Raises:
      InputError: there are none, one is invalid, or two have one name.
    """
    return instances(pair for name in names for pair in _problems(name))


def is_known(name: str) -> bool:
    """Whether a name leads to a suite of this game."""
    return LIBRARY.has(_split(name)[0])


def _problems(name: str) -> Iterator[tuple[Problem, str]]:
    plain, weights = _split(name)
    networks = NETWORKS.fullmatch(plain)
    found = LIBRARY if networks is None else LARGER
    for problem, source in found.problems(f"generated:{networks[1]}" if networks else plain):
        if networks is not None:
            source = plain
        if weights is None:
            yield problem, source
            continue
        suffix = ",".join(f"{w:g}" for w in dataclasses.astuple(weights))
        own = dataclasses.replace(problem, name=f"{problem.name}@{suffix}", weights=weights)
        yield own, f"{source}@{suffix}"


def _split(name: str) -> tuple[str, Weights | None]:
    match = WEIGHTED.fullmatch(name)
    if match is None:
        return name, None
    weights = Weights(*map(float, match.groups()[1:]))
    if not any(dataclasses.astuple(weights)):
        raise InputError(f"{name}: one weight must be positive")
    return match[1], weights


def _generate(count: int, seed: int) -> list[Problem]:
    return [random_problem(seed * STRIDE + i) for i in range(count)]


def _generate_networks(count: int, seed: int) -> list[Problem]:
    return [network_problem(seed * STRIDE + i) for i in range(count)]


SUITES = Path(__file__).with_name("suites")
LARGER = Library(SUITES, load_problem, _generate_networks)
LIBRARY = Library(SUITES, load_problem, _generate)
