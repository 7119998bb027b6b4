"""The host packer's kernels one by one, each against plain loops over bytes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mallocgame.packing.greedy import best_fit
from mallocgame.packing.problem import PackingProblem
from mallocgame.packing.repair import _below, repair
from mallocgame.packing.tables import Items, items_in, tables_of

SEEDS = range(60)
MOVES = 25  # of local search in each problem


def crowded(seed: int) -> tuple[Items, int]:
    """Up to 12 items, many of which meet, in less room than they need; and the limit in units."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 13))
    lower = rng.integers(0, 6, n)
    upper = lower + rng.integers(1, 5, n)
    size = rng.integers(1, 8, n)
    floor = np.where(rng.random(n) < 0.3, rng.integers(0, 6, n), 0)
    align = rng.choice([1, 1, 2, 3, 4], n)
    problem = PackingProblem(
        int(rng.integers(9, 18)), size, floor, np.arange(n), lower, upper, align
    )
    tables = tables_of(problem)
    order = rng.permutation(len(tables.size))
    return items_in(tables, order, np.arange(1, len(order) + 1)), tables.limit


def meetings(items: Items) -> list[set[int]]:
    """Of each item the others that are alive together with it."""
    sections = [
        set(items.section[items.section_at[j] : items.section_at[j + 1]].tolist())
        for j in range(len(items.size))
    ]
    numbers = range(len(sections))
    return [{j for j in numbers if j != i and sections[i] & sections[j]} for i in numbers]


def bytes_of(items: Items, offset: np.ndarray, j: int) -> set[int]:
    """The bytes that item j takes at its offset; none without a place."""
    return set(range(offset[j], offset[j] + items.size[j])) if offset[j] >= 0 else set()


def smallest_gap(items: Items, offset: np.ndarray, i: int, met: set[int], limit: int) -> int:
    """The bottom of the smallest gap that holds item i, the lowest of equal ones; -1 without."""
    taken = set().union(*(bytes_of(items, offset, j) for j in met))
    found = []
    low = int(items.floor[i])
    while low < limit:
        if low in taken or low % items.align[i]:
            low += 1
            continue
        end = low
        while end < limit and end not in taken:
            end += 1
        if end - low >= items.size[i]:
            found.append((end - low, low))
        low = end
    return min(found)[1] if found else -1


def test_each_item_lies_in_the_smallest_gap_that_holds_it():
    missing = apart = 0
    for seed in SEEDS:
        items, limit = crowded(seed)
        meets = meetings(items)
        order = np.random.default_rng([1, seed]).permutation(len(items.size))
        expected = np.full(len(order), -1)
        for i in order.tolist():
            expected[i] = smallest_gap(items, expected, i, meets[i], limit)
        # What was in it before must not matter.
        offset = np.random.default_rng(seed).integers(-3, limit, len(order))
        best_fit(items, order, limit, offset)
        assert offset.tolist() == expected.tolist(), seed
        missing += int((offset < 0).sum())
        apart += len(set(offset.tolist()) - {0, -1})
    assert missing > 50 and apart > 50


def places(items: Items, now: np.ndarray, i: int, met: set[int], limit: int) -> dict[int, set]:
    """What item i would hit at each of its offsets."""
    size = int(items.size[i])
    there = {j: bytes_of(items, now, j) for j in met}
    return {
        low: {j for j in met if there[j] & set(range(low, low + size))}
        for low in range(int(items.floor[i]), limit - size + 1)
        if low % items.align[i] == 0
    }


