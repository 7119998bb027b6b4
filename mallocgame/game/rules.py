"""The rules, as masked steps over a batch of games (docs/game.md, sections 2 to 7).

Between two questions a game advances in small uniform steps: apply the pending answer, meet the
next stop, finish the slot, look for the next departure.  An infeasible state starts over and
replays the log up to the decision that Drop-backup forces; only games with reservations, carried
groups or `late_eviction="backup"` compile that part.

The rules are one file so that they can be read beside the contract, section by section.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from mallocgame.game.arrays import GameArrays
from mallocgame.game.placement import at_row, find_offset, gather, insert_sorted, take_supply
from mallocgame.game.state import (
    ARRIVING,
    ASK_DEFINE,
    ASK_DEPART,
    ASK_READ,
    DEPARTING,
    DROP,
    Flag,
    State,
    departure_order,
    fresh_state,
    has,
    read_log,
    select,
    write_log,
)
from mallocgame.game.tables import DEFINE, ENTRY, NEVER, READ, UPDATE, EventRow, SlotRow
from mallocgame.program.latency import elapsed_time, supply_time


def start(arrays: GameArrays, index: Array) -> State:
    """Games before their first slot."""
    forced = arrays.events.shape[1] if arrays.can_backup else 0
    return fresh_state(
        index, arrays.table_size, arrays.config.prefetch_window, arrays.max_decisions, forced
    )


def advance(arrays: GameArrays, state: State, stragglers: int = 0) -> State:
    """Runs every game to its next question or its end.

    stragglers: the last so many games of a batch [B] go on in a batch of their own. Where memory is
        full for long a game may need hundreds of steps to its next question, most need a few.
    """

    if arrays.can_backup:
        return _run(arrays, state, stragglers)
    # The log is not touched: kept out of the loop it costs nothing there.
    log = state.log
    without = state.replace(log=jnp.zeros((0, *log.shape[1:]), jnp.int8))
    return _run(arrays, without, stragglers).replace(log=log)


def _run(arrays: GameArrays, state: State, stragglers: int) -> State:
    def run(state: State, most: int) -> State:
        """Steps until at most `most` games run."""

        def go_on(state: State) -> Array:
            return jnp.sum(~(state.waiting | state.done)) > most

        return lax.while_loop(go_on, lambda state: micro_step(arrays, state), state)

    def run_rest(state: State) -> State:
        lanes = jnp.argsort(state.waiting | state.done, stable=True)[:stragglers]
        rest = run(jax.tree.map(lambda x: x[..., lanes], state), 0)
        return jax.tree.map(lambda x, y: x.at[..., lanes].set(y), state, rest)

    state = run(state, stragglers)
    if not stragglers:
        return state
    return lax.cond(jnp.all(state.waiting | state.done), lambda s: s, run_rest, state)


def micro_step(arrays: GameArrays, state: State) -> State:
    """One uniform step of every game that waits for no answer.

    The conditions skip what no game of the batch needs, and keep the compiler from fusing one
    phase into the next, where it would work out the table anew for every use.
    """
    run = ~(state.waiting | state.done)
    here = SlotRow(*gather(arrays.slots, state.program, state.slot))

    def phase(function: Callable[..., State], state: State, mask: Array, *rows: Any) -> State:
        return lax.cond(
            jnp.any(mask), lambda s: function(arrays, s, here, *rows, mask), lambda s: s, state
        )

    state = phase(_apply, state, run & (state.pending >= 0))
    row = EventRow(*gather(arrays.events, state.program, state.cursor))
    arriving = run & (state.phase == ARRIVING)
    state = phase(_arrive, state, arriving & (row.slot == state.slot), row)
    if arrays.can_backup:
        run = run & ~state.infeasible
        arriving = arriving & ~state.infeasible
    passed = (row.slot != state.slot) | ((row.last == 1) & ~state.asked)
    state = phase(_finish, state, arriving & passed)
    state = _depart(arrays, state, run & (state.phase == DEPARTING))
    state = _answer(arrays, state)
    return _back_up(arrays, state) if arrays.can_backup else state


def _answer(arrays: GameArrays, state: State) -> State:
    """Answers what has a single answer or stands in the log; else the game waits."""
    asked, open_question = state.asked, state.asked & state.may_accept
    state = state.replace(
        asked=jnp.zeros_like(asked),
        pending=jnp.where(asked & ~state.may_accept, DROP, state.pending),
    )
    if not arrays.can_backup:
        return state.replace(waiting=state.waiting | open_question)
    replays = open_question & (state.length < state.replay_until)
    forced = open_question & ~replays & state.must_drop
    logged = read_log(state.log, state.length)
    return state.replace(
        pending=jnp.where(replays, logged, jnp.where(forced, DROP, state.pending)),
        log=write_log(state.log, state.length, jnp.full_like(logged, DROP), forced),
        length=state.length + (replays | forced),
        waiting=state.waiting | (open_question & ~replays & ~forced),
    )


def _apply(arrays: GameArrays, state: State, here: SlotRow, mask: Array) -> State:
    """Applies the pending answer to the question."""
    row = EventRow(*gather(arrays.events, state.program, state.event))
    departs = state.question == ASK_DEPART
    holds = mask & (state.pending != DROP)
    t = state.slot
    comes = holds & ~departs
    defines = state.question == ASK_DEFINE
    entry = row.kind == ENTRY
    up_at_once = jnp.where(
        defines, (row.hold_until == 0) & (row.writeback == 1), (row.hold_until > 0) & ~entry
    )
    end = jnp.where(
        entry, row.stay_end, jnp.where(defines, jnp.maximum(row.hold_until, t + 1), t + 1)
    )
    leaving = has(state.table["flags"], Flag.UP) & (
        departure_order(state.table) == state.departure_key
    )
    promise = holds & (row.promise_slot >= 0)
    place = jnp.where(departs, at_row(state.table["offset"], leaving), state.place)
    state = _leave(state, here, row, leaving & mask & departs, holds)
    newcomer = {
        "offset": place,
        "size": row.size,
        "start": state.begin,
        "end": end,
        "value": row.value,
        "flags": jnp.where(defines, Flag.DIRTY, 0) | jnp.where(up_at_once, Flag.UP, 0),
        "event": state.event,
        "ticket": jnp.zeros_like(t),
        "decision": state.length - 1,
        "origin": state.event,
    }
    table = insert_sorted(state.table, newcomer, _forgotten(arrays, state), comes)
    if arrays.has_groups:
        promised = newcomer | {
            "start": row.promise_slot,
            "end": row.hold_until,
            "value": row.promise_value,
            "flags": jnp.full_like(t, Flag.PROMISED),
        }
        state = state.replace(table=table)
        table = insert_sorted(table, promised, _forgotten(arrays, state), promise)
    gain = comes.astype(jnp.int32)
    copied = comes & ~defines
    return state.replace(
        table=table,
        supply=jnp.where(copied, state.supply_after, state.supply),
        saved=state.saved - jnp.where(copied, state.stall, 0),
        read=state.read + gain * row.read,
        write=state.write + gain * row.write,
        bus=state.bus + gain * row.bus,
        proxy=state.proxy + gain * here.weight * row.saving_if_alone,
        cursor=state.cursor + (mask & ~departs),
        pending=jnp.where(mask, -1, state.pending),
    )


def _forgotten(arrays: GameArrays, state: State) -> Array:
    """Residencies that no copy can reach back to."""
    return state.table["end"] <= state.slot - arrays.config.prefetch_window


def _leave(state: State, here: SlotRow, row: EventRow, which: Array, holds: Array) -> State:
    """Answers a departure of the residency `which` [R, ...]: hold it on, release or evict it."""
    table = dict(state.table)
    flags, end, ticket = table["flags"], table["end"], table["ticket"]
    t = state.slot
    held = which & holds
    evicted = which & ~holds & has(flags, Flag.DIRTY)
    queue = jnp.max(jnp.where(has(flags, Flag.EVICTING), ticket, 0), axis=0)
    at_once = here.segment_end == 1
    stall = jnp.any(evicted, axis=0) & at_once
    ticket = jnp.where(which & has(flags, Flag.DONE), t + 1, ticket)
    cleared = jnp.where(which, flags & ~(Flag.UP | Flag.DONE), flags)
    started = cleared & ~(Flag.READ_LATE | Flag.EVICTED) | Flag.EVICTING
    finished = cleared & ~Flag.DIRTY | Flag.EVICTED
    table["flags"] = jnp.where(evicted, jnp.where(at_once, finished, started), cleared)
    table["ticket"] = jnp.where(evicted, jnp.where(at_once, t + 1, queue + row.demand), ticket)
    table["end"] = jnp.where(
        held,
        row.stay_end,
        jnp.where(evicted & ~at_once, NEVER + state.evictions, end),
    )
    return state.replace(
        table=table,
        evictions=state.evictions + jnp.any(evicted, axis=0),
        saved=state.saved - jnp.where(stall, here.weight * row.demand, 0),
    )


def _arrive(arrays: GameArrays, state: State, here: SlotRow, row: EventRow, mask: Array) -> State:
    """Meets one stop: what needs no answer happens, else the question is prepared."""
    table = dict(state.table)
    flags, t = table["flags"], state.slot
    same_value = (table["value"] == row.value) & mask
    promised = same_value & has(flags, Flag.PROMISED) & (row.kind == DEFINE)
    present = (
        same_value & ~has(flags, Flag.PROMISED) & (table["start"] <= t) & (t < table["end"])
        & (row.kind != DEFINE)
    )  # fmt: skip
    in_eviction = present & has(flags, Flag.EVICTING)
    is_update = row.kind == UPDATE
    cancelled = in_eviction & is_update
    ends = (present & ~in_eviction & (table["end"] == t + 1)) | cancelled
    any_cancelled = jnp.any(cancelled, axis=0)
    own_ticket, position = at_row(table["ticket"], cancelled), at_row(table["end"], cancelled)
    # By position in the queue: what has no bytes has its predecessor's ticket.
    ahead = has(flags, Flag.EVICTING) & (table["end"] < position)
    before = jnp.max(jnp.where(ahead, table["ticket"], 0), axis=0)
    behind = has(flags, Flag.EVICTING) & any_cancelled & (table["end"] > position)
    dirty = has(flags, Flag.DIRTY) | is_update
    now_up = ends & ((row.hold_until > 0) | (dirty & (row.writeback == 1)))
    flags = jnp.where(present & is_update, flags | Flag.DIRTY, flags)
    flags = jnp.where(cancelled, flags & ~(Flag.EVICTING | Flag.READ_LATE), flags)
    read_late = in_eviction & ~is_update
    flags = jnp.where(read_late, flags & ~Flag.READ_LATE, flags)
    flags = jnp.where(read_late & (row.hold_until > 0), flags | Flag.READ_LATE, flags)
    flags = jnp.where(now_up, flags | Flag.UP, flags)
    if arrays.has_groups:
        flags = jnp.where(promised, Flag.DIRTY, flags)
    keeps_key = is_update & ~cancelled
    table |= {
        "flags": flags,
        "end": jnp.where(cancelled, t + 1, table["end"]),
        "ticket": jnp.where(behind, table["ticket"] - (own_ticket - before), table["ticket"]),
        "event": jnp.where((in_eviction | ends) & ~keeps_key, state.cursor, table["event"]),
    }
    resident = jnp.any(present, axis=0)
    taken = jnp.any(promised, axis=0) if arrays.has_groups else jnp.zeros_like(resident)
    asked = mask & (
        ((row.kind == READ) | (row.kind == ENTRY)) & ~resident | ((row.kind == DEFINE) & ~taken)
    )
    gain = (resident | taken).astype(jnp.int32)
    state = state.replace(
        table=table,
        read=state.read + gain * row.read,
        write=state.write + gain * row.write,
        bus=state.bus + gain * row.bus,
        proxy=state.proxy + gain * here.weight * row.saving_if_alone,
        cursor=state.cursor + (mask & ~asked),
    )
    if arrays.has_groups:
        place, size = at_row(table["offset"], promised), at_row(table["size"], promised)
        clash = has(flags, Flag.EVICTING) & _overlaps(table, place, size)
        state = _blame(state, taken & jnp.any(clash, axis=0), promised)
        state = _check_promises(state, cancelled)
    if arrays.config.late_eviction == "backup":
        state = _blame(state, mask & jnp.any(read_late, axis=0), in_eviction)
    return _ask_arrival(arrays, state, here, row, asked)


def _overlaps(table: dict[str, Array], place: Array, size: Array) -> Array:
    """Which rows [R, ...] have bytes, at whatever time, in common with [place, place + size)."""
    low, high = table["offset"], table["offset"] + table["size"]
    return (low < place + size) & (high > place) & (table["size"] > 0) & (size > 0)


def _check_promises(state: State, stays: Array) -> State:
    """A state is infeasible where the residency `stays` [R, ...], whose eviction an update has just
    cancelled, lies where a held group's result begins in this slot; the group is the culprit."""
    table = state.table
    place, size = at_row(table["offset"], stays), at_row(table["size"], stays)
    begins = has(table["flags"], Flag.PROMISED) & (table["start"] == state.slot)
    meets = jnp.any(stays, axis=0) & begins & _overlaps(table, place, size)
    first = jnp.min(jnp.where(meets, table["offset"], NEVER), axis=0)
    return _blame(state, jnp.any(meets, axis=0), meets & (table["offset"] == first))


