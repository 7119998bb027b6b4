"""Which things may start, how they rank, and the seven that are offered."""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from games.cores.game.options import CANDIDATES, MOST_INPUTS, SPILL_RANKS
from games.cores.game.state import (
    NOTHING,
    State,
    bits_in,
    droppable,
    has,
    mask_of,
    memories_where,
    others,
    thing_of,
    used,
    ways_of,
)
from games.cores.game.tables import Tables

ANYWHERE = -1  # the mask of all memories
NOBODY = jnp.iinfo(jnp.int32).max


class Outlook(struct.PyTreeNode):
    """What could be started now; masks as in `Tables`.

    group: int32, the first group with something to offer; NOTHING without one. starts: bool [O, W],
    ways that may start. useful: masks [O, W], the memories that have room for an operation.
    gates: masks [O, I], the memories that an input may be brought to for it. lands, needed, spills:
    masks [V], the memories that have room for a copy, that should get one, and that should lose
    theirs.
    """

    group: Array
    starts: Array
    useful: Array
    gates: Array
    lands: Array
    needed: Array
    spills: Array


def nothing_known(t: Tables) -> Outlook:
    """An outlook of the right shapes."""
    ways, values = jnp.zeros_like(t.group), jnp.zeros_like(t.bits)
    return Outlook(
        jnp.int32(NOTHING), ways > 0, ways, jnp.zeros_like(t.inputs), values, values, values
    )


def outlook(t: Tables, state: State) -> Outlook:
    """What the rules allow now, and who is asked first: only what is idle and has not refused."""
    external, taken, free = mask_of(t.external), used(t, state), droppable(t, state)
    room = t.size - taken + bits_in(t, free)
    bits = t.bits[:, None]
    waits = ((t.made >= 0) & ~state.started[t.made])[:, None]
    idle = (state.running < 0) & ~state.refused
    starts = _able(t, state, free, room) & waits & idle[t.group]
    useful = _useful(t, state)
    # A given value leaves room for the largest operation if another input is not being made yet.
    roomy = memories_where(bits <= t.size - taken - t.biggest) | external
    known = jnp.all((t.inputs < 0) | state.started[t.inputs], axis=1, keepdims=True)
    gates = jnp.where(known | ~t.given[t.inputs], ANYWHERE, roomy[t.inputs])
    gates = jnp.where(waits, gates, 0)
    by_input = (_either(t.reads & useful[:, :, None], 1) & gates).ravel()
    by_reader = jnp.where(t.readers >= 0, by_input[t.readers], 0)
    needed = (_either(by_reader, 1) | jnp.where(t.wanted, external, 0)) & ~state.held
    needed_later = (state.left > 0)[:, None]
    lands = memories_where((bits <= room) & needed_later) & ~state.held
    # Out of memories where the largest operation would not fit beside the rest.
    tight = jnp.sum(jnp.where(t.size - taken < t.biggest, 1 << jnp.arange(t.size.shape[0]), 0))
    spills = jnp.where(has(state.held, external), 0, tight)
    found = Outlook(jnp.int32(NOTHING), starts, useful, gates, lands, needed, spills)
    moves = jnp.any(_moves(t, state, found, jnp.arange(t.source.shape[0])), axis=1)
    first = jnp.minimum(
        jnp.min(jnp.where(starts, t.group, NOBODY)),
        jnp.min(jnp.where(moves & idle[t.channel_group], t.channel_group, NOBODY)),
    )
    return found.replace(group=jnp.where(first < NOBODY, first, NOTHING))


def _of_inputs(t: Tables, table: Array) -> Array:
    """[O, 1, I] of a table [V]; of what does not exist it means nothing."""
    return table[t.inputs][:, None]


def _either(masks: Array, axis: int) -> Array:
    return lax.reduce(masks, jnp.int32(0), lax.bitwise_or, (axis,))


def _able(t: Tables, state: State, free: Array, room: Array) -> Array:
    """Bool [O, W]: what has its inputs, and room if all is dropped but them."""
    ready = jnp.all((t.after < 0) | state.started[t.after], axis=1)
    here = jnp.all((t.reads & ~_of_inputs(t, state.here)) == 0, axis=2)
    own = has(t.reads & _of_inputs(t, free), mask_of(t.output)[:, :, None])
    kept = jnp.sum(jnp.where(own, _of_inputs(t, t.bits), 0), axis=2)
    fits = t.bits[t.made][:, None] + kept <= room[t.output]
    return (t.group >= 0) & ready[:, None] & here & fits


def _useful(t: Tables, state: State) -> Array:
    """Masks [O, W]: memories that have room for the inputs and the output of a way beside the
    copies of needed values that are unread or the only ones."""
    stays = jnp.where(state.left > 0, state.held & ~(state.read & others(state)), 0)
    left = t.size - bits_in(t, stays)
    new, size = t.reads & ~_of_inputs(t, stays), _of_inputs(t, t.bits)
    found = jnp.zeros_like(t.group)
    for k in range(t.spots.shape[2]):
        memory, mask = t.spots[:, :, k], mask_of(t.spots[:, :, k])
        inputs = jnp.sum(jnp.where(has(new, mask[:, :, None]), size, 0), axis=2)
        fits = (inputs + t.output_bits[:, :, k] <= left[memory]) | (memory == t.external)
        found |= jnp.where(fits, mask, 0)
    return found


