"""The mappers by name, for command lines and tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gamekit.errors import InputError
from mallocgame.game.compile_program import compile_program
from mallocgame.game.environment import unobserved_game
from mallocgame.game.options import GameConfig
from mallocgame.game.tables import Tables
from mallocgame.mappers.base import Clock, Mapped, Mapper
from mallocgame.mappers.exact import milp
from mallocgame.mappers.in_game import simple as rules
from mallocgame.mappers.in_game.evolution import evolution
from mallocgame.mappers.in_game.game_search import game_search
from mallocgame.mappers.in_game.plans import play_plans
from mallocgame.mappers.layouts.local_search import local_search
from mallocgame.mappers.msa import msa, msa_library
from mallocgame.program import Program


def _rule(plans: Callable[[Tables, int], np.ndarray]) -> Mapper:
    def play(program: Program, config: GameConfig, budget_s: float, seed: int) -> Mapped:
        clock = Clock(budget_s)
        tables = compile_program(program, config)
        played = play_plans(unobserved_game(tables, config), program, plans(tables, seed))
        return Mapped(played.mapping, clock.seconds, played.decisions, played.drop_backups)

    return play


def _learned(name: str) -> Mapper:
    def play(program: Program, config: GameConfig, budget_s: float, seed: int) -> Mapped:
        from mallocgame.mappers import learned

        try:
            return getattr(learned, name)(program, config, budget_s, seed)
        except InputError as error:
            raise InputError(f"mapper {name!r}: {error}") from None

    return play


# Mappers that take `progress`, which is told the share of the all-slow latency saved so far, and
# `production`, the compiler's mapping, with which they do nothing that it would not follow.
WATCHED: dict[str, Callable[..., Mapped]] = {"local_search": local_search}
# Mappers that need the trained agent that comes with the game.
LEARNED = ("agent", "polished")
MAPPERS: dict[str, Mapper] = {
    "all_fast": _rule(lambda tables, _: rules.all_fast(tables)),
    "greedy": _rule(lambda tables, _: rules.greedy(tables)),
    "belady": _rule(lambda tables, _: rules.belady(tables)),
    "relaxed": _rule(lambda tables, _: rules.relaxed(tables)),
    "random": _rule(rules.random),
    "msa": msa,
    "msa_library": msa_library,
    "local_search": local_search,
    "game_search": game_search,
    "evolution": evolution,
    "milp": milp,
    **{name: _learned(name) for name in LEARNED},
}