def _ask_arrival(
    arrays: GameArrays, state: State, here: SlotRow, row: EventRow, asked: Array
) -> State:
    """Finds the supply and the place that an arrival would take."""
    table, t, window = state.table, state.slot, arrays.config.prefetch_window
    defines = row.kind == DEFINE
    same_value = table["value"] == row.value
    back = jnp.max(
        jnp.where(same_value & has(table["flags"], Flag.EVICTED), table["ticket"], 0), axis=0
    )
    earliest = jnp.maximum(here.segment_start, jnp.maximum(row.slow_from, back))
    reach = jnp.minimum(t - earliest, window)
    missing, slots, supply_after = take_supply(state.supply, reach, row.demand)
    begin = jnp.where(defines, t, t - slots)
    stall = jnp.where(defines, 0, here.weight * missing)
    end = jnp.where(row.kind == READ, t + 1, jnp.maximum(row.hold_until, t + 1))
    lowest = jnp.where(row.kind == READ, 0, row.reserved)
    capacity = arrays.capacity[state.program]
    # Not those that begin here: a group's result may lie where its parameter is read last.
    stay = (table["start"] < t) & (t < table["end"])
    free = capacity - jnp.sum(jnp.where(stay, table["size"], 0), axis=0)
    may_accept = _in_time(arrays, state, row, stall) & _room(
        arrays, state, row.promise_slot >= 0, 1
    )
    may_accept = may_accept & (row.inert_arrival == 0) & (row.size <= free)

    def search() -> tuple[Array, Array]:
        """A place from `begin` on, and one from this slot on."""
        both = jnp.stack([begin, t])
        blocks = (table["start"] < end)[:, None] & (table["end"][:, None] > both)
        low = jnp.broadcast_to(lowest, both.shape)
        if arrays.has_reserved:
            low = jnp.maximum(
                low, jnp.stack([_reserved_back(arrays, state, s) for s in (begin, t - reach)])
            )
        need = jnp.broadcast_to(row.size, both.shape)
        columns = table["offset"][:, None], table["size"][:, None]
        return find_offset(*columns, blocks, low, need, capacity, arrays.config.placement)

    # The search is most of a step's time, and a game whose memory is full for long needs none.
    nowhere = jnp.zeros((2, *t.shape), bool), jnp.zeros((2, *t.shape), jnp.int32)
    found, place = lax.cond(jnp.any(asked & may_accept), search, lambda: nowhere)
    # A copy without a place as early as it should begins when there is one.
    waits = ~found[0] & found[1] & ~defines
    before = _overlaps(table, place[1], row.size) & (table["end"] <= t)
    clear = jnp.max(jnp.where(before, table["end"], 0), axis=0)
    missing, slots, supply_then = take_supply(
        state.supply, jnp.minimum(reach, t - clear), row.demand
    )
    begin = jnp.where(waits, t - slots, begin)
    stall = jnp.where(waits, here.weight * missing, stall)
    supply_after = jnp.where(waits, supply_then, supply_after)
    may_accept = may_accept & (found[0] | waits & _in_time(arrays, state, row, stall))
    place = jnp.where(waits, place[1], place[0])
    forced = _is_forced(arrays, state, state.cursor)
    return state.replace(
        asked=asked,
        question=jnp.where(asked, jnp.where(defines, ASK_DEFINE, ASK_READ), state.question),
        event=jnp.where(asked, state.cursor, state.event),
        place=jnp.where(asked, place, state.place),
        begin=jnp.where(asked, begin, state.begin),
        supply_after=jnp.where(asked, supply_after, state.supply_after),
        stall=jnp.where(asked, stall, state.stall),
        may_accept=jnp.where(asked, may_accept, state.may_accept),
        must_drop=jnp.where(asked, forced, state.must_drop),
    )


