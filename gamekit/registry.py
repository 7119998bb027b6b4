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


def installed_name(game: str) -> str:
    """The name of a game that is installed, also where it goes by MODULE:ATTRIBUTE."""
    return next((name for name, value in known_games().items() if value == game), game)


def games_of(names: Sequence[str], first: str = DEFAULT) -> dict[str, list[str]]:
    """The installed games to which names of instances lead, each with its names, in their order.

    A game that knows all of them is the only one, `first` before others.  A name that no game
    knows, such as a file's, is one of `first`.
    """
    games = sorted(known_games(), key=lambda game: (game != first, game))
    for game in games:
        if all(load_domain(game).knows(name) for name in names):
            return {game: list(names)}
    found: dict[str, list[str]] = {}
    for name in names:
        knowing = (game for game in games if load_domain(game).knows(name))
        found.setdefault(next(knowing, first), []).append(name)
    return found


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
