"""The cores game in pure JAX (docs/cores.md)."""

from __future__ import annotations

from collections.abc import Sequence

from flax import struct
from jax import Array

from gamekit.environment import Spec
from gamekit.table_game import TableGame
from games.cores.game import rules
from games.cores.game.observe import SPEC, observe
from games.cores.game.options import ACTION_NAMES, GAME_VERSION, NONE
from games.cores.game.state import State
from games.cores.game.tables import Tables, moves_limit, tables_of
from games.cores.problem.problem import Problem


@struct.dataclass
class CoresGame(TableGame[State]):
    """P problems ready to be played; most_moves: of any of their games.

    The score is the part of the reference's cost that is saved so far.
    """

    tables: Tables
    most_moves: int = struct.field(pytree_node=False)

    @property
    def spec(self) -> Spec:
        instances, most = self.tables.count.shape[0], self.most_moves
        return Spec("cores", GAME_VERSION, instances, ACTION_NAMES, NONE, most, most, SPEC)

    def begin_one(self, row: Tables, instance: Array) -> State:
        return rules.begin(row, instance, self.most_moves)

    def play_one(self, row: Tables, state: State, action: Array) -> State:
        return rules.play(row, state, action)

    def observe_one(self, row: Tables, state: State) -> Array:
        return observe(row, state)

    def legal_one(self, row: Tables, state: State) -> Array:
        return rules.legal_actions(state)

    def done_one(self, row: Tables, state: State) -> Array:
        return state.done

    def score_one(self, row: Tables, state: State) -> Array:
        return state.score

    def headroom_one(self, row: Tables, state: State) -> Array:
        return rules.headroom(row, state)


def build_game(problems: Sequence[Problem]) -> CoresGame:
    """Puts problems into one game.

    Raises:
      InputError: a problem cannot be played (`tables_of`).
    """
    return CoresGame(tables_of(problems), max(map(moves_limit, problems)))
