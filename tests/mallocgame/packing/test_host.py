"""The host packer against brute force, known answers, and public instances without slack."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import numpy as np
import pytest

from mallocgame.judge.minimalloc import read_csv
from mallocgame.packing.generator import cut_problem
from mallocgame.packing.host import compile_kernels, pack
from mallocgame.packing.problem import PackingProblem, check, live_bytes, simple_problem
from mallocgame.packing.search import INFEASIBLE, SOLVED, fresh_state, search
from mallocgame.packing.tables import items_in, tables_of

INSTANCES = os.environ.get("MALLOCGAME_MINIMALLOC")


def feasible(problem: PackingProblem) -> bool:
    """Brute force: every offset of every item, in plain loops."""
    n = len(problem.size)
    alive = [
        {
            s
            for k in np.flatnonzero(problem.item == i)
            for s in range(problem.lower[k], problem.upper[k])
        }
        for i in range(n)
    ]
    choices = [
        [
            low
            for low in range(problem.floor[i], problem.capacity - problem.size[i] + 1)
            if low % problem.alignment[i] == 0
        ]
        for i in range(n)
    ]

    def meet(i: int, j: int, at: tuple[int, ...]) -> bool:
        apart = at[i] + problem.size[i] <= at[j] or at[j] + problem.size[j] <= at[i]
        return not apart and bool(alive[i] & alive[j])

    def extend(at: tuple[int, ...]) -> bool:
        i = len(at)
        if i == n:
            return True
        return any(
            not any(meet(i, j, (*at, low)) for j in range(i)) and extend((*at, low))
            for low in choices[i]
        )

    return extend(())


def tiny(seed: int) -> PackingProblem:
    """Up to 6 items with 10 intervals; the capacity is about what they need."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 7))
    item = np.concatenate([np.arange(n), rng.integers(0, n, 10 - n)])
    lower = rng.integers(0, 12, 10)
    upper = lower + rng.integers(1, 5, 10)
    size = rng.integers(1, 6, n)
    floor = np.where(rng.random(n) < 0.2, rng.integers(0, 4, n), 0)
    needs = live_bytes(PackingProblem(0, size, floor, item, lower, upper))
    return PackingProblem(needs - int(rng.random() < 0.1), size, floor, item, lower, upper)


def aligned(seed: int) -> PackingProblem:
    """A tiny problem with alignments, and with some room for them."""
    rng, plain = np.random.default_rng([1, seed]), tiny(seed)
    align = rng.choice([1, 2, 3, 4, 6], len(plain.size))
    capacity = plain.capacity + int(rng.integers(0, 4))
    scale = int(rng.choice([1, 4]))  # at 4 the sizes themselves keep some of them
    return PackingProblem(
        capacity * scale, plain.size * scale, plain.floor * scale,
        plain.item, plain.lower, plain.upper, align,
    )  # fmt: skip


TINY = [tiny(seed) for seed in range(120)] + [aligned(seed) for seed in range(120)]


def test_tiny_problems_are_packed_exactly_if_they_can_be():
    answers = [feasible(p) for p in TINY]
    roomy = [live_bytes(p) <= p.capacity for p in TINY]
    assert sum(answers) > 120 and sum(roomy) - sum(answers) > 10
    for problem, answer in zip(TINY, answers, strict=True):
        packed = pack(problem, 2.0)
        assert (not packed.unplaced) == answer
        assert (check(problem, packed.offsets) is None) == answer


def test_the_complete_search_alone_agrees_with_brute_force():
    for seed, problem in enumerate(TINY):
        tables = tables_of(problem)
        order = np.random.default_rng(seed).permutation(len(tables.size))
        items = items_in(tables, order, np.arange(1, len(order) + 1) * 1_000_003)
        state = fresh_state(items, tables.sections, 10_000)
        outcome, _ = search(items, state, tables.limit, 10_000)
        assert outcome == (SOLVED if feasible(problem) else INFEASIBLE)
        if outcome == SOLVED:
            offsets = np.empty(len(order), np.int64)
            offsets[order] = state.offset * tables.unit
            assert check(problem, offsets) is None


def test_an_items_twin_is_the_last_one_before_it_that_is_alike():
    problem = simple_problem(32, [4, 4, 8, 4, 4], [0, 0, 0, 0, 2], [2, 2, 2, 2, 3])
    items = items_in(tables_of(problem), np.arange(5), np.zeros(5, np.int64))
    assert items.twin.tolist() == [-1, 0, -1, 1, -1]


