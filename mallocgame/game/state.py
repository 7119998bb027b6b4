"""The state of a game: arrays of fixed size, batch axes last."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from mallocgame.game.arrays import GameArrays, gather
from mallocgame.game.first import First
from mallocgame.game.profile import Profile, fresh_profile, put_one
from mallocgame.game.tables import SlotRow
from mallocgame.program.latency import elapsed_time, supply_time

# Actions: bring a value ahead of its use; have it here without a copy ahead; neither.
COPY, NO_COPY, DROP = range(3)
# What `State.written` says of a value whose content slow memory holds, and of one that is being
# written back.
CLEAN, LEAVING = -1, -2


class State(struct.PyTreeNode):
    """One game or a batch; [...] stands for the batch axes.  Times are ticks."""

    # --- Clock ---
    # Int32 [...]; the program that is played.
    program: Array
    # Int32 [...]; the next question to be looked at.
    cursor: Array
    # Int32 [...]; ticks saved so far.
    saved: Array
    # Bool [...]; the program is over.
    done: Array

    # --- Slots ---
    # Bytes in use, reservations included, [T, ...].
    used: Profile
    # Int32 [T, ...] each; ticks of reads, of writes and of the slow bus, as decided so far.
    read: Array
    write: Array
    bus: Array
    # Int32 [T, ...]; idle ticks less those that copies take; negative where they are overdrawn.
    left: Array
    # Int32 [T, ...]; bytes of values that are being written back, a part of `used`.
    leaving: Array
    # Int32 [...]; where the last write-back ends.
    frontier: Array

    # --- Values ---
    # Int32 [V, ...] each; the last residency [since, until) of a value, and the slot of its last
    # write while it is dirty; else CLEAN or LEAVING.
    since: Array
    until: Array
    written: Array

    # --- The open question ---
    # Int32 [...]; its number in the list of questions.
    asked: Array
    # Int32 [...]; slot in which a copy ahead would begin.
    begin: Array
    # Int32 [...]; weighted ticks that COPY and that NO_COPY would stall for.
    copy_stall: Array
    hold_stall: Array
    # Bool [...]; whether these are legal.
    may_copy: Array
    may_hold: Array
    # Bool [...]; there is room only after waiting for write-backs.
    waits: Array
    # Bool [...]; the agent is to answer it.
    waiting: Array
    # Int32 [...]; an answer to be applied, -1 without.
    pending: Array

    # --- Branch ---
    # Int32 [...]; the slot from which slow memory holds what was last written back.
    copied: Array
    # Int8 [M, ...]; the moves so far.
    log: Array
    # Int32 [...]; how many moves it has.
    length: Array


def fresh_state(arrays: GameArrays, index: Array) -> State:
    """The state at the first question, or at the end of a program that asks none.

    index: int32 [...]; the program that each game plays.
    """
    shape = index.shape
    zero = jnp.zeros(shape, jnp.int32)
    no = jnp.zeros(shape, bool)
    slot = SlotRow(*jnp.moveaxis(arrays.slots[:, index], -1, 1))
    elapsed = elapsed_time(slot.compute, slot.read, slot.write, jnp)
    values = jnp.zeros((arrays.num_values, *shape), jnp.int32)
    first = First(*gather(arrays.first, index))
    asks = (first.may_copy + first.may_hold) > 0
    return State(
        program=index,
        cursor=first.asked + 1,
        saved=zero,
        done=~asks,
        used=fresh_profile(slot.reserved),
        read=slot.read,
        write=slot.write,
        bus=slot.bus,
        left=supply_time(elapsed, slot.bus, jnp),
        leaving=jnp.zeros_like(slot.bus),
        frontier=zero,
        since=values,
        until=values,
        written=values + CLEAN,
        asked=first.asked,
        begin=first.begin,
        copy_stall=first.copy_stall,
        hold_stall=first.hold_stall,
        may_copy=first.may_copy > 0,
        may_hold=first.may_hold > 0,
        waits=no,
        waiting=asks,
        pending=zero - 1,
        copied=zero,
        log=jnp.zeros((arrays.max_decisions, *shape), jnp.int8),
        length=zero,
    )


def select(mask: Array, new: State, old: State) -> State:
    """`new` where the mask [...] holds; batch axes are last, so the mask broadcasts."""
    return jax.tree.map(lambda a, b: jnp.where(mask, a, b), new, old)


def write_log(log: Array, position: Array, action: Array, mask: Array) -> Array:
    """Writes one move of each game for which `mask` holds."""
    return put_one(log, position, action.astype(jnp.int8), mask)
