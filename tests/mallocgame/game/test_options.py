"""Options out of range are named."""

from __future__ import annotations

import pytest

from gamekit.errors import InputError
from mallocgame.game.options import GameConfig


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("prefetch_window", 0),
        ("max_residencies", 2.0),
        ("placement", "worst_fit"),
        ("late_eviction", None),
        ("reward", ""),
        ("inert_fraction", float("nan")),
        ("inert_fraction", 1.0),
        ("inert_fraction", "0"),
    ],
)
def test_config_names_what_is_wrong(field: str, bad: object):
    with pytest.raises(InputError, match=f"game config: {field} must be .*, got "):
        GameConfig(**{field: bad})  # type: ignore[arg-type]
