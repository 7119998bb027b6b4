"""The rules of the game once more, in plain Python: the reference that the fast game is tested by.

Written from `docs/game.md` alone (section numbers below are that page's); it shares the data
model and nothing else with the game.  It is meant to be obviously right rather than fast: times are
Python integers, residencies immutable records, and Drop-backup returns to a snapshot taken before
each decision, where the fast game replays its log.  One class in one file, so that it can be read
beside that page, section by section.

Terms: a *slot* is an instruction's index, times are integer ticks of `OracleTables.tick_s` seconds,
sizes and offsets are bytes, intervals half-open.
"""

from __future__ import annotations

import dataclasses

from mallocgame.game.options import GameConfig
from mallocgame.oracle.state import (
    COPY,
    DROP,
    NO_COPY,
    Fetch,
    InfeasibleError,
    Promise,
    Question,
    State,
    Stay,
    overlap,
)
from mallocgame.oracle.tables import Group, OracleTables, Stop
from mallocgame.program import Program
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer


class Oracle:
    """One episode of the game on one program."""

    def __init__(self, program: Program, config: GameConfig | None = None):
        self.program = program
        self.config = config or GameConfig()
        self.tables = OracleTables(program, self.config.inert_fraction)
        self.backups = 0
        self.question: Question | None = None
        self.legal = (True, True, True)
        self._forced: set[Question] = set()
        self._snapshots: list[tuple[Question, State]] = []
        inputs = [v for v, value in enumerate(program.values) if value.is_input]
        self._state = State(-1, [], [], {}, [], {}, dict.fromkeys(inputs, 0), [], set(), [], [], [])
        self._advance()

    @property
    def done(self) -> bool:
        return self._state.done

    @property
    def saved_ticks(self) -> int:
        """Latency saved so far, in ticks (whatever the reward pays)."""
        return self._state.saved

    @property
    def total_ticks(self) -> int:
        """S: the all-slow latency in ticks."""
        return self.tables.all_slow_ticks

    def residents(self) -> dict[int, tuple[int, int, int | None, bool, bool]]:
        """Value -> (offset, start, end or None while in eviction, dirty, in eviction)."""
        stays = {v: self._state.stays[i] for v, i in self._state.here.items()}
        return {
            v: (s.offset, s.start, None if s.evicting else s.end, s.dirty, s.evicting)
            for v, s in stays.items()
        }

    def mapping(self) -> Mapping:
        """The finished game's mapping (8)."""
        if not self.done:
            raise ValueError(f"the game must be finished, got one in slot {self._state.slot}")
        stays = (Residency(s.value, s.offset, s.start, s.end, s.arrival) for s in self._state.stays)
        key = dataclasses.astuple
        return Mapping(
            self.program.name,
            self.program.fingerprint,
            tuple(sorted(stays, key=key)),
            tuple(sorted(self._state.prefetches, key=key)),
            tuple(sorted(self._state.evictions, key=key)),
        )

    def step(self, action: int) -> float:
        """Plays one decision and all that follows by itself; returns the reward.

        Raises:
          ValueError: the action is not legal.
        """
        if self.question is None:
            return 0.0
        if action not in (COPY, NO_COPY, DROP) or not self.legal[action]:
            raise ValueError(
                f"action must be legal for {self.question} (mask {self.legal}), got {action}"
            )
        question, before = self.question, self._state.paid
        if action != DROP:
            self._snapshots.append((question, self._state.snapshot()))
        self._play(question, action)
        self._advance()
        return (self._state.paid - before) / max(self.total_ticks, 1)

    # --- The walk (3) ---

    def _advance(self) -> None:
        """Walks to the next question with a choice, or to the end."""
        self.question, self.legal = None, (True, True, True)
        while not self._state.done:
            try:
                question = self._next_question()
                if question is None:
                    continue
                legal = self._legal(question)
                first = question.slot + (question.kind == "depart")
                if (
                    not any(legal[:DROP])
                    or self._identity(question) in self._forced
                    or self.tables.inert_from(question.value, first)
                ):
                    self._play(question, DROP)
                else:
                    self.question, self.legal = question, legal
                    return
            except InfeasibleError as infeasible:
                self._back_up(infeasible.origin)

    def _next_question(self) -> Question | None:
        """Does the next thing on the agenda; a question if that asks one."""
        state = self._state
        if not state.agenda:
            self._begin_next_slot()
            return None
        what, which = state.agenda.pop(0)
        if what == "reservation":
            self._check_reservation()
        elif what == "stop":
            stop = self.tables.stops[state.slot][which]
            question = self._arrive(stop)
            self._note_departure(stop.value)
            return question
        elif what == "finish":
            self._finish()
        elif what == "hold ended":
            return self._hold_ended(which)
        elif what == "evicted":
            return self._evicted(which)
        return None

    def _begin_next_slot(self) -> None:
        state = self._state
        if state.slot + 1 == len(self.program.instructions):
            state.done = True
            return
        state.slot += 1
        state.fast, state.up = set(), []
        stops = range(len(self.tables.stops[state.slot]))
        state.agenda = [("reservation", 0), *(("stop", i) for i in stops), ("finish", 0)]

    def _check_reservation(self) -> None:
        """A: a value in eviction below the reservation."""
        reserved = self.program.instructions[self._state.slot].reserved_bytes
        for i in self._state.queue:
            stay = self._state.stays[i]
            if self.tables.sizes[stay.value] and stay.offset < reserved:
                raise InfeasibleError(stay.origin)

    def _arrive(self, stop: Stop) -> Question | None:
        """B: one stop."""
        state, v, t = self._state, stop.value, self._state.slot
        stay = state.stays[state.here[v]] if v in state.here else None
        if stop.kind in ("read", "entry"):
            if stay is None:
                return Question("read", v, t)
            if stay.evicting:
                if self.config.late_eviction == "backup":
                    raise InfeasibleError(stay.origin)
                self._change(v, read_in_eviction=True)
            if stop.kind == "read":
                self._access_fast(v, "read")
        elif stop.kind == "define":
            if v in state.promises:
                self._begin_result(state.promises.pop(v))
            elif self.tables.needed[v]:
                return Question("define", v, t)
            else:
                state.slow_since[v] = t + 1
        elif stop.kind == "update":
            if stay is None:
                state.slow_since[v] = t + 1
                return None
            self._access_fast(v, "write")
            if stay.evicting:
                self._check_promises(stay)
                state.queue.remove(state.here[v])
                self._change(v, evicting=False, end=t + 1)
            self._change(v, dirty=True)
        return None

    def _check_promises(self, stay: Stay) -> None:
        """A value in eviction that is updated stays, on a place that a result takes here (6)."""
        place = self._lies(stay)
        for promise in sorted(self._state.promises.values(), key=lambda p: p.offset):
            if promise.start == self._state.slot and overlap(place, self._lies(promise)):
                raise InfeasibleError(promise.origin)

    def _note_departure(self, v: int) -> None:
        """After a stop: v is up for departure where its hold ends at this slot."""
        state = self._state
        if v in state.here and v not in state.up:
            stay = state.stays[state.here[v]]
            if stay.end == state.slot + 1 and not stay.evicting:
                state.up.append(v)

    def _begin_result(self, promise: Promise) -> None:
        """The result of a held group takes the place promised to it (7), or finds it occupied."""
        state = self._state
        place = self._lies(promise)
        for i in state.queue:
            if overlap(place, self._lies(state.stays[i])):
                raise InfeasibleError(promise.origin)
        self._access_fast(promise.value, "write")
        v, offset, start, end, origin = promise
        self._begin(Stay(v, offset, start, end, DEFINED, origin, dirty=True))

    def _finish(self) -> None:
        """C: the instruction's time is known; it feeds the evictions and pays the reward."""
        state, t = self._state, self._state.slot
        elapsed, supply = self.tables.elapsed(t, state.fast)
        stall, evicted = 0, []
        for i in list(state.queue):
            v, demand = state.stays[i].value, state.stays[i].demand
            fed = min(supply, demand)
            supply, demand = supply - fed, demand - fed
            self._change(v, demand=demand)
            first = state.queue[0] == i  # evictions are done in the order of their start
            if (first and demand == 0) or self.tables.is_last[t]:
                stall += demand
                evicted.append(v)
                self._end_eviction(v)
        state.left.append(supply)
        weight = self.program.weights[t]
        self._pay(weight * (self.tables.all_slow[t] - elapsed - stall), 0)
        state.agenda += [("hold ended", v) for v in state.up] + [("evicted", v) for v in evicted]

    def _hold_ended(self, v: int) -> Question | None:
        """D, first kind: the hold ended at this slot."""
        t = self._state.slot
        if self.tables.wanted(v, t):
            return Question("depart", v, t)
        if self._state.stays[self._state.here[v]].dirty and self.tables.outlives_level(v, t):
            self._start_eviction(v)
        else:
            self._release(v)
        return None

    def _evicted(self, v: int) -> Question | None:
        """D, second kind: the eviction is done at this slot."""
        t = self._state.slot
        if self._state.stays[self._state.here[v]].read_in_eviction and self.tables.wanted(v, t):
            return Question("depart", v, t)
        self._release(v)
        return None

    # --- Questions and answers ---

    def _legal(self, question: Question) -> tuple[bool, bool, bool]:
        if question.kind == "read":
            return (self._fetch(question.value) is not None, False, True)
        if question.kind == "define":
            return (False, self._define_place(question.value) is not None, True)
        return (False, self._may_extend(question.value), True)

    def _play(self, question: Question, action: int) -> None:
        v, t = question.value, question.slot
        if action == DROP:
            if question.kind == "define":
                self._state.slow_since[v] = t + 1
            elif question.kind == "depart":
                if self._state.stays[self._state.here[v]].dirty:
                    self._start_eviction(v)
                else:
                    self._release(v)
        elif question.kind == "read":
            self._play_copy(question)
        elif question.kind == "define":
            offset = self._define_place(v)
            assert offset is not None
            end = self._define_end(v)
            self._access_fast(v, "write")
            self._begin(Stay(v, offset, t, end, DEFINED, question, dirty=True))
        else:
            self._change(v, end=self._extend_end(v), evicting=False, read_in_eviction=False)
            self._promise(question)
        if question.kind != "depart":
            self._note_departure(v)

    def _play_copy(self, question: Question) -> None:
        state, v, t = self._state, question.value, question.slot
        fetch = self._fetch(v)
        assert fetch is not None
        for slot, ticks in fetch.taken.items():
            state.left[slot] -= ticks
        self._pay(-fetch.stall, 0)
        state.prefetches.append(Transfer(v, fetch.start, t))
        self._begin(Stay(v, fetch.offset, fetch.start, fetch.end, COPIED, question))
        if self.tables.loop_entered(v, t) is None:
            self._access_fast(v, "read")
        self._promise(question)

    def _promise(self, question: Question) -> None:
        """Holding a group's parameter promises its place to the result; it keeps what it needs."""
        group = self.tables.group_entered(question.value, question.slot)
        if group is not None:
            stay = self._state.stays[self._state.here[group.parameter]]
            self._state.promises[group.result] = Promise(
                group.result, stay.offset, group.defined_at, group.exit + 1, question
            )
            self._change(group.parameter, end=group.last_stop + 1)

    def _define_end(self, v: int) -> int:
        later = self.tables.next_read(v, self._state.slot)
        return self._state.slot + 1 if later is None else later + 1

    def _define_place(self, v: int) -> int | None:
        if not self._table_has_room(1):
            return None
        return self._place(v, self._state.slot, self._define_end(v))

    def _extend_end(self, v: int) -> int:
        """The end of what NO_COPY of a departure would hold."""
        loop = self.tables.loop_entered(v, self._state.slot)
        if loop is not None:
            return self.program.loops[loop].exit + 1
        later = self.tables.next_read(v, self._state.slot)
        assert later is not None
        return later + 1

    def _may_extend(self, v: int) -> bool:
        state, t = self._state, self._state.slot
        group = self.tables.group_entered(v, t)
        if group is not None and not (self._may_hold(group) and self._table_has_room(1)):
            return False
        size = self.tables.sizes[v]
        if size == 0:
            return True
        start, end = t + 1, self._extend_end(v)
        offset = state.stays[state.here[v]].offset
        return offset >= self.tables.reserved(start, end) and not any(
            p.start < end
            and start < p.end
            and overlap((offset, offset + size), (p.offset, p.offset + self.tables.sizes[p.value]))
            for p in state.promises.values()
        )

    def _may_hold(self, group: Group) -> bool:
        """A group is held in whole: its result must be in play too."""
        return self.tables.in_play[group.result]

    def _fetch(self, v: int) -> Fetch | None:
        """How COPY would bring v (4), None where it cannot."""
        state, t = self._state, self._state.slot
        loop, group = self.tables.loop_entered(v, t), self.tables.group_entered(v, t)
        if not self._table_has_room(1 if group is None else 2):
            return None
        if group is not None and not self._may_hold(group):
            return None
        earliest = max(self.tables.segment[t], t - self.config.prefetch_window, state.slow_since[v])
        end = t + 1 if loop is None else self.program.loops[loop].exit + 1
        taken, stall = self._supply(v, earliest)
        if stall > 0 and not self._may_stall(v, stall):
            return None
        s = min(taken, default=t)
        offset = self._place(v, s, end)
        if offset is not None:
            return Fetch(s, end, offset, taken, stall)
        offset = self._place(v, t, end, earliest)
        if offset is None:
            return None
        mine = (offset, offset + self.tables.sizes[v])
        before = (x for x in state.stays if not x.meets(t, end) and self.tables.sizes[x.value])
        ends = [x.end for x in before if overlap(mine, self._lies(x))]
        taken, stall = self._supply(v, max([earliest, *ends]))
        if stall > 0 and not self._may_stall(v, stall):
            return None
        return Fetch(min(taken, default=t), end, offset, taken, stall)

    def _lies(self, at: Stay | Promise) -> tuple[int, int]:
        """The bytes of a residency, or those promised to one."""
        return at.offset, at.offset + self.tables.sizes[at.value]

    def _supply(self, v: int, earliest: int) -> tuple[dict[int, int], int]:
        """What a copy of v takes of each slot from `earliest` on, and the stall for the rest."""
        need, taken = self.tables.demand[v], {}
        for slot in range(self._state.slot - 1, earliest - 1, -1):
            ticks = min(need, self._state.left[slot])
            if ticks > 0:
                taken[slot] = ticks
                need -= ticks
        return taken, need * self.program.weights[self._state.slot]

    def _may_stall(self, v: int, stall: int) -> bool:
        """Whether a copy of v may be late by so many weighted ticks (4)."""
        if self.config.late_prefetch == "illegal":
            return False
        enough = self._state.saved - stall >= -self.total_ticks
        return enough and stall < self.tables.worth_of_hold(v, self._state.slot)

    def _table_has_room(self, arrivals: int) -> bool:
        """Residencies that the game remembers, promised ones included (4, Table)."""
        state = self._state
        oldest = state.slot - self.config.prefetch_window
        remembered = sum(stay.evicting or stay.end > oldest for stay in state.stays)
        return remembered + len(state.promises) + arrivals <= self.config.max_residencies

    def _place(self, v: int, start: int, end: int, reserved: int | None = None) -> int | None:
        """The offset for v over [start, end), None where no gap suffices (4, Placement).

        reserved: from which slot on reservations count, where that is earlier.
        """
        sizes, size = self.tables.sizes, self.tables.sizes[v]
        if size == 0:
            return 0
        taken = [s for s in self._state.stays if s.meets(start, end)]
        taken += [p for p in self._state.promises.values() if p.start < end and start < p.end]
        ranges = sorted(self._lies(x) for x in taken if sizes[x.value])
        gaps, free_from = [], self.tables.reserved(start if reserved is None else reserved, end)
        capacity = self.program.machine.fast_capacity_bytes
        for low, high in [*ranges, (capacity, capacity)]:
            if low - free_from >= size:
                gaps.append((low - free_from, free_from))
            free_from = max(free_from, high)
        if not gaps:
            return None
        gap, place = min(gaps)
        at_high_end = self.config.placement == "two_ended" and 4 * size < capacity
        return place + gap - size if at_high_end else place

    # --- Changes of the state ---

    def _begin(self, stay: Stay) -> None:
        self._state.here[stay.value] = len(self._state.stays)
        self._state.stays.append(stay)

    def _access_fast(self, v: int, kind: str) -> None:
        """An access finds its value in fast memory; the proxy pays as if it were the only one."""
        t = self._state.slot
        self._state.fast.add((v, kind))
        alone, _ = self.tables.elapsed(t, {(v, kind)})
        self._pay(0, self.program.weights[t] * (self.tables.all_slow[t] - alone))

    def _change(self, v: int, **changes: int | bool) -> None:
        i = self._state.here[v]
        self._state.stays[i] = dataclasses.replace(self._state.stays[i], **changes)  # type: ignore

    def _release(self, v: int) -> None:
        self._change(v, end=self._state.slot + 1)
        del self._state.here[v]

    def _start_eviction(self, v: int) -> None:
        state, t = self._state, self._state.slot
        demand = self.tables.demand[v]
        state.queue.append(state.here[v])
        self._change(v, evicting=True, demand=demand, evicted_at=t, read_in_eviction=False)
        if self.tables.is_last[t]:
            self._end_eviction(v)
            self._release(v)
            self._pay(-self.program.weights[t] * demand, 0)

    def _end_eviction(self, v: int) -> None:
        """Slow memory holds v from the next slot; whether it leaves is decided in D."""
        state, t = self._state, self._state.slot
        state.queue.remove(state.here[v])
        started = state.stays[state.here[v]].evicted_at
        self._change(v, evicting=False, dirty=False, end=t + 1)
        state.slow_since[v] = t + 1
        state.evictions.append(Transfer(v, started + 1, t + 1))

    def _pay(self, exact: int, proxy: int) -> None:
        self._state.saved += exact
        self._state.paid += exact if self.config.reward == "exact" else proxy

    def _identity(self, question: Question) -> Question:
        """At an entry marker both kinds are one question: whether the loop is entered with it."""
        if self.tables.loop_entered(question.value, question.slot) is None:
            return question
        return question._replace(kind="enter")

    def _back_up(self, origin: Question) -> None:
        """Drop-backup (6): back to the culprit's arrival, which from now on is a DROP."""
        self.backups += 1
        self._forced.add(self._identity(origin))
        question, state = self._snapshots.pop()
        while question != origin:
            question, state = self._snapshots.pop()
        self._state = state
        self._play(origin, DROP)
