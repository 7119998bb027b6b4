"""Mappings of any origin, imitated: their choices, the game's copies, the packer's places."""

from __future__ import annotations

import numpy as np

from mallocgame.game.compile_program import compile_program
from mallocgame.game.environment import COPY, DROP, NO_COPY, unobserved_game
from mallocgame.game.options import GameConfig
from mallocgame.game.tables import ASK_DEPART, QuestionRow, Tables
from mallocgame.mappers.base import Clock, Mapped
from mallocgame.mappers.in_game import simple
from mallocgame.mappers.in_game.plans import Answer, play_plans
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping

# Moves by `Answer`; where the one is not legal the other is meant.
_ACTIONS = np.array([DROP, COPY, COPY, NO_COPY], np.int8)


def imitate(program: Program, config: GameConfig, mapping: Mapping) -> Mapped:
    """The mapping of the game that wants what the given one does."""
    tables = compile_program(program, config)
    game = unobserved_game(tables, config)
    clock = Clock(0.0)
    played = play_plans(game, program, simple.imitate(tables, mapping))
    return Mapped(played.mapping, clock.seconds, played.decisions, played.drop_backups)


def lesson(program: Program, config: GameConfig, mapping: Mapping) -> np.ndarray:
    """What the mapping answers to any question of the game, by its number: int8 [2 * stops]."""
    tables = compile_program(program, config)
    return _by_number(tables, simple.imitate(tables, mapping)[0])


def relaxed_openings(program: Program, config: GameConfig) -> list[np.ndarray]:
    """What the plans of the rule `relaxed` that may wait answer, as `lesson`."""
    tables = compile_program(program, config)
    plans = simple.relaxed(tables)
    return [_by_number(tables, plan) for plan in plans[(plans == Answer.YES).any(axis=1)]]


def _by_number(tables: Tables, plan: np.ndarray) -> np.ndarray:
    """A plan's answers [Q] by the number of the question: int8 [2 * stops], -1 without."""
    rows = QuestionRow(*tables.questions.T)
    answers = np.full(2 * len(tables.stops), -1, np.int8)
    answers[2 * rows.stop + (rows.kind == ASK_DEPART)] = _ACTIONS[plan]
    return answers