def _moves(t: Tables, state: State, now: Outlook, channels: Array) -> Array:
    """Bool [K, V]: transfers over K channels, -1 for none, that lead nearer to where values are
    needed, or out of tight memories."""
    source, target, toward, spilled = _ends(t, channels)
    why = (now.needed & toward) | (now.spills & spilled)
    return has(state.here, source) & has(now.lands, target) & (why != 0)


def _ends(t: Tables, channels: Array) -> tuple[Array, Array, Array, Array]:
    """Masks [K, 1] of channels: source, target, what they lead nearer to, and the source again if
    that is external memory too."""
    exists = channels >= 0
    source = jnp.where(exists, mask_of(t.source[channels]), 0)[:, None]
    target = jnp.where(exists, mask_of(t.target[channels]), 0)[:, None]
    toward = t.toward[channels][:, None]
    return source, target, toward, jnp.where(has(toward, mask_of(t.external)), source, 0)


def _needs(t: Tables, state: State, now: Outlook) -> Array:
    """Int32 [V, M]: how much a value is needed in a memory that has no copy of it; 0 if it is
    not."""
    memories = 1 << jnp.arange(t.size.shape[0])
    missing = jnp.sum(t.reads & ~_of_inputs(t, state.held) != 0, axis=2)
    rank = SPILL_RANKS + t.urgency[t.made][:, None] * (MOST_INPUTS + 1) + MOST_INPUTS - missing
    reads = t.reads & now.useful[:, :, None] & now.gates[:, None]
    reads = has(reads[..., None], memories)
    by_input = jnp.max(jnp.where(reads, rank[:, :, None, None], 0), axis=1)
    by_input = by_input.reshape(-1, len(memories))
    by_reader = jnp.where((t.readers >= 0)[:, :, None], by_input[t.readers], 0)
    found = jnp.maximum(jnp.max(by_reader, axis=1), jnp.where(t.wanted, SPILL_RANKS, 0)[:, None])
    return jnp.where(has(now.needed[:, None], memories), found, 0)


def next_use(t: Tables, state: State) -> Array:
    """Int32 [V]: the greatest urgency of the readers of each value that have not started, 0 without
    one."""
    waits = (t.made >= 0) & ~state.started[t.made]
    urgency = jnp.where(waits, t.urgency[t.made], 0)
    return jnp.max(jnp.where(t.readers >= 0, urgency[t.readers // t.inputs.shape[1]], 0), axis=1)


def _best(rank: Array) -> Array:
    """Int32 [7]: the numbers of the highest ranks above 0, of equals the first."""
    # Ranks are below 2^24, thus exact; whole numbers would be sorted, which takes longer.
    padded = jnp.pad(rank, (0, CANDIDATES)).astype(jnp.float32)
    ranks, at = lax.top_k(padded, CANDIDATES)
    return jnp.where(ranks > 0, at, NOTHING).astype(jnp.int32)


def things_to_offer(t: Tables, state: State, now: Outlook) -> Array:
    """Int32 [7]: things of the group that is asked."""
    group, values = jnp.maximum(now.group, 0), t.bits.shape[0]
    starts = jnp.where(now.starts & (t.group == group), t.rank, 0)
    needs = _needs(t, state, now)
    # Late uses leave first.
    spill = SPILL_RANKS - 1 - next_use(t, state)
    # The best transfers are over channels that have the best ones.
    channels = t.channels[group]
    best = jnp.max(_ranks(t, state, now, channels, needs, spill), axis=1)
    at = _best(best)
    channels = jnp.sort(jnp.where(at >= 0, channels[at], NOBODY))
    channels = jnp.where(channels < NOBODY, channels, NOTHING)
    moves = _ranks(t, state, now, channels, needs, spill)
    best = _best(jnp.concatenate([starts.ravel(), moves.ravel()]))
    # From places among these to numbers of transfers.
    place = jnp.maximum(best - ways_of(t), 0)
    number = channels[place // values] * values + place % values
    return jnp.where(best < ways_of(t), best, ways_of(t) + number)


def _ranks(
    t: Tables, state: State, now: Outlook, channels: Array, needs: Array, spill: Array
) -> Array:
    """Int32 [K, V]: the ranks of transfers over K channels; 0 where one is not offered."""
    _, _, toward, spilled = _ends(t, channels)
    rank = jnp.where(has(now.spills, spilled), spill, 0)
    for m in range(t.size.shape[0]):
        rank = jnp.maximum(rank, jnp.where(has(toward, 1 << m), needs[:, m], 0))
    return jnp.where(_moves(t, state, now, channels), rank, 0)


def drops_to_offer(t: Tables, state: State) -> Array:
    """Int32 [7]: values whose copy may be dropped for the pending thing, late uses first."""
    thing = thing_of(t, state.pending)
    reads = jnp.any(
        (thing.reads == jnp.arange(t.bits.shape[0])[:, None]) & (thing.memories == thing.target),
        axis=1,
    )
    able = has(droppable(t, state), mask_of(thing.target)) & ~reads
    return _best(jnp.where(able, SPILL_RANKS - next_use(t, state), 0))