def _in_time(arrays: GameArrays, state: State, row: EventRow, stall: Array) -> Array:
    """Whether a copy may keep its reader waiting for `stall` weighted ticks."""
    if arrays.config.late_prefetch == "illegal":
        return stall == 0
    lowest_score = -arrays.total_ticks[state.program]
    return (stall == 0) | ((stall < row.worth) & (state.saved - stall >= lowest_score))


def _room(arrays: GameArrays, state: State, promise: Array, others: int) -> Array:
    """Whether the table has room for `others` residencies and a promised one."""
    remembered = jnp.sum(~_forgotten(arrays, state), axis=0)
    return remembered + others + promise <= arrays.config.max_residencies


def _reserved_back(arrays: GameArrays, state: State, begin: Array) -> Array:
    """The largest reservation over the slots [begin, t]."""
    back = jnp.arange(arrays.config.prefetch_window + 1)
    slots = state.slot - back.reshape((-1,) + (1,) * state.slot.ndim)
    column = SlotRow._fields.index("reserved")
    sizes = arrays.slots[state.program, jnp.maximum(slots, 0), column]
    return jnp.max(jnp.where(slots >= begin, sizes, 0), axis=0)


def _is_forced(arrays: GameArrays, state: State, event: Array) -> Array:
    if not arrays.can_backup:
        return jnp.zeros_like(state.done)
    word = jnp.arange(state.forced.shape[0]).reshape((-1,) + (1,) * event.ndim) == event // 32
    bits = jnp.max(jnp.where(word, state.forced, 0), axis=0)
    return ((bits >> (event % 32).astype(jnp.uint32)) & 1) == 1


