"""The game as an environment of the kit (`gamekit.environment`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from gamekit.batching import over_batch
from gamekit.environment import History, Spec, Step
from games.fences.game import rules
from games.fences.game.actions import ACTION_NAMES, GAME_VERSION, most_moves
from games.fences.game.observe import SPEC, observe
from games.fences.game.state import State, start
from games.fences.game.tables import Tables, build_tables
from games.fences.program.program import Program


@struct.dataclass
class Game:
    """P programs of at most N operations."""

    tables: Tables

    @property
    def spec(self) -> Spec:
        instances, operations = self.tables.valid.shape
        moves = most_moves(operations)
        return Spec("fences", GAME_VERSION, instances, ACTION_NAMES, None, moves, moves, SPEC)

    def init(self, instance: jax.Array) -> State:
        operations, outcomes = self.tables.runs.shape[1:]
        moves = most_moves(operations)

        def one(number: jax.Array) -> State:
            t = jax.tree.map(lambda table: table[number], self.tables)
            fresh = start(number, operations, outcomes, moves)
            return dataclasses.replace(fresh, bound=rules.rest(t, fresh))

        depth = instance.ndim
        return over_batch(one, depth, (0,), state_out=True)(instance)

    def reset(self, state: State, where: jax.Array, instance: jax.Array) -> State:
        return jax.tree.map(lambda a, b: jnp.where(where, a, b), self.init(instance), state)

    def step(self, state: State, action: jax.Array) -> tuple[State, Step]:
        over = self.done(state)
        after = self._map(rules.play, state, action, state_out=True)
        reward = jnp.where(over, 0.0, self.score(after) - self.score(state))
        return after, Step(reward, self.done(after), after.length)

    def observe(self, state: State) -> jax.Array:
        return self._map(observe, state)

    def legal_actions(self, state: State) -> jax.Array:
        return self._map(rules.legal, state)

    def instance(self, state: State) -> jax.Array:
        return state.instance

    def done(self, state: State) -> jax.Array:
        return self._map(rules.is_done, state)

    def score(self, state: State) -> jax.Array:
        return self._map(rules.score, state)

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


def build_game(programs: Sequence[Program]) -> Game:
    """A game of some programs.

    Raises:
      InputError: a program's naive schedule costs nothing.
    """
    return Game(build_tables(programs))
