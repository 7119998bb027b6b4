"""The graph game in pure JAX: init, step, legal actions, observation (docs/graphs.md)."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from gamekit.batching import batch_first, over_last_axes
from gamekit.environment import History, Spec, Step
from games.graphs.game import rules
from games.graphs.game.group import NOBODY, group_time
from games.graphs.game.observe import SPEC, observe
from games.graphs.game.options import ACTION_NAMES, GAME_VERSION, GraphsConfig
from games.graphs.game.state import State
from games.graphs.game.tables import Tables, tables_of
from games.graphs.problem.problem import Problem


@struct.dataclass
class GraphGame:
    """P problems ready to be played; largest: operations of a group at most."""

    tables: Tables
    largest: int = struct.field(pytree_node=False)

    @property
    def spec(self) -> Spec:
        """The fixed facts; see `gamekit.environment`."""
        instances, size = self.tables.source.shape[:2]
        moves = rules.most_moves(size)
        return Spec("graphs", GAME_VERSION, instances, ACTION_NAMES, None, moves, moves, SPEC)

    def init(self, instance: Array) -> State:
        """Starts games of the problems with these numbers, int32 [...]."""

        def begin(instance: Array) -> State:
            return rules.begin(rules.one(self.tables, instance), instance, self.largest)

        return over_last_axes(begin, instance.ndim)(jnp.asarray(instance, jnp.int32))

    def reset(self, state: State, where: Array, instance: Array) -> State:
        """Starts new games where bool [...] holds; the others go on."""

        def restart(state: State) -> State:
            return jax.tree.map(
                lambda new, old: jnp.where(where, new, old), self.init(instance), state
            )

        return jax.lax.cond(jnp.any(where), restart, lambda state: state, state)

    def step(self, state: State, action: Array) -> tuple[State, Step]:
        """Plays an action, int32 [...], in every game; the reward is the change of the score."""

        def play(state: State, action: Array) -> State:
            return rules.play(rules.one(self.tables, state.instance), state, action)

        after = over_last_axes(play, action.ndim)(state, action)
        return after, Step(after.score - state.score, after.done, after.length)

    def observe(self, state: State) -> Array:
        """Float32 [..., F]."""

        def look(state: State) -> Array:
            return observe(rules.one(self.tables, state.instance), state)

        axes = state.instance.ndim
        return batch_first(over_last_axes(look, axes)(state), axes)

    def legal_actions(self, state: State) -> Array:
        """Bool [..., A]; all true for finished games."""
        axes = state.instance.ndim
        return batch_first(over_last_axes(rules.legal_actions, axes)(state), axes)

    def instance(self, state: State) -> Array:
        """Int32 [...]; the problem that each game plays."""
        return state.instance

    def done(self, state: State) -> Array:
        """Bool [...]."""
        return state.done

    def score(self, state: State) -> Array:
        """Float32 [...]; part of the naive time that is saved so far."""
        return state.score

    def headroom(self, state: State) -> Array:
        """Float32 [...]; what is ahead takes at least its computing."""

        def left(state: State) -> Array:
            return rules.headroom(rules.one(self.tables, state.instance), state)

        return over_last_axes(left, state.instance.ndim)(state)

    def history(self, state: State) -> History:
        """The moves so far."""
        moves = batch_first(state.log, state.instance.ndim).astype(jnp.int32)
        return History(moves, state.length, jnp.zeros_like(state.length))


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
