"""Bytes per slot against plain loops over lists: single profiles and batches."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallocgame.game.profile import (
    BLOCK,
    Profile,
    add,
    fresh_profile,
    peak,
    put,
    put_one,
    subtract_block,
    take,
    take_one,
    used_at,
)

SLOTS = 4 * BLOCK
# One game, a batch, and two batch axes.
SHAPES: tuple[tuple[int, ...], ...] = ((), (3,), (2, 3))
NAMES = {"fresh": fresh_profile, "add": add, "peak": peak, "subtract": subtract_block}
jitted = {name: jax.jit(function) for name, function in NAMES.items()}
drawn = functools.partial(settings, max_examples=60, derandomize=True, deadline=None, database=None)
# The ends of ranges: anywhere, but often where a block begins or ends.
ends = st.integers(0, SLOTS) | st.sampled_from([0, 1, 15, 16, 17, 32, 48, 63, 64])
seeds = st.integers(0, 2**32 - 1)


def everything(profile: Profile) -> np.ndarray:
    """The bytes of every slot [T, ...]; asserts that each block's `top` is its peak."""
    slots = jnp.arange(SLOTS).reshape((-1,) + (1,) * (profile.slots.ndim - 1))
    slots = jnp.broadcast_to(slots, profile.slots.shape)
    used = np.asarray(used_at(profile, slots))
    blocks = used.reshape(-1, BLOCK, *used.shape[1:])
    np.testing.assert_array_equal(profile.top, blocks.max(axis=1))
    return used


def lanes(plain: np.ndarray) -> list[np.ndarray]:
    """The columns of [T, ...], one a game, as views."""
    return list(plain.reshape(SLOTS, -1).T)


