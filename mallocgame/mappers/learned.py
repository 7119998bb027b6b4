"""The trained agent that comes with the game, as mappers.

Of the package only this file knows the agent; it does what `evaluate.py` does without --checkpoint.
"""

from __future__ import annotations

from typing import Any

from agent.run.player import shipped_contest
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
    return _contest("agent", program, config, budget_s, seed)


def polished(program: Program, config: GameConfig, budget_s: float, seed: int) -> Mapped:
    """The agent for a part of the budget, then local search from its mapping.

    Where that part is too short to compile the game, it is local search alone; then `decisions` is
    0, else it is of the agent's game.

    Raises:
      InputError: there is no usable checkpoint.
    """
    return _contest("polished", program, config, budget_s, seed)


def _contest(name: str, program: Program, config: GameConfig, budget_s: float, seed: int) -> Mapped:
    clock = Clock(budget_s)
    solved = shipped_contest(DOMAIN, program, config, name, budget_s, seed)
    mapping: Any = solved.solution
    return Mapped(mapping, clock.seconds, solved.moves, solved.backtracks)