def _finish(arrays: GameArrays, state: State, here: SlotRow, mask: Array) -> State:
    """Finishes the slot: its time, its reward, the evictions it feeds, the supply it leaves."""
    table = dict(state.table)
    flags, t = table["flags"], state.slot
    evicting = has(flags, Flag.EVICTING)
    elapsed = elapsed_time(here.compute, here.read - state.read, here.write - state.write, jnp)
    idle = supply_time(elapsed, here.bus - state.bus, jnp)
    queue = jnp.max(jnp.where(evicting, table["ticket"], 0), axis=0)
    fed = jnp.minimum(idle, queue)
    drains = here.segment_end == 1
    stall = jnp.where(drains, queue - fed, 0)
    ready = mask & evicting & ((table["ticket"] <= fed) | drains)
    asks_again = ready & has(flags, Flag.READ_LATE)
    position = table["end"] - NEVER
    clean = flags & ~(Flag.EVICTING | Flag.READ_LATE | Flag.DIRTY) | Flag.EVICTED
    table |= {
        "flags": jnp.where(ready, jnp.where(asks_again, clean | Flag.UP | Flag.DONE, clean), flags),
        "end": jnp.where(ready, t + 1, table["end"]),
        "ticket": jnp.where(
            ready,
            jnp.where(asks_again, position, t + 1),
            jnp.where(mask & evicting, table["ticket"] - fed, table["ticket"]),
        ),
    }
    left = jnp.concatenate([(idle - fed)[None], state.supply[:-1]])
    saving = here.weight * (here.slow_elapsed - elapsed - stall)
    return state.replace(
        table=table,
        supply=jnp.where(mask, left, state.supply),
        saved=state.saved + jnp.where(mask, saving, 0),
        phase=jnp.where(mask, DEPARTING, state.phase),
    )


