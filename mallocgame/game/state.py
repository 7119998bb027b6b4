"""The state of a game: small arrays of fixed size, batch axes last."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from mallocgame.game.tables import NEVER

COPY, NO_COPY, DROP = range(3)
ASK_READ, ASK_DEFINE, ASK_DEPART = range(3)
ARRIVING, DEPARTING = range(2)

# What a residency is: produced in fast memory or changed there; on its way to slow memory; read on
# that way; copied to slow memory since; a place promised to a group's result; up for departure;
# up because its eviction is done.
DIRTY, EVICTING, READ_LATE, EVICTED, PROMISED, UP, DONE = (1 << i for i in range(7))


class State(struct.PyTreeNode):
    """One game or a batch; [...] stands for the batch axes.

    table: int32 [R, ...] columns, sorted by offset.  `end` is NEVER + queue position during an
        eviction; `event` the stop it was last met at; `ticket` ticks of supply until the eviction
        is done, afterwards the slot from which slow memory holds the value; `decision` and
        `origin` index the log and the stop that brought it.
    supply: int32 [W, ...]; ticks left in the slots before this one, nearest first.
    read, write, bus: int32 [...]; ticks taken off the current slot by what is in fast memory.
    saved, proxy: int32 [...]; ticks saved so far, and by the proxy's count.
    question, event, key, place, begin, supply_after, late, can, must_drop: the question: its kind,
        its stop, the order key of a departing residency, what an arrival would take and the ticks
        that a copy would make its reader wait (weighted); whether an answer other than DROP is
        legal, and whether Drop-backup forbids it.
    asked, waiting: bool [...]; a question was just prepared; the agent is to answer it.
    pending: int32 [...]; an answer to be applied, -1 without.
    log: int8 [M, ...], length, replay_until, kept: the moves of this branch, forced ones too; below
        `replay_until` they are replayed after a backup, from `kept` on the last step undid them.
    forced: uint32 [F, ...]; bit set of stops whose arrival Drop-backup forbids.
    """

    program: Array
    slot: Array
    cursor: Array
    phase: Array
    table: dict[str, Array]
    supply: Array
    read: Array
    write: Array
    bus: Array
    saved: Array
    proxy: Array
    evictions: Array
    question: Array
    event: Array
    key: Array
    place: Array
    begin: Array
    supply_after: Array
    late: Array
    can: Array
    must_drop: Array
    asked: Array
    waiting: Array
    pending: Array
    done: Array
    infeasible: Array
    culprit_decision: Array
    culprit_origin: Array
    log: Array
    length: Array
    replay_until: Array
    kept: Array
    forced: Array
    backups: Array


def fresh_state(
    index: Array, table_size: int, window: int, log_length: int, num_forced: int
) -> State:
    """The state before the first slot, without questions.

    index: int32 [...]; the program that each game plays.
    table_size, window, log_length, num_forced: R, W and M of `State`, and the stops that may be
        forced.
    """
    shape = index.shape
    zero = jnp.zeros(shape, jnp.int32)
    no = jnp.zeros(shape, bool)
    entries = jnp.zeros((table_size, *shape), jnp.int32)
    names = ("size", "start", "value", "flags", "event", "ticket", "decision", "origin")
    table = dict.fromkeys(names, entries) | {"offset": entries + NEVER, "end": entries - NEVER}
    supply = jnp.zeros((window, *shape), jnp.int32)
    return State(
        program=index,
        slot=zero,
        cursor=zero,
        phase=zero,
        table=table,
        supply=supply,
        read=zero,
        write=zero,
        bus=zero,
        saved=zero,
        proxy=zero,
        evictions=zero,
        question=zero,
        event=zero,
        key=zero,
        place=zero,
        begin=zero,
        supply_after=supply,
        late=zero,
        can=no,
        must_drop=no,
        asked=no,
        waiting=no,
        pending=zero - 1,
        done=no,
        infeasible=no,
        culprit_decision=zero,
        culprit_origin=zero,
        log=jnp.zeros((log_length, *shape), jnp.int8),
        length=zero,
        replay_until=zero,
        kept=zero,
        forced=jnp.zeros((-(-num_forced // 32), *shape), jnp.uint32),
        backups=zero,
    )


def select(mask: Array, new: State, old: State) -> State:
    """`new` where the mask [...] holds; batch axes are last, so the mask broadcasts."""
    return jax.tree.map(lambda a, b: jnp.where(mask, a, b), new, old)


def has(flags: Array, flag: int) -> Array:
    return (flags & flag) != 0


def departure_order(table: dict[str, Array]) -> Array:
    """Order of the departures: stops of this slot, then evictions done in it."""
    return jnp.where(has(table["flags"], DONE), NEVER + table["ticket"], table["event"])


def _log_index(position: Array) -> tuple[Array, ...]:
    return (position, *jnp.indices(position.shape, sparse=True)) if position.ndim else (position,)


def read_log(log: Array, position: Array) -> Array:
    """Int32 [...]; the move at `position` of each game's log [M, ...]."""
    return log.at[_log_index(position)].get(mode="clip").astype(jnp.int32)


def write_log(log: Array, position: Array, action: Array, do: Array) -> Array:
    """Writes one move of each game for which `do` holds."""
    position = jnp.where(do, position, log.shape[0])
    return log.at[_log_index(position)].set(action.astype(jnp.int8), mode="drop")
