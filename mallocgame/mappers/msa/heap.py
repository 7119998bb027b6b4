"""Fast memory as MSA sees it: chunks over inclusive intervals of time, best fit with look-ahead.

Source: XLA, `GlobalDecreasingSizeBestFitHeap` (heap_simulator) and `FindBestChunkCandidate`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mallocgame.mappers.msa import kernels


@dataclasses.dataclass(eq=False)
class HeapBlock:
    """Bytes [offset, offset + size) over the times of `spans`, each [start, end] inclusive.

    All spans of a block share its offset: a carried group, or a buffer kept from use to use.
    """

    size: int
    offset: int
    spans: list[tuple[int, int]]


PERIOD = 16  # times whose blocks are listed together


class Heap:
    """The blocks in fast memory.

    A block is listed in every period of `PERIOD` times that it meets: a look at a short interval
    looks at few blocks.

    taken: int64 [periods, 5, .], low, high, first and last time, and block of what is taken in each
        period; of period p the first counts[p] count.
    """

    def __init__(self, capacity: int, reserved: Sequence[int]):
        """reserved: bytes from offset 0 that are reserved at each time."""
        self.capacity = capacity
        self.reserved = np.array(reserved if any(reserved) else [], np.int64)
        self.blocks: dict[int, HeapBlock] = {}
        periods = max(-(-len(reserved) // PERIOD), 1)
        self.taken = np.zeros((periods, 5, 16), np.int64)
        self.counts = np.zeros(periods, np.int64)

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
        first, last = _life(block)
        kernels.release(self.taken, self.counts, PERIOD, first, last, id(block))

    def _occupy(self, block: HeapBlock, span: tuple[int, int]) -> None:
        self.taken = kernels.occupy(
            self.taken, self.counts, PERIOD, block.offset, block.size, *span, id(block)
        )

    def find(
        self, size: int, spans: Sequence[tuple[int, int]], preferred: int | None = None
    ) -> int | None:
        """An offset free over all spans: `preferred`, or else the smallest gap, then the lowest."""
        place = kernels.find(
            self.taken,
            self.counts,
            PERIOD,
            np.array(spans, np.int64),
            size,
            -1 if preferred is None else preferred,
            self.reserved,
            self.capacity,
        )
        return place if place >= 0 else None

    def find_lasting(
        self, size: int, start: int, end: int, later_uses: Sequence[int]
    ) -> int | None:
        """An offset that is free over [start, end] and, of those, stays free for the longest time.

        later_uses: times after `end`, ascending, up to which the buffer would ideally stay.
        """
        uses = np.array(later_uses, np.int64)
        place = kernels.find_lasting(
            self.taken,
            self.counts,
            PERIOD,
            start,
            end,
            uses,
            size,
            self.reserved,
            self.capacity,
        )
        return place if place >= 0 else None

    def repack(self) -> bool:
        """Packs all blocks anew, longest and then largest first; False if one does not fit."""

        def key(block: HeapBlock) -> tuple[int, int]:
            first, last = _life(block)
            return first - last, -block.size

        order = sorted(self.blocks.values(), key=key)
        offsets, taken, counts = kernels.repack(
            np.array([b.size for b in order], np.int64),
            np.array([span for b in order for span in b.spans], np.int64).reshape(-1, 2),
            np.cumsum([0, *(len(b.spans) for b in order)]),
            np.array([id(b) for b in order], np.int64),
            len(self.counts),
            PERIOD,
            self.reserved,
            self.capacity,
        )
        if len(offsets) < len(order):
            return False
        self.taken, self.counts = taken, counts
        for block, offset in zip(order, offsets.tolist(), strict=True):
            block.offset = offset
        return True


def _life(block: HeapBlock) -> tuple[int, int]:
    """The first and the last time of a block's spans."""
    if len(block.spans) == 1:
        return block.spans[0]
    return min(s[0] for s in block.spans), max(s[1] for s in block.spans)
