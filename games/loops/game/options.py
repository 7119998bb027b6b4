"""Fixed facts of the game that its oracle shares."""

from __future__ import annotations

import dataclasses

from gamekit.errors import InputError

# Grows with every change after which the same moves may make another game, or an observation means
# something else.
GAME_VERSION = 1
SPLITS = (2, 4, 8, 16, 32, 64)
ACTION_NAMES = (
    *("up", "down", "swap_up", "swap_down"),
    *(f"split_{factor}" for factor in SPLITS),
    *("merge", "unroll", "vectorize", "stop"),
)
UP, DOWN, SWAP_UP, SWAP_DOWN, FIRST_SPLIT = range(5)
MERGE, UNROLL, VECTORIZE, STOP = range(FIRST_SPLIT + len(SPLITS), len(ACTION_NAMES))


@dataclasses.dataclass(frozen=True)
class LoopsConfig:
    """Options of the game.

    moves: after so many a game is over, in 1..64.

    Raises:
      InputError: a field is out of range.
    """

    moves: int = 20

    def __post_init__(self) -> None:
        if type(self.moves) is not int or not 1 <= self.moves <= 64:
            raise InputError(f"moves: must be an integer in 1..64, got {self.moves!r}")
