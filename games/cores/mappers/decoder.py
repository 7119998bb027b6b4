"""Schedules from priorities: at every moment what can start does, in the order of priorities.

Operands come from the nearest copy by the fastest way. Copies that were read and exist elsewhere
are dropped where room is needed; where that is not enough others are sent to the external memory
first. This is one file because compiled functions share the arrays of a state.
"""

from __future__ import annotations

import dataclasses
import math

import numba
import numpy as np

from games.cores.mappers.arrays import Arrays
from games.cores.problem.schedule import Drop, Event, Schedule, Start, Transfer

NOWHERE, ARRIVING, HERE, READ = 0, 1, 2, 3
# Operations that are looked at for each moment, in the order of priorities.
WINDOW = 24
START, MOVE, DROP = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class Decoded:
    """cost: infinite where the machine got stuck. peak: bits, summed over memories.

    choice: [V], the allocation of each operation. events: [n, 4], kind, time and two numbers.
    """

    cost: float
    time: int
    energy: float
    peak: int
    choice: np.ndarray
    events: np.ndarray

    def schedule(self) -> Schedule:
        """The events as a schedule."""
        made: list[Event] = []
        for kind, time, first, second in self.events.tolist():
            if kind == START:
                made.append(Start(time, first))
            elif kind == MOVE:
                made.append(Transfer(time, first, second))
            else:
                made.append(Drop(time, first, second))
        return Schedule(tuple(made))


def decode(x: Arrays, order: np.ndarray, choice: np.ndarray) -> Decoded:
    """A schedule.

    order: the operations, those that matter most first. choice: [V], the allocation of each; -1
    leaves it to the decoder, which takes the cheapest end when all inputs are being made.
    """
    taken = choice.copy()
    done, now, energy, peak, events = _decode(x, order, taken)
    cost = float(np.dot(x.prices, (now, energy, peak))) if done else math.inf
    return Decoded(cost, int(now), float(energy), int(peak), taken, events)


@numba.njit(cache=True)
def _drop_rank(x, started, v, order_of):
    """How soon a value is read again: the place of its next reader; large if nobody does."""
    soonest = 1 << 40
    for c in range(x.inputs.shape[0]):
        if started[c]:
            continue
        for i in range(x.inputs.shape[1]):
            if x.inputs[c, i] == v and order_of[c] < soonest:
                soonest = order_of[c]
    return soonest


@numba.njit(cache=True)
def _is_droppable(x, place, locks, copies, v, m):
    return m != x.external and place[v, m] == READ and locks[v, m] == 0 and copies[v] > 1


@numba.njit(cache=True)
def _make_room(x, state, v, m, keep, log, count, now):
    """Drops copies until a value fits, late uses first; the number of events after that."""
    place, locks, copies, used, started, order_of, _left = state
    while m != x.external and used[m] + x.bits[v] > x.size[m]:
        worst, latest = -1, -1
        for u in range(place.shape[0]):
            if _reads(x, keep, u, m) or not _is_droppable(x, place, locks, copies, u, m):
                continue
            soonest = _drop_rank(x, started, u, order_of)
            if x.bits[u] > 0 and soonest > latest:
                worst, latest = u, soonest
        place[worst, m] = NOWHERE
        copies[worst] -= 1
        used[m] -= x.bits[worst]
        log[count] = (DROP, now, worst, m)
        count += 1
    return count


@numba.njit(cache=True)
def _fits(x, place, copies, left, started, a, v, m, used):
    """Whether an operation would have room for all it needs in a memory, if what is read and has
    copies were dropped; and beside everything, if one of its inputs is not being made yet."""
    if m == x.external:
        return True
    op = x.op[a]
    need = x.bits[op] if x.output[a] == m else 0
    known = True
    own = np.zeros(place.shape[0], np.bool_)
    for i in range(x.inputs.shape[1]):
        u = x.inputs[op, i]
        if u < 0:
            continue
        known = known and started[u]
        if x.memory[a, i] == m:
            need += x.bits[u]
            own[u] = True
    blocked = 0
    for u in range(place.shape[0]):
        if place[u, m] == NOWHERE or own[u] or left[u] <= 0:
            continue
        if not (place[u, m] == READ and copies[u] > 1):
            blocked += x.bits[u]
    if blocked + need > x.size[m]:
        return False
    return known or x.size[m] - used[m] - x.bits[v] >= x.biggest[m]


