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


class Heap:
    """The blocks in fast memory."""

    def __init__(self, capacity: int, reserved: Sequence[int]):
        """reserved: bytes from offset 0 that are reserved at each time."""
        self.capacity = capacity
        self.reserved = np.array(reserved if any(reserved) else [], np.int64)
        self.blocks: dict[int, HeapBlock] = {}
        self.taken = np.zeros((5, 64), np.int64)  # as `kernels.find` reads it, with blocks' ids
        self.count = 0

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
        kept = np.flatnonzero(self.taken[4, : self.count] != id(block))
        self.count = len(kept)
        self.taken[:, : self.count] = self.taken[:, kept]

    def _occupy(self, block: HeapBlock, span: tuple[int, int]) -> None:
        if self.count == self.taken.shape[1]:
            self.taken = np.concatenate([self.taken, np.zeros_like(self.taken)], axis=1)
        self.count = kernels.occupy(
            self.taken, self.count, block.offset, block.size, *span, id(block)
        )

    def find(
        self, size: int, spans: Sequence[tuple[int, int]], preferred: int | None = None
    ) -> int | None:
        """An offset free over all spans: `preferred`, or else the smallest gap, then the lowest."""
        place = kernels.find(
            self.taken,
            self.count,
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
            self.taken, self.count, start, end, uses, size, self.reserved, self.capacity
        )
        return place if place >= 0 else None

    def repack(self) -> bool:
        """Packs all blocks anew, longest and then largest first; False if one does not fit."""
        order = sorted(
            self.blocks.values(),
            key=lambda b: (-(max(s[1] for s in b.spans) - min(s[0] for s in b.spans)), -b.size),
        )
        offsets, taken, count = kernels.repack(
            np.array([b.size for b in order], np.int64),
            np.array([span for b in order for span in b.spans], np.int64).reshape(-1, 2),
            np.cumsum([0, *(len(b.spans) for b in order)]),
            np.array([id(b) for b in order], np.int64),
            self.reserved,
            self.capacity,
        )
        if len(offsets) < len(order):
            return False
        self.taken, self.count = taken, count
        for block, offset in zip(order, offsets.tolist(), strict=True):
            block.offset = offset
        return True
