"""The state of a game, and what follows from it.

Functions here are of one game; `environment.py` maps them over batches.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jax import Array

from games.cores.game.tables import Tables

# Places of a copy: nowhere, on its way, there, there and read.
NOWHERE, ARRIVING, HERE, READ = range(4)
NOTHING = -1


class State(struct.PyTreeNode):
    """A game; batch axes would come last. A *thing* is an allocation, by its number, or a transfer:
    A + channel * V + value.

    instance, now, length: int32. energy, score: float32. peak: int32 [M]. started: bool [V].
    left: int32 [V], uses that have not started. place: int8 [V, M]. running: int32 [G], things, or
    NOTHING. ends: int32 [G]. refused: bool [G]. must: bool, something has to start.
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
    place: Array
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


def thing_of(t: Tables, number: Array) -> Thing:
    """Things by their numbers."""
    starts, values = t.op.shape[0], t.bits.shape[0]
    moves = number >= starts
    a = jnp.clip(number, 0, starts - 1)
    move = jnp.clip(number - starts, 0, None)
    c, v = jnp.minimum(move // values, t.source.shape[0] - 1), move % values
    op = jnp.maximum(t.op[a], 0)
    first = jnp.arange(t.inputs.shape[1]) == 0
    alone = jnp.where(first, v[..., None], -1)
    where = jnp.where(first, t.source[c][..., None], -1)
    return Thing(
        exists=number >= 0,
        moves=moves,
        value=jnp.where(moves, v, op),
        target=jnp.where(moves, t.target[c], t.output[a]),
        time=jnp.where(moves, t.move_time[c, v], t.time[a]),
        group=jnp.where(moves, t.channel_group[c], t.group[a]),
        energy=jnp.where(moves, t.move_energy[c] * t.bits[v], t.energy[a]),
        reads=jnp.where(moves[..., None], alone, t.inputs[op]),
        memories=jnp.where(moves[..., None], where, t.memory[a]),
    )


def marked(shape: tuple[int, int], values: Array, memories: Array, where: Array) -> Array:
    """Bool [V, M]: the copies of some values in some memories, where a condition holds."""
    size = shape[0] * shape[1]
    at = jnp.where(where & (values >= 0), values * shape[1] + memories, size)
    return jnp.zeros(size, bool).at[at.ravel()].set(True, mode="drop").reshape(shape)


def locked(t: Tables, state: State) -> Array:
    """Bool [V, M]: the copies that something running reads."""
    thing = thing_of(t, state.running)
    shape = state.place.shape
    return marked((shape[0], shape[1]), thing.reads, thing.memories, thing.exists[:, None])


def used(t: Tables, place: Array) -> Array:
    """Int32 [M]: bits in memories, 0 in the external one."""
    held = jnp.sum(jnp.where(place > NOWHERE, t.bits[:, None], 0), axis=0)
    return jnp.where(jnp.arange(place.shape[1]) == t.external, 0, held)


def droppable(t: Tables, state: State) -> Array:
    """Bool [V, M]: copies that may be dropped: read, not being read, not the last one."""
    others = jnp.sum(state.place > NOWHERE, axis=1, keepdims=True) > 1
    inside = jnp.arange(state.place.shape[1]) != t.external
    return (state.place == READ) & others & inside & ~locked(t, state)


def room_after_drops(t: Tables, state: State, thing: Thing) -> tuple[Array, Array]:
    """Bits that a thing of one number lacks in its target now, and after all drops that it leaves
    possible; at most 0 if there is room. Also for arrays of things."""
    lacks = t.bits[thing.value] + used(t, state.place)[thing.target] - t.size[thing.target]
    able = droppable(t, state)
    # What a thing reads is not dropped for it.
    at = jnp.maximum(thing.reads, 0), jnp.maximum(thing.memories, 0)
    own = (thing.reads >= 0) & (thing.memories == thing.target[..., None]) & able[at]
    kept = jnp.sum(jnp.where(own, t.bits[at[0]], 0), axis=-1)
    total = jnp.sum(jnp.where(able, t.bits[:, None], 0), axis=0)
    return lacks, lacks - (total[thing.target] - kept)