def ranges(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends, a tenth of them the wrong way round; empty ones are among them."""
    ends = np.array([0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK, SLOTS - 1, SLOTS])
    chosen = np.where(
        rng.random((2, *shape)) < 0.5, rng.choice(ends, (2, *shape)), rng.integers(0, SLOTS + 1)
    )
    first, last = np.sort(chosen, axis=0).astype(np.int32)
    wrong = rng.random(shape) < 0.1
    return np.where(wrong, last, first), np.where(wrong, first, last)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@drawn()
@given(seed=seeds)
def test_sums_and_peaks_are_those_of_plain_loops(shape: tuple[int, ...], seed: int):
    rng = np.random.default_rng(seed)
    plain = rng.integers(0, 100, (SLOTS, *shape)).astype(np.int32)
    profile = jitted["fresh"](jnp.asarray(plain))
    for _ in range(6):
        start, end = ranges(rng, shape)
        size = rng.integers(-20, 100, shape).astype(np.int32)
        profile = jitted["add"](profile, start, end, size)
        for column, a, b, n in zip(lanes(plain), start.flat, end.flat, size.flat, strict=True):
            for t in range(a, b):
                column[t] += n
        np.testing.assert_array_equal(everything(profile), plain)
        start, end = ranges(rng, shape)
        # The least that is found is 0: bytes in use are never less.
        expected = [
            max([0, *(int(column[t]) for t in range(a, b))])
            for column, a, b in zip(lanes(plain), start.flat, end.flat, strict=True)
        ]
        found = np.asarray(jitted["peak"](profile, start, end))
        assert found.shape == shape and found.ravel().tolist() == expected


@drawn()
@given(start=ends, end=ends, size=st.integers(0, 50), low=ends, high=ends)
def test_ranges_at_the_ends_of_blocks(start: int, end: int, size: int, low: int, high: int):
    plain = (np.arange(SLOTS, dtype=np.int32) * 7) % 31
    profile = jitted["add"](
        jitted["fresh"](jnp.asarray(plain)), np.int32(start), np.int32(end), np.int32(size)
    )
    for t in range(start, end):
        plain[t] += size
    np.testing.assert_array_equal(everything(profile), plain)
    found = int(jitted["peak"](profile, np.int32(low), np.int32(high)))
    assert found == max([0, *plain[low:high].tolist()])


def test_all_ranges_of_a_short_profile():
    """Every range of two blocks at once, one a game."""
    pairs = [(a, b) for a in range(2 * BLOCK + 1) for b in range(2 * BLOCK + 1)]
    start, end = np.array(pairs, np.int32).T
    plain = np.arange(2 * BLOCK, dtype=np.int32)[:, None] ** 2 % 23
    plain = np.repeat(plain, len(pairs), axis=1)
    profile = fresh_profile(jnp.asarray(plain))
    found = np.asarray(peak(profile, start, end))
    assert found.tolist() == [max([0, *plain[a:b, i].tolist()]) for i, (a, b) in enumerate(pairs)]
    profile = add(profile, start, end, jnp.full(len(pairs), 100, jnp.int32))
    slots = np.repeat(np.arange(2 * BLOCK)[:, None], len(pairs), axis=1)
    inside = (slots >= start) & (slots < end)
    np.testing.assert_array_equal(used_at(profile, jnp.asarray(slots)), plain + 100 * inside)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@drawn(max_examples=30)
@given(seed=seeds)
def test_a_block_is_subtracted_from(shape: tuple[int, ...], seed: int):
    rng = np.random.default_rng(seed)
    plain = rng.integers(100, 200, (SLOTS, *shape)).astype(np.int32)
    whole = jnp.full(shape, 30, jnp.int32)
    # What was added to whole blocks is still there.
    profile = jitted["fresh"](jnp.asarray(plain))
    profile = jitted["add"](profile, 0 * whole, 0 * whole + SLOTS, whole)
    plain += 30
    # The last number is that of a block behind the end, of which nothing is left.
    block = rng.integers(0, SLOTS // BLOCK + 1, shape).astype(np.int32)
    size = rng.integers(0, 100, (BLOCK, *shape)).astype(np.int32)
    profile = jitted["subtract"](profile, block, size)
    for column, b, sizes in zip(lanes(plain), block.flat, size.reshape(BLOCK, -1).T, strict=True):
        for inner in range(BLOCK):
            if b * BLOCK + inner < SLOTS:
                column[b * BLOCK + inner] -= sizes[inner]
    np.testing.assert_array_equal(everything(profile), plain)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_entries_are_taken_within_the_column_and_put_only_there(shape: tuple[int, ...]):
    rng = np.random.default_rng(0)
    column = rng.integers(0, 100, (10, *shape)).astype(np.int32)
    for _ in range(20):
        # Six entries of each game, distinct, some of them before the first one or behind the last.
        count = int(np.prod(shape))
        index = np.stack([rng.permutation(np.arange(-4, 15))[:6] for _ in range(count)], axis=1)
        index = index.reshape(6, *shape).astype(np.int32)
        new = rng.integers(100, 200, index.shape).astype(np.int32)
        flat, rows = column.reshape(10, -1), index.reshape(6, -1)
        # Of what lies behind the column the last entry is taken.
        expected = [[int(flat[min(abs(i), 9), b]) for b, i in enumerate(row)] for row in rows]
        found = np.asarray(take(jnp.asarray(column), jnp.abs(index)))
        assert found.reshape(6, -1).tolist() == expected
        one = np.asarray(take_one(jnp.asarray(column), jnp.abs(index[0])))
        assert one.shape == shape and one.ravel().tolist() == expected[0]
        after = np.asarray(put(jnp.asarray(column), jnp.asarray(index), jnp.asarray(new)))
        plain = flat.copy()
        for row, values in zip(rows, new.reshape(6, -1), strict=True):
            for b, i in enumerate(row):
                if 0 <= i < 10:
                    plain[i, b] = values[b]
        np.testing.assert_array_equal(after.reshape(10, -1), plain)


def test_one_entry_is_put_where_it_is_said():
    column = jnp.zeros((4, 5), jnp.int32)
    index, where = jnp.array([0, 1, -1, 4, 3]), jnp.array([True, False, True, True, True])
    found = np.asarray(put_one(column, index, jnp.arange(1, 6), where))
    assert found.nonzero()[0].tolist() == [0, 3] and found[0, 0] == 1 and found[3, 4] == 5
    # One number for all, and a single game.
    assert np.asarray(put_one(column, index, jnp.int32(7), where)).sum() == 14
    single = put_one(jnp.zeros(4, jnp.int32), jnp.int32(2), jnp.int32(9), jnp.bool_(True))
    assert single.tolist() == [0, 0, 9, 0]
