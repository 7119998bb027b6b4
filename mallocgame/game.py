"""The rules in pure JAX: init, step, legal actions, Drop-backup (docs/game.md).

A `Game` is a pytree of stacked program tables; its methods are pure functions of a `State` and may
be jitted, vmapped and scanned.  The state is small and of fixed size whatever the program: a table
of recent residencies sorted by offset, the supply left in the last slots and a log of the moves.
Batch axes come last in every array, so that one code serves a single game (no batch axis) and a
batch [B], in which the lanes of the processor run over games.

Between two questions the game advances in small uniform steps: apply the pending answer, meet the
next stop, finish the slot, look for the next departure.  An infeasible state starts over and
replays the log up to the decision that Drop-backup forces; only games with reservations, carried
groups or `late_eviction="backup"` compile that part.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array, lax

from mallocgame.config import GameConfig
from mallocgame.latency import elapsed_time, supply_time
from mallocgame.placement import at_row, find_offset, gather, insert_sorted, take_supply
from mallocgame.program import Program
from mallocgame.tables import (
    DEFINE,
    ENTRY,
    EXIT,
    NEVER,
    READ,
    UPDATE,
    EventRow,
    SlotRow,
    Tables,
    compile_program,
    pad,
)

COPY, NO_COPY, DROP = range(3)
NUM_ACTIONS = 3
ASK_READ, ASK_DEFINE, ASK_DEPART = range(3)
ARRIVING, DEPARTING = range(2)

# What a residency is: produced in fast memory or changed there; on its way to slow memory; read on
# that way; copied to slow memory since; a place promised to a group's result; up for departure;
# up because its eviction is done.
DIRTY, EVICTING, READ_LATE, EVICTED, PROMISED, UP, DONE = (1 << i for i in range(7))


@struct.dataclass
class State:
    """One game or a batch; [...] stands for the batch axes.

    table: int32 [R, ...] columns, sorted by offset.  `end` is NEVER + queue position during an
        eviction; `event` the stop it was last met at; `ticket` ticks of supply until the eviction is
        done, afterwards the slot from which slow memory holds the value; `decision` and `origin`
        index the log and the stop that brought it.
    supply: int32 [W, ...]; ticks left in the slots before this one, nearest first.
    read, write, bus: int32 [...]; ticks taken off the current slot by what is in fast memory.
    saved, proxy: int32 [...]; ticks saved so far, and by the proxy's count.
    question, event, key, place, begin, supply_after, can: the question being asked: its kind, its
        stop, the order key of a departing residency, what an arrival would take; whether an answer
        other than DROP is legal.
    pending: int32 [...]; an answer to be applied, -1 without.
    log: int8 [M, ...], length, replay_until: the moves of this branch; the log below `replay_until`
        is replayed after a backup.
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
    can: Array
    waiting: Array
    pending: Array
    done: Array
    failed: Array
    infeasible: Array
    culprit_decision: Array
    culprit_origin: Array
    log: Array
    length: Array
    replay_until: Array
    forced: Array
    backups: Array


