"""A game made of rules for one game, against a plain loop over its games."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from gamekit.conformance import check_environment
from gamekit.environment import Spec
from gamekit.observation import plain
from gamekit.table_game import TableGame

MOVES = 3
TABLES = np.array([[0.1, 0.2, 0.3], [1.0, 0.0, 0.5]], np.float32)


@struct.dataclass
class Sums:
    instance: Array
    length: Array
    log: Array
    total: Array


@struct.dataclass
class SumGame(TableGame[Sums]):
    """Each of three actions adds its entry of the instance's row; none can be played twice running.

    `drift` is added to the score of a finished game whenever it is asked for again.
    """

    tables: Array
    drift: float = struct.field(pytree_node=False, default=0.0)

    @property
    def spec(self) -> Spec:
        actions = ("first", "second", "third")
        return Spec("sums", 1, len(self.tables), actions, None, MOVES, MOVES, plain(2))

    def begin_one(self, row: Array, instance: Array) -> Sums:
        zero = jnp.int32(0)
        return Sums(instance, zero, jnp.zeros(MOVES, jnp.int8), jnp.float32(0.0))

    def play_one(self, row: Array, state: Sums, action: Array) -> Sums:
        log = state.log.at[state.length].set(action.astype(jnp.int8), mode="drop")
        after = Sums(state.instance, state.length + 1, log, state.total + row[action])
        over = self.done_one(row, state)
        drifted = dataclasses.replace(state, total=state.total + self.drift)
        return jax.tree.map(lambda a, b: jnp.where(over, a, b), drifted, after)

    def observe_one(self, row: Array, state: Sums) -> Array:
        return jnp.stack([row[0], state.total])

    def legal_one(self, row: Array, state: Sums) -> Array:
        last = state.log[state.length - 1]
        free = (jnp.arange(3) != last) | (state.length == 0)
        return free | self.done_one(row, state)

    def done_one(self, row: Array, state: Sums) -> Array:
        return state.length >= MOVES

    def score_one(self, row: Array, state: Sums) -> Array:
        return state.total

    def headroom_one(self, row: Array, state: Sums) -> Array:
        return (MOVES - state.length) * row.max()


def look(game: SumGame, state: Any) -> dict[str, np.ndarray]:
    history = game.history(state)
    seen = {
        "observation": game.observe(state),
        "legal": game.legal_actions(state),
        "instance": game.instance(state),
        "done": game.done(state),
        "score": game.score(state),
        "headroom": game.headroom(state),
        "moves": history.moves,
        "length": history.length,
    }
    return {name: np.asarray(value) for name, value in seen.items()}


def test_it_keeps_the_protocol():
    check_environment(SumGame(jnp.asarray(TABLES)))


def test_batches_are_games_side_by_side():
    game = SumGame(jnp.asarray(TABLES))
    instance = np.array([[0, 1, 1], [1, 0, 1]], np.int32)
    actions = np.random.default_rng(0).integers(0, 3, (MOVES + 1, *instance.shape), np.int32)
    state, rewards = game.init(jnp.asarray(instance)), []
    for action in actions:
        state, step = game.step(state, jnp.asarray(action))
        rewards.append(np.asarray(step.reward))
    batch = look(game, state)
    assert batch["legal"].shape == (2, 3, 3) and batch["observation"].shape == (2, 3, 2)
    assert batch["moves"].shape == (2, 3, MOVES) and batch["moves"].dtype == np.int32
    for place in np.ndindex(instance.shape):
        total = 0.0
        for k in range(MOVES):
            gained = TABLES[instance[place], actions[(k, *place)]]
            np.testing.assert_allclose(rewards[k][place], gained, atol=1e-6)
            total += gained
        assert rewards[MOVES][place] == 0.0
        np.testing.assert_allclose(batch["score"][place], total, rtol=1e-6)
        assert batch["moves"][place].tolist() == actions[:MOVES][(slice(None), *place)].tolist()
        single = game.init(jnp.int32(instance[place]))
        for action in actions:
            single, _ = game.step(single, jnp.int32(action[place]))
        for name, value in look(game, single).items():
            np.testing.assert_array_equal(value, batch[name][place], err_msg=name)


def test_a_reset_begins_only_where_it_is_asked_for():
    game = SumGame(jnp.asarray(TABLES))
    state, _ = game.step(game.init(jnp.array([0, 0, 1])), jnp.array([1, 2, 0]))
    other = jnp.array([1, 1, 1])
    reset = look(game, game.reset(state, jnp.array([True, False, True]), other))
    assert reset["instance"].tolist() == [1, 0, 1]
    assert reset["length"].tolist() == [0, 1, 0]
    assert reset["score"].tolist() == [0.0, TABLES[0, 2], 0.0]
    kept = look(game, game.reset(state, jnp.zeros(3, bool), other))
    assert kept["instance"].tolist() == [0, 0, 1] and kept["length"].tolist() == [1, 1, 1]


def test_a_finished_game_pays_nothing_though_its_score_is_rounded_otherwise():
    game = SumGame(jnp.asarray(TABLES), drift=1e-7)
    state = game.init(jnp.array([0, 1]))
    for _ in range(MOVES):
        state, step = game.step(state, jnp.array([1, 2]))
    after, step = game.step(state, jnp.array([0, 0]))
    assert (game.score(after) != game.score(state)).any()
    assert step.reward.tolist() == [0.0, 0.0] and step.undone_from.tolist() == [MOVES, MOVES]
