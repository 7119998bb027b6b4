"""The game as an environment of the kit (`gamekit.environment`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from flax import struct
from jax import Array

from gamekit.environment import Spec
from gamekit.table_game import TableGame
from games.fences.game import rules
from games.fences.game.actions import ACTION_NAMES, GAME_VERSION, most_moves
from games.fences.game.observe import SPEC, observe
from games.fences.game.state import State, start
from games.fences.game.tables import Tables, build_tables
from games.fences.program.program import Program


@struct.dataclass
class Game(TableGame[State]):
    """P programs of at most N operations."""

    tables: Tables

    @property
    def spec(self) -> Spec:
        instances, operations = self.tables.valid.shape
        moves = most_moves(operations)
        return Spec("fences", GAME_VERSION, instances, ACTION_NAMES, None, moves, moves, SPEC)

    def begin_one(self, row: Tables, instance: Array) -> State:
        operations, outcomes = row.runs.shape
        fresh = start(instance, operations, outcomes, most_moves(operations))
        return dataclasses.replace(fresh, bound=rules.rest(row, fresh))

    def play_one(self, row: Tables, state: State, action: Array) -> State:
        return rules.play(row, state, action)

    def observe_one(self, row: Tables, state: State) -> Array:
        return observe(row, state)

    def legal_one(self, row: Tables, state: State) -> Array:
        return rules.legal(row, state)

    def done_one(self, row: Tables, state: State) -> Array:
        return rules.is_done(row, state)

    def score_one(self, row: Tables, state: State) -> Array:
        return rules.score(row, state)

    def headroom_one(self, row: Tables, state: State) -> Array:
        return rules.headroom(row, state)


def build_game(programs: Sequence[Program]) -> Game:
    """A game of some programs.

    Raises:
      InputError: a program's naive schedule costs nothing.
    """
    return Game(build_tables(programs))
