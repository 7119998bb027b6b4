"""The observation, feature by feature, against the oracle and plain loops over the program.

It is one file, as all features are looked at in the same games.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mallocgame.game.compile_program import compile_program
from mallocgame.game.environment import Game, build_game
from mallocgame.game.observe.observation import (
    BACK,
    COMING_NAMES,
    NOW_FEATURES,
    QUESTION_NAMES,
    SPEC,
    TIME_FEATURES,
)
from mallocgame.game.observe.static import (
    AHEAD,
    COMING_FEATURES,
    RIVALS,
    STATIC_FEATURES,
    TIMES,
    densities,
    question_features,
)
from mallocgame.game.options import GameConfig
from mallocgame.game.tables import ASK_DEPART, INERT, LATER, QuestionRow, Tables
from mallocgame.oracle import COPY, DROP, NO_COPY, Oracle, Question
from mallocgame.program import Program
from mallocgame.relaxation.prices import Worth
from mallocgame.synthetic.random_programs import random_program
from tests.support.handmade import all_programs

CONFIG = GameConfig(inert_fraction=1e-3)
PROGRAMS = 20
SLOTS = 64  # that a game is padded to
SLICES = SPEC.slices
KINDS = ("read", "define", "depart")


def full_program() -> Program:
    """One that leaves no slot of the padding empty."""
    for seed in range(1000):
        rng = np.random.default_rng([41, seed])
        made = random_program(rng, instructions=SLOTS - seed % 9, values=12)
        if len(made.instructions) == SLOTS:
            return made
    raise AssertionError(f"no program of {SLOTS} slots")


@pytest.fixture(scope="module")
def tables() -> list[Tables]:
    random = [
        random_program(np.random.default_rng([40, seed]), instructions=30, values=14)
        for seed in range(PROGRAMS)
    ]
    programs = [full_program(), *random, *all_programs()]
    return [compile_program(program, CONFIG) for program in programs]


@pytest.fixture(scope="module")
def game(tables) -> Game:
    return build_game([t.program for t in tables], CONFIG)


@dataclasses.dataclass(frozen=True)
class Look:
    """A question of a game: what was seen, and what the oracle knew then.

    program: its number. asked: number of the question in the tables. now: the features that
    are expected, by name; None where a feature means nothing. used: bytes a slot. residents: the
    values in fast memory.
    """

    program: int
    asked: int
    seen: np.ndarray
    now: dict[str, float | None]
    used: list[int]
    residents: set[int]


@pytest.fixture(scope="module")
def looks(game, tables) -> list[Look]:
    """Every question of one game a program."""
    return list(_looks(game, tables))


def _looks(game: Game, tables: list[Tables]) -> Iterator[Look]:
    rng = np.random.default_rng(0)
    oracles = [Oracle(t.program, CONFIG) for t in tables]
    step, observe = jax.jit(Game.step), jax.jit(Game.observe)
    state = jax.jit(Game.init)(game, jnp.arange(len(tables)))
    while any(oracle.question for oracle in oracles):
        seen, asked = np.asarray(observe(game, state)), np.asarray(state.asked)
        assert seen.shape == (len(tables), SPEC.size) and np.isfinite(seen).all()
        actions = np.full(len(tables), DROP)
        for i, oracle in enumerate(oracles):
            if oracle.question is None:
                continue
            now = expected_now(oracle, oracle.question, tables[i])
            residents = set(oracle.residents())
            yield Look(i, int(asked[i]), seen[i], now, oracle.used, residents)
            weights = np.array(oracle.legal) * [0.6, 0.3, 0.2]
            actions[i] = rng.choice(3, p=weights / weights.sum())
            oracle.step(int(actions[i]))
        state, _ = step(game, state, jnp.asarray(actions))
    assert bool(state.done.all()) and np.isfinite(np.asarray(observe(game, state))).all()


def compress(x: float, scale: float) -> float:
    return float(np.log1p(max(x, 0) * scale) / np.log1p(scale))


def signed(share: float, table: Tables) -> float:
    """The worth of a yes as the observation shows it."""
    size = compress(abs(share) * len(table.questions), 10)
    return size if share > 0 else -size


def worth_of(table: Tables, kind: str, v: int, t: int) -> Worth:
    known = table.prices.stays if kind == "depart" else table.prices.arrivals
    return known.get((v, t), Worth(0, 0, 0))


def end_of_hold(oracle: Oracle, v: int, t: int) -> int:
    """Where a hold from t on ends; t + 1 without one."""
    loop = oracle.tables.loop_entered(v, t)
    if loop is not None:
        return oracle.program.loops[loop].exit + 1
    later = oracle.tables.next_read(v, t)
    return t + 1 if later is None else later + 1


def expected_now(oracle: Oracle, question: Question, table: Tables) -> dict[str, float | None]:
    """`NOW_FEATURES` of the oracle's question."""
    kind, v, t = question
    program, tables = oracle.program, oracle.tables
    departs, total, slots = kind == "depart", oracle.total_ticks, len(program.instructions)
    start, size, capacity = t + departs, tables.sizes[v], program.machine.fast_capacity_bytes
    moves = [oracle._move(question, action) for action in (COPY, NO_COPY)]
    stalls = [None if m is None else compress(1000 * m.stall / total, 10) for m in moves]
    fast = oracle._fast_accesses(t)
    elapsed, idle = tables.elapsed(t, fast)
    mine = (v, "write" if kind == "define" else "read")
    then, _ = tables.elapsed(t, fast | {mine})
    used, end = oracle.used, end_of_hold(oracle, v, t)
    room = capacity - used[start] - size
    over_hold = capacity - max(used[start:end], default=used[start]) - size
    left = [max(0, a - b) for a, b in zip(oracle.idle, oracle.taken, strict=True)]
    back = {n: sum(left[max(t - n, 0) : t]) for n in BACK}
    whole = max(capacity / program.machine.slow_bandwidth / tables.tick_s, 1)
    compute = int(np.floor(program.instructions[t].compute_s / tables.tick_s + 0.5))
    slow, weight = tables.all_slow[t], program.weights[t]
    stay = oracle.residents().get(v)
    waits = {m.waits for m in moves if m is not None}
    copies = kind == "read" and moves[0] is not None
    dirty = stay is not None and stay[2]
    worth, planned = worth_of(table, kind, v, t), table.prices.saved
    features: dict[str, float | None] = {
        "may_copy": oracle.legal[COPY],
        "may_hold": oracle.legal[NO_COPY],
        "waits": waits.pop(),
        "copy_stall": stalls[0],
        "hold_stall": stalls[1],
        "copy_slots": compress((t - moves[0].start) / 64, 10) if copies else None,
        "saving_now": 0 if departs else compress(1000 * weight * (elapsed - then) / total, 10),
        "idle_share": compress(idle / max(elapsed, 1), 1),
        "is_dirty": dirty,
        "resident_since": compress((t - stay[0]) / slots, 100) if departs and stay else 0,
        "room_now": room / capacity,
        "room_over_hold": over_hold / capacity,
        **{f"supply_of_{n}": compress(ticks / whole, 10) for n, ticks in back.items()},
        "demand_over_supply": compress(tables.demand[v] / max(back[64], 1), 1),
        "progress": t / slots,
        "saved": oracle.saved_ticks / total,
        "slot_time": 100 * slow * weight / total,
        "slot_excess": compress((slow - compute) / max(slow, 1), 1),
        "worth_now": signed(worth.dirty if departs and dirty else worth.clean, table),
        "to_be_saved": planned[start],
        "behind_plan": 10 * (planned[0] - planned[start] - oracle.saved_ticks / total),
    }
    if not copies and kind != "read":
        features["copy_slots"] = 0
    assert not waits and set(features) == set(NOW_FEATURES)
    return features


