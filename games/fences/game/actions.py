"""The actions, and what is fixed about questions (docs/fences.md)."""

from __future__ import annotations

GAME_VERSION = 1
# A question about operations offers so many of them.
OFFERED = 3
ACTION_NAMES = ("cpu_1", "gpu_1", "cpu_2", "gpu_2", "cpu_3", "gpu_3", "next", "fence")
NEXT, FENCE = 6, 7


def most_moves(operations: int) -> int:
    """No game of a program with so many operations has more moves.

    Every operation is placed by one move; while R of them are ready, `next` can be said
    ceil(R / OFFERED) - 1 times. Each has at most one fence of its own, and each is passed over by a
    fence at most once, as the fence behind it hands it over.
    """
    windows = sum(-(-ready // OFFERED) - 1 for ready in range(1, operations + 1))
    return 3 * operations + windows
