"""Mappings of any origin, imitated: their choices, the game's copies, the packer's places."""

from __future__ import annotations

import numpy as np

from mallocgame.game.compile_program import compile_program
from mallocgame.game.environment import unobserved_game
from mallocgame.game.options import GameConfig
from mallocgame.mappers.base import Clock, Mapped
from mallocgame.mappers.in_game import simple
from mallocgame.mappers.in_game.plans import finish_plans, play_plans
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping


def imitate(program: Program, config: GameConfig, mapping: Mapping) -> Mapped:
    """The mapping of the game that wants what the given one does."""
    tables = compile_program(program, config)
    game = unobserved_game(tables, config)
    clock = Clock(0.0)
    played = play_plans(game, program, simple.imitate(tables, mapping))
    return Mapped(played.mapping, clock.seconds, played.decisions, played.drop_backups)


def imitated_moves(program: Program, config: GameConfig, mapping: Mapping) -> np.ndarray:
    """The moves of that game, int32 [n]."""
    tables = compile_program(program, config)
    game = unobserved_game(tables, config)
    history = game.history(finish_plans(game, simple.imitate(tables, mapping)))
    return np.asarray(history.moves)[0, : int(history.length[0])]
