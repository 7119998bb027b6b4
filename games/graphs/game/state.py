"""The state of a game, and what it may do next.

Functions here are of one game; `environment.py` maps them over batches.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from games.graphs.game.group import NOBODY, group_time
from games.graphs.game.options import (
    FIRST_ADDED,
    FREE_MOVES,
    MORE,
    NUM_ACTIONS,
    RETAIN,
    SLOWEST,
    SPARE,
)
from games.graphs.game.tables import ABSENT, Tables


class Offers(struct.PyTreeNode):
    """The answers to a question, each [A], or [A, G] for lists of operations.

    op: the operation that an answer is about, N without one. ops: the group after it, or the one
    that it closes. time: of that group; infinite where the answer is not legal.
    next_ops, next_time: the group after RETAIN, [G] and a number; retained: whose output it is.
    more: bool, the last answer leads to more candidates.
    """

    op: Array
    ops: Array
    time: Array
    next_ops: Array
    next_time: Array
    retained: Array
    more: Array


class State(struct.PyTreeNode):
    """A game; batch axes would come last.

    instance: int32. ran, stored, pending: bool [N]; operations that have run, whose output slow
    memory holds, and that have to run (again), as if the open group were closed.
    waiting: bool [N]; `pending` when the open group was opened. recent: bool [N], outputs of the
    last closed group. ops: int32 [G], the open group, filled up with N. resident: int32, whose
    output the group before retained. closed, open: float32, time of closed groups and of the open
    one. page: int32, how often more candidates were asked for. score: float32. length: int32.
    log: int8 [M]. done: bool. offers: the answers.
    """

    instance: Array
    ran: Array
    stored: Array
    pending: Array
    waiting: Array
    recent: Array
    ops: Array
    resident: Array
    closed: Array
    open: Array
    page: Array
    score: Array
    length: Array
    log: Array
    done: Array
    offers: Offers


class Moment(NamedTuple):
    """What offers are made from: see `State`."""

    ran: Array
    stored: Array
    waiting: Array
    recent: Array
    ops: Array
    resident: Array
    page: Array
    length: Array


def members(t: Tables, ops: Array) -> Array:
    """The operations of a list, bool [N]."""
    return jnp.zeros(t.source.shape[0], bool).at[ops].set(True, mode="drop")


def outputs(t: Tables, ops: Array) -> Array:
    """The operations of a list whose output leaves the group, bool [N]."""
    inside = members(t, ops)
    read = _readers_exist(t, inside)
    return inside & ~read


def _readers_exist(t: Tables, readers: Array) -> Array:
    """Whose output one of some operations reads, bool [N]."""
    marked = jnp.where(readers[:, None], t.source, -1)
    size = t.source.shape[0]
    at = jnp.where(marked >= 0, marked, size).ravel()
    return jnp.zeros(size, bool).at[at].set(True, mode="drop")


def must_run(t: Tables, ran: Array, stored: Array) -> Array:
    """Operations that never ran, and those whose missing output one of these needs, bool [N]."""
    start = ~ran & (jnp.arange(ran.shape[0]) < t.count)

    def grow(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        found, _ = carry
        more = found | (_readers_exist(t, found) & ~stored)
        return more, jnp.any(more != found)

    return lax.while_loop(lambda carry: carry[1], grow, (start, jnp.array(True)))[0]


def listed(mask: Array, most: int) -> Array:
    """The operations of a mask as a list of at most `most`, filled up with N."""
    size = mask.shape[0]
    at = jnp.where(mask, jnp.cumsum(mask) - 1, most)
    return jnp.full(most, size).at[at].set(jnp.arange(size), mode="drop")


def offers_of(t: Tables, now: Moment) -> Offers:
    """The answers, and the times of the groups that they lead to."""
    size, most = t.source.shape[0], now.ops.shape[0]
    opened = now.ops[0] < size
    op, more = _candidates(t, now)
    groups = jax.vmap(lambda o: _group_with(t, now, o))(op)
    small = groups.sum(-1) <= most
    ops = jax.vmap(lambda group: listed(group, most))(groups)
    is_closing = opened & (jnp.arange(NUM_ACTIONS) < FIRST_ADDED)
    retained, next_ops = _retained(t, now)
    retain = jnp.full(NUM_ACTIONS + 1, NOBODY)
    retain = retain.at[RETAIN].set(jnp.where(opened, retained, NOBODY))
    resident = jnp.full(NUM_ACTIONS + 1, now.resident).at[-1].set(retained)
    every = jnp.concatenate([ops, next_ops[None]])
    time = jax.vmap(lambda *group: group_time(t, *group))(every, resident, retain)
    alone = jnp.sum(jnp.where(groups, t.naive, 0.0), axis=-1)
    joins = opened & ~is_closing
    able = is_closing | ((op < size) & small & (~joins | (time[:-1] <= SLOWEST * alone)))
    able &= (
        ~is_closing | (jnp.arange(NUM_ACTIONS) != RETAIN) | ((retained >= 0) & (time[-1] < jnp.inf))
    )
    times = jnp.where(able, time[:-1], jnp.inf)
    # Asking for more leaves the open group, or none, as it is.
    as_it_is = jnp.where(opened, time[MORE], 0.0)
    times = times.at[MORE].set(jnp.where(more, as_it_is, times[MORE]))
    return Offers(op, ops, times, next_ops, time[-1], retained, more)


def _candidates(t: Tables, now: Moment) -> tuple[Array, Array]:
    """Of each answer the operation that it is about, int32 [A], N without one; and whether the last
    one leads to more."""
    size = t.source.shape[0]
    opened = now.ops[0] < size
    able, first = (
        jnp.where(opened, added, alone)
        for added, alone in zip(_added_ops(t, now), _first_ops(t, now), strict=True)
    )
    # Their places in the list of candidates.
    front, behind = able & first, able & ~first
    place = jnp.where(front, jnp.cumsum(front), front.sum() + jnp.cumsum(behind)) - 1
    begin = jnp.where(opened, FIRST_ADDED, 0)
    slots = NUM_ACTIONS - begin
    skipped = now.page * (slots - 1)
    more = (able.sum() - skipped > slots) & _is_free(t, now)
    answers = jnp.arange(NUM_ACTIONS)
    wanted = jnp.where(answers >= begin, skipped + answers - begin, -1)
    wanted = jnp.where(more & (answers == MORE), -1, wanted)
    found = able & (place == wanted[:, None])
    return jnp.where(found.any(-1), jnp.argmax(found, axis=-1), size), more


def _group_with(t: Tables, now: Moment, op: Array) -> Array:
    """The open group with an operation and all that has to run for it, bool [N]; an operation N
    adds nothing."""
    inside = members(t, now.ops)
    there = now.stored | inside | (jnp.arange(inside.shape[0]) == now.resident)

    def grow(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        found, _ = carry
        more = found | (_readers_exist(t, found) & ~there)
        return more, jnp.any(more != found)

    begin = (jnp.arange(inside.shape[0]) == op, op < inside.shape[0])
    return inside | lax.while_loop(lambda carry: carry[1], grow, begin)[0]


def _is_free(t: Tables, now: Moment) -> Array:
    """Whether groups may still be larger than one operation; else the game would be too long."""
    return now.length < FREE_MOVES * t.count + SPARE


def _known(t: Tables, stored: Array) -> Array:
    """Which inputs are at hand, bool [N, 2]."""
    return (t.source < 0) | stored[jnp.maximum(t.source, 0)]


def _first_ops(t: Tables, now: Moment) -> tuple[Array, Array]:
    """Which operations can open a group, bool [N]: what can run alone; and which of them come
    first: readers of the last group's outputs."""
    ready = now.waiting & _known(t, now.stored).all(-1)
    return ready, ((t.source >= 0) & now.recent[jnp.maximum(t.source, 0)]).any(-1)


