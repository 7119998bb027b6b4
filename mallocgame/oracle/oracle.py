"""The rules of the game once more, in plain Python: the reference that the fast game is tested by.

Written from `docs/game.md` alone (section numbers below are that page's); it shares the data
model and nothing else with the game.  It is meant to be obviously right rather than fast: times are
Python integers, residencies are immutable records, and what is used, elapsed or saved is summed up
anew whenever somebody asks.  It plays one walk; packing and Drop-backup (6) are left to the caller,
who forces answers.  One class in one file, so that it can be read beside that page.

Terms: a *slot* is an instruction's index, times are integer ticks of `OracleTables.tick_s` seconds,
sizes and offsets are bytes, intervals half-open.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from mallocgame.game.options import GameConfig
from mallocgame.oracle.state import COPY, DROP, NO_COPY, Move, Origin, Question, Stay, WriteBack
from mallocgame.oracle.tables import OracleTables, Stop
from mallocgame.program import Program
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer


class Oracle:
    """One walk of the game over one program.

    Args:
      forced: questions whose single answer is DROP (6).
    """

    def __init__(
        self,
        program: Program,
        config: GameConfig | None = None,
        forced: Collection[Origin] = frozenset(),
    ):
        self.program = program
        self.config = config or GameConfig()
        self.forced = frozenset(forced)
        self.tables = OracleTables(program, self.config.inert_fraction)
        self.question: Question | None = None
        self.legal = (True, True, True)
        self.done = False
        self._slot = -1
        self._arrivals: list[Stop] = []  # stops of this slot that were not met yet
        self._departures: list[int] | None = None  # values; None before the last arrival
        self._stays: list[Stay] = []
        self._write_backs: list[WriteBack] = []
        self._prefetches: list[Transfer] = []
        self._taken = [0] * len(program.instructions)
        self._stalls = 0
        self._advance()

    # --- What is known (3, State) ---

    @property
    def total_ticks(self) -> int:
        """S: the all-slow latency in ticks."""
        return self.tables.all_slow_ticks

    @property
    def saved_ticks(self) -> int:
        """Latency saved so far, in ticks (3, Saved ticks)."""
        saved = -self._stalls
        for s, weight in enumerate(self.program.weights):
            elapsed, idle = self.tables.elapsed(s, self._fast_accesses(s))
            overdraft = max(0, self._taken[s] - idle)
            saved += weight * (self.tables.all_slow[s] - elapsed - overdraft)
        return saved

    @property
    def stall_ticks(self) -> int:
        """Weighted ticks of all stalls so far, overdrafts left out."""
        return self._stalls

    @property
    def overdraft_ticks(self) -> int:
        """Weighted ticks by which more was taken from slots than is idle there."""
        over = (max(0, taken - idle) for taken, idle in zip(self.taken, self.idle, strict=True))
        return sum(w * ticks for w, ticks in zip(self.program.weights, over, strict=True))

    @property
    def used(self) -> list[int]:
        """Bytes per slot, reservations included."""
        return [self._used(s) for s in range(len(self.program.instructions))]

    @property
    def taken(self) -> list[int]:
        """Ticks of supply per slot that copies take."""
        return list(self._taken)

    @property
    def idle(self) -> list[int]:
        """Ticks of supply per slot, with what is decided so far."""
        return [self._idle(s) for s in range(len(self.program.instructions))]

    def residents(self) -> dict[int, tuple[int, int, bool, bool]]:
        """Value -> (start, end, dirty, being written back) of what is in fast memory in this slot.

        A value that is being written back counts as clean: that slow memory holds it at the end of
        its stay is decided.
        """
        return {
            stay.value: (stay.start, stay.end, stay.dirty, stay.leaving)
            for stay in self._stays
            if stay.covers(self._slot)
        }

    # --- The finished game (8) ---

    def residencies(self) -> tuple[Stay, ...]:
        """All residencies, in the order in which they were decided.

        Raises:
          ValueError: the game is not finished.
        """
        self._require_finished()
        return tuple(self._stays)

    @property
    def prefetches(self) -> tuple[Transfer, ...]:
        return tuple(self._prefetches)

    @property
    def evictions(self) -> tuple[Transfer, ...]:
        return tuple(Transfer(self._stays[w.stay].value, w.start, w.end) for w in self._write_backs)

    def mapping(self, offsets: Sequence[int]) -> Mapping:
        """The finished game's mapping.

        Args:
          offsets: bytes, one per residency, in the order of `residencies`.

        Raises:
          ValueError: the game is not finished, or the offsets are too few or too many.
        """
        self._require_finished()
        key = dataclasses.astuple
        stays = (
            Residency(s.value, offset, s.start, s.end, s.arrival)
            for s, offset in zip(self._stays, offsets, strict=True)
        )
        return Mapping(
            self.program.name,
            self.program.fingerprint,
            tuple(sorted(stays, key=key)),
            tuple(sorted(self._prefetches, key=key)),
            tuple(sorted(self.evictions, key=key)),
        )

    def _require_finished(self) -> None:
        if not self.done:
            raise ValueError(f"the game must be finished, got one in slot {self._slot}")

    # --- The walk (3) ---

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
        before = self.saved_ticks
        self._play(self.question, action)
        self._advance()
        return (self.saved_ticks - before) / max(self.total_ticks, 1)

    def _advance(self) -> None:
        """Walks to the next question with a choice, or to the end."""
        self.question, self.legal = None, (True, True, True)
        while not self.done:
            question = self._next_question()
            if question is None:
                continue
            legal = self._legal(question)
            if any(legal[:DROP]) and not self._is_forced(question) and not self._is_inert(question):
                self.question, self.legal = question, legal
                return
            self._play(question, DROP)

    def _next_question(self) -> Question | None:
        """Does the next thing of this slot, or goes to the next slot; a question if that asks."""
        if self._arrivals:
            return self._arrive(self._arrivals.pop(0))
        if self._departures is None:
            self._departures = self._departing()
        if self._departures:
            return self._depart(self._departures.pop(0))
        self._slot += 1
        self._departures = None
        if self._slot == len(self.program.instructions):
            self.done = True
        else:
            self._arrivals = list(self.tables.stops[self._slot])
        return None

    def _arrive(self, stop: Stop) -> Question | None:
        """3, Arrivals."""
        v, t = stop.value, self._slot
        i = self._index(v, t)
        if stop.kind in ("read", "entry"):
            return Question("read", v, t) if i is None else None
        if stop.kind == "define":
            # The result of a held group is there already (7).
            return Question("define", v, t) if i is None else None
        if stop.kind == "update" and i is not None:
            self._change(i, dirty=True, written=t)
        return None

    def _departing(self) -> list[int]:
        """3, Departures: the values that depart in this slot, in the order of their last stops."""
        t = self._slot
        if t < 0:
            return []
        values = [stop.value for stop in self.tables.stops[t]]
        found = []
        for k, v in enumerate(values):
            i = self._index(v, t)
            if v in values[k + 1 :] or i is None:
                continue
            if self._stays[i].end == t + 1 and not self._stays[i].leaving:
                found.append(v)
        return found

    def _depart(self, v: int) -> Question | None:
        t = self._slot
        if self.tables.wanted(v, t):
            return Question("depart", v, t)
        i = self._index(v, t)
        assert i is not None
        if self._stays[i].dirty and self.tables.outlives_level(v, t):
            self._write_back(i)
        return None

    def _is_forced(self, question: Question) -> bool:
        """6: whether the question has the single answer DROP."""
        enters = self.tables.loop_entered(question.value, question.slot) is not None
        return (enters or question.kind != "depart") and self._origin(question) in self.forced

    def _origin(self, question: Question) -> Origin:
        enters = self.tables.loop_entered(question.value, question.slot) is not None
        return Origin("enter" if enters else "arrival", question.value, question.slot)

    def _is_inert(self, question: Question) -> bool:
        """2, Inert: arrivals, and departures of clean values."""
        v, t = question.value, question.slot
        if question.kind != "depart":
            return self.tables.inert_from(v, t)
        i = self._index(v, t)
        assert i is not None
        return not self._stays[i].dirty and self.tables.inert_from(v, t + 1)

    def _legal(self, question: Question) -> tuple[bool, bool, bool]:
        return (
            self._move(question, COPY) is not None,
            self._move(question, NO_COPY) is not None,
            True,
        )

    # --- What an answer would do (4) ---

    def _move(self, question: Question, action: int) -> Move | None:
        """What COPY or NO_COPY would do; None if it is not legal."""
        kind, v, t = question
        if action == COPY and kind != "read":
            return None
        group = self.tables.group_entered(v, t)
        if group is not None and not self.tables.in_play[group.result]:
            return None  # 7: a group is held as a whole
        needed = self._slots_needed(question)
        waits = not self._has_room(v, needed, [])
        in_progress = self._in_progress(question) if waits else []
        if waits and not self._has_room(v, needed, [w.stay for w in in_progress]):
            return None
        given_back = sum(self._still_to_take(w, question) for w in in_progress)
        taken: dict[int, int] = {}
        missing = 0
        if kind == "read":
            taken, missing = self._prefetch(v)
            if action == NO_COPY:
                if not taken:
                    return None  # it would be COPY's mapping
                taken, missing = {}, self.tables.demand[v]
        stall = self.program.weights[t] * (given_back + missing)
        if stall > 0 and not self._pays(question, stall):
            return None
        return Move(min(taken, default=t), taken, stall, waits)

    def _slots_needed(self, question: Question) -> set[int]:
        """The slots in which the answer needs the value's bytes, from t (arrivals) or t+1 on."""
        kind, v, t = question
        first = self._first(question)
        loop = self.tables.loop_entered(v, t)
        if loop is None:
            if kind != "depart":
                return {t}
            later = self.tables.next_read(v, t)
            assert later is not None
            return set(range(first, later + 1))
        group = self.tables.group_entered(v, t)
        leaves = self.program.loops[loop].exit + 1
        if group is None:
            return set(range(first, leaves))
        # 7: parameter and result have one size, and share their place where they meet.
        parameter = range(first, group.last_stop + 1)
        return {*parameter, *range(group.defined_at, leaves)}

    def _first(self, question: Question) -> int:
        """`a` of section 4: the first slot of the room that is needed."""
        return question.slot + (question.kind == "depart")

    def _in_progress(self, question: Question) -> list[WriteBack]:
        """The write-backs that end later than the first slot of the room that is needed."""
        return [w for w in self._write_backs if w.end > self._first(question)]

    def _still_to_take(self, write_back: WriteBack, question: Question) -> int:
        first = self._first(question)
        return sum(ticks for s, ticks in write_back.taken.items() if s >= first)

    def _prefetch(self, v: int) -> tuple[dict[int, int], int]:
        """What a prefetch of v to this slot takes per slot, and the ticks that are missing."""
        t = self._slot
        written = [s + 1 for s in range(t) if self._writes_slow(v, s)]
        ended = [stay.end for stay in self._stays if stay.value == v]
        earliest = max([self.tables.segment[t], *written, *ended])
        missing, taken = self.tables.demand[v], {}
        for s in range(t - 1, earliest - 1, -1):
            if not self._has_room(v, [s], []):
                break
            ticks = min(missing, self._left(s))
            if ticks > 0:
                taken[s] = ticks
                missing -= ticks
        return taken, missing

    def _pays(self, question: Question, stall: int) -> bool:
        """4, A stall must pay."""
        if self.config.rules == "paper":
            return False
        worth = self.tables.worth_of_hold(question.value, question.slot, self._first(question))
        return stall < worth and self.saved_ticks - stall >= -self.total_ticks

    # --- Answers ---

    def _play(self, question: Question, action: int) -> None:
        kind, v, t = question
        if action == DROP:
            i = self._index(v, t)
            if kind == "depart" and i is not None and self._stays[i].dirty:
                self._write_back(i)
            return
        move = self._move(question, action)
        assert move is not None
        if move.waits:
            self._wait(question)
        self._stalls += move.stall
        group = self.tables.group_entered(v, t)
        needed = self._slots_needed(question)
        end = max(needed) + 1 if group is None else group.last_stop + 1
        if kind == "read":
            for s, ticks in move.taken.items():
                self._taken[s] += ticks
            self._prefetches.append(Transfer(v, move.start, t))
            self._stays.append(Stay(v, move.start, end, t, COPIED, self._origin(question)))
        elif kind == "define":
            origin = self._origin(question)
            self._stays.append(Stay(v, t, end, t, DEFINED, origin, dirty=True, written=t))
        else:
            i = self._index(v, t)
            assert i is not None
            self._change(i, end=end)
        if group is not None:
            self._hold_result(question)

    def _hold_result(self, question: Question) -> None:
        """7: the residency of a held group's result is decided with the hold."""
        group = self.tables.group_entered(question.value, question.slot)
        tied = self._index(question.value, question.slot)
        assert group is not None
        d = group.defined_at
        self._stays.append(
            Stay(
                value=group.result,
                start=d,
                end=group.exit + 1,
                ready=d,
                arrival=DEFINED,
                origin=self._origin(question),
                tied=tied,
                dirty=True,
                written=d,
            )
        )

    def _wait(self, question: Question) -> None:
        """4, Waiting: the write-backs in progress end where the room is needed."""
        first = self._first(question)
        for write_back in self._in_progress(question):
            for s, ticks in write_back.taken.items():
                if s >= first:
                    self._taken[s] -= ticks
            kept = {s: ticks for s, ticks in write_back.taken.items() if s < first}
            k = self._write_backs.index(write_back)
            self._write_backs[k] = dataclasses.replace(write_back, end=first, taken=kept)
            self._change(write_back.stay, end=first)

    # --- Write-backs (5) ---

    def _write_back(self, i: int) -> None:
        """A dirty value leaves, and is copied to slow memory."""
        v, t = self._stays[i].value, self._slot
        lo = max(self._stays[i].written, self.tables.segment[t]) + 1
        missing, taken = self.tables.demand[v], {}
        limit = self._limit(v)
        for s in range(lo, limit):
            ticks = min(missing, self._left(s))
            if ticks > 0:
                taken[s] = ticks
                self._taken[s] += ticks
                missing -= ticks
        end = limit if missing else max(taken, default=lo - 1) + 1
        self._stalls += self.program.weights[t] * missing
        self._write_backs.append(WriteBack(i, lo, end, taken))
        self._change(i, end=max(t + 1, end), dirty=False, leaving=True)

    def _limit(self, v: int) -> int:
        """The slot before which the write-back of v, which departs now, must be done."""
        s = self._slot + 1
        while (
            s < len(self.program.instructions)
            and self.tables.segment[s] == self.tables.segment[self._slot]
            and all(stop.value != v for stop in self.tables.stops[s])
            and self._has_room(v, [s], [])
        ):
            s += 1
        return s

    # --- Sums over what is decided ---

    def _index(self, v: int, slot: int) -> int | None:
        """The residency of v over the slot, as an index."""
        for i, stay in enumerate(self._stays):
            if stay.value == v and stay.covers(slot):
                return i
        return None

    def _change(self, i: int, **changes: int | bool) -> None:
        self._stays[i] = dataclasses.replace(self._stays[i], **changes)  # type: ignore[arg-type]

    def _used(self, slot: int, without: Collection[int] = ()) -> int:
        """Bytes of all residencies over the slot but for some, and of its reservation."""
        used = self.tables.reserved[slot]
        for i, stay in enumerate(self._stays):
            if i in without or not stay.covers(slot):
                continue
            if stay.tied is not None and self._stays[stay.tied].covers(slot):
                continue  # 7: parameter and result lie in one place in that slot
            used += self.tables.sizes[stay.value]
        return used

    def _has_room(self, v: int, slots: Collection[int], without: Collection[int]) -> bool:
        """Whether v's bytes fit into each of the slots, besides all residencies but for some."""
        capacity = self.program.machine.fast_capacity_bytes
        return all(self._used(s, without) + self.tables.sizes[v] <= capacity for s in slots)

    def _fast_accesses(self, slot: int) -> frozenset[tuple[int, str]]:
        """The accesses (value, kind) of the slot that find their value in fast memory."""
        return frozenset(
            (stay.value, access.kind)
            for access in self.program.accesses_at[slot]
            for stay in self._stays
            if stay.value == access.value and stay.ready <= slot < stay.end
        )

    def _writes_slow(self, v: int, slot: int) -> bool:
        """Whether v is written in slow memory in the slot, be it a stop or not."""
        writes = any(a.value == v and a.kind == "write" for a in self.program.accesses_at[slot])
        return writes and (v, "write") not in self._fast_accesses(slot)

    def _idle(self, slot: int) -> int:
        return self.tables.elapsed(slot, self._fast_accesses(slot))[1]

    def _left(self, slot: int) -> int:
        return max(0, self._idle(slot) - self._taken[slot])