def part(look: Look, name: str) -> np.ndarray:
    shape = next(p.shape for p in SPEC.parts if p.name == name)
    return look.seen[SLICES[name]].reshape(shape)


def row_of(tables: list[Tables], look: Look) -> QuestionRow:
    return QuestionRow(*(int(x) for x in tables[look.program].questions[look.asked]))


def test_the_parts_cover_the_observation(game):
    assert list(SLICES) == ["question", "pressure", "coming"]
    covered = np.concatenate([np.arange(part.start, part.stop) for part in SLICES.values()])
    assert covered.tolist() == list(range(SPEC.size))
    assert game.spec.observation == SPEC
    shapes = [(len(QUESTION_NAMES),), (len(TIMES), len(TIME_FEATURES)), (AHEAD, len(COMING_NAMES))]
    assert [p.shape for p in SPEC.parts] == shapes
    for names in (QUESTION_NAMES, TIME_FEATURES, COMING_NAMES):
        assert len(set(names)) == len(names)
    assert QUESTION_NAMES[: len(COMING_FEATURES)] == COMING_FEATURES


@pytest.mark.parametrize("name", NOW_FEATURES)
def test_what_is_known_now_is_what_the_oracle_knows(looks, name):
    column = QUESTION_NAMES.index(name)
    pairs = [(part(look, "question")[column], look.now[name]) for look in looks]
    found, expected = np.array([p for p in pairs if p[1] is not None], float).T
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)
    assert len(np.unique(expected)) >= 2