@struct.dataclass
class Game:
    """P programs ready to be played; arrays are padded to the longest program.

    events: int32 [P, E, columns of EventRow]; slots: int32 [P, T, columns of SlotRow].
    num_slots, capacity, total_ticks, floor_ticks: int32 [P].
    features: float32 [P, E, K]; what the observation knows about each stop.
    """

    events: Array
    slots: Array
    num_slots: Array
    capacity: Array
    total_ticks: Array
    floor_ticks: Array
    features: Array
    config: GameConfig = struct.field(pytree_node=False)
    table_size: int = struct.field(pytree_node=False)
    max_decisions: int = struct.field(pytree_node=False)
    has_groups: bool = struct.field(pytree_node=False)
    has_reserved: bool = struct.field(pytree_node=False)

    @property
    def num_programs(self) -> int:
        return self.events.shape[0]

    @property
    def can_backup(self) -> bool:
        """Whether an infeasible state is possible at all."""
        return self.has_groups or self.has_reserved or self.config.late_eviction == "backup"

    def init(self, index: Array) -> State:
        """Starts games: `index` int32 [...] says which program each plays."""
        return _advance(self, _fresh(self, jnp.asarray(index, jnp.int32)))

    def step(self, state: State, action: Array) -> tuple[State, Array]:
        """Plays one move in every game and goes on to the next question.

        Args:
          action: int32 [...]; an illegal action is played as DROP, finished games ignore it.

        Returns:
          The next state, and the reward float32 [...]: the change of the saved fraction.
        """
        before = self._score(state)
        playing = state.waiting & ~state.done
        legal = jnp.where(action == _yes(state), state.can, False)
        action = jnp.where(legal, action, DROP).astype(jnp.int32)
        length = state.length + playing
        after = _advance(
            self,
            state.replace(
                log=_write(state.log, jnp.where(playing, state.length, NEVER), action),
                length=length,
                replay_until=length,
                pending=jnp.where(playing, action, -1),
                waiting=state.waiting & ~playing,
            ),
        )
        reward = (self._score(after) - before) / self.total_ticks[state.program]
        return after, reward.astype(jnp.float32)

    def reset(self, state: State, mask: Array, index: Array) -> State:
        """Starts new games where `mask` bool [...] holds; the log of the others is kept."""
        fresh = self.init(index)
        return _select(mask, fresh, state)

    def legal_actions(self, state: State) -> Array:
        """Bool [..., 3]; all true for finished games."""
        copy = state.can & (state.question == ASK_READ)
        hold = state.can & (state.question != ASK_READ)
        legal = jnp.stack([copy, hold, jnp.ones_like(copy)], axis=-1)
        return legal | state.done[..., None]

    def question(self, state: State) -> tuple[Array, Array, Array]:
        """Kind (ASK_READ, ASK_DEFINE, ASK_DEPART), value and slot of the question, int32 [...]."""
        row = EventRow(*gather(self.events, state.program, state.event))
        return state.question, row.value, state.slot

    def observe(self, state: State) -> Array:
        """Float32 [..., F]: what the agent sees (`mallocgame.observation`)."""
        from mallocgame.observation import observe

        return observe(self, state)

    @property
    def observation_size(self) -> int:
        from mallocgame.observation import observation_size

        return observation_size(self)

    def done(self, state: State) -> Array:
        """Bool [...]."""
        return state.done

    def saved_ticks(self, state: State) -> Array:
        """Int32 [...]; ticks saved so far, -total where the game failed."""
        return jnp.where(state.failed, -self.total_ticks[state.program], state.saved)

    def saved_fraction(self, state: State) -> Array:
        """Float32 [...]; fraction of the all-slow latency saved so far."""
        return (self.saved_ticks(state) / self.total_ticks[state.program]).astype(jnp.float32)

    def backups(self, state: State) -> Array:
        """Int32 [...]; Drop-backups so far."""
        return state.backups

    def decision_index(self, state: State) -> Array:
        """Int32 [...]; number of moves on the current branch."""
        return state.length

    def action_log(self, state: State) -> Array:
        """Int8 [..., M]; the moves of the current branch, valid below `decision_index`."""
        return jnp.moveaxis(state.log, 0, -1)

    def _score(self, state: State) -> Array:
        score = state.proxy if self.config.reward == "proxy" else state.saved
        return jnp.where(state.failed, -self.total_ticks[state.program], score)


def build_game(programs: Sequence[Program], config: GameConfig = GameConfig()) -> Game:
    """Compiles programs and stacks them, padded to the longest.

    Raises:
      InputError: a program does not fit into 32-bit ticks.
    """
    return stack([compile_program(program, config) for program in programs], config)