@numba.njit(cache=True)
def _begin(x, state, ends, reads, makes, peak, a, c, v, now):
    """Starts an allocation, or a transfer where the channel c is not -1; its energy."""
    place, locks, copies, used, started, _order_of, left = state
    if c < 0:
        group, target, time, energy = x.group[a], x.output[a], x.time[a], x.energy[a]
    else:
        group, target, time = x.channel_group[c], x.target[c], x.move_time[c, v]
        energy = x.move_energy[c] * x.bits[v]
    reads_of = reads[group]
    ends[group] = now + time
    makes[group, 0], makes[group, 1] = v, target
    reads_of[:, :] = -1
    if c < 0:
        for i in range(x.inputs.shape[1]):
            if x.inputs[v, i] >= 0:
                reads_of[i, 0], reads_of[i, 1] = x.inputs[v, i], x.memory[a, i]
                left[x.inputs[v, i]] -= 1
        started[v] = True
    else:
        reads_of[0, 0], reads_of[0, 1] = v, x.source[c]
    for i in range(reads.shape[1]):
        u, m = reads_of[i, 0], reads_of[i, 1]
        if u >= 0:
            place[u, m] = READ
            locks[u, m] += 1
    place[v, target] = ARRIVING
    copies[v] += 1
    if target != x.external:
        used[target] += x.bits[v]
    for i in range(reads.shape[1]):
        if reads_of[i, 0] >= 0:
            _forget(x, place, locks, copies, used, left, reads_of[i, 0])
    for m in range(used.shape[0]):
        peak[m] = max(peak[m], used[m])
    return energy


@numba.njit(cache=True)
def _forget(x, place, locks, copies, used, left, v):
    """Removes the copies of a value that nothing needs."""
    if left[v] > 0:
        return
    for m in range(place.shape[1]):
        if place[v, m] >= HERE and locks[v, m] == 0:
            place[v, m] = NOWHERE
            copies[v] -= 1
            if m != x.external:
                used[m] -= x.bits[v]


@numba.njit(cache=True)
def _finish(x, state, ends, reads, makes, now):
    """Ends what ends by now."""
    place, locks, copies, used, _started, _order_of, left = state
    for g in range(ends.shape[0]):
        if ends[g] < 0 or ends[g] > now:
            continue
        ends[g] = -1
        place[makes[g, 0], makes[g, 1]] = HERE
        for i in range(reads.shape[1]):
            if reads[g, i, 0] >= 0:
                locks[reads[g, i, 0], reads[g, i, 1]] -= 1
    for v in range(place.shape[0]):
        _forget(x, place, locks, copies, used, left, v)


@numba.njit(cache=True)
def _next_channel(x, place, v, m):
    """The channel that takes a value from its nearest copy on towards a memory; -1 while a copy is
    on its way nearer, or without any."""
    best, channel = np.inf, -1
    for source in range(place.shape[1]):
        if place[v, source] == NOWHERE or x.way[source, m] >= best:
            continue
        best = x.way[source, m]
        channel = x.hop[source, m] if place[v, source] >= HERE else -1
    if channel >= 0 and place[v, x.target[channel]] != NOWHERE:
        return -1
    return channel


