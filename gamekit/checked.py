"""An environment whose answers are checked where they enter: shapes and dtypes, when traced."""

from __future__ import annotations

from typing import Any, Generic, cast

import chex
import jax.numpy as jnp
from flax import struct
from jax import Array

from gamekit.environment import (
    Environment,
    EstimatingEnvironment,
    GuidingEnvironment,
    History,
    Question,
    Spec,
    State,
    Step,
)


@struct.dataclass
class Checked(Generic[State]):
    """An environment that asserts what its inner one returns.

    The assertions look at shapes and dtypes only: they cost nothing in compiled code.  A game
    without questions of its own is asked one question a move, each about a topic of its own.

    Raises (all methods):
      AssertionError: the environment breaks the protocol; the message says how.
    """

    inner: Environment[State]

    @property
    def spec(self) -> Spec:
        return self.inner.spec

    def init(self, instance: Array) -> State:
        _is(instance, jnp.int32, instance.shape, "init: instance")
        return self.inner.init(instance)

    def reset(self, state: State, where: Array, instance: Array) -> State:
        return self.inner.reset(state, where, instance)

    def step(self, state: State, action: Array) -> tuple[State, Step]:
        _is(action, jnp.int32, action.shape, "action")
        after, step = self.inner.step(state, action)
        _is(step.reward, jnp.float32, action.shape, "step: reward")
        _is(step.done, bool, action.shape, "step: done")
        _is(step.undone_from, jnp.int32, action.shape, "step: undone_from")
        return after, step

    def observe(self, state: State) -> Array:
        shape = (*self.inner.done(state).shape, self.spec.observation.size)
        return _is(self.inner.observe(state), jnp.float32, shape, "observe")

    def legal_actions(self, state: State) -> Array:
        shape = (*self.inner.done(state).shape, self.spec.num_actions)
        return _is(self.inner.legal_actions(state), bool, shape, "legal_actions")

    def instance(self, state: State) -> Array:
        return _is(self.inner.instance(state), jnp.int32, self.inner.done(state).shape, "instance")

    def done(self, state: State) -> Array:
        done = self.inner.done(state)
        return _is(done, bool, done.shape, "done")

    def score(self, state: State) -> Array:
        return _is(self.inner.score(state), jnp.float32, self.inner.done(state).shape, "score")

    def headroom(self, state: State) -> Array:
        return _is(
            self.inner.headroom(state), jnp.float32, self.inner.done(state).shape, "headroom"
        )

    @property
    def estimates(self) -> bool:
        """Whether the game estimates what its judge may give, beyond its score."""
        return hasattr(self.inner, "estimate")

    def estimate(self, state: State) -> Array:
        """The game's estimate, or else the score."""
        if not self.estimates:
            return self.score(state)
        estimating = cast("EstimatingEnvironment[State]", self.inner)
        shape = self.inner.done(state).shape
        return _is(estimating.estimate(state), jnp.float32, shape, "estimate")

    def history(self, state: State) -> History:
        shape = self.inner.done(state).shape
        history = self.inner.history(state)
        _is(history.moves, jnp.int32, (*shape, self.spec.max_moves), "history: moves")
        _is(history.length, jnp.int32, shape, "history: length")
        _is(history.backtracks, jnp.int32, shape, "history: backtracks")
        return history

    def question(self, state: State) -> Question:
        if not self.spec.guides:
            number = jnp.minimum(self.history(state).length, self.spec.max_moves - 1)
            return _every_move(number)
        question = _guiding(self.inner).question(state)
        for name, x in zip(Question._fields, question, strict=True):
            _is(x, jnp.int32, self.inner.done(state).shape, f"question: {name}")
        return question

    def question_of(self, instance: Array, number: Array) -> Question:
        if not self.spec.guides:
            return _every_move(number)
        return _guiding(self.inner).question_of(instance, number)

    def takes_room(self, number: Array) -> Array:
        if not self.spec.guides:
            return jnp.zeros(number.shape, bool)
        return _is(_guiding(self.inner).takes_room(number), bool, number.shape, "takes_room")


def checked(environment: Environment[State]) -> Checked[State]:
    """The environment with its answers checked; one that is checked already stays as it is."""
    return environment if isinstance(environment, Checked) else Checked(environment)


def _guiding(environment: Environment[State]) -> GuidingEnvironment[State]:
    return cast("GuidingEnvironment[State]", environment)


def _every_move(number: Array) -> Question:
    return Question(number, number, number, number + 1)


def _is(x: Array, dtype: Any, shape: tuple[int, ...], what: str) -> Array:
    """The array itself, if it has this dtype and shape."""
    chex.assert_shape(x, shape, custom_message=what)
    chex.assert_type(x, dtype, custom_message=what)
    return x