def test_a_move_puts_an_item_where_it_hits_the_least_and_takes_that_out():
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        items, limit = crowded(seed)
        meets = meetings(items)
        n = len(items.size)
        now, best = np.full(n, -1), np.full(n, -1)
        weight, draw = np.ones(n), np.array([seed + 1])
        least = n
        for _ in range(MOVES):
            before, heavy = now.copy(), weight.copy()
            missing = np.flatnonzero(before < 0)
            made = repair(items, limit, now, best, weight, draw, 1)
            assert made == min(len(missing), 1)
            entered = [i for i in missing.tolist() if now[i] >= 0]
            if not entered:
                # Nothing is missing, or one was drawn that has no place at all.
                stuck = [i for i in missing if not places(items, before, i, meets[i], limit)]
                assert stuck or not len(missing)
                seen["stuck"] += bool(stuck)
                np.testing.assert_array_equal(now, before)
                continue
            (i,) = entered
            options = places(items, before, i, meets[i], limit)
            hit = options[int(now[i])]
            least_cost = min(heavy[list(met)].sum() for met in options.values())
            assert heavy[list(hit)].sum() == least_cost, (seed, i)
            expected = before.copy()
            expected[i], expected[list(hit)] = now[i], -1
            np.testing.assert_array_equal(now, expected)
            heavy[i] += bool(hit)
            np.testing.assert_array_equal(weight, heavy)
            seen["hits"] += bool(hit)
            seen["hits many"] += len(hit) > 1
            left = int((now < 0).sum())
            if left < least:
                least = left
                np.testing.assert_array_equal(best, now)
            assert (best < 0).sum() == least
    assert min(seen[event] for event in ("stuck", "hits", "hits many")) > 20, seen


def test_many_moves_keep_a_packing_and_end_when_nothing_is_missing():
    ended = 0
    for seed in SEEDS:
        items, limit = crowded(seed)
        meets = meetings(items)
        n = len(items.size)
        now, best = np.full(n, -1), np.full(n, -1)
        made = repair(items, limit, now, best, np.ones(n), np.array([seed + 1]), 40)
        assert made == 40 or (now >= 0).all()
        ended += made < 40
        assert (best < 0).sum() <= (now < 0).sum()
        for offset in (now, best):
            taken = [bytes_of(items, offset, j) for j in range(n)]
            assert not any(taken[i] & taken[j] for i in range(n) for j in meets[i])
    assert ended > 5


def test_what_is_missing_and_equal_places_are_drawn():
    """Two items of one size and room for one: each enters, at either end of what is free."""
    problem = PackingProblem(5, [2, 2], [0, 0], [0, 1], [0, 0], [1, 1])
    items = items_in(tables_of(problem), np.arange(2), np.arange(2))
    limit = tables_of(problem).limit
    seen = Counter()
    draw = np.array([1])
    for _ in range(200):
        now, best = np.full(2, -1), np.full(2, -1)
        repair(items, limit, now, best, np.ones(2), draw, 1)
        (i,) = np.flatnonzero(now >= 0).tolist()
        seen[i, int(now[i])] += 1
    assert set(seen) == {(i, low) for i in (0, 1) for low in (0, limit - int(items.size[0]))}
    assert min(seen.values()) > 25, seen


def test_equal_places_are_on_the_floor_under_the_limit_and_beside_what_is_there():
    """An item of 2 units, and one that lies at [6, 8) of 12: four places hit nothing."""
    problem = PackingProblem(24, [4, 4, 2], [0, 0, 0], [0, 1, 2], [0, 0, 1], [1, 1, 2])
    tables = tables_of(problem)
    items = items_in(tables, np.arange(3), np.arange(3))
    seen = Counter()
    draw = np.array([1])
    for _ in range(200):
        now = np.array([-1, 6, 0])
        repair(items, tables.limit, now, now.copy(), np.ones(3), draw, 1)
        assert now[1:].tolist() == [6, 0]
        seen[int(now[0])] += 1
    assert set(seen) == {0, 4, 8, tables.limit - 2} and min(seen.values()) > 20, seen


@pytest.mark.parametrize("bound", [1, 2, 3, 7])
def test_draws_are_those_of_the_generator_and_even(bound):
    draw, state = np.array([123456789]), 123456789
    count = Counter()
    for _ in range(3000):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        found = _below(bound, draw)
        assert found == (state >> 32) % 2**31 % bound
        count[found] += 1
    assert set(count) == set(range(bound)) and min(count.values()) > 0.85 * 3000 / bound
