"""The rules, for one game; `games.loops.game.environment` maps them over batches.

`t` is one computation's row of the tables: its arrays are without the axis P.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from games.loops.game.cost import seconds
from games.loops.game.options import (
    ACTION_NAMES,
    DOWN,
    FIRST_SPLIT,
    MERGE,
    SPLITS,
    STOP,
    SWAP_DOWN,
    SWAP_UP,
    UNROLL,
    UP,
    VECTORIZE,
)
from games.loops.game.shape import PLACES, extents, shared
from games.loops.game.state import Nest, State
from games.loops.game.tables import Tables
from games.loops.program.computation import WIDTH
from games.loops.program.nest import COMPUTE, MAX_COPIES, MAX_LOOPS, MAX_UNROLL, WRITE


class Moved(NamedTuple):
    """What an action leads to: the nest, the cursor's row and place, and whether it is legal."""

    nest: Nest
    row: jax.Array
    place: jax.Array
    legal: jax.Array


def is_done(s: State) -> jax.Array:
    return s.stopped | (s.length >= len(s.log))


def moved(t: Tables, nest: Nest, row: jax.Array, place: jax.Array, action: jax.Array) -> Moved:
    """Plays an action in a running game; where it is illegal the rest means nothing."""
    common = shared(nest)
    count = nest.count[row]
    variable = nest.variable[row]
    extent = extents(t, variable, nest.step[row])[place]
    step, mine = nest.step[row, place], variable[place]
    size = extent // step
    is_swap = (action == SWAP_UP) | (action == SWAP_DOWN)
    is_split = (action >= FIRST_SPLIT) & (action < MERGE)
    factor = jnp.asarray(SPLITS)[jnp.clip(action - FIRST_SPLIT, 0, len(SPLITS) - 1)]
    other = jnp.where(action == SWAP_UP, place - 1, place + 1)
    inside = jnp.clip(other, 0, MAX_LOOPS - 1)
    enclosing = jnp.max(jnp.where((variable == mine) & (place > PLACES), PLACES, -1))
    innermost = (row == COMPUTE) & (place == nest.count[COMPUTE] - 1)
    # Where each loop comes from, in the rows that are edited.
    swapped = jnp.where(place == PLACES, inside, jnp.where(inside == PLACES, place, PLACES))
    source = jnp.where(is_swap, swapped, PLACES)
    source = jnp.where(is_split & (place < PLACES), PLACES - 1, source)
    source = jnp.where((action == MERGE) & (place <= PLACES), PLACES + 1, source)
    source = jnp.clip(source, 0, MAX_LOOPS - 1)
    both = (row == COMPUTE) & jnp.where(is_swap, jnp.maximum(place, other) < common, place < common)
    is_edit = is_swap | is_split | (action == MERGE)
    edited = is_edit & jnp.stack([row == COMPUTE, (row == WRITE) | both])
    more = jnp.where(is_split, 1, jnp.where(action == MERGE, -1, 0))
    new_step = nest.step[:, source]
    new_step = jnp.where(is_split & (place == PLACES), factor * step, new_step)
    new_step = jnp.where((action == MERGE) & (enclosing == PLACES), step, new_step)
    # Loops that are split or merged are not unrolled any more.
    renewed = jnp.where(
        is_split,
        (place == PLACES) | (place + 1 == PLACES),
        (action == MERGE) & (enclosing == PLACES),
    )
    unroll = jnp.where(edited[0], nest.unroll[source] & ~renewed, nest.unroll)
    unroll = unroll ^ ((action == UNROLL) & (place == PLACES))
    after = Nest(
        variable=jnp.where(edited[:, None], nest.variable[:, source], nest.variable),
        step=jnp.where(edited[:, None], new_step, nest.step),
        unroll=unroll,
        count=nest.count + jnp.where(edited, more, 0),
        vector=nest.vector ^ (action == VECTORIZE),
    )
    to_write = (action == DOWN) & (row == COMPUTE) & (place + 1 == count)
    to_compute = (action == UP) & (row == WRITE) & (place == common)
    new_row = jnp.where(to_write, WRITE, jnp.where(to_compute, COMPUTE, row))
    to_place = jnp.where(action == UP, place - 1, place)
    to_place = jnp.where(action == DOWN, place + 1, to_place)
    to_place = jnp.where(to_write, common, to_place)
    to_place = jnp.where(to_compute, nest.count[COMPUTE] - 1, to_place)
    to_place = jnp.where(is_swap, inside, to_place)
    to_place = jnp.where(action == MERGE, enclosing, to_place)
    can = jnp.stack(
        [
            to_compute | (place > 0),
            (place + 1 < count) | ((row == COMPUTE) & (common < nest.count[WRITE])),
            *(2 * [(other >= 0) & (other < count) & (variable[inside] != mine)]),
            *(size >= n for n in SPLITS),
            enclosing >= 0,
            (row == COMPUTE)
            & ~(innermost & nest.vector)
            & (nest.unroll[place] | ((size <= MAX_UNROLL) & _few_copies(t, after))),
            innermost,
            jnp.bool_(True),
        ]
    )[action]
    common_after = shared(after)
    lines = after.count.sum() - common_after
    last = after.count[COMPUTE] - 1
    inner = extents(t, after.variable[0], after.step[0])[last] // after.step[0, last]
    fits = (lines <= MAX_LOOPS) & ((inner == 1) | (inner % WIDTH == 0))
    new_row = jnp.where(to_place < common_after, COMPUTE, new_row)
    return Moved(after, new_row, jnp.maximum(to_place, 0), can & (fits | (action == STOP)))


