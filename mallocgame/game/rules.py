"""The rules, as masked steps over a batch of games (docs/game.md, sections 2 to 7).

A step applies the pending answers and looks for each game's next question with a choice.  Many
questions are looked at at once: most have one answer, which changes nothing.  What is left over,
such as a write-back without a choice, takes another step.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from mallocgame.game.arrays import GameArrays, gather
from mallocgame.game.copies import (
    Reach,
    end_write_backs,
    look_past_write_backs,
    reach_back,
    take_back,
    write_back,
)
from mallocgame.game.profile import BLOCK, add, peak, put_one, take_one
from mallocgame.game.state import CLEAN, COPY, DROP, State
from mallocgame.game.tables import (
    ALONE,
    ASK_DEPART,
    ASK_READ,
    DEFINE,
    INERT,
    KEEP,
    LATER,
    NEVER,
    UPDATE,
    Brief,
    QuestionRow,
    SlotRow,
    StopRow,
)
from mallocgame.program.latency import elapsed_time, supply_time

# Questions that are looked at at once: so many a game of the batch, and no fewer in all.
LOOK_AHEAD, LEAST_LOOKS = 16, 128


def advance(arrays: GameArrays, state: State) -> State:
    """Runs every game to its next question or its end."""
    # The log is not touched: kept out of the loop it costs nothing there.
    log = state.log
    state = state.replace(log=jnp.zeros((0, *log.shape[1:]), jnp.int8))

    def go_on(state: State) -> Array:
        return ~jnp.all(state.waiting | state.done)

    state = lax.while_loop(go_on, lambda state: micro_step(arrays, state), state)
    return state.replace(log=log)


def micro_step(arrays: GameArrays, state: State) -> State:
    """Applies the pending answers, and looks on to the next question or the next thing to do."""
    return _look_on(arrays, _phase(_apply, arrays, state, state.pending >= 0))


def _phase(
    function: Callable[[GameArrays, State, Array], State],
    arrays: GameArrays,
    state: State,
    mask: Array,
) -> State:
    """What no game of the batch needs is left out."""
    return lax.cond(jnp.any(mask), lambda s: function(arrays, s, mask), lambda s: s, state)


def question_row(arrays: GameArrays, state: State, number: Array) -> QuestionRow:
    """The question with this number, of each game."""
    return QuestionRow(*gather(arrays.questions, state.program, number))


# --- Answers ---


def _apply(arrays: GameArrays, state: State, mask: Array) -> State:
    """Applies the pending answers of some games."""
    row = question_row(arrays, state, state.asked)
    comes = mask & (state.pending != DROP)
    state = _phase(_wait, arrays, state, comes & state.waits)
    state = _phase(_copy, arrays, state, comes & (state.pending == COPY))
    state = _phase(_hold, arrays, state, comes)
    dirty = take_one(state.written, row.value) >= 0
    leaves = mask & (state.pending == DROP) & (row.kind == ASK_DEPART) & dirty
    state = _phase(_leave, arrays, state, leaves)
    return state.replace(pending=jnp.where(mask, -1, state.pending))


def _wait(arrays: GameArrays, state: State, mask: Array) -> State:
    row = question_row(arrays, state, state.asked)
    return end_write_backs(arrays, state, row.slot + (row.kind == ASK_DEPART), mask)


def _copy(arrays: GameArrays, state: State, mask: Array) -> State:
    row = question_row(arrays, state, state.asked)
    return take_back(state, row, arrays.capacity[state.program], mask)


def _leave(arrays: GameArrays, state: State, mask: Array) -> State:
    row = question_row(arrays, state, state.asked)
    return write_back(state, row, arrays.capacity[state.program], mask)


def _hold(arrays: GameArrays, state: State, mask: Array) -> State:
    """A residency begins or goes on: its room, and what its stops gain."""
    row = question_row(arrays, state, state.asked)
    departs = row.kind == ASK_DEPART
    ahead = state.pending == COPY
    since = jnp.where(ahead, state.begin, row.slot)
    start = jnp.where(departs, row.slot + 1, since)
    size = jnp.where(mask, row.size, 0)
    stall = jnp.where(ahead, state.copy_stall, state.hold_stall)
    state = state.replace(
        used=add(state.used, start, row.counted, size),
        saved=state.saved - jnp.where(mask, stall, 0),
        since=put_one(state.since, row.value, since, mask & ~departs),
        until=put_one(state.until, row.value, row.stay_end, mask),
        written=put_one(state.written, row.value, jnp.int32(CLEAN), mask & ~departs),
    )
    state = _serve(arrays, state, row.value, row.first, row.stay_end, mask)
    if not arrays.has_groups:
        return state
    return _phase(_hold_result, arrays, state, mask & (row.result >= 0))


def _hold_result(arrays: GameArrays, state: State, mask: Array) -> State:
    """The result of a held group (7)."""
    row = question_row(arrays, state, state.asked)
    size = jnp.where(mask, row.size, 0)
    state = state.replace(
        used=add(state.used, row.result_start, row.result_end, size),
        since=put_one(state.since, row.result, row.result_start, mask),
        until=put_one(state.until, row.result, row.result_end, mask),
    )
    return _serve(arrays, state, row.result, row.result_first, row.result_end, mask)


def _serve(
    arrays: GameArrays, state: State, value: Array, first: Array, end: Array, mask: Array
) -> State:
    """The value's stops from `first` on, before the slot `end`, find it in fast memory."""

    def stop_of(number: Array) -> StopRow:
        return StopRow(*gather(arrays.stops, state.program, number))

    def served(number: Array, stop: StopRow) -> Array:
        return mask & (number < arrays.stops.shape[1]) & (stop.slot < end)

    def go_on(carry: tuple[State, Array]) -> Array:
        return jnp.any(carry[1] >= 0)

    def serve(carry: tuple[State, Array]) -> tuple[State, Array]:
        state, number = carry
        stop = stop_of(number)
        here = number >= 0
        state = _gain(arrays, state, stop, here)
        writes = here & ((stop.kind == DEFINE) | (stop.kind == UPDATE))
        written = put_one(state.written, value, stop.slot, writes)
        following = jnp.where(here, stop.next, -1)
        goes_on = here & served(following, stop_of(following))
        return state.replace(written=written), jnp.where(goes_on, following, -1)

    first = jnp.where(served(first, stop_of(first)), first, -1)
    return lax.while_loop(go_on, serve, (state, first))[0]


