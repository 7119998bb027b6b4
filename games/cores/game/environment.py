"""The cores game in pure JAX (docs/cores.md)."""

from __future__ import annotations

from collections.abc import Sequence

import jax
from flax import struct
from jax import Array, lax

from gamekit.environment import Spec
from gamekit.table_game import TableGame
from games.cores.game import rules
from games.cores.game.observe import SPEC, observe
from games.cores.game.options import ACTION_NAMES, GAME_VERSION, NONE
from games.cores.game.state import State
from games.cores.game.tables import Tables, moves_limit, tables_of
from games.cores.problem.problem import Problem

AT_A_TIME = 64


@struct.dataclass
class Rows:
    """P problems: their tables, and how their games begin."""

    tables: Tables
    opening: rules.Opening


@struct.dataclass
class CoresGame(TableGame[State]):
    """P problems ready to be played; most_moves: of any of their games.

    The score is the part of the reference's cost that is saved so far.
    """

    tables: Rows
    most_moves: int = struct.field(pytree_node=False)

    @property
    def spec(self) -> Spec:
        instances, most = self.tables.tables.count.shape[0], self.most_moves
        return Spec("cores", GAME_VERSION, instances, ACTION_NAMES, NONE, most, most, SPEC)

    def begin_one(self, row: Rows, instance: Array) -> State:
        return rules.begin(row.tables, row.opening, instance, self.most_moves)

    def play_one(self, row: Rows, state: State, action: Array) -> State:
        return rules.play(row.tables, state, action)

    def observe_one(self, row: Rows, state: State) -> Array:
        return observe(row.tables, state)

    def legal_one(self, row: Rows, state: State) -> Array:
        return rules.legal_actions(state)

    def done_one(self, row: Rows, state: State) -> Array:
        return state.done

    def score_one(self, row: Rows, state: State) -> Array:
        return state.score

    def headroom_one(self, row: Rows, state: State) -> Array:
        return rules.headroom(row.tables, state)


def build_game(problems: Sequence[Problem]) -> CoresGame:
    """Puts problems into one game.

    Raises:
      InputError: a problem cannot be played (`tables_of`).
    """
    tables = tables_of(problems)
    return CoresGame(Rows(tables, _openings(tables)), max(map(moves_limit, problems)))


@jax.jit
def _openings(tables: Tables) -> rules.Opening:
    # Some at a time: ranks of all transfers of all problems would be large.
    return lax.map(rules.opening_of, tables, batch_size=AT_A_TIME)