def _few_copies(t: Tables, nest: Nest) -> jax.Array:
    """Whether unrolled loops make few copies of what they are around."""
    size = extents(t, nest.variable[0], nest.step[0]) // nest.step[0]
    is_unrolled = nest.unroll & (nest.count[COMPUTE] > PLACES)
    return jnp.prod(jnp.where(is_unrolled, jnp.minimum(size, 2 * MAX_UNROLL), 1)) <= MAX_COPIES


def outlook(
    t: Tables, nest: Nest, row: jax.Array, place: jax.Array, now: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Which actions are legal, bool [A], and by how much they raise the score, float32 [A]; `now`
    is what the nest takes."""

    def one(action: jax.Array) -> tuple[jax.Array, jax.Array]:
        to = moved(t, nest, row, place, action)
        return to.legal, jnp.where(to.legal, jnp.log2(now / seconds(t, to.nest)), 0.0)

    return jax.vmap(one)(jnp.arange(len(ACTION_NAMES)))


def play(t: Tables, s: State, action: jax.Array) -> State:
    """The state after a legal action; a finished game stays as it is."""
    to = moved(t, s.nest, s.row, s.place, action)
    now = seconds(t, to.nest)
    # Without the barrier the compiler computes these again for every action.
    to, now = jax.lax.optimization_barrier((to, now))
    can, gains = outlook(t, to.nest, to.row, to.place, now)
    after = dataclasses.replace(
        s,
        nest=to.nest,
        row=to.row,
        place=to.place,
        stopped=action == STOP,
        seconds=now,
        legal=can,
        gains=gains,
        log=jnp.where(jnp.arange(len(s.log)) == s.length, action, s.log),
        length=s.length + 1,
    )
    over = is_done(s)
    return jax.tree.map(lambda old, new: jnp.where(over, old, new), s, after)


def score(s: State) -> jax.Array:
    """How often the time of the start was halved, by the model."""
    return jnp.log2(s.begun / s.seconds)


def headroom(t: Tables, s: State) -> jax.Array:
    """Float32: no nest takes less than its multiplications."""
    least = 1e-9 * t.prices[0] * t.vectors
    return jnp.where(is_done(s), 0.0, jnp.maximum(jnp.log2(s.seconds / least), 0.0))