def stack(tables: Sequence[Tables], config: GameConfig) -> Game:
    """Stacks compiled programs into one game."""
    from mallocgame.observation import stop_features

    events = pad([t.events for t in tables], 1 + max(len(t.events) for t in tables), NEVER)
    slots = pad([t.slots for t in tables], max(len(t.slots) for t in tables), 0)
    arrivals = [int(np.sum(t.events[:, 1] != UPDATE)) for t in tables]
    promised = EventRow._fields.index("promise_slot")
    groups = [int(np.sum(t.events[:, promised] >= 0)) for t in tables]
    largest = max(a + g for a, g in zip(arrivals, groups, strict=True))
    features = [stop_features(t) for t in tables]
    return Game(
        events=jnp.asarray(events),
        slots=jnp.asarray(slots),
        num_slots=jnp.array([len(t.slots) for t in tables], jnp.int32),
        capacity=jnp.array([t.capacity for t in tables], jnp.int32),
        total_ticks=jnp.array([max(t.total_ticks, 1) for t in tables], jnp.int32),
        floor_ticks=jnp.array([t.floor_ticks for t in tables], jnp.int32),
        features=jnp.asarray(pad(features, events.shape[1], 0)),
        config=config,
        table_size=max(1, min(config.max_residencies, largest)),
        max_decisions=max(t.max_decisions for t in tables),
        has_groups=any(groups),
        has_reserved=bool((slots[..., SlotRow._fields.index("reserved")] > 0).any()),
    )


def _fresh(game: Game, index: Array) -> State:
    """The state before the first slot, without questions."""
    shape = index.shape
    zero = jnp.zeros(shape, jnp.int32)
    no = jnp.zeros(shape, bool)
    entries = jnp.zeros((game.table_size, *shape), jnp.int32)
    names = ("size", "start", "value", "flags", "event", "ticket", "decision", "origin")
    table = dict.fromkeys(names, entries) | {"offset": entries + NEVER, "end": entries - NEVER}
    supply = jnp.zeros((game.config.prefetch_window, *shape), jnp.int32)
    forced = -(-game.events.shape[1] // 32) if game.can_backup else 0
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
        can=no,
        waiting=no,
        pending=zero - 1,
        done=no,
        failed=no,
        infeasible=no,
        culprit_decision=zero,
        culprit_origin=zero,
        log=jnp.zeros((game.max_decisions, *shape), jnp.int8),
        length=zero,
        replay_until=zero,
        forced=jnp.zeros((forced, *shape), jnp.uint32),
        backups=zero,
    )


def _write(log: Array, index: Array, action: Array) -> Array:
    """Writes one move a game; an index beyond the log writes nothing."""
    where = (index,) if index.ndim == 0 else (index, *jnp.indices(index.shape, sparse=True))
    return log.at[where].set(action.astype(jnp.int8), mode="drop")


def _select(mask: Array, new: State, old: State) -> State:
    """`new` where the mask [...] holds; batch axes are last, so the mask broadcasts."""
    import jax

    return jax.tree.map(lambda a, b: jnp.where(mask, a, b), new, old)


def _yes(state: State) -> Array:
    """The action beside DROP that the question allows."""
    return jnp.where(state.question == ASK_READ, COPY, NO_COPY)


def _has(flags: Array, flag: int) -> Array:
    return (flags & flag) != 0


def _advance(game: Game, state: State) -> State:
    """Runs every game to its next question or its end; the log is read only."""
    log = state.log

    def running(state: State) -> Array:
        return jnp.any(~(state.waiting | state.done))

    def body(state: State) -> State:
        return micro_step(game, state, log)

    empty = state.replace(log=jnp.zeros((0, *state.log.shape[1:]), jnp.int8))
    return lax.while_loop(running, body, empty).replace(log=log)


def micro_step(game: Game, state: State, log: Array) -> State:
    """One uniform step of every game that waits for no answer."""
    run = ~(state.waiting | state.done)
    here = SlotRow(*gather(game.slots, state.program, state.slot))
    state = _apply(game, state, here, run & (state.pending >= 0))
    row = EventRow(*gather(game.events, state.program, state.cursor))
    arriving = run & (state.phase == ARRIVING)
    at_stop = arriving & (row.slot == state.slot)
    state, asked = _arrive(game, state, here, row, at_stop)
    if game.can_backup:
        run = run & ~state.infeasible
    passed = (row.slot != state.slot) | ((row.last == 1) & ~asked)
    state = _finish(game, state, here, run & arriving & passed)
    state, asked_departure = _depart(game, state, run & (state.phase == DEPARTING))
    state = _answer(game, state, log, run & (asked | asked_departure))
    return _back_up(game, state) if game.can_backup else state


