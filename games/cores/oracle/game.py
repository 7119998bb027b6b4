"""One game, question by question; shares no code with the JAX game but the options."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from games.cores.game.options import (
    CANDIDATES,
    MOST_INPUTS,
    MOST_WAYS,
    MOVES_PER_OPERATION,
    NONE,
    SPARE_MOVES,
    SPILL_RANKS,
)
from games.cores.problem.problem import Problem
from games.cores.problem.routes import hops
from games.cores.problem.schedule import Drop, Event, Schedule, Start, Transfer

Copy = tuple[int, int]  # a value and a memory


@dataclasses.dataclass(frozen=True)
class Thing:
    """Something that may start: an allocation, or a transfer of a value over a channel."""

    number: int
    moves: bool
    group: int
    value: int
    reads: tuple[Copy, ...]
    makes: Copy
    time: int
    energy: float


class Facts:
    """What a problem says of all its games; shared by them."""

    def __init__(self, problem: Problem):
        self.problem = problem
        self.starts = [
            Thing(
                a,
                False,
                x.group,
                x.value,
                tuple(zip(problem.values[x.value].inputs, x.inputs, strict=True)),
                (x.value, x.output),
                x.time,
                x.energy,
            )
            for a, x in enumerate(problem.allocations)
        ]
        self.distance = hops(problem)
        self.touched_by = [set[int]() for _ in problem.groups]
        for thing in self.starts:
            self.touched_by[thing.group].update(m for _, m in (*thing.reads, thing.makes))
        for c in problem.channels:
            self.touched_by[c.group].update((c.source, c.target))
        self.rank = [self._rank(a) for a in range(len(problem.allocations))]
        self.rooms = [problem.room_for(a) for a in range(len(problem.allocations))]
        self.biggest = [
            0 if m == problem.external else max((room.get(m, 0) for room in self.rooms), default=0)
            for m in range(len(problem.memories))
        ]
        naive = problem.naive
        time, energy, peak = problem.prices
        self.share = {
            v: time * naive.times[v]
            + energy * naive.energies[v]
            + peak * naive.peak / len(problem.operations)
            for v in problem.operations
        }
        self.least_energy = {
            v: min(problem.allocations[a].energy for a in problem.allocations_of[v])
            for v in problem.operations
        }

    def _rank(self, allocation: int) -> int:
        """The urgency of the operation; of its ways in one group those first that take less."""
        problem = self.problem
        own = problem.allocations[allocation]
        rivals = sorted(
            (problem.allocations[a].time, problem.allocations[a].energy, a)
            for a in problem.allocations_of[own.value]
            if problem.allocations[a].group == own.group
        )
        place = rivals.index((own.time, own.energy, allocation))
        return 1 + problem.urgency[own.value] * MOST_WAYS + max(MOST_WAYS - 1 - place, 0)

    def transfer(self, channel: int, value: int) -> Thing:
        problem = self.problem
        c = problem.channels[channel]
        return Thing(
            channel,
            True,
            c.group,
            value,
            ((value, c.source),),
            (value, c.target),
            problem.transfer_time(channel, value),
            problem.transfer_energy(channel, value),
        )


class Oracle:
    """A game. legal: bool [A]. offers: things, or values that may be dropped.

    events: what has happened, as a schedule has it.
    """

    def __init__(self, problem: Problem, facts: Facts | None = None):
        self.problem = problem
        self.facts = facts or Facts(problem)
        self.now, self.energy, self.length = 0, 0.0, 0
        self.started = set(problem.given)
        self.here = {(v, problem.external) for v in problem.given if self._uses(v)}
        self.arriving: set[Copy] = set()
        self.was_read: set[Copy] = set()
        self.running: dict[int, tuple[int, Thing]] = {}
        self.refused: set[int] = set()
        self.must = self.done = self.stuck = False
        self.pending: Thing | None = None
        self.asked = 0
        self.peaks = [0] * len(problem.memories)
        self.offers: list[Thing] | list[int] = []
        self.events: list[Event] = []
        self._next_question()

    # What is.
    def _uses(self, v: int) -> int:
        waiting = sum(c not in self.started for c in self.problem.consumers[v])
        return waiting + (v in self.problem.wanted)

    def _held(self, v: int) -> list[int]:
        return [m for m in range(len(self.peaks)) if self._is_held((v, m))]

    def _is_held(self, copy: Copy) -> bool:
        return copy in self.here or copy in self.arriving

    def _used(self, m: int) -> int:
        if m == self.problem.external:
            return 0
        return sum(self.problem.values[v].bits for v, at in (*self.here, *self.arriving) if at == m)

    def _free(self, m: int) -> int | None:
        size = self.problem.memories[m].bits
        return None if size is None else size - self._used(m)

    def _locked(self) -> set[Copy]:
        return {copy for _, thing in self.running.values() for copy in thing.reads}

    def _droppable(self, m: int, but: tuple[Copy, ...] = ()) -> list[int]:
        """Values whose copy in a memory may be dropped, and is not read by what it makes room
        for."""
        if m == self.problem.external:
            return []
        locked = self._locked()
        return [
            v
            for v, at in sorted(self.here)
            if at == m
            and (v, m) in self.was_read
            and (v, m) not in locked
            and (v, m) not in but
            and len(self._held(v)) > 1
        ]

    def _bits(self, values: list[int]) -> int:
        return sum(self.problem.values[v].bits for v in values)

    def _next_use(self, v: int) -> int:
        waiting = [c for c in self.problem.consumers[v] if c not in self.started]
        return max((self.problem.urgency[c] for c in waiting), default=0)

    def _has_room(self, thing: Thing, drops: bool) -> bool:
        m = thing.makes[1]
        free = self._free(m)
        if free is None:
            return True
        if drops:
            free += self._bits(self._droppable(m, thing.reads))
        return self.problem.values[thing.value].bits <= free

    # What is offered.
    def _ranked(self, group: int, needs: dict[Copy, int]) -> list[Thing]:
        """The things that a group may start, best first."""
        if group in self.running or group in self.refused:
            return []
        found: list[tuple[int, int, int, Thing]] = []
        for thing in self.facts.starts:
            if thing.group == group and self._may_start(thing):
                found.append((-self.facts.rank[thing.number], 0, thing.number, thing))
        found += self._transfers(group, needs)
        return [thing for *_, thing in sorted(found, key=lambda x: x[:3])]

    def _may_start(self, thing: Thing) -> bool:
        return (
            thing.value not in self.started
            and self.started.issuperset(self.problem.values[thing.value].after)
            and self.here.issuperset(thing.reads)
            and self._has_room(thing, drops=True)
        )

    def _transfers(
        self, group: int, needs: dict[Copy, int]
    ) -> Iterator[tuple[int, int, int, Thing]]:
        problem, distance = self.problem, self.facts.distance
        channels = [c for c, x in enumerate(problem.channels) if x.group == group]
        external = problem.external
        for c in channels:
            source, target = problem.channels[c].source, problem.channels[c].target
            free = self._free(source)
            tight = free is not None and free < self.facts.biggest[source]
            for v, at in sorted(self.here):
                if at != source or self._is_held((v, target)) or not self._uses(v):
                    continue
                nearer = [m for m in range(len(self.peaks))
                          if distance[target][m] < distance[source][m]]  # fmt: skip
                rank = max((needs.get((v, m), 0) for m in nearer), default=0)
                if tight and external in nearer and not self._is_held((v, external)):
                    rank = max(rank, SPILL_RANKS - 1 - self._next_use(v))
                if rank:
                    thing = self.facts.transfer(c, v)
                    if self._has_room(thing, drops=True):
                        yield -rank, 1 + c, v, thing

    def _needs(self) -> dict[Copy, int]:
        """How much a value is needed in a memory that has no copy of it."""
        problem = self.problem
        stays: dict[int, set[int]] = {m: set() for m in range(len(self.peaks))}
        for v, m in (*self.here, *self.arriving):
            spare = (v, m) in self.was_read and len(self._held(v)) > 1
            if self._uses(v) and not spare:
                stays[m].add(v)
        staying = [self._bits(list(values)) for values in stays.values()]
        used = [self._used(m) for m in stays]
        found: dict[Copy, int] = {}
        for thing in self.facts.starts:
            if thing.value in self.started:
                continue
            missing = sum(not self._is_held(copy) for copy in thing.reads)
            known = all(v in self.started for v, _ in thing.reads)
            rank = SPILL_RANKS + problem.urgency[thing.value] * (MOST_INPUTS + 1)
            rank += MOST_INPUTS - missing
            for v, m in thing.reads:
                if self._is_held((v, m)):
                    continue
                size = problem.memories[m].bits
                if size is not None:
                    own = {x for x, at in thing.reads if at == m}
                    beside = staying[m] - self._bits([x for x in own if x in stays[m]])
                    if beside + self.facts.rooms[thing.number][m] > size:
                        continue
                    free = size - used[m] - problem.values[v].bits
                    if not known and v in problem.given and free < self.facts.biggest[m]:
                        continue
                found[v, m] = max(found.get((v, m), 0), rank)
        for v in problem.wanted:
            if not self._is_held((v, problem.external)):
                found.setdefault((v, problem.external), SPILL_RANKS)
        return found

    # The moves.
    @property
    def legal(self) -> list[bool]:
        if self.done:
            return [True] * (CANDIDATES + 1)
        offered = [i < len(self.offers) for i in range(CANDIDATES)]
        return [not self.must and self.pending is None, *offered]

    def step(self, action: int) -> None:
        """Plays a legal answer."""
        self.length += 1
        chosen = None if action == NONE else self.offers[action - 1]
        if self.pending is not None:
            assert isinstance(chosen, int)
            self._drop(chosen, self.pending.makes[1])
            if self._has_room(self.pending, drops=False):
                self._start(self.pending)
        elif chosen is None:
            self.refused.add(self.asked)
        else:
            assert isinstance(chosen, Thing)
            if self._has_room(chosen, drops=False):
                self._start(chosen)
            else:
                self.pending = chosen
        self._next_question()

    def _drop(self, v: int, m: int) -> None:
        self.here.remove((v, m))
        self.was_read.discard((v, m))
        self.events.append(Drop(self.now, v, m))

    def _start(self, thing: Thing) -> None:
        self.pending, self.must = None, False
        self.was_read.update(thing.reads)
        self.arriving.add(thing.makes)
        self.running[thing.group] = self.now + thing.time, thing
        self.energy += thing.energy
        if thing.moves:
            self.events.append(Transfer(self.now, thing.number, thing.value))
        else:
            self.events.append(Start(self.now, thing.number))
            self.started.add(thing.value)
        self._vanish()
        self.peaks = [max(peak, self._used(m)) for m, peak in enumerate(self.peaks)]
        self._finish()

    def _vanish(self) -> None:
        gone = {copy for copy in self.here if not self._uses(copy[0])} - self._locked()
        self.here -= gone
        self.was_read -= gone

    def _finish(self) -> None:
        """Ends what ends by now."""
        touched: set[int] = set()
        for group, (end, thing) in list(self.running.items()):
            if end <= self.now:
                del self.running[group]
                self.arriving.remove(thing.makes)
                self.here.add(thing.makes)
                touched.update(m for _, m in (*thing.reads, thing.makes))
        self.refused = {g for g in self.refused if not self.facts.touched_by[g] & touched}
        self._vanish()

    def _is_over(self) -> bool:
        wanted = ((v, self.problem.external) in self.here for v in self.problem.wanted)
        return not self.running and len(self.started) == len(self.problem.values) and all(wanted)

    def _next_question(self) -> None:
        if self.pending is not None:
            able = self._droppable(self.pending.makes[1], self.pending.reads)
            self.offers = sorted(able, key=lambda v: (self._next_use(v), v))[:CANDIDATES]
        else:
            self._look_for_one()
        limit = MOVES_PER_OPERATION * len(self.problem.operations) + SPARE_MOVES
        if not self.done and self.length >= limit:
            self.done = self.stuck = True

    def _look_for_one(self) -> None:
        while True:
            needs = self._needs()
            for group in range(len(self.problem.groups)):
                ranked = self._ranked(group, needs)
                if ranked:
                    self.asked, self.offers = group, ranked[:CANDIDATES]
                    break
            else:
                if self._is_over():
                    self.done = True
                elif self.running:
                    self.now = min(end for end, _ in self.running.values())
                    self._finish()
                    continue
                elif self.refused:
                    # Nothing runs: what was refused is asked again, and something has to start.
                    self.refused.clear()
                    self.must = True
                    continue
                else:
                    self.done = self.stuck = True
            return

    # What it is worth.
    @property
    def score(self) -> float:
        """Part of the reference's cost that is saved."""
        if self.stuck:
            return -self.problem.prices[0] * self.now
        earned = sum(share for v, share in self.facts.share.items() if v in self.started)
        return earned - self.problem.cost(self.now, self.energy, sum(self.peaks))

    @property
    def headroom(self) -> float:
        """How much the score can grow at most."""
        if self.done:
            return 0.0
        ahead = [v for v in self.problem.operations if v not in self.started]
        time = max((self.problem.tail[v] for v in ahead), default=0)
        time = max([time, *(end - self.now for end, _ in self.running.values())])
        energy = sum(self.facts.least_energy[v] for v in ahead)
        earned = sum(self.facts.share[v] for v in ahead)
        price_time, price_energy, _ = self.problem.prices
        return max(earned - price_time * time - price_energy * energy, -self.score, 0.0)

    def schedule(self) -> Schedule:
        """Of a finished game; one that is stuck starts over with the reference."""
        if self.stuck:
            return self.problem.naive.schedule.delayed(self.now)
        return Schedule(tuple(self.events))
