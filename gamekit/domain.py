"""What a game is beside its moves: instances, solutions, a judge, opponents.

`train.py` and `evaluate.py` reach a game through its `Domain` and know nothing else of it.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamekit.errors import InputError
from gamekit.jsonfile import read_json, write_json

if TYPE_CHECKING:
    import numpy as np

    from gamekit.environment import Environment
    from gamekit.evaluation.evaluation import Finished
    from gamekit.evaluation.rows import Row

# Whatever a game takes for one; JSON, unless its domain says how to write it.
Solution = Any


@dataclasses.dataclass(frozen=True)
class Instance:
    """One problem to be solved.

    name: unique among those of a run; files are named after it.
    fingerprint: of its content: equal names with other content are other instances.
    source: what `Domain.instances` finds it by.
    content: the game's own.
    reference: the solution that others are compared with, None without one.
    """

    name: str
    fingerprint: str
    source: str
    content: Any
    reference: Solution | None = None


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a judge, which is not the game, says of a solution.

    score: on the scale of the environment's score.
    valid: whether it keeps the rules; why: the first one that it breaks.
    figures: further ones, by name, for the results.
    """

    score: float
    valid: bool = True
    why: str | None = None
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Solved:
    """What a solver made of an instance.

    solution: None for one that only proves a limit.
    seconds: wall time. moves, backtracks: of the game that made it, 0 without one.
    figures: further ones, by name, for the results.
    """

    solution: Solution | None
    seconds: float
    moves: int = 0
    backtracks: int = 0
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Made:
    """What the moves of a finished game make.

    solution: of the game.
    score: by the game's account, where the moves had to be changed to make a solution; else None.
    backtracks: how often they had to be.
    """

    solution: Solution
    score: float | None = None
    backtracks: int = 0

    def score_or(self, played: float) -> float:
        """The score, given that of the game as it was played."""
        return played if self.score is None else self.score


@dataclasses.dataclass(frozen=True)
class Solver:
    """An opponent.

    run: (instance, options of the game, budget in seconds, seed) to what it made; None where it
        does not apply.
    searches: whether it uses the budget. seeded: whether it uses the seed.
    on_demand: whether it runs only where it is asked for.
    package: that it needs, and extra: of this project, that brings it.
    """

    run: Callable[[Instance, Any, float, int], Solved | None]
    searches: bool = False
    seeded: bool = False
    on_demand: bool = False
    package: str | None = None
    extra: str = ""


@dataclasses.dataclass(frozen=True)
class Words:
    """What a game calls things in its files and messages.

    reference: the name of the reference solutions among the solvers.
    score: as in "22 % saved". score_field and the fields below it: keys of a row of results.
    """

    instance: str = "instance"
    solver: str = "solver"
    solution: str = "solution"
    reference: str = "reference"
    score: str = "score"
    score_field: str = "score"
    valid_field: str = "valid"
    why_field: str = "why"
    moves_field: str = "moves"
    backtracks_field: str = "backtracks"


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """Of a game that has none."""


