"""A mapping under construction: stays are put in and taken out, and its latency is always known.

Costs are exact for the copies as they are laid out here: prefetches take the latest idle supply
before their read, evictions the earliest after their last write.  If more accesses become fast
later and slots then lack supply, the missing part counts as a stall.  The judge, which feeds copies
earliest deadline first, finds the same latency or a smaller one.
"""

from __future__ import annotations

from typing import NamedTuple

from mallocgame.mappers.layouts.stays import PlannedStay
from mallocgame.program import Program
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer
from mallocgame.program.times import Times


class LayoutPart(NamedTuple):
    """The slots [start, end) of one interval of a stay."""

    start: int
    end: int


class Placed(NamedTuple):
    """A stay in the layout.

    fetch, evict: (slot, time) of supply that its copies take.
    fetch_start, evict_end: where the prefetch begins and the eviction ends; -1 without an eviction.
    stall: weighted time of copies without supply.
    parts: its intervals in fast memory.
    """

    stay: PlannedStay
    offset: int
    fetch: tuple[tuple[int, float], ...]
    fetch_start: int
    evict: tuple[tuple[int, float], ...]
    evict_end: int
    stall: float
    parts: tuple[LayoutPart, ...]


class MemoryLayout:
    """What is in fast memory when, and the latency that results.

    Times are in units of the all-slow latency.

    cost: the latency with everything in the layout.
    compute, read, write, bus, elapsed, idle: [T], the current times of each slot.
    used: [T], supply that copies take.
    full: [T], bytes in use.
    at, starting: [T], the places in use in each slot, and those that begin there, by stay.
    placed: the stays in the layout, by number.
    """

    def __init__(self, program: Program):
        self.program = program
        self.times = times = Times(program)
        self.unit_s = times.scale_s or 1.0
        total = len(program.instructions)
        self.weight = times.weight.tolist()
        self.compute = times.compute.tolist()
        read, write, bus = (
            array.tolist() for array in (times.fixed_read, times.fixed_write, times.fixed_bus)
        )
        for i, t in enumerate(times.slot.tolist()):
            side = read if times.reads[i] else write
            side[t] += float(times.slow[i])
            bus[t] += float(times.bus[i])
        self.read, self.write, self.bus = read, write, bus
        self.elapsed = [max(c) for c in zip(self.compute, read, write, strict=True)]
        self.idle = [max(0.0, e - b) for e, b in zip(self.elapsed, bus, strict=True)]
        self.used = [0.0] * total
        self.cost = sum(w * e for w, e in zip(self.weight, self.elapsed, strict=True))
        self.capacity = program.machine.fast_capacity_bytes
        self.reserved = [program.machine.align(i.reserved_bytes) for i in program.instructions]
        self.has_reserved = any(self.reserved)
        self.full = [0] * total  # bytes in use
        self.at: list[dict[int, tuple[int, int]]] = [{} for _ in range(total)]
        self.starting: list[dict[int, tuple[int, int]]] = [{} for _ in range(total)]
        self.placed: dict[int, Placed] = {}
        self.of_value: dict[int, list[int]] = {}
        self.number = 0

    def saving(self, stay: PlannedStay) -> float:
        """The latency that a stay's accesses would save now, without its copies."""
        saved = 0.0
        unit = self.unit_s
        for t, read, write, _ in stay.gains:
            now = max(self.compute[t], self.read[t] - read / unit, self.write[t] - write / unit)
            saved += self.weight[t] * (self.elapsed[t] - now)
        return saved

    def most(self, stay: PlannedStay) -> float:
        """The latency that a stay's accesses could save at best, whatever else is fast."""
        times, unit = self.times, self.unit_s
        spread = times.slow_elapsed - times.floor
        return sum(
            self.weight[t] * min(max(read, write) / unit, float(spread[t]))
            for t, read, write, _ in stay.gains
        )

    def try_place(self, stay: PlannedStay, least: float, offset: int = -1) -> int:
        """Puts a stay in if it fits and saves more than `least`; returns its number, or -1.

        offset: where it must be; -1 for best fit.
        """
        for start, end in ((stay.first, stay.end), stay.result[1:]):
            if start >= 0 and max(self.full[start:end]) + stay.size > self.capacity:
                return -1
        if self._is_served(stay):
            return -1
        before = self.cost
        self._shift(stay, -1.0)
        evict, evict_end, late = self._evict(stay)
        begin = stay.fetch_from
        while True:
            fetch, fetch_start, missing = self._fetch(stay, begin)
            stall = missing + late
            worth = before - self.cost - stall > least
            if not worth or not self._orderly(stay, fetch_start, evict_end):
                break
            parts = _parts(stay, fetch_start, evict_end)
            place = self._find(stay.size, parts) if offset < 0 else offset
            if place >= 0 and (offset < 0 or self._is_free(stay.size, parts, offset)):
                return self._put(
                    Placed(stay, place, fetch, fetch_start, evict, evict_end, stall, parts)
                )
            # Without room for the whole copy, it may begin later and stall.
            room = self._room_from(stay, fetch_start, offset)
            if room <= fetch_start:
                break
            begin = room
        self._shift(stay, 1.0)
        self.cost = before
        return -1

    def _room_from(self, stay: PlannedStay, start: int, offset: int) -> int:
        """The first slot from `start` on that has room until the copy is complete."""
        low, high = offset, offset + stay.size
        for t in range(stay.fetch_by - 1, start - 1, -1):
            if offset < 0:
                taken = self.full[t] + stay.size > self.capacity
            else:
                taken = any(a < high and b > low for a, b in self.at[t].values())
            if taken:
                return t + 1
        return start

    def _put(self, placed: Placed) -> int:
        for t, seconds in (*placed.fetch, *placed.evict):
            self.used[t] += seconds  # idle time, so it stalls nothing
        self.cost += placed.stall
        number, self.number = self.number, self.number + 1
        self._occupy(number, placed)
        return number

    def _occupy(self, number: int, placed: Placed) -> None:
        stay = placed.stay
        self.placed[number] = placed
        self.of_value.setdefault(stay.value, []).append(number)
        if stay.result[0] >= 0:
            self.of_value.setdefault(stay.result[0], []).append(number)
        lies = (placed.offset, placed.offset + stay.size)
        for start, end in placed.parts:
            self.starting[start][number] = lies
            for t in range(start, end):
                if number not in self.at[t]:  # a result takes its parameter's place
                    self.full[t] += stay.size
                    self.at[t][number] = lies

    def remove(self, number: int) -> Placed:
        """Takes a stay out of the layout."""
        placed = self.placed.pop(number)
        stay = placed.stay
        self.of_value[stay.value].remove(number)
        if stay.result[0] >= 0:
            self.of_value[stay.result[0]].remove(number)
        for start, end in placed.parts:
            del self.starting[start][number]
            for t in range(start, end):
                if number in self.at[t]:
                    self.full[t] -= stay.size
                    del self.at[t][number]
        for t, seconds in (*placed.fetch, *placed.evict):
            self._use(t, -seconds)
        self.cost -= placed.stall
        self._shift(stay, 1.0)
        return placed

    def restore(self, placed: Placed) -> int:
        """Puts back what `remove` returned, unchanged; its place must be free."""
        self._shift(placed.stay, -1.0)
        for t, seconds in (*placed.fetch, *placed.evict):
            self._use(t, seconds)
        self.cost += placed.stall
        number, self.number = self.number, self.number + 1
        self._occupy(number, placed)
        return number

    def _use(self, t: int, seconds: float) -> None:
        self.cost -= self.weight[t] * max(0.0, self.used[t] - self.idle[t])
        self.used[t] = max(0.0, self.used[t] + seconds)
        self.cost += self.weight[t] * max(0.0, self.used[t] - self.idle[t])

    def _shift(self, stay: PlannedStay, sign: float) -> None:
        """Moves the accesses of a stay into fast memory (sign -1) or back."""
        factor = sign / self.unit_s
        for t, read, write, bus in stay.gains:
            before = self.elapsed[t] + max(0.0, self.used[t] - self.idle[t])
            self.read[t] += factor * read
            self.write[t] += factor * write
            self.bus[t] += factor * bus
            now = max(self.compute[t], self.read[t], self.write[t])
            self.elapsed[t] = now
            self.idle[t] = idle = max(0.0, now - self.bus[t])
            self.cost += self.weight[t] * (now + max(0.0, self.used[t] - idle) - before)

    def _fetch(
        self, stay: PlannedStay, begin: int
    ) -> tuple[tuple[tuple[int, float], ...], int, float]:
        """Supply for a prefetch not before `begin`, latest first; its start; the weighted stall."""
        if not stay.copied:
            return (), stay.start, 0.0
        demand, t = stay.demand / self.unit_s, stay.fetch_by
        taken = []
        start = t
        while demand > 0 and t > begin:
            t -= 1
            left = self.idle[t] - self.used[t]
            if left > 0:
                part = min(left, demand)
                demand -= part
                taken.append((t, part))
                start = t
        return tuple(taken), start, demand * self.weight[stay.fetch_by]

    def _evict(self, stay: PlannedStay) -> tuple[tuple[tuple[int, float], ...], int, float]:
        """Supply for the eviction, earliest first; its end; the weighted stall."""
        if stay.evict_from < 0:
            return (), -1, 0.0
        demand, t = stay.demand / self.unit_s, stay.evict_from
        taken = []
        end = t
        while demand > 0 and t < stay.evict_to:
            left = self.idle[t] - self.used[t]
            t += 1
            if left > 0:
                part = min(left, demand)
                demand -= part
                taken.append((t - 1, part))
                end = t
        return tuple(taken), end, demand * self.weight[stay.evict_from - 1]

    def _is_served(self, stay: PlannedStay) -> bool:
        """Whether another stay already serves some of the accesses."""
        for value, first, last in stay.spans:
            for number in self.of_value.get(value, ()):
                for other, other_first, other_last in self.placed[number].stay.spans:
                    if other == value and first < other_last and other_first < last:
                        return True
        return False

    def _orderly(self, stay: PlannedStay, fetch_start: int, evict_end: int) -> bool:
        """Whether slow memory holds what this and later prefetches of the same value copy."""
        leaves = stay.spans[-1][0]
        for number in self.of_value.get(leaves, ()):
            other = self.placed[number]
            copies = other.stay.copied and other.stay.value == leaves
            if copies and other.stay.first >= stay.last and evict_end > other.fetch_start:
                return False
        if stay.copied:
            for number in self.of_value.get(stay.value, ()):
                other = self.placed[number]
                if other.stay.first < stay.first and other.evict_end > fetch_start:
                    return False
        return True

    def _find(self, size: int, parts: tuple[LayoutPart, ...]) -> int:
        """The smallest sufficient gap over all parts, the lowest of equals; -1 if there is none."""
        if not size:
            return 0
        blocks = self._blocks(parts)
        best, place = self.capacity + 1, -1
        top = max(max(self.reserved[s:e]) for s, e in parts) if self.has_reserved else 0
        for low, high in blocks:
            gap = low - top
            if size <= gap < best:
                best, place = gap, top
            if high > top:
                top = high
        gap = self.capacity - top
        return top if size <= gap < best else place

    def _is_free(self, size: int, parts: tuple[LayoutPart, ...], offset: int) -> bool:
        if self.has_reserved and max(max(self.reserved[s:e]) for s, e in parts) > offset:
            return False
        return offset + size <= self.capacity and all(
            high <= offset or low >= offset + size for low, high in self._blocks(parts)
        )

    def _blocks(self, parts: tuple[LayoutPart, ...]) -> list[tuple[int, int]]:
        """The places [low, high) in use during any of the parts, sorted."""
        found: set[tuple[int, int]] = set()
        for start, end in parts:
            found.update(self.at[start].values())
            for t in range(start + 1, end):
                if self.starting[t]:
                    found.update(self.starting[t].values())
        return sorted(found)

    def mapping(self) -> Mapping:
        """The mapping; each copy has the widest window that it uses."""
        residencies, prefetches, evictions = [], [], []
        for placed in self.placed.values():
            stay, start = placed.stay, placed.parts[0].start
            arrival = COPIED if stay.copied else DEFINED
            owner = stay.value
            residencies.append(Residency(owner, placed.offset, start, placed.parts[0].end, arrival))
            if stay.copied:
                prefetches.append(Transfer(owner, start, stay.fetch_by))
            if stay.result[0] >= 0:
                owner = stay.result[0]
                start, end = placed.parts[1]
                residencies.append(Residency(owner, placed.offset, start, end, DEFINED))
            if placed.evict_end >= 0:
                evictions.append(Transfer(owner, stay.evict_from, placed.evict_end))
        program = self.program
        return Mapping(
            program.name,
            program.fingerprint,
            tuple(sorted(residencies, key=lambda r: (r.start, r.value))),
            tuple(sorted(prefetches, key=lambda p: (p.start, p.value))),
            tuple(sorted(evictions, key=lambda e: (e.start, e.value))),
        )


def _parts(stay: PlannedStay, fetch_start: int, evict_end: int) -> tuple[LayoutPart, ...]:
    if stay.result[0] < 0:
        return (LayoutPart(fetch_start, max(stay.end, evict_end)),)
    _, begin, end = stay.result
    return (LayoutPart(fetch_start, stay.end), LayoutPart(begin, max(end, evict_end)))
