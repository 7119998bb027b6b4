"""A training run's agent as a contestant of an evaluation."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import time
from pathlib import Path
from typing import Any

from agent.run.checkpoint import Loaded, load_agent, load_run_config, untrained
from gamekit.domain import Domain, Instance, Solved
from gamekit.environment import Environment
from gamekit.errors import InputError
from gamekit.evaluation.contest import PlayerUnusable
from gamekit.evaluation.plan import Entry


@dataclasses.dataclass(frozen=True)
class RunPlayer:
    """Plays with the newest checkpoint of a run; see `gamekit.evaluation.contest.Player`."""

    run: Path
    games: int

    def identity(self) -> dict[str, Any]:
        config = self.run / "config.yaml"
        if not config.is_file():
            raise InputError(f"{self.run}: no training run (it has no config.yaml)")
        steps = [p.name for p in (self.run / "checkpoints").glob("*") if p.name.isdigit()]
        return {
            "run": str(self.run),
            "config": hashlib.sha256(config.read_bytes()).hexdigest()[:16],
            "checkpoint": max(steps, key=int, default=None),
            "games": self.games,
        }

    def game(self) -> str:
        return load_run_config(self.run).game.name

    def options(self) -> Any:
        return self._loaded.config.game.options

    def best_game(self, domain: Domain, instance: Instance) -> Path:
        return self.run / "best" / solution_file(domain, instance)

    def play(
        self, entry: Entry, domain: Domain, environment: Environment[Any], instance: Instance
    ) -> Solved | None:
        import jax

        from agent.run.play import play

        if entry.solver == "trained_best":
            path = self.best_game(domain, instance)
            return Solved(domain.load(path, instance), 0.0) if path.exists() else None
        agent, config, spec = self._loaded
        if environment.spec.observation != spec.observation:
            raise PlayerUnusable(f"{self.run}: its networks were made for another observation")
        if entry.solver == "untrained":
            agent = untrained(config, spec)
        started = time.perf_counter()
        played = play(
            environment,
            agent,
            config,
            0,
            jax.random.key(entry.seed or 0),
            games=self.games,
            seconds=entry.budget_s or 0.0,
        )
        made = domain.solution(environment, instance, 0, played.moves)
        seconds = time.perf_counter() - started
        backtracks = played.backtracks + made.backtracks
        return Solved(made.solution, seconds, len(played.moves), backtracks)

    @functools.cached_property
    def _loaded(self) -> Loaded:
        return load_agent(self.run)


def solution_file(domain: Domain, instance: Instance) -> str:
    """The name of an instance's best solution in a run's folder."""
    return f"{instance.name}.{domain.words.solution}.json"
