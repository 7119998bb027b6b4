"""Fixed facts of the game that its oracle shares."""

from __future__ import annotations

import dataclasses

from gamekit.errors import InputError

# Grows with every change after which the same moves may make another game, or an observation means
# something else.
GAME_VERSION = 3
# Actions of a question, and what they are while a group is open; before that all are first
# operations of a group.  The last one leads to more candidates where there are more.
NUM_ACTIONS = 8
CLOSE, RETAIN, FIRST_ADDED = 0, 1, 2
MORE = NUM_ACTIONS - 1
ACTION_NAMES = (
    "close", "retain", *(f"candidate_{i}" for i in range(MORE - FIRST_ADDED)), "candidate_or_more",
)  # fmt: skip
# Halvings of the native tile that are tried along each axis.
HALVINGS = 8
# Nothing joins a group that then takes longer than so many times the naive times of its operations.
SLOWEST = 1.1
# Of a game of n operations: after FREE_MOVES * n + SPARE moves groups are of one operation, so that
# it ends within MOST_MOVES * n + 2 * SPARE moves.
FREE_MOVES, MOST_MOVES, SPARE = 2, 4, 4


@dataclasses.dataclass(frozen=True)
class GraphsConfig:
    """Options of the game.

    largest_group: operations of a group at most, in 1..64.

    Raises:
      InputError: a field is out of range.
    """

    largest_group: int = 16

    def __post_init__(self) -> None:
        if not isinstance(self.largest_group, int) or not 1 <= self.largest_group <= 64:
            raise InputError(f"largest_group: must be in 1..64, got {self.largest_group!r}")
