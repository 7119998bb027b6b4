"""Copies between the memories: what they take from slots, and what they make wait.

Sections are those of docs/game.md.  Slots are looked at a block at a time, in a loop that ends when
every game of the batch has what it needs.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from mallocgame.game.arrays import GameArrays
from mallocgame.game.profile import (
    BLOCK,
    add,
    put,
    put_one,
    subtract_block,
    take,
    take_one,
    used_at,
)
from mallocgame.game.state import CLEAN, LEAVING, State
from mallocgame.game.tables import QuestionRow, SlotRow
from mallocgame.program.latency import elapsed_time, supply_time

_COMPUTE, _WEIGHT = SlotRow._fields.index("compute"), SlotRow._fields.index("weight")


class Reach(NamedTuple):
    """How far a prefetch reaches back, int32 [...]: its first slot, and the ticks it misses."""

    begin: Array
    missing: Array


def reach_back(state: State, row: QuestionRow, capacity: Array, mask: Array) -> Reach:
    """The prefetch that COPY would make (4, Prefetch)."""
    reach, _ = _back(state, row, capacity, mask)
    return reach


def take_back(state: State, row: QuestionRow, capacity: Array, mask: Array) -> State:
    """Takes that prefetch from the slots."""
    _, left = _back(state, row, capacity, mask, takes=True)
    return state.replace(left=left)


def _back(
    state: State, row: QuestionRow, capacity: Array, mask: Array, takes: bool = False
) -> tuple[Reach, Array]:
    earliest = jnp.maximum(
        jnp.maximum(row.segment, row.slow_from), take_one(state.until, row.value)
    )

    def goes_on(carry: tuple) -> Array:
        return jnp.any(carry[3])

    def look(carry: tuple) -> tuple:
        left, last, reach, active = carry
        slots = last - _steps(last)
        fits = (slots >= earliest) & (used_at(state.used, slots) + row.size <= capacity)
        fits = _unbroken(fits) & active
        ticks = take(left, slots)
        taken, missing = _taken(ticks, fits, reach.missing)
        begin = jnp.min(jnp.where(taken > 0, slots, reach.begin), axis=0)
        if takes:
            left = put(left, slots, ticks - taken)
        return left, last - BLOCK, Reach(begin, missing), fits[-1] & (missing > 0)

    reach = Reach(row.slot, row.demand)
    carry = (state.left, row.slot - 1, reach, mask & (row.demand > 0))
    left, _, reach, _ = lax.while_loop(goes_on, look, carry)
    return reach, left


def write_back(state: State, row: QuestionRow, capacity: Array, mask: Array) -> State:
    """Writes back the dirty values that leave (5)."""
    t = row.slot
    low = jnp.maximum(take_one(state.written, row.value), row.segment) + 1

    def goes_on(carry: tuple) -> Array:
        return jnp.any(carry[-1])

    def look(carry: tuple) -> tuple:
        left, leaving, first, missing, last, limit, active = carry
        slots = first + _steps(first)
        fits = (slots <= t) | (used_at(state.used, slots) + row.size <= capacity)
        fits &= slots < row.limit
        open_, active_ = _unbroken(fits) & active, active
        ticks = take(left, slots)
        taken, rest = _taken(ticks, open_, missing)
        # A slot after t is held if the copy is not done before it.
        before = missing - (jnp.cumsum(taken, axis=0) - taken)
        held = open_ & (slots > t) & (before > 0)
        left = put(left, slots, ticks - taken)
        leaving = put(leaving, slots, take(leaving, slots) + jnp.where(held, row.size, 0))
        last = jnp.max(jnp.where(taken > 0, slots, last), axis=0)
        ended = active_ & ~open_[-1]
        limit = jnp.where(ended, first + jnp.sum(open_, axis=0), limit)
        return left, leaving, first + BLOCK, rest, last, limit, open_[-1] & (rest > 0)

    carry = (
        state.left, state.leaving, low, jnp.where(mask, row.demand, 0), low - 1, row.limit,
        mask & (row.demand > 0),
    )  # fmt: skip
    left, leaving, _, missing, last, limit, _ = lax.while_loop(goes_on, look, carry)
    done = jnp.where(missing > 0, limit, last + 1)
    end = jnp.maximum(done, t + 1)
    return state.replace(
        left=left,
        leaving=leaving,
        used=add(state.used, t + 1, end, jnp.where(mask, row.size, 0)),
        saved=state.saved - jnp.where(mask, row.weight * missing, 0),
        frontier=jnp.where(mask & (end > t + 1), jnp.maximum(state.frontier, end), state.frontier),
        until=put_one(state.until, row.value, end, mask),
        written=put_one(state.written, row.value, jnp.where(end > t + 1, LEAVING, CLEAN), mask),
        copied=jnp.where(mask, done, state.copied),
    )


def look_past_write_backs(
    arrays: GameArrays, state: State, start: Array, end: Array, mask: Array
) -> tuple[Array, Array]:
    """What it would be to wait for write-backs (4): the peak of [start, end) up to the last one's
    end without them, in bytes, and the ticks that they were still to take."""

    def goes_on(carry: tuple) -> Array:
        return jnp.any(mask & (carry[0] < state.frontier))

    def look(carry: tuple) -> tuple:
        first, most, ticks = carry
        slots = first + _steps(first)
        ahead = mask & (slots < state.frontier)
        used = used_at(state.used, slots) - take(state.leaving, slots)
        most = jnp.maximum(most, jnp.max(jnp.where(ahead & (slots < end), used, 0), axis=0))
        taken = _idle(arrays, state, slots) - take(state.left, slots)
        return first + BLOCK, most, ticks + jnp.sum(jnp.where(ahead, taken, 0), axis=0)

    zero = jnp.zeros_like(start)
    _, most, ticks = lax.while_loop(goes_on, look, (start, zero, zero))
    return most, ticks


def end_write_backs(arrays: GameArrays, state: State, end: Array, mask: Array) -> State:
    """Ends the write-backs in progress at the slots `end` [...] and gives back what they were still
    to take (4); the stall for that is the caller's."""

    def goes_on(carry: tuple[State, Array]) -> Array:
        return jnp.any(mask & (carry[1] * BLOCK < carry[0].frontier))

    def look(carry: tuple[State, Array]) -> tuple[State, Array]:
        state, block = carry
        slots = block * BLOCK + _steps(block)
        ahead = mask & (slots >= end) & (slots < state.frontier)
        leaving, left = take(state.leaving, slots), take(state.left, slots)
        weight = _column(arrays, state, slots, _WEIGHT)
        overdraft = jnp.where(ahead, weight * jnp.maximum(-left, 0), 0)
        idle = _idle(arrays, state, slots)
        state = state.replace(
            used=subtract_block(state.used, block, jnp.where(ahead, leaving, 0)),
            leaving=put(state.leaving, slots, jnp.where(ahead, 0, leaving)),
            left=put(state.left, slots, jnp.where(ahead, idle, left)),
            saved=state.saved + jnp.sum(overdraft, axis=0),
        )
        return state, block + 1

    state, _ = lax.while_loop(goes_on, look, (state, end // BLOCK))
    ended = mask & (state.written == LEAVING) & (state.until > end)
    return state.replace(
        until=jnp.where(ended, end, state.until),
        frontier=jnp.where(mask, jnp.minimum(state.frontier, end), state.frontier),
    )


def _steps(like: Array) -> Array:
    """0, 1, ..., BLOCK - 1 along a new first axis."""
    return jnp.arange(BLOCK).reshape((BLOCK,) + (1,) * like.ndim)


def _unbroken(fits: Array) -> Array:
    """Which of [K, ...] hold, and all before them."""
    return jnp.cumsum(~fits, axis=0) == 0


def _taken(left: Array, open_: Array, demand: Array) -> tuple[Array, Array]:
    """Takes a demand [...] from slots [K, ...] in their order; also what is missing then."""
    supply = jnp.where(open_, jnp.maximum(left, 0), 0)
    before = jnp.cumsum(supply, axis=0) - supply
    taken = jnp.clip(demand - before, 0, supply)
    return taken, demand - jnp.sum(taken, axis=0)


def _column(arrays: GameArrays, state: State, slots: Array, column: int) -> Array:
    return arrays.slots.at[column, state.program, slots].get(mode="clip")


def _idle(arrays: GameArrays, state: State, slots: Array) -> Array:
    """Idle ticks of slots [K, ...], whoever takes them."""
    compute = _column(arrays, state, slots, _COMPUTE)
    elapsed = elapsed_time(compute, take(state.read, slots), take(state.write, slots), jnp)
    return supply_time(elapsed, take(state.bus, slots), jnp)