def _answer(game: Game, state: State, log: Array, asked: Array) -> State:
    """Answers what has a single answer or stands in the log; else the game waits."""
    drop = asked & ~state.can
    state = state.replace(pending=jnp.where(drop, DROP, state.pending))
    if not game.can_backup:
        return state.replace(waiting=state.waiting | (asked & state.can))
    replay = asked & state.can & (state.length < state.replay_until)
    index = jnp.minimum(state.length, log.shape[0] - 1)
    where = (index,) if index.ndim == 0 else (index, *jnp.indices(index.shape, sparse=True))
    return state.replace(
        pending=jnp.where(replay, log[where].astype(jnp.int32), state.pending),
        length=state.length + replay,
        waiting=state.waiting | (asked & state.can & ~replay),
    )


def _apply(game: Game, state: State, here: SlotRow, do: Array) -> State:
    """Applies the pending answer to the question."""
    row = EventRow(*gather(game.events, state.program, state.event))
    departs = state.question == ASK_DEPART
    holds = do & (state.pending != DROP)
    t = state.slot
    comes = holds & ~departs
    defines = state.question == ASK_DEFINE
    entry = row.kind == ENTRY
    up = jnp.where(defines, (row.ask_end == 0) & (row.writeback == 1), (row.ask_end > 0) & ~entry)
    end = jnp.where(
        entry, row.hold_end, jnp.where(defines, jnp.maximum(row.ask_end, t + 1), t + 1)
    )
    leaving = _has(state.table["flags"], UP) & (_order(state.table) == state.key)
    promise = holds & (row.promise_slot >= 0)
    place = jnp.where(departs, at_row(state.table["offset"], leaving), state.place)
    state = _leave(state, here, row, leaving & do & departs, holds)
    newcomer = {
        "offset": place,
        "size": row.size,
        "start": state.begin,
        "end": end,
        "value": row.value,
        "flags": jnp.where(defines, DIRTY, 0) | jnp.where(up, UP, 0),
        "event": state.event,
        "ticket": jnp.zeros_like(t),
        "decision": state.length - 1,
        "origin": state.event,
    }
    table = insert_sorted(state.table, newcomer, _forgotten(game, state), comes)
    if game.has_groups:
        promised = newcomer | {
            "start": row.promise_slot,
            "end": row.ask_end,
            "value": row.promise_value,
            "flags": jnp.full_like(t, PROMISED),
        }
        state = state.replace(table=table)
        table = insert_sorted(table, promised, _forgotten(game, state), promise)
    gain = comes.astype(jnp.int32)
    return state.replace(
        table=table,
        supply=jnp.where(comes & ~defines, state.supply_after, state.supply),
        read=state.read + gain * row.read,
        write=state.write + gain * row.write,
        bus=state.bus + gain * row.bus,
        proxy=state.proxy + gain * here.weight * row.alone,
        cursor=state.cursor + (do & ~departs),
        pending=jnp.where(do, -1, state.pending),
    )


def _forgotten(game: Game, state: State) -> Array:
    """Residencies that no copy can reach back to."""
    return state.table["end"] <= state.slot - game.config.prefetch_window


def _leave(state: State, here: SlotRow, row: EventRow, which: Array, holds: Array) -> State:
    """Answers a departure of the residency `which` [R, ...]: hold it on, release or evict it."""
    table = dict(state.table)
    flags, end, ticket = table["flags"], table["end"], table["ticket"]
    t = state.slot
    held = which & holds
    evicted = which & ~holds & _has(flags, DIRTY)
    queue = jnp.max(jnp.where(_has(flags, EVICTING), ticket, 0), axis=0)
    at_once = here.segment_end == 1
    stall = jnp.any(evicted, axis=0) & at_once
    ticket = jnp.where(which & _has(flags, DONE), t + 1, ticket)
    cleared = jnp.where(which, flags & ~(UP | DONE), flags)
    started = cleared & ~(READ_LATE | EVICTED) | EVICTING
    finished = cleared & ~DIRTY | EVICTED
    table["flags"] = jnp.where(evicted, jnp.where(at_once, finished, started), cleared)
    table["ticket"] = jnp.where(evicted, jnp.where(at_once, t + 1, queue + row.demand), ticket)
    table["end"] = jnp.where(
        held,
        row.hold_end,
        jnp.where(evicted & ~at_once, NEVER + state.evictions, end),
    )
    return state.replace(
        table=table,
        evictions=state.evictions + jnp.any(evicted, axis=0),
        saved=state.saved - jnp.where(stall, here.weight * row.demand, 0),
    )


