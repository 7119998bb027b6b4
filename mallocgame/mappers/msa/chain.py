"""What MSA decides about a value: a stay in fast memory with its copies."""

from __future__ import annotations

import dataclasses

from mallocgame.mappers.msa.heap import HeapBlock


@dataclasses.dataclass
class Chain:
    """A value's stay in fast memory, from `begin` to `end`, both inclusive.

    copied, evicted: exclusive intervals of its prefetch and its eviction, None without.
    written: time of the last write in it, -1 without.
    stop: number of the stop at which it begins.
    used: bytes that its accesses move.
    """

    value: int
    block: HeapBlock
    begin: int
    end: int
    stop: int
    copied: tuple[int, int] | None = None
    evicted: tuple[int, int] | None = None
    written: int = -1
    used: int = 0