def _gain(arrays: GameArrays, state: State, stop: StopRow, mask: Array) -> State:
    """One access finds its value in fast memory: the slot's times, and what that saves (3)."""
    t = stop.slot
    columns = arrays.slots.at[:, state.program, t].get(mode="clip")
    slot = SlotRow(*columns)
    before = tuple(take_one(c, t) for c in (state.read, state.write, state.bus))
    after = tuple(b - g for b, g in zip(before, (stop.read, stop.write, stop.bus), strict=True))

    def times(read: Array, write: Array, bus: Array) -> tuple[Array, Array]:
        elapsed = elapsed_time(slot.compute, read, write, jnp)
        return elapsed, supply_time(elapsed, bus, jnp)

    (elapsed, idle), (elapsed_then, idle_then) = times(*before), times(*after)
    left = take_one(state.left, t)
    left_then = left + idle_then - idle
    overdraft = jnp.maximum(-left_then, 0) - jnp.maximum(-left, 0)
    saving = slot.weight * (elapsed - elapsed_then - overdraft)
    return state.replace(
        read=put_one(state.read, t, after[0], mask),
        write=put_one(state.write, t, after[1], mask),
        bus=put_one(state.bus, t, after[2], mask),
        left=put_one(state.left, t, left_then, mask),
        saved=state.saved + jnp.where(mask, saving, 0),
    )


# --- Questions ---


