"""The game's rules once more, in plain Python, written from docs/game.md alone."""

from mallocgame.oracle.oracle import Oracle
from mallocgame.oracle.state import COPY, DROP, NO_COPY, Origin, Question, Stay

__all__ = ["COPY", "DROP", "NO_COPY", "Oracle", "Origin", "Question", "Stay"]
