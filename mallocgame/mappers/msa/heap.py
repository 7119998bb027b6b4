"""Fast memory as MSA sees it: chunks over inclusive intervals of time, best fit with look-ahead.

Source: XLA, `GlobalDecreasingSizeBestFitHeap` (heap_simulator) and `FindBestChunkCandidate`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass
class Block:
    """Bytes [offset, offset + size) over the slots of `spans`, each [start, end] inclusive.

    Spans of one block share their offset: a carried group, or a buffer kept from use to use.
    """

    size: int
    offset: int
    spans: list[tuple[int, int]]

    def meets(self, start: int, end: int) -> bool:
        """Whether the block is there at some time of [start, end]."""
        return any(first <= end and start <= last for first, last in self.spans)


class Heap:
    """What lies in fast memory."""

    def __init__(self, capacity: int, reserved: Sequence[int]):
        self.capacity = capacity
        self.reserved = list(reserved)
        self.blocks: list[Block] = []

    def find(
        self, size: int, spans: Sequence[tuple[int, int]], preferred: int | None = None
    ) -> int | None:
        """An offset free over all spans: the preferred one, or best fit: smallest gap, lowest."""
        taken = sorted(
            (block.offset, block.offset + block.size)
            for block in self.blocks
            if block.size and any(block.meets(*span) for span in spans)
        )
        floor = max(max(self.reserved[start : end + 1]) for start, end in spans)
        if preferred is not None:
            free = preferred >= floor and preferred + size <= self.capacity
            clear = all(high <= preferred or low >= preferred + size for low, high in taken)
            return preferred if free and (clear or not size) else None
        best, place, top = self.capacity + 1, None, floor
        for low, high in [*taken, (self.capacity, self.capacity)]:
            gap = low - top
            if size <= gap < best:
                best, place = gap, top
            top = max(top, high)
        return place

    def find_lasting(
        self, size: int, start: int, end: int, later_uses: Sequence[int]
    ) -> int | None:
        """An offset free over [start, end], and of those one that stays free for the longest.

        later_uses: times after `end`, ascending, up to which the buffer would like to stay.
        """
        if self.find(size, [(start, end)]) is None:
            return None
        low, high = 0, len(later_uses)  # offsets free up to use `low` exist
        while low < high:
            middle = (low + high + 1) // 2
            if self.find(size, [(start, later_uses[middle - 1])]) is None:
                high = middle - 1
            else:
                low = middle
        return self.find(size, [(start, later_uses[low - 1] if low else end)])

    def repack(self) -> bool:
        """Lays all blocks anew, longest first, then largest; False and no change if one is left."""
        order = sorted(
            self.blocks,
            key=lambda b: (-(max(s[1] for s in b.spans) - min(s[0] for s in b.spans)), -b.size),
        )
        fresh = Heap(self.capacity, self.reserved)
        offsets = []
        for block in order:
            offset = fresh.find(block.size, block.spans)
            if offset is None:
                return False
            fresh.blocks.append(Block(block.size, offset, block.spans))
            offsets.append(offset)
        for block, offset in zip(order, offsets, strict=True):
            block.offset = offset
        return True
