"""Which things may start, how they rank, and the seven that are offered."""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from games.cores.game.options import CANDIDATES, MOST_INPUTS, SPILL_RANKS
from games.cores.game.state import (
    HERE,
    NOTHING,
    NOWHERE,
    READ,
    State,
    droppable,
    room_after_drops,
    thing_of,
    used,
)
from games.cores.game.tables import Tables


class Ranks(struct.PyTreeNode):
    """Ranks of things, int32; 0 where a thing is not offered. starts: [A]. moves: [C, V]."""

    starts: Array
    moves: Array


def ranks_of(t: Tables, state: State) -> Ranks:
    """What may start now in groups that are idle, and has not been refused."""
    idle = (state.running < 0) & ~state.refused
    return Ranks(_starts(t, state, idle), _moves(t, state, idle))


def _slots(t: Tables) -> tuple[Array, Array, Array]:
    """[A, I]: whether an operation has this input, which, and where it is read from."""
    values = t.inputs[jnp.maximum(t.op, 0)]
    exists = (values >= 0) & (t.op >= 0)[:, None]
    return exists, jnp.maximum(values, 0), jnp.maximum(t.memory, 0)


def _starts(t: Tables, state: State, idle: Array) -> Array:
    op = jnp.maximum(t.op, 0)
    exists, values, memories = _slots(t)
    here = jnp.all(~exists | (state.place[values, memories] >= HERE), axis=1)
    after = t.after[op]
    ready = jnp.all((after < 0) | state.started[jnp.maximum(after, 0)], axis=1)
    thing = thing_of(t, jnp.arange(t.op.shape[0]))
    _, lacks = room_after_drops(t, state, thing)
    able = (t.op >= 0) & ~state.started[op] & here & ready & (lacks <= 0) & idle[t.group]
    return jnp.where(able, t.rank, 0)


def _moves(t: Tables, state: State, idle: Array) -> Array:
    held = state.place > NOWHERE
    needs = _needs(t, state)
    # Nearer to where it is needed.
    toward = jnp.max(jnp.where(t.toward[:, :, None], needs.T, 0), axis=1)
    # Out of memories where the largest operation would not fit beside the rest; late uses first.
    source, target = jnp.maximum(t.source, 0), jnp.maximum(t.target, 0)
    tight = t.size - used(t, state.place) < t.biggest
    outwards = jnp.take(t.toward, t.external, axis=1) & tight[source]
    spills = outwards[:, None] & ~jnp.take(held, t.external, axis=1)
    rank = jnp.maximum(toward, jnp.where(spills, SPILL_RANKS - 1 - next_use(t, state), 0))
    able_to_drop = jnp.sum(jnp.where(droppable(t, state), t.bits[:, None], 0), axis=0)
    room = t.size - used(t, state.place) + able_to_drop
    fits = t.bits <= room[target][:, None]
    there = (state.place >= HERE)[:, source].T
    able = there & ~held[:, target].T & fits & (state.left > 0)
    able &= (idle[t.channel_group] & (t.source >= 0))[:, None]
    return jnp.where(able, rank, 0)


def _needs(t: Tables, state: State) -> Array:
    """Int32 [V, M]: how much a value is needed in a memory that has no copy of it; 0 if it is not.

    Operations count that would have room there if all were dropped that is read, has another copy,
    or is not needed any more. If one of their inputs is not being made yet, a given value also has
    to leave room for the largest operation beside all that is there.
    """
    held = state.place > NOWHERE
    exists, values, memories = _slots(t)
    op = jnp.maximum(t.op, 0)
    missing = jnp.sum(exists & ~held[values, memories], axis=1)
    others = jnp.sum(held, axis=1, keepdims=True) > 1
    stays = held & (state.left > 0)[:, None] & ~((state.place == READ) & others)
    blocked = jnp.sum(jnp.where(stays, t.bits[:, None], 0), axis=0)
    mine = jnp.where(exists & stays[values, memories], t.bits[values], 0)
    same = memories[:, :, None] == memories[:, None]
    own = jnp.sum(jnp.where(same, mine[:, None], 0), axis=2)
    fits = t.size[memories] - blocked[memories] + own >= t.total
    known = jnp.all(~exists | state.started[values], axis=1)
    roomy = (
        t.size[memories] - used(t, state.place)[memories] - t.bits[values] >= t.biggest[memories]
    )
    fits = (fits & (known[:, None] | ~t.given[values] | roomy)) | (memories == t.external)
    rank = SPILL_RANKS + t.urgency[op] * (MOST_INPUTS + 1) + MOST_INPUTS - missing
    counts = exists & fits & ~state.started[op][:, None]
    found = jnp.zeros(held.shape, jnp.int32)
    found = found.at[values, memories].max(jnp.where(counts, rank[:, None], 0))
    deliver = t.wanted[:, None] & (jnp.arange(held.shape[1]) == t.external)
    return jnp.where(held, 0, jnp.maximum(found, jnp.where(deliver, SPILL_RANKS, 0)))


def next_use(t: Tables, state: State) -> Array:
    """Int32 [V]: the greatest urgency of the readers of each value that have not started, 0 without
    one."""
    waiting = ~state.started & ~t.given
    at = jnp.where((t.inputs >= 0) & waiting[:, None], t.inputs, t.bits.shape[0])
    urgency = jnp.broadcast_to(t.urgency[:, None], at.shape)
    return jnp.zeros_like(t.bits).at[at.ravel()].max(urgency.ravel(), mode="drop")


def group_to_ask(t: Tables, ranks: Ranks) -> Array:
    """Int32: the first group with something to offer; NOTHING without one."""
    groups = jnp.arange(t.touches.shape[0])[:, None]
    starts = jnp.any((t.group == groups) & (ranks.starts > 0), axis=1)
    moves = jnp.any((t.channel_group == groups) & (ranks.moves > 0).any(1), axis=1)
    able = starts | moves
    return jnp.where(able.any(), jnp.argmax(able), NOTHING)


def _best(rank: Array) -> Array:
    """Int32 [7]: the numbers of the highest ranks above 0, of equals the first."""
    # Ranks are below 2^24, thus exact; whole numbers would be sorted, which takes longer.
    padded = jnp.pad(rank, (0, CANDIDATES)).astype(jnp.float32)
    ranks, at = lax.top_k(padded, CANDIDATES)
    return jnp.where(ranks > 0, at, NOTHING).astype(jnp.int32)


def things_to_offer(t: Tables, ranks: Ranks, group: Array) -> Array:
    """Int32 [7]: things of a group."""
    starts = jnp.where(t.group == group, ranks.starts, 0)
    moves = jnp.where((t.channel_group == group)[:, None], ranks.moves, 0)
    return _best(jnp.concatenate([starts, moves.ravel()]))


def drops_to_offer(t: Tables, state: State) -> Array:
    """Int32 [7]: values whose copy may be dropped for the pending thing, late uses first."""
    thing = thing_of(t, state.pending)
    target = thing.target
    reads = jnp.any(
        (thing.reads == jnp.arange(t.bits.shape[0])[:, None]) & (thing.memories == target), axis=1
    )
    able = droppable(t, state)[:, target] & ~reads
    return _best(jnp.where(able, SPILL_RANKS - next_use(t, state), 0))
