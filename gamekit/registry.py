"""Games by name.

A package offers a game as an entry point of the group `gamekit.games`, whose value leads to a
`Domain`:

    [project.entry-points."gamekit.games"]
    mallocgame = "mallocgame.domain:DOMAIN"

A game that is not installed goes by that value itself: `game: examples.tutorial:DOMAIN`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from importlib import metadata

from gamekit.domain import Domain
from gamekit.errors import InputError

GROUP = "gamekit.games"
# The game of configurations and commands that do not name one.
DEFAULT = "mallocgame"


@functools.cache
def known_games() -> dict[str, str]:
    """Where the domain of each installed game is, by the game's name."""
    return {point.name: point.value for point in metadata.entry_points(group=GROUP)}


def game_of(names: Sequence[str]) -> str:
    """The installed game to which all names of instances lead; the default game without one."""
    for game in sorted(known_games()):
        domain = load_domain(game)
        if all(domain.knows(name) for name in names):
            return game
    return DEFAULT


def load_domain(name: str) -> Domain:
    """The domain of a game, by its name or by MODULE:ATTRIBUTE.

    Raises:
      InputError: there is no such game.
    """
    value = known_games().get(name, name)
    module, colon, attribute = value.partition(":")
    if not colon:
        known = ", ".join(sorted(known_games()))
        raise InputError(f"game must be one of {known} or MODULE:ATTRIBUTE, got {name!r}")
    try:
        domain = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever a module does when it is imported
        raise InputError(f"game {name!r}: cannot be loaded: {error}") from None
    if not isinstance(domain, Domain):
        raise InputError(f"game {name!r}: {value} must be an instance of gamekit.domain.Domain")
    return domain
