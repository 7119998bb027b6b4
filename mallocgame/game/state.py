"""The state of a game: small arrays of fixed size, batch axes last."""

from __future__ import annotations

import enum

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from mallocgame.game.tables import NEVER

# Actions: bring a value in slow memory here; keep a value here without copying; neither.
COPY, NO_COPY, DROP = range(3)
# Kinds of questions: a read finds its value in slow memory; a value is produced; a hold has ended.
ASK_READ, ASK_DEFINE, ASK_DEPART = range(3)
# Phases of a slot: its stops are met; its instruction is finished, the departures follow.
ARRIVING, DEPARTING = range(2)


class Flag(enum.IntFlag):
    """What is true of a residency; bits of the table's column `flags`."""

    # It was produced or updated in fast memory, so that slow memory holds no copy.
    DIRTY = 1
    # Its eviction has started and is not done.
    EVICTING = 2
    # Its last stop since the eviction started reads it, and has a later read.
    READ_LATE = 4
    # Its eviction is done: slow memory holds the value from slot `ticket` on.
    EVICTED = 8
    # It does not exist yet: its place is kept for the result of a held carried group.
    PROMISED = 16
    # It is up for departure in this slot, where its end is asked for or happens by itself.
    UP = 32
    # It is up because its eviction is done; `ticket` is then the eviction's place in the queue.
    DONE = 64


class State(struct.PyTreeNode):
    """One game or a batch; [...] stands for the batch axes.

    Times are ticks, sizes and places bytes.  The table's columns, all int32 [R, ...], sorted by
    offset:

    offset, size: the residency's bytes; an unused row has the offset NEVER.
    start, end: its slots [start, end); during an eviction `end` is NEVER + position in the queue.
    value: whose it is.
    flags: see `Flag`.
    event: the stop it was last met at.
    ticket: during an eviction ticks of supply until it is done, afterwards the slot from which slow
        memory holds the value.
    decision, origin: index in the log of the decision that brought it, and that decision's stop.
    """

    # --- Clock ---
    # Int32 [...]; the program that is played.
    program: Array
    # Int32 [...]; the current slot.
    slot: Array
    # Int32 [...]; the next stop to be met.
    cursor: Array
    # Int32 [...]; ARRIVING or DEPARTING.
    phase: Array
    # Int32 [...]; ticks that values in fast memory take off the slot's reads so far.
    read: Array
    # Int32 [...]; the same of its writes.
    write: Array
    # Int32 [...]; the same of its time on the slow bus.
    bus: Array
    # Int32 [...]; ticks saved so far.
    saved: Array
    # Int32 [...]; ticks saved so far by the proxy's count.
    proxy: Array
    # Bool [...]; the program is over.
    done: Array

    # --- Memory ---
    # Int32 [R, ...] each; the residencies that are remembered.
    table: dict[str, Array]
    # Int32 [W, ...]; ticks of supply left in the slots before this one, nearest first.
    supply: Array
    # Int32 [...]; evictions started so far.
    evictions: Array

    # --- The open question ---
    # Int32 [...]; ASK_READ, ASK_DEFINE or ASK_DEPART.
    question: Array
    # Int32 [...]; the stop it is about.
    event: Array
    # Int32 [...]; `departure_order` of the residency that is up.
    departure_key: Array
    # Int32 [...]; offset that an arrival would take.
    place: Array
    # Int32 [...]; slot in which an arrival would begin.
    begin: Array
    # Int32 [W, ...]; the supply that a copy would leave.
    supply_after: Array
    # Int32 [...]; weighted ticks that a copy would make its reader wait.
    stall: Array
    # Bool [...]; an answer other than DROP is legal.
    may_accept: Array
    # Bool [...]; Drop-backup leaves no answer but DROP.
    must_drop: Array
    # Bool [...]; the question was prepared in this micro step.
    asked: Array
    # Bool [...]; the agent is to answer it.
    waiting: Array
    # Int32 [...]; an answer to be applied, -1 without.
    pending: Array

    # --- Branch and backtracking ---
    # Int8 [M, ...]; the moves of this branch, forced ones included.
    log: Array
    # Int32 [...]; how many moves it has.
    length: Array
    # Int32 [...]; moves below this index are replayed after a backup.
    replay_until: Array
    # Int32 [...]; moves from this index on were undone by the last step.
    kept: Array
    # Bool [...]; the state is infeasible, a backup follows.
    infeasible: Array
    # Int32 [...]; the move that brought the culprit.
    culprit_decision: Array
    # Int32 [...]; the stop of that move.
    culprit_origin: Array
    # Uint32 [F, ...]; bit set of the stops whose arrival Drop-backup forbids.
    forced: Array
    # Int32 [...]; Drop-backups so far.
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
        read=zero,
        write=zero,
        bus=zero,
        saved=zero,
        proxy=zero,
        done=no,
        table=table,
        supply=supply,
        evictions=zero,
        question=zero,
        event=zero,
        departure_key=zero,
        place=zero,
        begin=zero,
        supply_after=supply,
        stall=zero,
        may_accept=no,
        must_drop=no,
        asked=no,
        waiting=no,
        pending=zero - 1,
        log=jnp.zeros((log_length, *shape), jnp.int8),
        length=zero,
        replay_until=zero,
        kept=zero,
        infeasible=no,
        culprit_decision=zero,
        culprit_origin=zero,
        forced=jnp.zeros((-(-num_forced // 32), *shape), jnp.uint32),
        backups=zero,
    )


def select(mask: Array, new: State, old: State) -> State:
    """`new` where the mask [...] holds; batch axes are last, so the mask broadcasts."""
    return jax.tree.map(lambda a, b: jnp.where(mask, a, b), new, old)


def has(flags: Array, flag: Flag) -> Array:
    """Bool [...]; which residencies have (one of) the flags."""
    return (flags & flag) != 0


def departure_order(table: dict[str, Array]) -> Array:
    """Order of the departures: stops of this slot, then evictions done in it."""
    return jnp.where(has(table["flags"], Flag.DONE), NEVER + table["ticket"], table["event"])


def _log_index(position: Array) -> tuple[Array, ...]:
    return (position, *jnp.indices(position.shape, sparse=True)) if position.ndim else (position,)


def read_log(log: Array, position: Array) -> Array:
    """Int32 [...]; the move at `position` of each game's log [M, ...]."""
    return log.at[_log_index(position)].get(mode="clip").astype(jnp.int32)


def write_log(log: Array, position: Array, action: Array, mask: Array) -> Array:
    """Writes one move of each game for which `mask` holds."""
    position = jnp.where(mask, position, log.shape[0])
    return log.at[_log_index(position)].set(action.astype(jnp.int8), mode="drop")
