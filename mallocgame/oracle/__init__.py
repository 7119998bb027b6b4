"""The game's rules once more, in plain Python, written from docs/game.md alone."""

from mallocgame.oracle.oracle import COPY, DROP, NO_COPY, Oracle

__all__ = ["COPY", "DROP", "NO_COPY", "Oracle"]