@numba.njit(cache=True)
def _choose(x, place, ends, planned, v, now):
    """The allocation with the cheapest end: when its group is free and its inputs have come."""
    best, found = np.inf, -1
    for k in range(x.first[v], x.first[v] + x.ways[v]):
        a = x.listed[k]
        begin = max(float(max(ends[x.group[a]], now)), planned[x.group[a]])
        energy, come = x.energy[a], 0.0
        for i in range(x.inputs.shape[1]):
            u = x.inputs[v, i]
            if u < 0 or place[u, x.memory[a, i]] != NOWHERE:
                continue
            nearest, at = np.inf, 0
            for source in range(place.shape[1]):
                if place[u, source] != NOWHERE and x.way[source, x.memory[a, i]] < nearest:
                    nearest, at = x.way[source, x.memory[a, i]], source
            come += nearest * x.bits[u]
            if nearest < np.inf and x.hop[at, x.memory[a, i]] >= 0:
                energy += x.move_energy[x.hop[at, x.memory[a, i]]] * x.bits[u]
        end = max(begin, now + come) + x.time[a]
        cost = x.prices[0] * end + x.prices[1] * energy + 1e-12 * end
        if cost < best:
            best, found = cost, a
    if found >= 0:
        planned[x.group[found]] = max(planned[x.group[found]], now) + x.time[found]
    return found


@numba.njit(cache=True)
def _has_room(x, state, v, m, keep):
    """Whether a value fits into a memory after drops. keep: an allocation whose inputs stay."""
    place, locks, copies, used, _started, _order_of, _left = state
    if m == x.external or used[m] + x.bits[v] <= x.size[m]:
        return True
    able = 0
    for u in range(place.shape[0]):
        if _is_droppable(x, place, locks, copies, u, m) and not _reads(x, keep, u, m):
            able += x.bits[u]
    return used[m] - able + x.bits[v] <= x.size[m]


@numba.njit(cache=True)
def _reads(x, a, u, m):
    """Whether an allocation, -1 for none, reads a value from a memory."""
    if a >= 0:
        for i in range(x.inputs.shape[1]):
            if x.inputs[x.op[a], i] == u and x.memory[a, i] == m:
                return True
    return False


@numba.njit(cache=True)
def _able(x, state, ends, v, m, keep):
    """The channel over which a value can go on towards a memory now; -1 without one."""
    place, _locks, _copies, _used, _started, _order_of, left = state
    c = _next_channel(x, place, v, m)
    if c < 0 or ends[x.channel_group[c]] >= 0 or left[v] <= 0:
        return -1
    return c if _has_room(x, state, v, x.target[c], keep) else -1


@numba.njit(cache=True)
def _spilled(x, state, a, m):
    """The value to be sent out of a memory for an operation, late uses first; -1 without one."""
    place, _locks, _copies, _used, started, order_of, left = state
    worst, latest = -1, -1
    for v in range(place.shape[0]):
        if place[v, m] < HERE or place[v, x.external] != NOWHERE or left[v] <= 0 or x.bits[v] == 0:
            continue
        if _reads(x, a, v, m):
            continue
        soonest = _drop_rank(x, started, v, order_of)
        if soonest > latest:
            worst, latest = v, soonest
    return worst


@numba.njit(cache=True)
def _thing_for(x, state, ends, a, known, strict):
    """What can start now for an operation: channel and value, channel -1 for the operation itself,
    -2 for nothing. Beside that a memory that has no room for it, or -1.

    strict: nothing else runs, so that what it needs may take any room.
    """
    place, _locks, copies, used, started, _order_of, left = state
    v = x.op[a]
    for i in range(x.after.shape[1]):
        if x.after[v, i] >= 0 and not started[x.after[v, i]]:
            return -2, v, -1
    missing, tight = False, -1
    for i in range(x.inputs.shape[1]):
        u, m = x.inputs[v, i], x.memory[a, i]
        if u < 0 or place[u, m] >= HERE:
            continue
        missing = True
        if place[u, m] == ARRIVING or not started[u]:
            continue
        if strict or _fits(x, place, copies, left, started, a, u, m, used):
            c = _able(x, state, ends, u, m, a)
            if c >= 0:
                return c, u, -1
            if strict:
                tight = m
        elif known:
            tight = m
    if not missing and ends[x.group[a]] < 0:
        if _has_room(x, state, v, x.output[a], a):
            return -1, v, -1
        tight = x.output[a]
    return -2, v, tight


