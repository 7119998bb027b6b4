"""A mapping under construction: the memory that the kernels work on, and the mapping it stands for.

`.kernels` says what is where.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mallocgame.followed import Follower
from mallocgame.mappers.layouts import kernels as k
from mallocgame.mappers.layouts.stays import Stay, Stays, possible_stays
from mallocgame.program import Program
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer
from mallocgame.program.times import Times

PARTS = 8  # of copies, for each slot and each value worth a place, that there is memory for


class MemoryLayout:
    """What is in fast memory when, and the latency that results.

    Times are in units of the all-slow latency.

    stays: all that could be there, S in number.
    words, floats: the memory of the kernels, as whole numbers and as floats.
    table: int64 [S, words of a stay], the stays in it; hope: float64 [S], the most that each could
        save; most: float64 [G], the same of each gain.
    worthwhile: bool [V], whether a value is worth a place.
    """

    def __init__(self, program: Program, seed: int = 0):
        self.program = program
        times = Times(program)
        self.unit_s = times.scale_s or 1.0
        self.stays = possible_stays(program, times)
        self.most = _most(times, self.stays)
        total = np.concatenate([[0.0], np.cumsum(self.most)])
        row = self.stays.row
        self.hope = total[row[:, k.GAIN_END]] - total[row[:, k.GAIN]]
        most = np.zeros(len(program.values))
        np.maximum.at(most, row[:, k.VALUE], self.hope)
        self.worthwhile = most > k.WORTH
        self.words = _Memory(program, times, self.stays, self.hope, most).words
        self.floats = self.words.view(np.float64)
        self.words[k.DRAW] = np.uint64(seed % 2**64).astype(np.int64)
        end = self.words[k.STAYS_END]
        self.table = self.words[self.words[k.STAYS] : end].reshape(-1, k.STAY_WORDS)
        k.refresh(self.words, self.floats)

    @property
    def cost(self) -> float:
        """The latency with everything in the layout."""
        return float(self.floats[k.COST])

    @property
    def best_cost(self) -> float:
        """The latency of the best layout that was noted."""
        return float(self.floats[k.BEST])

    @property
    def placed(self) -> np.ndarray:
        """The numbers of the stays in the layout."""
        return np.flatnonzero(self.table[:, k.OFFSET] >= 0)

    def place(self, stay: int, least: float = -np.inf, offset: int = -1) -> bool:
        """Puts a stay in if it fits and saves more than `least`; whether it did.

        offset: where it must be; -1 for best fit.
        """
        placed = k.place(self.words, self.floats, self.address(stay), least, offset)
        k.settle(self.words)
        return placed

    def remove(self, stay: int) -> None:
        """Takes a stay out of the layout."""
        k.remove(self.words, self.floats, self.address(stay))
        k.settle(self.words)

    def follow(self, production: Mapping) -> None:
        """Refuses what the compiler would not follow, whose own mapping is given."""
        follower, row = Follower(self.program, production), self.stays.row
        own = {(copy.value, copy.end) for copy in production.prefetches}
        stays = row[:, [k.VALUE, k.START]].tolist()
        self.table[:, k.IN_TIME] = [tuple(stay) not in own for stay in stays]
        for number in np.flatnonzero(self.hope > k.WORTH):
            stay = Stay(*row[number].tolist())
            slots = self.stays.gain_slot[stay.gain : stay.gain_end].tolist()
            leaves = not stay.copied and stay.evict_from >= 0
            why = follower.why_refused(stay.value, stay.start, stay.end, slots, leaves=leaves)
            self.table[number, k.BARRED] = bool(why)

    def address(self, stay: Any) -> Any:
        """Where a stay is in the memory, by its number; also for an array of them."""
        return self.words[k.STAYS] + stay * k.STAY_WORDS

    def mapping(self) -> Mapping:
        """The mapping; each copy has the widest window that it uses."""
        residencies, prefetches, evictions = [], [], []
        placements = self.table[:, k.OFFSET : k.COPIES].tolist()
        for number in self.placed.tolist():
            stay = Stay(*self.stays.row[number].tolist())
            offset, fetch_start, evict_end = placements[number]
            start, end = fetch_start, stay.end if stay.result >= 0 else max(stay.end, evict_end)
            arrival = COPIED if stay.copied else DEFINED
            residencies.append(Residency(stay.value, offset, start, end, arrival))
            if stay.copied:
                prefetches.append(Transfer(stay.value, start, stay.start))
            owner = stay.value
            if stay.result >= 0:
                owner, start, end = stay.result, stay.result_start, stay.result_end
                end = max(end, evict_end)
                residencies.append(Residency(owner, offset, start, end, DEFINED))
            if evict_end >= 0:
                evictions.append(Transfer(owner, stay.evict_from, evict_end))
        program = self.program
        return Mapping(
            program.name,
            program.fingerprint,
            tuple(sorted(residencies, key=lambda r: (r.start, r.value))),
            tuple(sorted(prefetches, key=lambda p: (p.start, p.value))),
            tuple(sorted(evictions, key=lambda e: (e.start, e.value))),
        )


def _most(times: Times, stays: Stays) -> np.ndarray:
    """The latency that each gain could save at best, whatever else is fast: [G]."""
    slot = stays.gain_slot
    spread = (times.slow_elapsed - times.floor)[slot]
    return times.weight[slot] * np.minimum(stays.gain[:, :2].max(axis=1, initial=0.0), spread)


class _Memory:
    """Lays out the memory of an empty layout.

    words: int64, the memory.
    """

    def __init__(
        self, program: Program, times: Times, stays: Stays, hope: np.ndarray, most: np.ndarray
    ):
        self.program, self.stays, self.most = program, stays, most
        total, values, many = len(program.instructions), len(program.values), len(stays.row)
        heights = max(total - 1, 0).bit_length() + 1
        lists = [(total >> height) + 1 for height in range(heights)]
        worth = np.flatnonzero(most > k.WORTH)
        near, near_first = self._near(most > k.WORTH, total)
        busy = np.flatnonzero(np.diff(near_first))
        parts = PARTS * (total + len(worth)) + 1
        blocks = -(-total // k.BLOCK)
        self.size = k.HEAD_WORDS
        slots = self._take((total + 1) * k.SLOT_WORDS)
        row, value, gain = (
            self._take(n * words)
            for n, words in (
                (many, k.STAY_WORDS),
                (values, k.VALUE_WORDS),
                (len(stays.gain), k.GAIN_WORDS),
            )
        )
        part = self._take(parts * k.PART_WORDS)
        by_slot = {field: self._take(total) for field in (k.FULL, k.RESERVED, k.STARTING)}
        by_block = {
            field: self._take(blocks) for field in (k.FULL_PEAK, k.RESERVED_PEAK, k.SUPPLIED)
        }
        crossing, head = self._take(heights), [self._take(n) for n in lists]
        chosen, nearby, used = (self._take(len(numbers)) for numbers in (worth, near, busy))
        room = {
            k.CHANGED_AT: many,
            k.TOUCHED_AT: total,
            k.ADDED_AT: many,
            k.REMOVED_AT: many * (k.PLACEMENT + 1),
            **{field: 4 * many + 2 for field in (k.MET, k.LOWS, k.TOPS)},
            k.KEYS: many,
            k.ORDER: many,
            k.POOL: 2 * (values + k.MOST_OTHERS),
        }
        places = {field: self._take(n) for field, n in room.items()}
        self.words = np.zeros(self.size, np.int64)
        self.floats = self.words.view(np.float64)
        for field, address in {
            k.SLOTS: slots,
            k.STAYS: row,
            k.STAYS_END: row + many * k.STAY_WORDS,
            **by_slot,
            **by_block,
            k.CROSSING: crossing,
            k.VALUES: chosen,
            k.VALUES_END: chosen + len(worth),
            k.NEAR: nearby,
            k.BUSY: used,
            k.BUSY_END: used + len(busy),
            **places,
            k.CYCLE: k.FIRST_CYCLE,
            k.CAPACITY: program.machine.fast_capacity_bytes,
            k.ALIGNMENT: program.machine.alignment_bytes,
            k.TOTAL: total,
            k.HEIGHTS: heights,
            k.FREE: part,
            k.SPARE: parts,
        }.items():
            self.words[field] = address
        self.floats[[k.BEST, k.LIMIT]] = np.inf, -np.inf
        self.words[crossing : crossing + heights] = head
        self.words[chosen : chosen + len(worth)] = value + worth * k.VALUE_WORDS
        self.words[nearby : nearby + len(near)] = value + near * k.VALUE_WORDS
        self.words[used : used + len(busy)] = busy
        self._fill_slots(slots, times, nearby + near_first)
        self._fill_stays(row, value, gain, hope)
        self._fill_values(value, row, gain)
        table, floats = self._table(gain, len(stays.gain), k.GAIN_WORDS)
        table[:, k.GAIN_SLOT] = stays.gain_slot
        floats[:, k.GAIN_READ : k.GAIN_BUS + 1] = stays.gain
        table, _ = self._table(part, parts, k.PART_WORDS)
        table[:-1, k.PART_NEXT] = part + np.arange(1, parts) * k.PART_WORDS
        self._reserve(by_slot[k.RESERVED], by_block[k.RESERVED_PEAK])

    def _take(self, words: int) -> int:
        """The address of the next words."""
        address = self.size
        self.size += words
        return address

    def _table(self, address: int, rows: int, words: int) -> tuple[np.ndarray, np.ndarray]:
        """Some records, as whole numbers and as floats: [rows, words]."""
        table = self.words[address : address + rows * words].reshape(rows, words)
        return table, table.view(np.float64)

    def _near(self, worth: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
        """The values worth a place by the slots where they are used; where each slot begins."""
        stays = self.stays
        of_values = np.repeat(np.arange(len(worth)), np.diff(stays.gain_of_value))
        groups = stays.row[stays.row[:, k.RESULT] >= 0]
        of_groups = [np.arange(row[k.GAIN], row[k.GAIN_END]) for row in groups]
        gain = np.concatenate([np.arange(len(of_values)), *of_groups])
        lengths = [len(gains) for gains in of_groups]
        value = np.concatenate([of_values, np.repeat(groups[:, k.VALUE], lengths)])
        used = np.unique(np.stack([stays.gain_slot[gain], value])[:, worth[value]], axis=1)
        return used[1], np.searchsorted(used[0], np.arange(total + 1))

    def _fill_slots(self, slots: int, times: Times, near: np.ndarray) -> None:
        table, floats = self._table(slots, len(near), k.SLOT_WORDS)
        table[:, k.NEAR_FIRST] = near
        floats[:-1, k.WEIGHT], floats[:-1, k.COMPUTE] = times.weight, times.compute
        floats[:-1, k.SLOW + k.READ] = times.fixed_read
        floats[:-1, k.SLOW + k.WRITE] = times.fixed_write
        floats[:-1, k.SLOW + k.BUS] = times.fixed_bus
        side = np.where(times.reads, k.READ, k.WRITE)
        np.add.at(floats, (times.slot, k.SLOW + side), times.slow)
        np.add.at(floats[:, k.SLOW + k.BUS], times.slot, times.bus)

    def _fill_stays(self, row: int, value: int, gain: int, hope: np.ndarray) -> None:
        stays = self.stays
        table, floats = self._table(row, len(stays.row), k.STAY_WORDS)
        table[:, : len(Stay._fields)] = stays.row
        table[:, k.VALUE] = value + stays.row[:, k.VALUE] * k.VALUE_WORDS
        result = stays.row[:, k.RESULT]
        table[:, k.RESULT] = np.where(result >= 0, value + result * k.VALUE_WORDS, 0)
        for field in (k.GAIN, k.GAIN_END):
            table[:, field] = gain + stays.row[:, field] * k.GAIN_WORDS
        floats[:, k.DEMAND], floats[:, k.HOPE] = stays.demand, hope
        table[:, [k.OFFSET, k.BEST_PLACEMENT]] = -1
        address = row + np.arange(len(table)) * k.STAY_WORDS
        table[:, k.OWN + k.OWNER] = table[:, k.OTHER + k.OWNER] = address

    def _fill_values(self, value: int, row: int, gain: int) -> None:
        stays, many, total = self.stays, len(self.most), len(self.program.instructions)
        table, floats = self._table(value, many, k.VALUE_WORDS)
        table[:, k.STAY_FIRST] = row + stays.of_value[:-1] * k.STAY_WORDS
        table[:, k.STAY_END] = row + stays.of_value[1:] * k.STAY_WORDS
        table[:, k.GAIN_FIRST] = gain + stays.gain_of_value[:-1] * k.GAIN_WORDS
        table[:, k.GAIN_STOP] = gain + stays.gain_of_value[1:] * k.GAIN_WORDS
        first, last, size = np.full(many, total), np.zeros(many, np.int64), np.ones(many)
        of = stays.row[:, k.VALUE]
        np.minimum.at(first, of, stays.row[:, k.START])
        np.maximum.at(last, of, stays.row[:, k.LAST])
        np.maximum.at(size, of, stays.row[:, k.SIZE])
        floats[:, k.MOST] = self.most
        floats[:, k.LOG_MOST] = np.log(np.maximum(self.most, k.WORTH))
        floats[:, k.LOG_AREA] = np.log(size * np.maximum(1, last - first))

    def _reserve(self, reserved: int, peak: int) -> None:
        align = self.program.machine.align
        numbers = np.array([align(i.reserved_bytes) for i in self.program.instructions], np.int64)
        self.words[reserved : reserved + len(numbers)] = numbers
        blocks = np.pad(numbers, (0, -len(numbers) % k.BLOCK)).reshape(-1, k.BLOCK)
        self.words[peak : peak + len(blocks)] = blocks.max(axis=1)
