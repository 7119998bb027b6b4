"""The rich observation against painted bytes and plain loops over the program."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mallocgame.game.compile_program import compile_program
from mallocgame.game.environment import Game, build_game
from mallocgame.game.observe import rich
from mallocgame.game.observe.static import PROSPECT_FEATURES, STATIC, TIMES, slot_prospects
from mallocgame.game.options import GameConfig
from mallocgame.game.state import ASK_DEPART, ASK_READ, State
from mallocgame.game.tables import EventRow, Tables
from mallocgame.synthetic.random_programs import random_program

CONFIG = GameConfig(observation="rich")
PROGRAMS = 24
SLICES = rich.SPEC.slices


@pytest.fixture(scope="module")
def tables() -> list[Tables]:
    programs = [random_program(np.random.default_rng(100 + s)) for s in range(PROGRAMS)]
    return [compile_program(program, CONFIG) for program in programs]


@pytest.fixture(scope="module")
def seen(tables) -> tuple[Game, list[tuple[State, np.ndarray]]]:
    """Games of all programs after 0, 3, 6, ... mostly accepting moves, and what they look like."""
    game = build_game([t.program for t in tables], CONFIG)
    state = jax.jit(Game.init)(game, jnp.arange(PROGRAMS))
    step, observe = jax.jit(Game.step), jax.jit(Game.observe)
    key = jax.random.key(0)
    pairs = []
    for move in range(16):
        if move % 3 == 0:
            pairs.append((jax.tree.map(np.asarray, state), np.asarray(observe(game, state))))
        key, pick = jax.random.split(key)
        yes = jnp.argmax(game.legal_actions(state), axis=-1)
        drop = jax.random.bernoulli(pick, 0.2, yes.shape)
        state, _ = step(game, state, jnp.where(drop, 2, yes))
    return game, pairs


def running(pairs):
    for state, observation in pairs:
        for lane in np.flatnonzero(~state.done):
            yield state, int(lane), observation[lane]


def entries(state: State, lane: int) -> list[dict[str, int]]:
    columns = {name: column[:, lane] for name, column in state.table.items()}
    rows = [{name: int(c[i]) for name, c in columns.items()} for i in range(len(columns["end"]))]
    return [row for row in rows if row["end"] > 0]


def binned(painted: np.ndarray) -> np.ndarray:
    """Share of each bin that is painted; painted has BINS cells a byte."""
    return painted.reshape(rich.BINS, -1).mean(axis=1)


def test_the_parts_cover_the_observation(seen):
    game, pairs = seen
    assert list(SLICES) == ["question", "profile", "footprint", "prospects", "window"]
    covered = np.concatenate([np.arange(part.start, part.stop) for part in SLICES.values()])
    assert covered.tolist() == list(range(rich.SPEC.size))
    assert game.spec.observation == rich.SPEC
    assert pairs[0][1].shape == (PROGRAMS, rich.SPEC.size)
    assert all(np.isfinite(observation).all() for _, observation in pairs)


def test_the_question_is_seen_as_in_the_plain_observation(seen, tables):
    _, pairs = seen
    plain = build_game([t.program for t in tables], GameConfig())
    for state, observation in pairs:
        there = {"prospects": plain.prospects, "stops": plain.stops}
        assert all(x.size == 0 for x in there.values())
        expected = np.asarray(plain.observe(jax.tree.map(jnp.asarray, state)))
        found = observation[:, SLICES["question"]]
        np.testing.assert_array_equal(found, expected[:, : found.shape[1]])


def test_the_profile_is_what_lies_in_memory_at_later_times(seen, tables):
    _, pairs = seen
    occupied = twice = 0
    for state, lane, observation in running(pairs):
        capacity = tables[state.program[lane]].capacity
        found = observation[SLICES["profile"]].reshape(len(TIMES), rich.BINS)
        for row, ahead in zip(found, TIMES, strict=True):
            # Two values share a place only where a group's result takes over.
            painted = np.zeros(capacity * rich.BINS, int)
            for entry in entries(state, lane):
                if entry["start"] <= state.slot[lane] + ahead < entry["end"]:
                    end = entry["offset"] + entry["size"]
                    painted[entry["offset"] * rich.BINS : end * rich.BINS] += 1
            np.testing.assert_allclose(row, np.minimum(binned(painted), 1), atol=1e-5)
            occupied += painted.any()
            twice += (painted > 1).any()
    assert occupied > 100 > 10 * twice


def test_the_footprint_is_where_the_value_in_question_lies_or_would_lie(seen, tables):
    _, pairs = seen
    kinds = set()
    for state, lane, observation in running(pairs):
        table = tables[state.program[lane]]
        row = EventRow(*table.events[state.event[lane]])
        painted = np.zeros(table.capacity * rich.BINS, bool)
        if state.question[lane] == ASK_DEPART:
            offsets = {e["offset"] for e in entries(state, lane) if e["value"] == row.value}
            offset = state_offset(state, lane, row.value)
            assert offset in offsets
        elif state.may_accept[lane]:
            offset = int(state.place[lane])
        else:
            offset = None
        if offset is not None:
            painted[offset * rich.BINS : (offset + row.size) * rich.BINS] = True
            kinds.add((int(state.question[lane]) == ASK_READ, bool(row.size)))
        np.testing.assert_allclose(observation[SLICES["footprint"]], binned(painted), atol=1e-5)
    assert (True, True) in kinds and (False, True) in kinds


def state_offset(state: State, lane: int, value: int) -> int:
    """The offset of the value's newest residency, the one that is up for departure."""
    mine = [e for e in entries(state, lane) if e["value"] == value]
    return max(mine, key=lambda e: e["end"])["offset"]


