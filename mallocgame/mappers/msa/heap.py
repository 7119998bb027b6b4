"""Fast memory as MSA sees it: chunks over inclusive intervals of time, best fit with look-ahead.

Source: XLA, `GlobalDecreasingSizeBestFitHeap` (heap_simulator) and `FindBestChunkCandidate`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(eq=False)
class HeapBlock:
    """Bytes [offset, offset + size) over the times of `spans`, each [start, end] inclusive.

    All spans of a block share its offset: a carried group, or a buffer kept from use to use.
    """

    size: int
    offset: int
    spans: list[tuple[int, int]]


class Heap:
    """The blocks in fast memory."""

    def __init__(self, capacity: int, reserved: Sequence[int]):
        """reserved: bytes from offset 0 that are reserved at each time."""
        self.capacity = capacity
        self.reserved = list(reserved)
        self.blocks: dict[int, HeapBlock] = {}
        self.at: list[dict[int, HeapBlock]] = [{} for _ in reserved]
        self.starting: list[dict[int, HeapBlock]] = [{} for _ in reserved]

    def add(self, block: HeapBlock) -> None:
        """Puts a block at its offset."""
        self.blocks[id(block)] = block
        for span in block.spans:
            self._occupy(block, span)

    def extend(self, block: HeapBlock, span: tuple[int, int]) -> None:
        """Keeps a block in its place for another span."""
        block.spans.append(span)
        self._occupy(block, span)

    def remove(self, block: HeapBlock) -> None:
        """Removes a block."""
        del self.blocks[id(block)]
        for start, end in block.spans:
            self.starting[start].pop(id(block), None)
            for time in range(start, end + 1):
                self.at[time].pop(id(block), None)

    def _occupy(self, block: HeapBlock, span: tuple[int, int]) -> None:
        self.starting[span[0]][id(block)] = block
        for time in range(span[0], span[1] + 1):
            self.at[time][id(block)] = block

    def _met(self, spans: Sequence[tuple[int, int]]) -> dict[int, HeapBlock]:
        met: dict[int, HeapBlock] = {}
        for start, end in spans:
            met.update(self.at[start])
            for time in range(start + 1, end + 1):
                if self.starting[time]:
                    met.update(self.starting[time])
        return met

    def find(
        self, size: int, spans: Sequence[tuple[int, int]], preferred: int | None = None
    ) -> int | None:
        """An offset free over all spans: `preferred`, or else the smallest gap, then the lowest."""
        taken = sorted(
            (block.offset, block.offset + block.size)
            for block in self._met(spans).values()
            if block.size
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
        """An offset that is free over [start, end] and, of those, stays free for the longest time.

        later_uses: times after `end`, ascending, up to which the buffer would ideally stay.
        """
        if self.find(size, [(start, end)]) is None:
            return None
        low, high = 0, len(later_uses)  # some offset is free up to use `low`
        while low < high:
            middle = (low + high + 1) // 2
            if self.find(size, [(start, later_uses[middle - 1])]) is None:
                high = middle - 1
            else:
                low = middle
        return self.find(size, [(start, later_uses[low - 1] if low else end)])

    def repack(self) -> bool:
        """Packs all blocks anew, longest and then largest first; False if one does not fit."""
        order = sorted(
            self.blocks.values(),
            key=lambda b: (-(max(s[1] for s in b.spans) - min(s[0] for s in b.spans)), -b.size),
        )
        fresh = Heap(self.capacity, self.reserved)
        offsets = []
        for block in order:
            offset = fresh.find(block.size, block.spans)
            if offset is None:
                return False
            fresh.add(HeapBlock(block.size, offset, block.spans))
            offsets.append(offset)
        for block, offset in zip(order, offsets, strict=True):
            block.offset = offset
        return True
