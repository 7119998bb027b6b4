"""Options out of range are named, and the defaults are the game."""

from __future__ import annotations

import dataclasses

import pytest

from gamekit.errors import InputError
from mallocgame.game.options import RULES, GameConfig


def test_the_defaults_are_the_game():
    assert dataclasses.asdict(GameConfig()) == {"rules": "full", "inert_fraction": 1e-6}


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("inert_fraction", [0, 0.0, 0.999])
def test_what_is_in_range_is_taken(rules: str, inert_fraction: float):
    config = GameConfig(rules, inert_fraction)
    assert (config.rules, config.inert_fraction) == (rules, inert_fraction)


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("rules", "worst_fit"),
        ("rules", ""),
        ("rules", None),
        ("rules", 2.0),
        ("inert_fraction", float("nan")),
        ("inert_fraction", -1e-9),
        ("inert_fraction", 1.0),
        ("inert_fraction", "0"),
    ],
)
def test_config_names_what_is_wrong(field: str, bad: object):
    with pytest.raises(InputError, match=f"game config: {field} must be .*, got {bad!r}"):
        GameConfig(**{field: bad})  # type: ignore[arg-type]
