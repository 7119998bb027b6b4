"""The graph game in pure JAX (docs/graphs.md)."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from gamekit.environment import Spec
from gamekit.table_game import TableGame
from games.graphs.game import rules
from games.graphs.game.group import NOBODY, group_time
from games.graphs.game.observe import SPEC, observe
from games.graphs.game.options import ACTION_NAMES, GAME_VERSION, GraphsConfig
from games.graphs.game.state import State
from games.graphs.game.tables import Tables, tables_of
from games.graphs.problem.problem import Problem


@struct.dataclass
class GraphGame(TableGame[State]):
    """P problems ready to be played; largest: operations of a group at most.

    The score is the part of the naive time that is saved so far.
    """

    tables: Tables
    largest: int = struct.field(pytree_node=False)

    @property
    def spec(self) -> Spec:
        instances, size = self.tables.source.shape[:2]
        moves = rules.most_moves(size)
        return Spec("graphs", GAME_VERSION, instances, ACTION_NAMES, None, moves, moves, SPEC)

    def begin_one(self, row: Tables, instance: Array) -> State:
        return rules.begin(row, instance, self.largest)

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


def build_game(problems: Sequence[Problem], config: GraphsConfig) -> GraphGame:
    """Puts problems into one game.

    Raises:
      InputError: a problem cannot be played (`tables_of`).
    """
    tables = tables_of(problems)
    naive = np.asarray(_naive(tables))
    # An operation alone fits with the smallest tile.
    naive = np.where(np.isfinite(naive), naive, 0.0)
    total = np.maximum(naive.sum(-1), 1e-6)
    tables = tables.replace(naive=jnp.asarray(naive), total=jnp.asarray(total, jnp.float32))
    return GraphGame(tables, config.largest_group)


@jax.jit
def _naive(tables: Tables) -> Array:
    """Float32 [P, N], infinite behind the last operation of a problem."""
    size = tables.source.shape[1]

    def of_problem(t: Tables) -> Array:
        def alone(op: Array) -> Array:
            return group_time(t, op[None], jnp.int32(NOBODY), jnp.int32(NOBODY))

        ops = jnp.arange(size)
        return jax.vmap(alone)(jnp.where(ops < t.count, ops, size))

    return jax.lax.map(of_problem, tables)