def test_the_tables_are_those_of_plain_sets():
    twins = 0
    for seed, problem in enumerate(TINY):
        rng, tables = np.random.default_rng(seed), tables_of(problem)
        order = rng.permutation(len(tables.size))
        items = items_in(tables, order, np.zeros(len(order), np.int64))
        rows = list(zip(problem.item, problem.lower, problem.upper, strict=True))
        numbers = tables.number[order].tolist()
        alive = [{s for i, a, b in rows if i == n for s in range(a, b)} for n in numbers]
        slots = {frozenset(i for i, held in enumerate(alive) if s in held) for s in range(20)}
        sections: dict[int, set[int]] = {s: set() for s in range(tables.sections)}
        seen: list[tuple] = []
        for i, held in enumerate(alive):
            assert tables.slots[order[i]] == len(held)
            of_i = items.section[items.section_at[i] : items.section_at[i + 1]].tolist()
            assert of_i == sorted(set(of_i))
            assert items.left[i] <= of_i[0] and of_i[-1] < items.right[i]
            for s in of_i:
                sections[s].add(i)
            meets = [j for j, other in enumerate(alive) if j != i and held & other]
            assert (
                items.neighbour[items.neighbour_at[i] : items.neighbour_at[i + 1]].tolist() == meets
            )
            like = items.size[i], items.floor[i], items.align[i], of_i
            twin = max((j for j, other in enumerate(seen) if other == like), default=-1)
            seen.append(like)
            assert items.twin[i] == twin
            twins += twin >= 0
        assert {frozenset(s) for s in sections.values()} <= slots
        assert all(any(here <= kept for kept in sections.values()) for here in slots)
    assert twins > 5


OPTIONS = [{}, {"gaps": 0.2}, {"floors": 3}, {"pairs": 6}, {"floors": 2, "pairs": 5, "gaps": 0.1}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_problems_without_slack_are_solved(options):
    for seed, pieces in itertools.product(range(4), (12, 30, 60)):
        problem, _ = cut_problem(seed, pieces, **options)
        packed = pack(problem, 30.0, seed)
        assert check(problem, packed.offsets) is None
        assert packed.unplaced == ()


def test_what_cannot_be_placed_is_reported_and_the_rest_is_placed():
    """Two of the three long items fit; item 3 is larger than memory; item 4 takes no room."""
    size, lower, upper = [4, 4, 4, 99, 0], [0, 0, 0, 8, 0], [8, 8, 8, 9, 8]
    problem = simple_problem(8, size, lower, upper)
    packed = pack(problem, 5.0)
    assert len(packed.unplaced) == 2 and 3 in packed.unplaced
    assert set(packed.unplaced) == set(np.flatnonzero(packed.offsets == -1))
    rest = simple_problem(8, np.where(packed.offsets < 0, 0, size), lower, upper)
    assert check(rest, np.maximum(packed.offsets, 0)) is None


def test_a_problem_with_room_enough_but_no_packing_is_recognised():
    """The search proves it, and local search stops of itself: no time is waited for."""
    problem = next(p for p in TINY if live_bytes(p) <= p.capacity and not feasible(p))
    packed = pack(problem, 60.0)
    assert packed.unplaced and packed.seconds < 30


def test_nothing_to_place():
    packed = pack(simple_problem(0, [0, 3], [0, 2], [4, 2]))
    assert list(packed.offsets) == [0, 0] and packed.unplaced == ()
    assert len(pack(simple_problem(8, [], [], [])).offsets) == 0


def test_the_same_seed_gives_the_same_answer():
    problem, _ = cut_problem(1, 100)
    one, two, other = pack(problem, 60.0, 3), pack(problem, 60.0, 3), pack(problem, 60.0, 4)
    np.testing.assert_array_equal(one.offsets, two.offsets)
    assert one.tries == two.tries > 2
    assert (one.offsets != other.offsets).any()


def test_the_budget_is_kept():
    compile_kernels()
    problem, _ = cut_problem(0, 400)
    begin = time.perf_counter()
    packed = pack(problem, 1.0)
    assert packed.unplaced
    assert time.perf_counter() - begin < 2.0  # a busy machine may be late


@pytest.mark.skipif(INSTANCES is None, reason="MALLOCGAME_MINIMALLOC names no folder")
@pytest.mark.parametrize("name", "ABCDE")
def test_public_instances_without_slack_are_solved(name):
    buffers = read_csv(Path(str(INSTANCES)) / f"{name}.1048576.csv")
    problem = simple_problem(
        1 << 20,
        [b.size for b in buffers],
        [b.lower for b in buffers],
        [b.upper for b in buffers],
    )
    packed = pack(problem, 60.0)  # 10 s are enough on a core of one's own
    assert check(problem, packed.offsets) is None