def _depart(arrays: GameArrays, state: State, mask: Array) -> State:
    """Asks for the next departure of the slot; when there is none the game enters the next slot."""
    table, t = state.table, state.slot
    leaving = has(table["flags"], Flag.UP)
    key = jnp.min(jnp.where(leaving, departure_order(table), 2 * NEVER - 1), axis=0)
    which = leaving & (departure_order(table) == key)
    asked = mask & jnp.any(leaving, axis=0)
    event = at_row(table["event"], which)
    row = EventRow(*gather(arrays.events, state.program, event))
    offset, size = at_row(table["offset"], which), row.size
    promised = (
        has(table["flags"], Flag.PROMISED)
        & (table["start"] < row.hold_until)
        & (table["end"] > t + 1)
        & _overlaps(table, offset, size)
    )
    may_accept = (row.hold_until > 0) & (row.inert_departure == 0)
    may_accept = may_accept & ((offset >= row.reserved) | (size == 0)) & ~jnp.any(promised, axis=0)
    if arrays.has_groups:
        promise = row.promise_slot >= 0
        may_accept = may_accept & (~promise | _room(arrays, state, promise, 0))
    forced = _is_forced(arrays, state, event) & (row.kind == ENTRY)
    moves = mask & ~asked
    slot = state.slot + moves
    state = state.replace(
        asked=state.asked | asked,
        question=jnp.where(asked, ASK_DEPART, state.question),
        event=jnp.where(asked, event, state.event),
        departure_key=jnp.where(asked, key, state.departure_key),
        may_accept=jnp.where(asked, may_accept, state.may_accept),
        must_drop=jnp.where(asked, forced, state.must_drop),
        slot=slot,
        phase=jnp.where(moves, ARRIVING, state.phase),
        read=jnp.where(moves, 0, state.read),
        write=jnp.where(moves, 0, state.write),
        bus=jnp.where(moves, 0, state.bus),
        done=state.done | (moves & (slot >= arrays.num_slots[state.program])),
    )
    if arrays.has_reserved:
        column = SlotRow._fields.index("reserved")
        reserved = arrays.slots.at[state.program, slot, column].get(mode="clip")
        inside = (
            has(table["flags"], Flag.EVICTING) & (table["offset"] < reserved) & (table["size"] > 0)
        )
        first = jnp.min(jnp.where(inside, table["end"], 2 * NEVER - 1), axis=0)
        culprit = inside & (table["end"] == first)
        state = _blame(state, moves & ~state.done & jnp.any(inside, axis=0), culprit)
    return state


