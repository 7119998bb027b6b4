"""The game as an environment of the kit (`gamekit.environment`)."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from gamekit.environment import Spec
from gamekit.table_game import TableGame
from games.loops.game import rules
from games.loops.game.cost import seconds
from games.loops.game.observe import SPEC, observe
from games.loops.game.options import ACTION_NAMES, GAME_VERSION, LoopsConfig
from games.loops.game.state import Beginning, State, start, start_nest
from games.loops.game.tables import Tables, build_tables
from games.loops.program.computation import Computation
from games.loops.program.machine import Machine, machine


@struct.dataclass
class Game(TableGame[State]):
    """P computations, on one machine."""

    tables: Tables
    beginning: Beginning
    options: LoopsConfig = struct.field(pytree_node=False)

    @property
    def spec(self) -> Spec:
        count, moves = len(self.tables.elements), self.options.moves
        return Spec("loops", GAME_VERSION, count, ACTION_NAMES, None, moves, moves, SPEC)

    def begin_one(self, row: Tables, instance: Array) -> State:
        of = jax.tree.map(lambda table: table[instance], self.beginning)
        return start(row, instance, of.seconds, of.legal, of.gains, self.options.moves)

    def play_one(self, row: Tables, state: State, action: Array) -> State:
        return rules.play(row, state, action)

    def observe_one(self, row: Tables, state: State) -> Array:
        return observe(row, state)

    def legal_one(self, row: Tables, state: State) -> Array:
        return state.legal | rules.is_done(state)

    def done_one(self, row: Tables, state: State) -> Array:
        return rules.is_done(state)

    def score_one(self, row: Tables, state: State) -> Array:
        return rules.score(state)

    def headroom_one(self, row: Tables, state: State) -> Array:
        return rules.headroom(row, state)


@jax.jit
def _beginning(tables: Tables) -> Beginning:
    def one(t: Tables) -> Beginning:
        nest, zero = start_nest(t), jnp.int32(0)
        begun = seconds(t, nest)
        return Beginning(begun, *rules.outlook(t, nest, zero, zero, begun))

    return jax.vmap(one)(tables)


def build_game(
    computations: Sequence[Computation], options: LoopsConfig, on: Machine | None = None
) -> Game:
    """A game of some computations; on the machine of the fitted model as it stands."""
    tables = build_tables(computations, on or machine())
    return Game(tables, _beginning(tables), options)