@numba.njit(cache=True)
def _next_thing(x, state, ends, planned, order, choice, now):
    """What starts next at this moment: allocation, channel and value as in `_begin`; channel -2 for
    nothing."""
    place, _locks, _copies, _used, started, _order_of, _left = state
    idle = ends.max() < 0
    for strict in range(2 if idle else 1):
        seen, waited = 0, False
        for v in order:
            if started[v]:
                continue
            seen += 1
            if seen > WINDOW:
                break
            known = True
            for i in range(x.inputs.shape[1]):
                known = known and (x.inputs[v, i] < 0 or started[x.inputs[v, i]])
            if choice[v] < 0 and known:
                choice[v] = _choose(x, place, ends, planned, v, now)
            if choice[v] < 0 or (strict and not known):
                continue
            a = choice[v]
            c, u, tight = _thing_for(x, state, ends, a, known, strict == 1)
            # Room is made for the first operation that waits for it.
            if c == -2 and tight >= 0 and not waited:
                waited = True
                u = _spilled(x, state, a, tight)
                if u >= 0:
                    c = _able(x, state, ends, u, x.external, -1)
                    if c >= 0:
                        return -1, c, u
                    c = -2
            if c >= -1:
                return a, c, u
        if strict == 0:
            for v in range(place.shape[0]):
                if x.wanted[v] and started[v] and place[v, x.external] == NOWHERE:
                    c = _able(x, state, ends, v, x.external, -1)
                    if c >= 0:
                        return -1, c, v
    return -1, -2, -1


@numba.njit(cache=True)
def _decode(x, order, choice):
    values, memories = x.bits.shape[0], x.size.shape[0]
    place = np.zeros((values, memories), np.int8)
    locks = np.zeros((values, memories), np.int32)
    copies = np.zeros(values, np.int64)
    used = np.zeros(memories, np.int64)
    peak = np.zeros(memories, np.int64)
    started, left = x.given.copy(), x.uses.copy()
    order_of = np.full(values, 1 << 40, np.int64)
    for i in range(order.shape[0]):
        order_of[order[i]] = i
    for v in range(values):
        if x.given[v] and left[v] > 0:
            place[v, x.external] = HERE
            copies[v] = 1
    ends = np.full(x.groups, -1, np.int64)
    planned = np.zeros(x.groups)
    makes = np.full((x.groups, 2), -1, np.int64)
    reads = np.full((x.groups, x.inputs.shape[1], 2), -1, np.int64)
    most = 64 + 40 * values
    log = np.zeros((most, 4), np.int64)
    state = (place, locks, copies, used, started, order_of, left)
    now, energy, last, count = 0, 0.0, 0, 0
    while count < most - values - 2:
        a, c, v = _next_thing(x, state, ends, planned, order, choice, now)
        if c >= -1:
            target = x.output[a] if c < 0 else x.target[c]
            count = _make_room(x, state, v, target, a, log, count, now)
            log[count] = (START, now, a, 0) if c < 0 else (MOVE, now, c, v)
            count += 1
            energy += _begin(x, state, ends, reads, makes, peak, a, c, v, now)
        else:
            soon = -1
            for g in range(ends.shape[0]):
                if ends[g] >= 0 and (soon < 0 or ends[g] < soon):
                    soon = ends[g]
            if soon < 0:
                break
            now = soon
            last = max(last, now)
        _finish(x, state, ends, reads, makes, now)
    done = ends.max() < 0
    for v in range(values):
        done = done and started[v] and (not x.wanted[v] or place[v, x.external] >= HERE)
    return done, last, energy, peak.sum(), log[:count].copy()