def _arrive(
    game: Game, state: State, here: SlotRow, row: EventRow, do: Array
) -> tuple[State, Array]:
    """Meets one stop: what needs no answer happens, else the question is prepared."""
    table = dict(state.table)
    flags, t = table["flags"], state.slot
    own = (table["value"] == row.value) & do
    promised = own & _has(flags, PROMISED) & (row.kind == DEFINE)
    there = (
        own & ~_has(flags, PROMISED) & (table["start"] <= t) & (t < table["end"])
        & (row.kind != DEFINE)
    )  # fmt: skip
    late = there & _has(flags, EVICTING)
    is_update = row.kind == UPDATE
    cancelled = late & is_update
    ends = (there & ~late & (table["end"] == t + 1)) | cancelled
    gone = jnp.any(cancelled, axis=0)
    own_ticket = at_row(table["ticket"], cancelled)
    before = jnp.max(
        jnp.where(_has(flags, EVICTING) & (table["ticket"] < own_ticket), table["ticket"], 0), axis=0
    )
    behind = _has(flags, EVICTING) & gone & (table["ticket"] > own_ticket)
    dirty = _has(flags, DIRTY) | is_update
    up = ends & ((row.ask_end > 0) | (dirty & (row.writeback == 1)))
    flags = jnp.where(there & is_update, flags | DIRTY, flags)
    flags = jnp.where(cancelled, flags & ~(EVICTING | READ_LATE), flags)
    flags = jnp.where(late & ~is_update, flags | READ_LATE, flags)
    flags = jnp.where(up, flags | UP, flags)
    if game.has_groups:
        flags = jnp.where(promised, DIRTY, flags)
    keeps_key = is_update & ~cancelled
    table |= {
        "flags": flags,
        "end": jnp.where(cancelled, t + 1, table["end"]),
        "ticket": jnp.where(behind, table["ticket"] - (own_ticket - before), table["ticket"]),
        "event": jnp.where((late | ends) & ~keeps_key, state.cursor, table["event"]),
    }
    resident = jnp.any(there, axis=0)
    taken = jnp.any(promised, axis=0) if game.has_groups else jnp.zeros_like(resident)
    asked = do & (
        ((row.kind == READ) | (row.kind == ENTRY)) & ~resident | ((row.kind == DEFINE) & ~taken)
    )
    gain = (resident | taken).astype(jnp.int32)
    state = state.replace(
        table=table,
        read=state.read + gain * row.read,
        write=state.write + gain * row.write,
        bus=state.bus + gain * row.bus,
        proxy=state.proxy + gain * here.weight * row.alone,
        cursor=state.cursor + (do & ~asked),
    )
    if game.has_groups:
        place, size = at_row(table["offset"], promised), at_row(table["size"], promised)
        clash = (
            _has(flags, EVICTING) & (table["offset"] < place + size)
            & (table["offset"] + table["size"] > place) & (table["size"] > 0) & (size > 0)
        )  # fmt: skip
        state = _blame(state, taken & jnp.any(clash, axis=0), promised)
    if game.config.late_eviction == "backup":
        state = _blame(state, do & jnp.any(late & ~is_update, axis=0), late)
    return _ask_arrival(game, state, here, row, asked), asked


