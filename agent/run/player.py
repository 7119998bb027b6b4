"""A trained agent as a contestant of an evaluation."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from agent.run.loaded import Loaded, untrained
from agent.run.shipped import DESCRIPTION, is_shipped, load_either, load_either_config, remedy
from gamekit.checked import checked
from gamekit.compiled import forget_if_full, times_forgotten
from gamekit.domain import Domain, Instance, Solved
from gamekit.environment import Environment
from gamekit.errors import InputError
from gamekit.evaluation.contest import PlayerUnusable
from gamekit.evaluation.plan import Entry
from gamekit.text import file_name

# The agent's part of the time of `polished`; the search that follows has the rest.  A fifth is
# better than one half on programs that were not trained on (docs/results/unseen_programs.md).
SHARE = 0.2
# The budget from which `polished` has the agent play a game that is not compiled yet: compiling and
# packing its first game take 30 to 45 s of one core, which would leave little of a shorter budget.
# With the 60 s that are evaluate.py's default, the agent plays.
COLD_S = 60.0


@dataclasses.dataclass(frozen=True)
class RunPlayer:
    """Plays with the newest checkpoint of a run, or with a shipped one; see
    `gamekit.evaluation.contest.Player`."""

    run: Path
    games: int = 32

    def identity(self) -> dict[str, Any]:
        if is_shipped(self.run):
            described, newest = self.run / DESCRIPTION, "shipped"
        else:
            described = self.run / "config.yaml"
            if not described.is_file():
                raise InputError(f"{self.run}: no training run (it has no config.yaml)")
            steps = [p.name for p in (self.run / "checkpoints").glob("*") if p.name.isdigit()]
            newest = max(steps, key=int, default=None)
        return {
            "run": str(self.run),
            "config": hashlib.sha256(described.read_bytes()).hexdigest()[:16],
            "checkpoint": newest,
            "games": self.games,
        }

    def game(self) -> str:
        return load_either_config(self.run).game.name

    def options(self) -> Any:
        return self._loaded.config.game.options

    def best_game(self, domain: Domain, instance: Instance) -> Path:
        return self.run / "best" / solution_file(domain, instance)

    def play(
        self, entry: Entry, domain: Domain, environment: Environment[Any], instance: Instance
    ) -> Solved | None:
        if entry.solver == "trained_best":
            path = self.best_game(domain, instance)
            return Solved(domain.load(path, instance), 0.0) if path.exists() else None
        started = time.perf_counter()
        if environment.spec.observation != self._loaded.spec.observation:
            how = remedy(self.run) if is_shipped(self.run) else "train anew"
            raise PlayerUnusable(
                f"{self.run}: its networks were made for another observation; {how}"
            )
        if entry.solver == "polished":
            solved = self._polished(entry, domain, environment, instance)
        else:
            solved = self._played(entry, domain, environment, instance, entry.budget_s or 0.0)
        return dataclasses.replace(solved, seconds=time.perf_counter() - started)

    def _played(
        self,
        entry: Entry,
        domain: Domain,
        environment: Environment[Any],
        instance: Instance,
        budget_s: float,
    ) -> Solved:
        """The best of some games; `seconds` is for the caller to fill in."""
        from agent.run.play import play

        agent, config, spec = self._loaded
        played = play(
            environment,
            untrained(config, spec) if entry.solver == "untrained" else agent,
            config,
            0,
            jax.random.key(entry.seed or 0),
            games=self.games,
            seconds=budget_s,
            openings=domain.openings(environment, instance),
            judge=judge_of(domain, environment, instance),
        )
        made = domain.solution(environment, instance, 0, played.moves)
        self._compiled.add((times_forgotten(), _shape(environment), budget_s > 0))
        return Solved(made.solution, 0.0, len(played.moves), played.backtracks + made.backtracks)

    def _polished(
        self, entry: Entry, domain: Domain, environment: Environment[Any], instance: Instance
    ) -> Solved:
        """What a search outside the game makes of the best of some games; of none where there is
        no time to compile them."""
        assert domain.polish is not None
        started = time.perf_counter()
        budget_s = entry.budget_s or 0.0
        solved = None
        share_s = budget_s * SHARE
        known = (times_forgotten(), _shape(environment), share_s > 0) in self._compiled
        if known or budget_s >= COLD_S:
            solved = self._played(entry, domain, environment, instance, share_s)
        starts = [] if solved is None else [solved.solution]
        left_s = max(0.0, budget_s - (time.perf_counter() - started))
        polished = domain.polish(instance, starts, left_s, entry.seed or 0)
        if solved is None:
            return polished
        return dataclasses.replace(polished, moves=solved.moves, backtracks=solved.backtracks)

    @functools.cached_property
    def _loaded(self) -> Loaded:
        return load_either(self.run)

    @functools.cached_property
    def _compiled(self) -> set[Any]:
        """What was played in this process since it last forgot what it had compiled: shapes of
        environments, and whether with time for rounds, which are played by another function."""
        return set()


def judge_of(
    domain: Domain, environment: Environment[Any], instance: Instance
) -> Callable[[np.ndarray], float] | None:
    """The judge's score of a game of the only instance, by its moves; None where no game estimates
    that this may be more than its own score."""
    if not checked(environment).estimates:
        return None

    def judge(moves: np.ndarray) -> float:
        made = domain.solution(environment, instance, 0, moves)
        return domain.judge(instance, made.solution).score

    return judge


def shipped_player(domain: Domain, games: int = RunPlayer.games) -> RunPlayer:
    """The agent that comes with a game.

    Raises:
      InputError: none does.
    """
    folder = domain.shipped
    if folder is None:
        raise InputError(f"the game {domain.name!r} comes without a trained agent")
    if not is_shipped(folder):
        raise InputError(f"{folder}: has no {DESCRIPTION}; {remedy(folder)}")
    return RunPlayer(folder, games)


# What `shipped_contest` plays, by the names of mappers, and the solvers of `RunPlayer`.
SHIPPED = {"agent": "played_on", "polished": "polished"}


def shipped_contest(
    domain: Domain, content: Any, options: Any, name: str, budget_s: float, seed: int
) -> Solved:
    """The agent that comes with a game on one program or problem: games for the budget, or with
    "polished" games for a part of it and the game's own search from the best one.

    There is one round of games at least, and compiling counts.

    Args:
      content: the program or problem, with its name and fingerprint.
      name: of `SHIPPED`.

    Raises:
      InputError: there is no usable checkpoint.
    """
    started = time.monotonic()
    forget_if_full()
    player = _one_player(shipped_player(domain).run)
    instance = Instance(content.name, content.fingerprint, "", content)
    environment = domain.build([instance], options)
    left = max(0.0, budget_s - (time.monotonic() - started))
    entry = Entry(SHIPPED[name], SHIPPED[name], left, seed)
    solved = player.play(entry, domain, environment, instance)
    assert solved is not None and solved.solution is not None
    return solved


@functools.cache
def _one_player(folder: Path) -> RunPlayer:
    """One a process: it remembers its networks, and what it has compiled."""
    return RunPlayer(folder)


def solution_file(domain: Domain, instance: Instance) -> str:
    """The name of an instance's best solution in a run's folder."""
    return f"{file_name(instance.name)}.{domain.words.solution}.json"


def _shape(environment: Environment[Any]) -> Any:
    """What environments share for which the same games are compiled."""
    leaves, structure = jax.tree.flatten(jax.eval_shape(lambda it: it, environment))
    return structure, tuple(leaves)
