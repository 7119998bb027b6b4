"""Fixed facts of the game that its oracle shares."""

from __future__ import annotations

import dataclasses

# Grows with every change after which the same moves may make another game, or an observation means
# something else.
GAME_VERSION = 2
# Answers to a question: none, and up to seven candidates.
NUM_ACTIONS, NONE = 8, 0
CANDIDATES = NUM_ACTIONS - 1
ACTION_NAMES = ("none", *(f"candidate_{i}" for i in range(CANDIDATES)))
# Ranks of candidates, whole numbers. An operation has at most MOST_INPUTS inputs, and at most
# MOST_WAYS of its ways to run in one group are told apart.
MOST_INPUTS, MOST_WAYS = 15, 16
# Sets of memories are the bits of an int32.
MOST_MEMORIES = 30
# Transfers that only make room rank below all others.
SPILL_RANKS = 4096
MOST_VALUES = SPILL_RANKS - 2
# A game of n operations is given up after MOVES_PER_OPERATION * n + SPARE_MOVES moves.
MOVES_PER_OPERATION, SPARE_MOVES = 24, 40


@dataclasses.dataclass(frozen=True)
class CoresConfig:
    """The game has no options."""
