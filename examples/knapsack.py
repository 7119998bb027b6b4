"""A game in one file: which items go into a knapsack (docs/contributing.md, "Add a game").

    python train.py --config examples/knapsack.yaml
    python evaluate.py --game examples.knapsack:DOMAIN --suite easy hard --out results/knapsack \
      --checkpoint runs/knapsack
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gamekit.domain import Domain, Instance, Solved, Solver, Verdict
from gamekit.environment import History, Spec, Step
from gamekit.observation import ObservationSpec, Part

TAKE, LEAVE = 0, 1


@dataclasses.dataclass(frozen=True)
class Items:
    """weight: int [N]; value: float [N], in all 1; room: the weight that fits."""

    weight: np.ndarray
    value: np.ndarray
    room: int


def make(items: int, seed: int) -> Items:
    rng = np.random.default_rng(seed)
    weight, value = rng.integers(1, 10, items), rng.random(items)
    return Items(weight, value / value.sum(), int(weight.sum() // 2))


@struct.dataclass
class State:
    """moves: int32 [N, ...], answers so far; instance, position, room: int32 [...]."""

    instance: jax.Array
    position: jax.Array
    room: jax.Array
    moves: jax.Array


@struct.dataclass
class Knapsack:
    """Items of P instances: weight int32 [P, N], value float32 [P, N], room int32 [P]."""

    weight: jax.Array
    value: jax.Array
    room: jax.Array

    @property
    def spec(self) -> Spec:
        instances, items = self.weight.shape
        parts = (Part("item", (2,)), Part("room", (2,)))
        return Spec(
            "knapsack", 1, instances, ("take", "leave"), LEAVE, items, items, ObservationSpec(parts)
        )

    def init(self, instance: jax.Array) -> State:
        moves = jnp.full((self.weight.shape[1], *instance.shape), LEAVE, jnp.int32)
        return State(instance, jnp.zeros_like(instance), self.room[instance], moves)

    def reset(self, state: State, where: jax.Array, instance: jax.Array) -> State:
        return jax.tree.map(lambda a, b: jnp.where(where, a, b), self.init(instance), state)

    def step(self, state: State, action: jax.Array) -> tuple[State, Step]:
        goes_on, weight = ~self.done(state), self._item(self.weight, state)
        takes = goes_on & (action == TAKE)
        moves = jnp.where((self._numbers(state) == state.position) & goes_on, action, state.moves)
        room, position = state.room - takes * weight, state.position + goes_on
        after = State(state.instance, position, room, moves)
        return after, Step(self.score(after) - self.score(state), self.done(after), position)

    def observe(self, state: State) -> jax.Array:
        weight, value = self._item(self.weight, state), self._item(self.value, state)
        left = self.weight.shape[1] - state.position
        seen = (weight / 10, value * self.weight.shape[1], state.room / 10, left / 10)
        return jnp.stack(seen, axis=-1).astype(jnp.float32)

    def legal_actions(self, state: State) -> jax.Array:
        fits = (self._item(self.weight, state) <= state.room) | self.done(state)
        return jnp.stack([fits, jnp.ones_like(fits)], axis=-1)

    def instance(self, state: State) -> jax.Array:
        return state.instance

    def done(self, state: State) -> jax.Array:
        return state.position >= self.weight.shape[1]

    def score(self, state: State) -> jax.Array:
        value = jnp.moveaxis(self.value[state.instance], -1, 0)
        return jnp.sum(jnp.where(state.moves == TAKE, value, 0.0), axis=0)

    def headroom(self, state: State) -> jax.Array:
        value = jnp.moveaxis(self.value[state.instance], -1, 0)
        return jnp.sum(jnp.where(self._numbers(state) >= state.position, value, 0.0), axis=0)

    def history(self, state: State) -> History:
        zero = jnp.zeros_like(state.position)
        return History(jnp.moveaxis(state.moves, 0, -1), state.position, zero)

    def _item(self, table: jax.Array, state: State) -> jax.Array:
        return table[state.instance, jnp.minimum(state.position, self.weight.shape[1] - 1)]

    def _numbers(self, state: State) -> jax.Array:
        return jnp.arange(self.weight.shape[1]).reshape(-1, *(1,) * state.position.ndim)


def densest(instance: Instance, options: Any, budget_s: float, seed: int) -> Solved:
    """Takes what fits, the most valuable for its weight first."""
    started, items, room = time.perf_counter(), instance.content, instance.content.room
    answers = [LEAVE] * len(items.weight)
    for i in np.argsort(-items.value / items.weight):
        if items.weight[i] <= room:
            answers[i], room = TAKE, room - items.weight[i]
    return Solved(answers, time.perf_counter() - started)


class KnapsackDomain(Domain):
    name, version = "knapsack", 1
    suite: Mapping[str, Items] = {"easy": make(12, 0), "hard": make(12, 1)}
    solvers: Mapping[str, Solver] = {"densest": Solver(densest)}

    def build(self, instances: Sequence[Instance], options: Any) -> Knapsack:
        items = [instance.content for instance in instances]
        return Knapsack(
            jnp.asarray([i.weight for i in items], jnp.int32),
            jnp.asarray([i.value for i in items], jnp.float32),
            jnp.asarray([i.room for i in items], jnp.int32),
        )

    def judge(self, instance: Instance, solution: list[int]) -> Verdict:
        items, taken = instance.content, np.array(solution) == TAKE
        fits = bool(items.weight[taken].sum() <= items.room)
        return Verdict(float(items.value[taken].sum()), fits, None if fits else "too heavy")


DOMAIN = KnapsackDomain()