def _ask_arrival(game: Game, state: State, here: SlotRow, row: EventRow, asked: Array) -> State:
    """Finds the supply and the place that an arrival would take."""
    table, t, window = state.table, state.slot, game.config.prefetch_window
    defines = row.kind == DEFINE
    reach = jnp.minimum(t - here.segment_start, window)
    met, slots, supply_after = take_supply(state.supply, reach, row.demand)
    begin = jnp.where(defines, t, t - slots)
    own = table["value"] == row.value
    back = jnp.max(jnp.where(own & _has(table["flags"], EVICTED), table["ticket"], 0), axis=0)
    source = met & (jnp.maximum(row.valid, back) <= begin)
    end = jnp.where(row.kind == READ, t + 1, jnp.maximum(row.ask_end, t + 1))
    lowest = jnp.where(row.kind == READ, 0, row.reserved)
    if game.has_reserved:
        lowest = jnp.maximum(lowest, _reserved_back(game, state, begin))
    blocks = (table["start"] < end) & (table["end"] > begin)
    found, place = find_offset(
        table["offset"],
        table["size"],
        blocks,
        lowest,
        row.size,
        game.capacity[state.program],
        game.config.placement == "first_fit",
    )
    can = found & (defines | source) & _room(game, state, row.promise_slot >= 0, 1)
    can = can & (row.inert_arrival == 0) & ~_is_forced(game, state, state.cursor)
    keep = state
    return keep.replace(
        question=jnp.where(asked, jnp.where(defines, ASK_DEFINE, ASK_READ), keep.question),
        event=jnp.where(asked, state.cursor, keep.event),
        place=jnp.where(asked, place, keep.place),
        begin=jnp.where(asked, begin, keep.begin),
        supply_after=jnp.where(asked, supply_after, keep.supply_after),
        can=jnp.where(asked, can, keep.can),
    )


def _room(game: Game, state: State, promise: Array, others: int) -> Array:
    """Whether the table has room for `others` residencies and a promised one."""
    remembered = jnp.sum(~_forgotten(game, state), axis=0)
    return remembered + others + promise <= game.config.max_residencies


def _reserved_back(game: Game, state: State, begin: Array) -> Array:
    """The largest reservation over the slots [begin, t]."""
    back = jnp.arange(game.config.prefetch_window + 1)
    slots = state.slot - back.reshape((-1,) + (1,) * state.slot.ndim)
    column = SlotRow._fields.index("reserved")
    sizes = game.slots[state.program, jnp.maximum(slots, 0), column]
    return jnp.max(jnp.where(slots >= begin, sizes, 0), axis=0)


def _is_forced(game: Game, state: State, event: Array) -> Array:
    if not game.can_backup:
        return jnp.zeros_like(state.done)
    word = jnp.arange(state.forced.shape[0]).reshape((-1,) + (1,) * event.ndim) == event // 32
    bits = jnp.max(jnp.where(word, state.forced, 0), axis=0)
    return ((bits >> (event % 32).astype(jnp.uint32)) & 1) == 1


def _finish(game: Game, state: State, here: SlotRow, do: Array) -> State:
    """Finishes the slot: its time, its reward, the evictions it feeds, the supply it leaves."""
    table = dict(state.table)
    flags, t = table["flags"], state.slot
    evicting = _has(flags, EVICTING)
    elapsed = elapsed_time(here.compute, here.read - state.read, here.write - state.write, jnp)
    idle = supply_time(elapsed, here.bus - state.bus, game.config.supply, jnp)
    queue = jnp.max(jnp.where(evicting, table["ticket"], 0), axis=0)
    fed = jnp.minimum(idle, queue)
    drains = here.segment_end == 1
    stall = jnp.where(drains, queue - fed, 0)
    ready = do & evicting & ((table["ticket"] <= fed) | drains)
    row_up = ready & _has(flags, READ_LATE) & _has_later_read(game, state)
    position = table["end"] - NEVER
    clean = flags & ~(EVICTING | READ_LATE | DIRTY) | EVICTED
    table |= {
        "flags": jnp.where(ready, jnp.where(row_up, clean | UP | DONE, clean), flags),
        "end": jnp.where(ready, t + 1, table["end"]),
        "ticket": jnp.where(
            ready,
            jnp.where(row_up, position, t + 1),
            jnp.where(do & evicting, table["ticket"] - fed, table["ticket"]),
        ),
    }
    left = jnp.concatenate([(idle - fed)[None], state.supply[:-1]])
    saving = here.weight * (here.slow_elapsed - elapsed - stall)
    return state.replace(
        table=table,
        supply=jnp.where(do, left, state.supply),
        saved=state.saved + jnp.where(do, saving, 0),
        phase=jnp.where(do, DEPARTING, state.phase),
    )


