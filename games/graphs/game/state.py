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
from games.graphs.game.options import FIRST_ADDED, FREE_MOVES, NUM_ACTIONS, RETAIN, SLOWEST, SPARE
from games.graphs.game.tables import ABSENT, Tables


class Offers(struct.PyTreeNode):
    """The answers to a question, each [A], or [A, G] for lists of operations.

    op: the operation that an answer is about, N without one. ops: the group after it, or the one
    that it closes. time: of that group; infinite where the answer is not legal.
    next_ops, next_time: the group after RETAIN, [G] and a number; retained: whose output it is.
    """

    op: Array
    ops: Array
    time: Array
    next_ops: Array
    next_time: Array
    retained: Array


class State(struct.PyTreeNode):
    """A game; batch axes would come last.

    instance: int32. ran, stored, pending: bool [N]; operations that have run, whose output slow
    memory holds, and that have to run (again), as if the open group were closed.
    waiting: bool [N]; `pending` when the open group was opened. recent: bool [N], outputs of the
    last closed group. ops: int32 [G], the open group, filled up with N. resident: int32, whose
    output the group before retained. closed, open: float32, time of closed groups and of the open
    one. score: float32. length: int32. log: int8 [M]. done: bool. offers: the answers.
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


def with_op(ops: Array, op: Array, size: int) -> Array:
    """A list with one more operation, unless it is `size`."""
    place = jnp.sum(ops < op)
    at = jnp.arange(ops.shape[0])
    moved = jnp.where(at < place, ops, jnp.where(at == place, op, jnp.roll(ops, 1)))
    return jnp.where(op >= size, ops, moved)


def listed(mask: Array, most: int) -> Array:
    """The operations of a mask as a list of at most `most`, filled up with N."""
    size = mask.shape[0]
    at = jnp.where(mask, jnp.cumsum(mask) - 1, most)
    return jnp.full(most, size).at[at].set(jnp.arange(size), mode="drop")


def offers_of(t: Tables, now: Moment) -> Offers:
    """The answers, and the times of the groups that they lead to."""
    opened = now.ops[0] < t.source.shape[0]
    firsts, added = _first_ops(t, now), _added_ops(t, now)
    op, extra = (jnp.where(opened, a, f) for a, f in zip(added, firsts, strict=True))
    size = t.source.shape[0]
    grow = jax.vmap(lambda a, b: with_op(with_op(now.ops, a, size), b, size))
    ops = grow(op, extra)
    is_closing = opened & (jnp.arange(NUM_ACTIONS) < FIRST_ADDED)
    retained, next_ops = _retained(t, now)
    retain = jnp.full(NUM_ACTIONS + 1, NOBODY)
    retain = retain.at[RETAIN].set(jnp.where(opened, retained, NOBODY))
    resident = jnp.full(NUM_ACTIONS + 1, now.resident).at[-1].set(retained)
    every = jnp.concatenate([ops, next_ops[None]])
    time = jax.vmap(lambda *group: group_time(t, *group))(every, resident, retain)
    alone = jnp.sum(jnp.where(ops < size, t.naive[jnp.minimum(ops, size - 1)], 0.0), axis=-1)
    joins = opened & ~is_closing
    able = is_closing | ((op < size) & (~joins | (time[:-1] <= SLOWEST * alone)))
    able &= (
        ~is_closing | (jnp.arange(NUM_ACTIONS) != RETAIN) | ((retained >= 0) & (time[-1] < jnp.inf))
    )
    return Offers(op, ops, jnp.where(able, time[:-1], jnp.inf), next_ops, time[-1], retained)


def _is_free(t: Tables, now: Moment) -> Array:
    """Whether groups may still be larger than one operation; else the game would be too long."""
    return now.length < FREE_MOVES * t.count + SPARE


def _known(t: Tables, stored: Array) -> Array:
    """Which inputs are at hand, bool [N, 2]."""
    return (t.source < 0) | stored[jnp.maximum(t.source, 0)]


def _best(priority: Array, count: int) -> Array:
    """The operations of the highest priorities, int32 [count]; N where that is not positive."""
    size = priority.shape[0]
    padded = jnp.pad(priority, (0, max(0, count - size)))
    value, at = lax.top_k(padded, count)
    return jnp.where(value > 0, at, size)


def _first_ops(t: Tables, now: Moment) -> tuple[Array, Array]:
    """Candidates for a new group: what can run alone, readers of the last group's outputs first."""
    size = t.source.shape[0]
    ready = now.waiting & _known(t, now.stored).all(-1)
    reads = ((t.source >= 0) & now.recent[jnp.maximum(t.source, 0)]).any(-1)
    priority = jnp.where(ready, reads * 2 * size + size - jnp.arange(size), 0)
    found = _best(priority, NUM_ACTIONS)
    return found, jnp.full(NUM_ACTIONS, size)


def _added_ops(t: Tables, now: Moment) -> tuple[Array, Array]:
    """Candidates for the open group, readers of what it makes before others that share an input;
    and for each the operation that makes its other input, where that is missing."""
    size = t.source.shape[0]
    index = jnp.arange(size)
    inside = members(t, now.ops)
    known = _known(t, now.stored | inside | (index == now.resident))
    ready = known.all(-1)
    missing = jnp.max(jnp.where(known, -1, t.source), axis=-1)
    alone = (~known).sum(-1) == 1
    extra = jnp.where(alone & ready[jnp.maximum(missing, 0)], missing, size)
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
    able = now.waiting & ~inside & (ready | (extra < size)) & (reads | (shares & same))
    needs = 1 + (~ready).astype(jnp.int32)
    able &= (valid.sum() + needs <= now.ops.shape[0]) & _is_free(t, now)
    priority = jnp.where(able, reads * 2 * size + size - index, 0)
    found = _best(priority, NUM_ACTIONS - FIRST_ADDED)
    also = jnp.where(
        (found < size) & ~ready[jnp.minimum(found, size - 1)],
        extra[jnp.minimum(found, size - 1)],
        size,
    )
    none = jnp.full(FIRST_ADDED, size)
    return jnp.concatenate([none, found]), jnp.concatenate([none, also])


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
