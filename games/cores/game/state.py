"""The state of a game, and what follows from it.

Functions here are of one game; `environment.py` maps them over batches.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from games.cores.game.tables import Tables

NOTHING = -1


class State(struct.PyTreeNode):
    """A game; batch axes would come last. A *thing* is a way to run an operation, by its number
    operation * W + way, or a transfer: O * W + channel * V + value.

    instance, now, length: int32. energy, score: float32. peak: int32 [M]. started: bool [V].
    left: int32 [V], uses that have not started. held, here, read: masks [V] as in `Tables`: the
    memories that have a copy or will get one, that have one, and where it has been read.
    running: int32 [G], things, or NOTHING. ends: int32 [G]. refused: bool [G]. must: bool,
    something has to start.
    pending: int32, the thing that waits for drops. asked: int32, the group in question.
    offers: int32 [7], things, or values to be dropped where a thing is pending; NOTHING without.
    done, stuck: bool. log: int8 [L].
    """

    instance: Array
    now: Array
    length: Array
    energy: Array
    score: Array
    peak: Array
    started: Array
    left: Array
    held: Array
    here: Array
    read: Array
    running: Array
    ends: Array
    refused: Array
    must: Array
    pending: Array
    asked: Array
    offers: Array
    done: Array
    stuck: Array
    log: Array


class Thing(struct.PyTreeNode):
    """What a thing does, each with the shape of its number; `reads` has one more axis, I.

    exists, moves: bool; whether it is a transfer. value, target, time, group: int32.
    energy: float32. reads, memories: int32, values and where they are; -1 without.
    """

    exists: Array
    moves: Array
    value: Array
    target: Array
    time: Array
    group: Array
    energy: Array
    reads: Array
    memories: Array


def ways_of(t: Tables) -> int:
    """The number of ways to run operations, which is that of the first transfer."""
    return t.group.shape[0] * t.group.shape[1]


def thing_of(t: Tables, number: Array) -> Thing:
    """Things by their numbers."""
    starts, ways, values = ways_of(t), t.group.shape[1], t.bits.shape[0]
    moves = number >= starts
    a = jnp.clip(number, 0, starts - 1)
    o, w = a // ways, a % ways
    move = jnp.clip(number - starts, 0, None)
    c, v = jnp.minimum(move // values, t.source.shape[0] - 1), move % values
    first = jnp.arange(t.inputs.shape[1]) == 0
    return Thing(
        exists=number >= 0,
        moves=moves,
        value=jnp.where(moves, v, jnp.maximum(t.made[o], 0)),
        target=jnp.where(moves, t.target[c], t.output[o, w]),
        time=jnp.where(moves, t.move_time[t.speed[c], v], t.time[o, w]),
        group=jnp.where(moves, t.channel_group[c], t.group[o, w]),
        energy=jnp.where(moves, t.move_energy[c] * t.bits[v], t.energy[o, w]),
        reads=jnp.where(moves[..., None], jnp.where(first, v[..., None], -1), t.inputs[o]),
        memories=jnp.where(
            moves[..., None],
            jnp.where(first, t.source[c][..., None], -1),
            31 - lax.clz(t.reads[o, w]),
        ),
    )


def mask_of(memory: Array) -> Array:
    """The masks of single memories; 0 for none."""
    return jnp.where(memory >= 0, 1 << jnp.maximum(memory, 0), 0)


def has(mask: Array, other: Array | int) -> Array:
    """Whether masks have a memory in common."""
    return (mask & other) != 0


def memories_where(fits: Array) -> Array:
    """Masks [V] of bool [V, M]."""
    return jnp.sum(jnp.where(fits, 1 << jnp.arange(fits.shape[1]), 0), axis=1)


def bits_in(t: Tables, masks: Array) -> Array:
    """Int32 [M]: the bits of the copies of masks [V]."""
    memories = 1 << jnp.arange(t.size.shape[0])
    return jnp.sum(jnp.where(has(masks, memories[:, None]), t.bits, 0), axis=1)


def copies(t: Tables, values: Array, memories: Array, where: Array) -> Array:
    """Masks [V]: the copies of some values in some memories, where a condition holds."""
    count = t.size.shape[0]
    size = t.bits.shape[0] * count
    at = jnp.where(where & (values >= 0), values * count + memories, size)
    marked = jnp.zeros(size, bool).at[at.ravel()].set(True, mode="drop")
    return memories_where(marked.reshape(-1, count))


def locked(t: Tables, state: State) -> Array:
    """Masks [V]: the copies that something running reads."""
    thing = thing_of(t, state.running)
    return copies(t, thing.reads, thing.memories, thing.exists[:, None])


def used(t: Tables, state: State) -> Array:
    """Int32 [M]: bits in memories, 0 in the external one."""
    return bits_in(t, state.held & ~mask_of(t.external))


def others(state: State) -> Array:
    """Masks [V]: all memories where there is more than one copy."""
    return jnp.where(lax.population_count(state.held) > 1, -1, 0)


def droppable(t: Tables, state: State) -> Array:
    """Masks [V]: copies that may be dropped: read, not being read, not the last one."""
    return state.read & others(state) & ~mask_of(t.external) & ~locked(t, state)


def lacks_room(t: Tables, state: State, thing: Thing) -> Array:
    """Bits that things lack in their targets; at most 0 if there is room."""
    return t.bits[thing.value] + used(t, state)[thing.target] - t.size[thing.target]