def _has_later_read(game: Game, state: State) -> Array:
    """Bool [R, ...]; whether the stop that each residency was last met at has a later read."""
    column = EventRow._fields.index("ask_end")
    return game.events.at[state.program, state.table["event"], column].get(mode="clip") > 0


def _order(table: dict[str, Array]) -> Array:
    """Order of the departures: stops of this slot, then evictions done in it."""
    return jnp.where(_has(table["flags"], DONE), NEVER + table["ticket"], table["event"])


def _depart(game: Game, state: State, do: Array) -> tuple[State, Array]:
    """Asks for the next departure of the slot; when there is none the game enters the next slot."""
    table, t = state.table, state.slot
    up = _has(table["flags"], UP)
    key = jnp.min(jnp.where(up, _order(table), 2 * NEVER - 1), axis=0)
    which = up & (_order(table) == key)
    asked = do & jnp.any(up, axis=0)
    event = at_row(table["event"], which)
    row = EventRow(*gather(game.events, state.program, event))
    offset, size = at_row(table["offset"], which), row.size
    promised = (
        _has(table["flags"], PROMISED)
        & (table["start"] < row.ask_end) & (table["end"] > t + 1)
        & (table["offset"] < offset + size) & (table["offset"] + table["size"] > offset)
        & (table["size"] > 0) & (size > 0)
    )  # fmt: skip
    can = (row.ask_end > 0) & (row.inert_departure == 0)
    can = can & ((offset >= row.reserved) | (size == 0)) & ~jnp.any(promised, axis=0)
    if game.has_groups:
        promise = row.promise_slot >= 0
        can = can & (~promise | _room(game, state, promise, 0))
    forced = _is_forced(game, state, event) & (row.kind == ENTRY)
    moves = do & ~asked
    slot = state.slot + moves
    state = state.replace(
        question=jnp.where(asked, ASK_DEPART, state.question),
        event=jnp.where(asked, event, state.event),
        key=jnp.where(asked, key, state.key),
        can=jnp.where(asked, can & ~forced, state.can),
        slot=slot,
        phase=jnp.where(moves, ARRIVING, state.phase),
        read=jnp.where(moves, 0, state.read),
        write=jnp.where(moves, 0, state.write),
        bus=jnp.where(moves, 0, state.bus),
        done=state.done | (moves & (slot >= game.num_slots[state.program])),
    )
    if game.has_reserved:
        column = SlotRow._fields.index("reserved")
        reserved = game.slots.at[state.program, slot, column].get(mode="clip")
        inside = _has(table["flags"], EVICTING) & (table["offset"] < reserved) & (table["size"] > 0)
        first = jnp.min(jnp.where(inside, table["end"], 2 * NEVER - 1), axis=0)
        culprit = inside & (table["end"] == first)
        state = _blame(state, moves & ~state.done & jnp.any(inside, axis=0), culprit)
    return state, asked


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


def _back_up(game: Game, state: State) -> State:
    """Starts infeasible games over, to replay the log up to the culprit's arrival, now forced."""
    if not game.config.drop_backup:
        return state.replace(
            done=state.done | state.infeasible,
            failed=state.failed | state.infeasible,
            infeasible=jnp.zeros_like(state.infeasible),
        )
    words = jnp.arange(state.forced.shape[0]).reshape((-1,) + (1,) * state.slot.ndim)
    origin = state.culprit_origin
    bit = jnp.uint32(1) << (origin % 32).astype(jnp.uint32)
    start = _fresh(game, state.program).replace(
        log=state.log,
        forced=state.forced | jnp.where(words == origin // 32, bit, jnp.uint32(0)),
        replay_until=state.culprit_decision,
        backups=state.backups + 1,
    )
    return _select(state.infeasible, start, state)


__all__ = ["ASK_DEFINE", "ASK_DEPART", "ASK_READ", "COPY", "DROP", "EXIT", "Game", "NO_COPY",
           "NUM_ACTIONS", "State", "build_game", "stack"]  # fmt: skip