class Domain(abc.ABC):
    """A game with everything around it.

    name, version: as in the environment's `Spec`.
    options: a frozen dataclass of the game's options, which a configuration's `game` section sets.
    suite: contents of instances by name, for games whose instances are not read from files.
    solvers: the opponents by name, in the order in which results show them.
    shipped: the folder of the trained agent that comes with the game; None without one.
    polish: (instance, solutions to start from, budget in seconds, seed) to a solution that is worse
        than none of these, by a search outside the game; None without such a search.
    blank_figures: the figures of a row of results that has none, by name; in rows of valid
        solutions they are numbers, or true and false where they are so here.
    compared_figures: the names of those that `compared` adds: numbers, or None.  The first one says
        how much better than the reference a solution is, and stands in tables.
    report_file: the name of the last file of a report; without it a report is not finished.
    score_is_bound: whether the judge may give a solution more than the game that made it.
    """

    name: str
    version: int
    options: type = NoOptions
    suite: Mapping[str, Any] = {}
    words: Words = Words()
    solvers: Mapping[str, Solver] = {}
    shipped: Path | None = None
    polish: Callable[[Instance, Sequence[Solution], float, int], Solved] | None = None
    blank_figures: Mapping[str, Any] = {}
    compared_figures: tuple[str, ...] = ("gain",)
    report_file: str = "tables.md"
    score_is_bound: bool = False

    def instances(self, names: Sequence[str]) -> list[Instance]:
        """The instances that names lead to: of suites, files, folders, whatever the game has.

        As it stands, those of `suite`, without reference solutions; the fingerprint is a hash of
        the pickled content.

        Raises:
          InputError: there are none, one is invalid, or two have one name.
        """
        for name in names:
            if name not in self.suite:
                known = ", ".join(self.suite)
                raise InputError(f"{self.words.instance} must be one of {known}, got {name!r}")
            if list(names).count(name) > 1:
                raise InputError(f"{self.words.instance} {name!r} is there twice")
        return [
            Instance(name, _fingerprint(self.suite[name]), name, self.suite[name]) for name in names
        ]

    def knows(self, name: str) -> bool:
        """Whether a name leads to instances of this game; cheap, and without reading them."""
        del name
        return False

    @abc.abstractmethod
    def build(self, instances: Sequence[Instance], options: Any) -> Environment[Any]:
        """An environment of these instances."""

    def solution(
        self, environment: Environment[Any], instance: Instance, index: int, moves: np.ndarray
    ) -> Made:
        """The solution that the moves of a finished game make: as it stands, the list of them.

        index: of the instance in the environment. moves: int32 [n], of the final branch.
        """
        del environment, instance, index
        return Made(moves.tolist())

    def save(self, solution: Solution, path: Path) -> None:
        """Writes a solution to a file: as it stands, one that is JSON.

        Raises:
          InputError: the place cannot be written.
        """
        record = {"format": f"{self.name}.solution", "version": self.version}
        write_json(path, record | {"solution": solution})

    def load(self, path: Path, instance: Instance) -> Solution:
        """Reads a solution of this instance.

        Raises:
          InputError: the file is unusable or belongs to another instance.
        """
        del instance
        record = read_json(path, f"{self.name}.solution", self.version)
        if "solution" not in record:
            raise InputError(f"{path}: solution: is missing")
        return record["solution"]

    @abc.abstractmethod
    def judge(self, instance: Instance, solution: Solution) -> Verdict:
        """Verifies and scores a solution, by other code than the environment's."""

    def limit(self, instance: Instance, figures: Mapping[str, Any]) -> Verdict:
        """The score that no solution exceeds, from the figures of a solver that proved it."""
        raise InputError(f"{self.name}: {instance.name}: no solver of this game proves a limit")

    def gain(self, score: float, reference: float) -> float:
        """How much better a score is than the reference's."""
        return score - reference

    def show(self, score: float) -> str:
        """A score for people."""
        return f"{score:.4g}"

    def lessons(
        self, instance: Instance, options: Any, names: Sequence[str], seconds: float, seed: int
    ) -> list[np.ndarray]:
        """What solvers' solutions answer to each question, by its number: int8 [Q] each.

        An answer holds in whatever state the question is asked; -1 where a solution has none.
        `seconds` is the budget of solvers that search.

        Raises:
          InputError: a name is unknown, or solutions say nothing about this game's questions.
        """
        raise InputError(f"demonstrations: the game {self.name!r} cannot imitate solutions")

    def variants(self, instances: Sequence[Instance], count: int, seed: int) -> list[Instance]:
        """Further instances, made from these ones and nothing else, without reference solutions.

        The i-th depends on the instances, the seed and i alone.

        Raises:
          InputError: the game makes none, or none can be made from these.
        """
        raise InputError(f"variants: the game {self.name!r} has none")

    def openings(self, environment: Any, instance: Instance) -> list[np.ndarray]:
        """Answers that are known without search and worth a try, as `lessons` gives them; a player
        of `environment`, which may play other instances too, may begin with games that follow them.
        """
        del environment, instance
        return []

    def compared(self, rows: Sequence[Row]) -> list[Row]:
        """Rows of one instance with what the reference makes of each: the figure `gain`."""
        reference = next(
            (row.score for row in rows if row.is_done and row.solver == self.words.reference), None
        )
        return [
            row
            if row.score is None or reference is None
            else row.with_figures(gain=self.gain(row.score, reference))
            for row in rows
        ]

    def facts(self, instances: Sequence[Instance]) -> dict[str, Any]:
        """What results say about the instances, by name."""
        del instances
        return {}

    def summary(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What results say beside their rows, which are as in `results.json`, by name."""
        del rows
        return {}

    def report(self, finished: Finished) -> None:
        """Prints the results of an evaluation, and writes what people read beside them, at last the
        file `report_file`.

        Raises:
          InputError: the place cannot be written.
        """
        from gamekit.evaluation.table import report

        report(self, finished)

    def compare(self, first: Path, second: Path, out: Path | None) -> None:
        """Prints what changed from one `results.json` to another.

        Raises:
          InputError: a file is unusable, or the game has no comparison.
        """
        del first, second, out
        raise InputError(f"--compare: the game {self.name!r} has no comparison of results")


def _fingerprint(content: Any) -> str:
    return hashlib.sha256(pickle.dumps(content)).hexdigest()[:16]