def _look_on(arrays: GameArrays, state: State) -> State:
    """Looks at the next questions of every game that waits for no answer.

    A game may have hundreds of questions in a row without a choice, where memory is full, and most
    have few.  So the same number of looks is shared out anew each time among those that still need
    some.
    """
    shape = state.cursor.shape
    run = ~(state.waiting | state.done)
    games, looks = max(run.size, 1), max(LOOK_AHEAD * run.size, LEAST_LOOKS)
    running = jnp.sum(run)
    share = (looks // jnp.maximum(running, 1)).astype(jnp.int32)
    lane = _compact(run.reshape(-1))[jnp.minimum(jnp.arange(looks) // share, games - 1)]
    ahead = jnp.arange(looks, dtype=jnp.int32) % share
    seated = jnp.arange(looks) // share < running
    asks = seated & _may_ask(arrays, state, lane, state.cursor.reshape(-1)[lane] + ahead)
    first = jnp.full(games, NEVER).at[lane].min(jnp.where(asks, ahead, NEVER)).reshape(shape)
    found = run & (first < NEVER)
    number = state.cursor + first
    state = state.replace(
        asked=jnp.where(found, number, state.asked),
        cursor=jnp.where(run, jnp.where(found, number + 1, state.cursor + share), state.cursor),
    )
    state = _phase(_ask, arrays, state, found)
    total = arrays.num_questions_of[state.program]
    over = run & (state.cursor >= total) & (state.pending < 0) & ~state.waiting
    return state.replace(done=state.done | over)


def _compact(mask: Array) -> Array:
    """The positions of what is true in bool [N], in order, and zeros behind: int32 [N]."""
    position = jnp.where(mask, jnp.cumsum(mask) - 1, mask.size)
    numbers = jnp.arange(mask.size, dtype=jnp.int32)
    return jnp.zeros_like(numbers).at[position].set(numbers, mode="drop")


def _may_ask(arrays: GameArrays, state: State, lane: Array, number: Array) -> Array:
    """Which questions have a choice as far as a glance shows, or a write-back to be done.

    lane, number: int32 [K], a game of the batch and a question of it. What is asked before may
    change what is seen of the later ones of a game.
    """
    program = state.program.reshape(-1)[lane]
    row = Brief(*gather(arrays.briefs, program, number))

    def of_lane(column: Array, index: Array) -> Array:
        flat = column.reshape(column.shape[0], -1)
        return flat.at[index, lane].get(mode="clip")

    departs = row.kind == ASK_DEPART
    since, until = of_lane(state.since, row.value), of_lane(state.until, row.value)
    there = (since <= row.slot) & (row.slot < until)
    dirty = of_lane(state.written, row.value) >= 0
    start = row.slot + departs
    used = of_lane(state.used.slots, start) + of_lane(state.used.lift, start // BLOCK)
    fits = used + row.size <= arrays.capacity[program]
    # Before the last write-back's end waiting may help.
    frontier = state.frontier.reshape(-1)[lane]
    open_ = (fits | (frontier > start)) & ((row.flags & ALONE) == 0)
    inert, later = (row.flags & INERT) > 0, (row.flags & LATER) > 0
    may_stay = later & open_ & (dirty | ~inert)
    must_write = dirty & ((row.flags & (LATER | KEEP)) > 0)
    leaves = there & (until == row.slot + 1) & (may_stay | must_write)
    exists = number < arrays.num_questions_of[program]
    return exists & jnp.where(departs, leaves, ~there & ~inert & open_)


def _ask(arrays: GameArrays, state: State, mask: Array) -> State:
    """Works out what the answers to the question `asked` would do, and whether they are legal."""
    row = question_row(arrays, state, state.asked)
    capacity = arrays.capacity[state.program]
    departs, reads = row.kind == ASK_DEPART, row.kind == ASK_READ
    start = row.slot + departs
    dirty = take_one(state.written, row.value) >= 0
    asks = mask & ((row.flags & ALONE) == 0)
    asks &= ~departs | (((row.flags & LATER) > 0) & (dirty | ((row.flags & INERT) == 0)))
    room = peak(state.used, start, row.counted) + row.size <= capacity
    if arrays.has_groups:
        room &= peak(state.used, row.result_start, row.result_end) + row.size <= capacity
    waits, room, ticks = _room_after_waiting(arrays, state, row, start, asks, room)
    asks &= room
    reach = lax.cond(
        jnp.any(asks & reads),
        lambda: reach_back(state, row, capacity, asks & reads),
        lambda: Reach(row.slot, jnp.zeros_like(row.slot)),
    )
    missing = jnp.where(reads, reach.missing, 0)
    alone = jnp.where(reads, row.demand, 0)
    copy_pays, copy_stall = _pays(arrays, state, row, missing + ticks)
    hold_pays, hold_stall = _pays(arrays, state, row, alone + ticks)
    may_copy = asks & reads & copy_pays
    may_hold = asks & hold_pays & (~reads | (reach.begin < row.slot))
    choice = may_copy | may_hold
    writes = mask & departs & dirty & ((row.flags & (LATER | KEEP)) > 0) & ~choice
    return state.replace(
        begin=jnp.where(mask, reach.begin, state.begin),
        copy_stall=jnp.where(mask, copy_stall, state.copy_stall),
        hold_stall=jnp.where(mask, hold_stall, state.hold_stall),
        may_copy=jnp.where(mask, may_copy, state.may_copy),
        may_hold=jnp.where(mask, may_hold, state.may_hold),
        waits=jnp.where(mask, waits, state.waits),
        waiting=state.waiting | choice,
        pending=jnp.where(writes, DROP, state.pending),
    )


def _room_after_waiting(
    arrays: GameArrays, state: State, row: QuestionRow, start: Array, asks: Array, room: Array
) -> tuple[Array, Array, Array]:
    """Whether the game would have to wait for write-backs, whether there is room then or anyway,
    and the ticks that these were still to take."""
    nothing = jnp.zeros_like(room), room, jnp.zeros_like(start)
    needed = asks & ~room & (state.frontier > start)

    def look() -> tuple[Array, Array, Array]:
        capacity = arrays.capacity[state.program]
        most, ticks = look_past_write_backs(arrays, state, start, row.counted, needed)
        beyond = peak(state.used, jnp.maximum(start, state.frontier), row.counted)
        fits = needed & (jnp.maximum(most, beyond) + row.size <= capacity)
        if arrays.has_groups:
            fits &= peak(state.used, row.result_start, row.result_end) + row.size <= capacity
        return fits, room | fits, jnp.where(fits, ticks, 0)

    return lax.cond(jnp.any(needed), look, lambda: nothing)


def _pays(arrays: GameArrays, state: State, row: QuestionRow, ticks: Array) -> tuple[Array, Array]:
    """Whether a move may stall for so many ticks of its slot (4), and the weighted stall."""
    if arrays.config.rules == "paper":
        return ticks == 0, jnp.zeros_like(ticks)
    weight = jnp.maximum(row.weight, 1)
    # Compared before it is multiplied: the product of what does not pay may overflow.
    short = ticks <= (row.worth - 1) // weight
    stall = jnp.where(short, weight * ticks, 0)
    lowest = -arrays.total_ticks[state.program]
    return (ticks == 0) | (short & (state.saved - stall >= lowest)), stall


def question_number(row: QuestionRow) -> Array:
    """Numbers by which questions are known outside: even for arrivals, odd for departures."""
    return 2 * row.stop + (row.kind == ASK_DEPART)
