"""Runs one contestant on one instance; what several of them need is made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from gamekit.compiled import forget_if_full
from gamekit.domain import Domain, Instance, Solved
from gamekit.environment import Environment
from gamekit.errors import InputError
from gamekit.evaluation.plan import LEARNED, Entry
from gamekit.registry import load_domain


class PlayerUnusable(InputError):
    """The agent can play no instance of the game, so that no row of it can be made."""


class Player(Protocol):
    """A trained agent; cheap to pickle until it has played.

    All methods raise InputError if it cannot be used.
    """

    @property
    def run(self) -> Path:
        """The folder of its training, or of its checkpoint."""
        ...

    def identity(self) -> dict[str, Any]:
        """What tells this agent from others."""
        ...

    def game(self) -> str:
        """The name of the game that it was trained on."""
        ...

    def options(self) -> Any:
        """The options of the game that it was trained on."""
        ...

    def best_game(self, domain: Domain, instance: Instance) -> Path:
        """Where the best solution of its training is, if there is one."""
        ...

    def play(
        self, entry: Entry, domain: Domain, environment: Environment[Any], instance: Instance
    ) -> Solved | None:
        """What a contestant of `plan.LEARNED` makes of the environment's only instance; None where
        it does not apply.

        Raises:
          PlayerUnusable: the agent was made for another environment.
        """
        ...


class Contestants:
    """The contestants of a game, by name.  Cheap to make and to pickle.

    game: the game's name.
    """

    def __init__(self, game: str, player: Player | None = None):
        self.game = game
        self._player = player
        self._built: tuple[Instance, Environment[Any]] | None = None
        self._last: Instance | None = None
        self._options: Any = None

    @property
    def domain(self) -> Domain:
        """The game's."""
        return load_domain(self.game)

    def prepare(self) -> None:
        """Reads what every row needs.

        Raises:
          InputError: the player cannot be used.
        """
        self._options = self._player.options() if self._player else self.domain.options()

    def run(self, instance: Instance, entry: Entry) -> Solved | None:
        """What one contestant makes of an instance; None where it does not apply."""
        if self._options is None:
            self.prepare()
        if instance is not self._last:
            self._last = instance
            forget_if_full()
        if entry.solver == self.domain.words.reference:
            reference = instance.reference
            return None if reference is None else Solved(reference, 0.0)
        if entry.solver in LEARNED:
            assert self._player is not None
            return self._player.play(entry, self.domain, self._environment(instance), instance)
        solver = self.domain.solvers[entry.solver]
        return solver.run(instance, self._options, entry.budget_s or 0.0, entry.seed or 0)

    def _environment(self, instance: Instance) -> Environment[Any]:
        if self._built is None or self._built[0] is not instance:
            self._built = instance, self.domain.build([instance], self._options)
        return self._built[1]
