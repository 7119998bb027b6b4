"""The mallocGame: memory mapping of tensor programs as a single-player game.

`load`, `load_all` and `map` are the way in from Python (`mallocgame.api`, docs/walkthrough.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gamekit.errors import InputError
    from mallocgame.api import Problem, Result, load, load_all, map

__all__ = ["InputError", "Problem", "Result", "load", "load_all", "map"]


def __getattr__(name: str) -> Any:
    """The public names, imported when first used: importing the package stays cheap (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mallocgame import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