def _blame(state: State, infeasible: Array, culprit: Array) -> State:
    """Marks a state as infeasible because of the residency `culprit` [R, ...]."""
    first = infeasible & ~state.infeasible
    decision = at_row(state.table["decision"], culprit)
    origin = at_row(state.table["origin"], culprit)
    return state.replace(
        infeasible=state.infeasible | infeasible,
        culprit_decision=jnp.where(first, decision, state.culprit_decision),
        culprit_origin=jnp.where(first, origin, state.culprit_origin),
    )


def _back_up(arrays: GameArrays, state: State) -> State:
    """Starts infeasible games over, to replay the log up to the culprit's arrival, now forced."""

    def rewind(state: State) -> State:
        words = jnp.arange(state.forced.shape[0]).reshape((-1,) + (1,) * state.slot.ndim)
        origin = state.culprit_origin
        bit = jnp.uint32(1) << (origin % 32).astype(jnp.uint32)
        again = start(arrays, state.program).replace(
            log=write_log(
                state.log, state.culprit_decision, jnp.full_like(origin, DROP), state.infeasible
            ),
            forced=state.forced | jnp.where(words == origin // 32, bit, jnp.uint32(0)),
            replay_until=state.culprit_decision + 1,
            kept=jnp.minimum(state.kept, state.culprit_decision),
            backups=state.backups + 1,
        )
        return select(state.infeasible, again, state)

    return lax.cond(jnp.any(state.infeasible), rewind, lambda state: state, state)
