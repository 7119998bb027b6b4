"""The game as an environment of the kit (`gamekit.environment`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from gamekit.batching import over_batch
from gamekit.environment import History, Spec, Step
from games.loops.game import rules
from games.loops.game.cost import seconds
from games.loops.game.observe import SPEC, observe
from games.loops.game.options import ACTION_NAMES, GAME_VERSION, LoopsConfig
from games.loops.game.state import Beginning, State, start, start_nest
from games.loops.game.tables import Tables, build_tables
from games.loops.program.computation import Computation
from games.loops.program.machine import Machine, machine


@struct.dataclass
class Game:
    """P computations, on one machine."""

    tables: Tables
    beginning: Beginning
    options: LoopsConfig = struct.field(pytree_node=False)

    @property
    def spec(self) -> Spec:
        count, moves = len(self.tables.elements), self.options.moves
        return Spec("loops", GAME_VERSION, count, ACTION_NAMES, None, moves, moves, SPEC)

    def init(self, instance: jax.Array) -> State:
        def one(number: jax.Array) -> State:
            t, of = jax.tree.map(lambda table: table[number], (self.tables, self.beginning))
            return start(t, number, of.seconds, of.legal, of.gains, self.options.moves)

        return over_batch(one, instance.ndim, (0,), state_out=True)(instance)

    def reset(self, state: State, where: jax.Array, instance: jax.Array) -> State:
        return jax.tree.map(lambda a, b: jnp.where(where, a, b), self.init(instance), state)

    def step(self, state: State, action: jax.Array) -> tuple[State, Step]:
        after = self._map(rules.play, state, action, state_out=True)
        # The compiler may round the two logarithms of one time differently.
        gained = jnp.where(self.done(state), 0.0, self.score(after) - self.score(state))
        return after, Step(gained, self.done(after), after.length)

    def observe(self, state: State) -> jax.Array:
        return self._map(observe, state)

    def legal_actions(self, state: State) -> jax.Array:
        return jnp.moveaxis(state.legal, 0, -1) | self.done(state)[..., None]

    def instance(self, state: State) -> jax.Array:
        return state.instance

    def done(self, state: State) -> jax.Array:
        return state.stopped | (state.length >= self.options.moves)

    def score(self, state: State) -> jax.Array:
        return rules.score(state)

    def headroom(self, state: State) -> jax.Array:
        return self._map(rules.headroom, state)

    def history(self, state: State) -> History:
        zero = jnp.zeros_like(state.length)
        return History(jnp.moveaxis(state.moves, 0, -1), state.length, zero)

    def _map(self, rule: Callable, state: State, *more: jax.Array, state_out: bool = False) -> Any:
        """A rule for one game, over the batch axes: last in states, first in all else."""

        def one(single: State, *rest: jax.Array) -> Any:
            row = jax.tree.map(lambda table: table[single.instance], self.tables)
            return rule(row, single, *rest)

        depth = state.instance.ndim
        return over_batch(one, depth, (-1, *(0 for _ in more)), state_out)(state, *more)


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