def test_the_question_is_shown_as_it_is_known_before_the_game(looks, tables):
    for look in looks:
        known = question_features(tables[look.program])[look.asked, : len(STATIC_FEATURES)]
        np.testing.assert_array_equal(part(look, "question")[: len(STATIC_FEATURES)], known)


def plain_static(table: Tables) -> list[dict[str, float]]:
    """`STATIC_FEATURES` of each question but for the competition, from the oracle's tables."""
    program, rows = table.program, [QuestionRow(*row) for row in table.questions.tolist()]
    oracle = Oracle(program, CONFIG)
    known, slots, count = oracle.tables, len(program.instructions), len(rows)
    capacity = program.machine.fast_capacity_bytes
    whole = max(capacity / program.machine.slow_bandwidth / known.tick_s, 1)
    found = []
    for row in rows:
        v, t = row.value, row.slot
        end, value = end_of_hold(oracle, v, t), program.values[v]
        later, entered = known.wanted(v, t), known.loop_entered(v, t) is not None
        mine = [a for a in program.accesses if a.value == v]

        def saving(first: int, last: int, mine=mine) -> float:
            ticks = sum(known._worth(a) for a in mine if first <= a.instruction <= last)
            return ticks / known.all_slow_ticks

        distance, size = end - 1 - t if later else 0, known.sizes[v] / capacity
        per_size = max(size, 1e-9)
        found.append(
            {
                "size": compress(size, 100),
                "saving": compress(saving(t, t) * count, 10),
                "saving_of_hold": compress(saving(t + 1, end - 1) * count, 10),
                "density_of_hold": compress(
                    saving(t + 1, end - 1) / (per_size * max(end - 1 - t, 1)), 100
                ),
                "distance_to_read": compress(distance / slots, 100),
                "departs": row.kind == ASK_DEPART,
                "saving_after": compress(saving(t + 1, slots) * count, 10),
                "has_later_read": later,
                "density_of_access": compress(saving(t, t) / per_size, 100),
                "copy_time": compress(known.demand[v] / whole, 100),
                "area_of_hold": compress(size * distance / slots, 100),
                "must_be_kept": known.outlives_level(v, t),
                "is_input": value.is_input,
                "is_output": value.is_output,
                "weight": compress(program.weights[t] - 1, 1),
                "enters_loop": entered,
                "asks_read": KINDS[row.kind] == "read",
                "asks_define": KINDS[row.kind] == "define",
                "worth": signed(worth_of(table, KINDS[row.kind], v, t).clean, table),
                "worth_dirty": signed(worth_of(table, KINDS[row.kind], v, t).dirty, table),
                "planned": worth_of(table, KINDS[row.kind], v, t).planned,
                "rent_of_hold": compress(size * sum(table.prices.memory[t:end]) * count, 10),
            }
        )
    return found


COMPETITION = ("alive_over_hold", "rivals_over_hold")


@pytest.fixture(scope="module")
def known(tables) -> list[list[dict[str, float]]]:
    return [plain_static(table) for table in tables]


@pytest.mark.parametrize("name", [n for n in STATIC_FEATURES if n not in COMPETITION])
def test_what_is_known_before_the_game_is_in_the_program(tables, known, name):
    seen = set()
    for table, rows in zip(tables, known, strict=True):
        found = question_features(table)[:, STATIC_FEATURES.index(name)]
        expected = [float(row[name]) for row in rows]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        seen |= set(expected)
    assert len(seen) >= 2


def wanting(table: Tables) -> list[int]:
    """The questions whose hold is worth a question, and wants room."""
    rows = [QuestionRow(*row) for row in table.questions.tolist()]
    return [
        i
        for i, r in enumerate(rows)
        if r.kind == ASK_DEPART and r.flags & LATER and not r.flags & INERT
    ]


def load(table: Tables, who: list[int], slot: int) -> float:
    """Share of the capacity that the holds of some questions want in a slot."""
    rows = [QuestionRow(*table.questions[i].tolist()) for i in who]
    return sum(r.size for r in rows if r.slot <= slot < r.hold_end) / table.capacity


def rivals(table: Tables, number: int) -> list[int]:
    """Who saves more for its room than a question's hold; of equals who comes first."""
    _, density = densities(table)
    return [
        i
        for i in wanting(table)
        if density[i] > density[number] or (density[i] == density[number] and i < number)
    ]


