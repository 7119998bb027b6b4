"""Environments made of rules for one game: instances are rows of tables, batches are mapped."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from gamekit.environment import History, Spec, Step


class TableState(Protocol):
    """What all states have: the instance and the number of moves, int32 [...], and the moves so
    far, integers [M, ...]."""

    @property
    def instance(self) -> Array: ...
    @property
    def length(self) -> Array: ...
    @property
    def log(self) -> Array: ...


State = TypeVar("State", bound=TableState)


class TableGame(abc.ABC, Generic[State]):
    """What `gamekit.environment.Environment` asks for, from rules that know one game only.

    A subclass is a `flax.struct.dataclass` and tells the rules.  They are given one instance's rows
    of `tables` and the state of one game, without batch axes.  Batch axes come last in states, so
    that games side by side are side by side in memory, and first in all else.
    """

    tables: Any  # arrays, whose first axis is that of the instances

    @property
    @abc.abstractmethod
    def spec(self) -> Spec:
        """The fixed facts."""

    @abc.abstractmethod
    def begin_one(self, row: Any, instance: Array) -> State:
        """A new game of the instance with this number."""

    @abc.abstractmethod
    def play_one(self, row: Any, state: State, action: Array) -> State:
        """The game after an action; as it was if it is over."""

    @abc.abstractmethod
    def observe_one(self, row: Any, state: State) -> Array:
        """Float32 [F]."""

    @abc.abstractmethod
    def legal_one(self, row: Any, state: State) -> Array:
        """Bool [A]; all true if it is over."""

    @abc.abstractmethod
    def done_one(self, row: Any, state: State) -> Array:
        """Bool, whether it is over."""

    @abc.abstractmethod
    def score_one(self, row: Any, state: State) -> Array:
        """Float32."""

    @abc.abstractmethod
    def headroom_one(self, row: Any, state: State) -> Array:
        """Float32, what can still be scored at most."""

    def init(self, instance: Array) -> State:
        """Starts games of the instances with these numbers, int32 [...]."""

        def one(number: Array) -> State:
            return self.begin_one(self._row(number), number)

        instance = jnp.asarray(instance, jnp.int32)
        return _over_batch(one, instance.ndim, (0,), state_out=True)(instance)

    def reset(self, state: State, where: Array, instance: Array) -> State:
        """Starts new games where bool [...] holds; the others go on."""

        def restart(state: State) -> State:
            return jax.tree.map(
                lambda new, old: jnp.where(where, new, old), self.init(instance), state
            )

        return jax.lax.cond(jnp.any(where), restart, lambda state: state, state)

    def step(self, state: State, action: Array) -> tuple[State, Step]:
        """Plays an action, int32 [...], in every game; the reward is the change of the score."""
        over = self.done(state)
        after = self._map(self.play_one, state, action, state_out=True)
        # A score that is computed twice may be rounded in two ways.
        reward = jnp.where(over, 0.0, self.score(after) - self.score(state))
        return after, Step(reward, self.done(after), after.length)

    def observe(self, state: State) -> Array:
        """Float32 [..., F]."""
        return self._map(self.observe_one, state)

    def legal_actions(self, state: State) -> Array:
        """Bool [..., A]; all true for finished games."""
        return self._map(self.legal_one, state)

    def instance(self, state: State) -> Array:
        """Int32 [...]; the instance that each game plays."""
        return state.instance

    def done(self, state: State) -> Array:
        """Bool [...]."""
        return self._map(self.done_one, state)

    def score(self, state: State) -> Array:
        """Float32 [...]."""
        return self._map(self.score_one, state)

    def headroom(self, state: State) -> Array:
        """Float32 [...]; what can still be scored at most."""
        return self._map(self.headroom_one, state)

    def history(self, state: State) -> History:
        """The moves so far; nothing is ever taken back."""
        moves = self._map(lambda row, one: one.log.astype(jnp.int32), state)
        return History(moves, state.length, jnp.zeros_like(state.length))

    def _row(self, instance: Array) -> Any:
        return jax.tree.map(lambda table: table[instance], self.tables)

    def _map(
        self, rule: Callable[..., Any], state: State, *more: Array, state_out: bool = False
    ) -> Any:
        """A rule for one game, over the batch axes."""

        def one(single: State, *rest: Array) -> Any:
            return rule(self._row(single.instance), single, *rest)

        kinds = (-1, *(0 for _ in more))
        return _over_batch(one, state.instance.ndim, kinds, state_out)(state, *more)


def _over_batch(
    one: Callable[..., Any], depth: int, kinds: Sequence[int], state_out: bool
) -> Callable[..., Any]:
    """Maps a function of one game over `depth` batch axes.

    kinds: for each argument -1 where its batch axes come last, 0 where they come first.
    state_out: whether they come last in the result.
    """
    mapped = one
    for level in range(1, depth + 1):
        # The innermost map takes the last of the batch axes.
        axes = tuple(-level if kind else 0 for kind in kinds)
        mapped = jax.vmap(mapped, in_axes=axes, out_axes=-level if state_out else 0)
    return mapped
