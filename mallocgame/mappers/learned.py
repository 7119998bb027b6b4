"""The trained agent that comes with the game, as mappers.

Of the package only this file knows the agent; it does what `evaluate.py` does without --checkpoint.
"""

from __future__ import annotations

import functools
from pathlib import Path

from agent.run.player import RunPlayer, shipped_player
from gamekit.domain import Instance
from gamekit.evaluation.plan import Entry
from mallocgame.domain import DOMAIN
from mallocgame.game.options import GameConfig
from mallocgame.mappers.base import Clock, Mapped
from mallocgame.program import Program


def agent(program: Program, config: GameConfig, budget_s: float, seed: int) -> Mapped:
    """Plays 32 games at once, round after round for the budget, and takes the best one.

    There is one round at least, which has to be compiled first where no program of this shape was
    played in this process.

    Raises:
      InputError: there is no usable checkpoint.
    """
    return _contest("played_on", program, config, budget_s, seed)


def polished(program: Program, config: GameConfig, budget_s: float, seed: int) -> Mapped:
    """The agent for half of the budget, then local search from its mapping.

    Where half of the budget is too short to compile the game, it is local search alone; then
    `decisions` is 0, else it is of the agent's game.

    Raises:
      InputError: there is no usable checkpoint.
    """
    return _contest("polished", program, config, budget_s, seed)


def _contest(name: str, program: Program, config: GameConfig, budget_s: float, seed: int) -> Mapped:
    clock = Clock(budget_s)
    player = _player(shipped_player(DOMAIN).run)
    instance = Instance(program.name, program.fingerprint, "", program)
    environment = DOMAIN.build([instance], config)
    entry = Entry(name, name, max(0.0, budget_s - clock.seconds), seed)
    solved = player.play(entry, DOMAIN, environment, instance)
    assert solved is not None and solved.solution is not None
    return Mapped(solved.solution, clock.seconds, solved.moves, solved.backtracks)


@functools.cache
def _player(folder: Path) -> RunPlayer:
    """One a process: it remembers its networks, and what it has compiled."""
    return RunPlayer(folder)