def _added_ops(t: Tables, now: Moment) -> tuple[Array, Array]:
    """Which operations may join the open group, bool [N]; and which of them come first: readers of
    what it makes, before others that share an input."""
    size = t.source.shape[0]
    inside = members(t, now.ops)
    at = jnp.minimum(now.ops, size - 1)
    valid = now.ops < size
    reads = ((t.source >= 0) & inside[jnp.maximum(t.source, 0)]).any(-1)
    # Tensors are numbered below 3 N.
    touched = jnp.zeros(3 * size, bool)
    mine = jnp.where(valid[:, None] & (t.source[at] != ABSENT), t.tensor[at], 3 * size)
    touched = touched.at[mine.ravel()].set(True, mode="drop")
    shares = ((t.source != ABSENT) & touched[jnp.maximum(t.tensor, 0)]).any(-1)
    leaves = outputs(t, now.ops)
    first = jnp.argmax(leaves)
    same = (t.out_height == t.out_height[first]) & (t.out_width == t.out_width[first])
    able = now.waiting & ~inside & (reads | (shares & same)) & _is_free(t, now)
    return able & (valid.sum() < now.ops.shape[0]), reads


def _retained(t: Tables, now: Moment) -> tuple[Array, Array]:
    """Whose output the open group can retain, or NOBODY; and its readers, the next group.

    The first output all of whose waiting readers can run next, together.
    """
    size, most = t.source.shape[0], now.ops.shape[0]
    inside = members(t, now.ops)
    leaves = outputs(t, now.ops)
    ready = _known(t, now.stored | leaves).all(-1)
    left = now.waiting & ~inside
    # Of each operation: how many wait for its output, and whether one of them cannot run.
    source = jnp.where(left[:, None], t.source, -1)
    twice = source[:, 0] == source[:, 1]
    source = source.at[:, 1].set(jnp.where(twice, -1, source[:, 1]))
    at = jnp.where(source >= 0, source, size).ravel()
    readers = jnp.zeros(size, jnp.int32).at[at].add(1, mode="drop")
    stuck = jnp.zeros(size, bool).at[at].max(jnp.repeat(~ready, 2), mode="drop")
    able = leaves & (readers > 0) & (readers <= most) & ~stuck & _is_free(t, now)
    chosen = jnp.where(able.any(), jnp.argmax(able), NOBODY)
    return chosen, listed(left & (t.source == chosen).any(-1) & (chosen >= 0), most)