def test_rivals_and_what_is_alive(tables):
    contested = 0
    for table in tables:
        features = question_features(table)
        named = dict(zip((*STATIC_FEATURES, *RIVALS), features.T, strict=True))
        slots = len(table.slots)
        for i in range(0, len(table.questions), 3):
            row = QuestionRow(*table.questions[i].tolist())
            against, hold = rivals(table, i), range(row.slot, row.hold_end)
            alive = np.mean([load(table, wanting(table), t) for t in hold])
            assert named["alive_over_hold"][i] == pytest.approx(compress(alive, 1), abs=1e-5)
            mean = np.mean([load(table, against, t) for t in hold])
            assert named["rivals_over_hold"][i] == pytest.approx(compress(mean, 1), abs=1e-5)
            for ahead in TIMES:
                then = row.slot + ahead
                share = load(table, against, then) if then < slots else 0
                found = named[f"rivals_in_{ahead}"][i]
                assert found == pytest.approx(compress(share, 1), abs=1e-5)
            contested += 0 < mean < alive
    assert contested > 50


def test_the_pressure_at_times_ahead(looks, tables):
    counts = dict.fromkeys(TIME_FEATURES, 0)
    for look in looks[::2]:
        table, row = tables[look.program], row_of(tables, look)
        oracle = Oracle(table.program, CONFIG)
        capacity, slots, prices = table.capacity, len(table.slots), table.prices
        weight = table.program.weights.__getitem__
        whole = max(capacity / table.program.machine.slow_bandwidth / oracle.tables.tick_s, 1)
        idle = [oracle.tables.elapsed(s, frozenset())[1] for s in range(slots)]
        for ahead, found in zip(TIMES, part(look, "pressure"), strict=True):
            then = row.slot + ahead
            inside = then < slots
            expected = {
                "used": look.used[then] / capacity if inside else 0,
                "rivals": compress(load(table, rivals(table, look.asked), then), 1) * inside,
                "alive": compress(load(table, wanting(table), then), 1) * inside,
                "supply": compress(sum(idle[row.slot : then]) / whole, 10),
                "memory_price": compress(prices.memory[then] * slots, 10) if inside else 0,
                "due_price": compress(prices.due[then] / weight(then), 1) if inside else 0,
                "released_price": compress(prices.released[then] / weight(then), 1)
                if inside
                else 0,
                "planned_use": prices.used[then] if inside else 0,
            }
            for name, number in zip(TIME_FEATURES, found, strict=True):
                assert number == pytest.approx(expected[name], abs=2e-5), (name, ahead)
                counts[name] += expected[name] > 0
    assert min(counts.values()) > 10


def test_coming_questions_are_this_one_and_the_next_ones(looks, tables, game):
    same, resident, ended = 0, 0, 0
    for look in looks:
        table, row = tables[look.program], row_of(tables, look)
        known = np.asarray(game.features[look.program])
        for k, token in enumerate(part(look, "coming")):
            static, extra = token[: len(COMING_FEATURES)], token[len(COMING_FEATURES) :]
            now = dict(zip(COMING_NAMES[len(COMING_FEATURES) :], extra, strict=True))
            number = look.asked + k
            if number >= len(table.questions):
                assert not static.any()
                assert now == {"distance": 1, "is_resident": 0, "same_value": 0}
                ended += 1
                continue
            other = QuestionRow(*table.questions[number].tolist())
            np.testing.assert_array_equal(static, known[number, : len(COMING_FEATURES)])
            distance = compress((other.slot - row.slot) / 64, 10)
            assert now["distance"] == pytest.approx(distance, abs=1e-5)
            assert bool(now["is_resident"]) == (other.value in look.residents)
            assert bool(now["same_value"]) == (other.value == row.value)
            same += other.value == row.value
            resident += other.value in look.residents
    assert min(same, resident, ended) > 50


def test_padding_changes_nothing(tables, game):
    longer = random_program(np.random.default_rng(7), instructions=90, values=80)
    padded = build_game([*(t.program for t in tables), longer], CONFIG)
    assert padded.slots.shape[2] > game.slots.shape[2] == SLOTS
    assert padded.num_values > game.num_values
    states = [jax.jit(Game.init)(g, jnp.arange(len(tables))) for g in (game, padded)]
    step, observe = jax.jit(Game.step), jax.jit(Game.observe)
    for _ in range(12):
        legal = game.legal_actions(states[0])
        seen = [np.asarray(observe(g, s)) for g, s in zip((game, padded), states, strict=True)]
        running = ~np.asarray(states[0].done)
        np.testing.assert_allclose(seen[0][running], seen[1][running], atol=1e-6)
        action = jnp.argmax(legal, axis=-1)
        states = [step(g, s, action)[0] for g, s in zip((game, padded), states, strict=True)]


def test_a_single_game_is_seen_as_in_a_batch(game):
    look = jax.jit(lambda game, index: game.observe(game.init(index)))
    batch = look(game, jnp.arange(3))
    for i in range(3):
        np.testing.assert_allclose(look(game, jnp.int32(i)), batch[i], atol=1e-7)
