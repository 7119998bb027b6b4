"""The best solution of each instance that was ever found, in a folder."""

from __future__ import annotations

import warnings
from pathlib import Path

from agent.run.player import solution_file
from gamekit.domain import Domain, Instance, Made, Solution
from gamekit.errors import InputError
from gamekit.files import locked
from gamekit.text import shown

# What rounding may take off a score.
TOLERANCE = 1e-4


class BestStore:
    """Files of solutions, each verified by the judge and never replaced by a worse one.

    Several runs and plays may offer solutions to one folder at the same time.
    """

    def __init__(self, domain: Domain, folder: Path):
        self._domain, self._folder = domain, folder

    def path(self, instance: Instance) -> Path:
        """Where the instance's best solution is, if there is one."""
        return self._folder / solution_file(self._domain, instance)

    def score(self, instance: Instance) -> float | None:
        """The score of the best solution; None without one, or with one that is unusable."""
        path = self.path(instance)
        try:
            kept = self._domain.load(path, instance) if path.exists() else None
        except InputError:
            return None
        verdict = self._domain.judge(instance, kept) if kept is not None else None
        return verdict.score if verdict and verdict.valid else None

    def offer(self, instance: Instance, made: Made, score: float) -> bool:
        """Keeps what a game made if the judge accepts it and it is better than what is kept.

        score: of the game.

        Returns whether it is kept; warns if the judge rejects it, or gives it less than the game.
        """
        solution: Solution = made.solution
        score = made.score_or(score)
        verdict = self._domain.judge(instance, solution)
        if not verdict.valid:
            warnings.warn(
                f"{shown(instance.name)}: the judge rejects a {self._domain.words.solution}: "
                f"{verdict.why}",
                stacklevel=2,
            )
            return False
        if verdict.score < score - TOLERANCE * max(1.0, abs(score)):
            warnings.warn(
                f"{shown(instance.name)}: the game says {score:.6g} and its judge "
                f"{verdict.score:.6g}; one of them is wrong (gamekit.conformance)",
                stacklevel=2,
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        with locked(self._folder / ".lock"):
            kept = self.score(instance)
            if kept is not None and kept >= verdict.score:
                return False
            self._domain.save(solution, self.path(instance))
            return True