def test_prospects_count_what_is_alive_and_what_can_be_copied(tables):
    for table in tables:
        found = slot_prospects(table).reshape(-1, len(TIMES), len(PROSPECT_FEATURES))
        rows = [EventRow(*row) for row in table.events]
        for slot in range(0, len(table.slots), 5):
            for i, ahead in enumerate(TIMES):
                then = slot + ahead
                alive = {
                    r.value: r.size
                    for r in rows
                    if r.hold_until and not r.inert_arrival and r.slot <= then < r.hold_until
                }
                if then >= len(table.slots):
                    alive = {}
                share = np.log2(1 + sum(alive.values()) / table.capacity)
                assert found[slot, i, 0] == pytest.approx(share, abs=1e-5)
                idle = sum(max(0, row[4] - row[3]) for row in table.slots[slot:then].tolist())
                copies = np.log1p(10 * idle / table.capacity_ticks) / np.log(11)
                assert found[slot, i, 1] == pytest.approx(copies, abs=1e-5)
                reserved = table.slots[then, 6] if then < len(table.slots) else 0
                assert found[slot, i, 2] == pytest.approx(reserved / table.capacity, abs=1e-6)


def test_the_window_shows_the_stop_in_question_and_the_next_ones(seen, tables):
    game, pairs = seen
    same, grouped, held = 0, 0, 0
    for state, lane, observation in running(pairs):
        table = tables[state.program[lane]]
        tokens = observation[SLICES["window"]].reshape(1 + rich.WINDOW, rich.TOKEN)
        departs = state.question[lane] == ASK_DEPART
        asked = EventRow(*table.events[state.event[lane]])
        coming = int(state.cursor[lane]) + 1 - departs
        indices = [int(state.event[lane]), *range(coming, coming + rich.WINDOW)]
        groups = group_sets(table)
        for token, index in zip(tokens, indices, strict=True):
            extra = token[STATIC:]
            if index >= len(table.events):
                assert extra[5] == 0 and not token[:STATIC].any()
                continue
            row = EventRow(*table.events[index])
            np.testing.assert_array_equal(
                token[:STATIC], np.asarray(game.features[state.program[lane], index])
            )
            now = int(state.slot[lane])
            assert extra[0] == pytest.approx(
                np.log1p(10 * max(row.slot - now, 0) / 64) / np.log(11), abs=1e-5
            )
            is_held = any(
                e["value"] == row.value and e["start"] <= now < e["end"]
                for e in entries(state, lane)
            )
            assert bool(extra[1]) == is_held
            assert bool(extra[3]) == (row.value == asked.value)
            alias = groups.get(int(row.value), set())
            assert bool(extra[4]) == (int(asked.value) in alias)
            assert extra[5] == 1
            same += bool(extra[3])
            grouped += bool(extra[4]) and row.value != asked.value
            held += is_held
    assert same and grouped and held


def group_sets(table: Tables) -> dict[int, set[int]]:
    """The values of each value's alias group, by spreading along the pairs until nothing moves."""
    groups = {v: {v} for c in table.program.carried for v in (c.parameter, c.result)}
    moved = True
    while moved:
        moved = False
        for carried in table.program.carried:
            union = groups[carried.parameter] | groups[carried.result]
            for v in union:
                moved |= groups[v] != union
                groups[v] = union
    return groups
