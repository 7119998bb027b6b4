"""The rules' options: one small immutable object shared by the game, the oracle and the tools."""

from __future__ import annotations

import dataclasses
import math

from gamekit.errors import InputError

# Grows with every change after which the same moves may make another game, or the same observation
# mean something else: what was trained or measured before belongs to another game.
GAME_VERSION = 2
RULES = ("full", "paper")


@dataclasses.dataclass(frozen=True)
class GameConfig:
    """Options of the rules (docs/game.md).

    rules: "full" lets readers wait for copies, and arrivals for write-backs, where that can pay;
        in "paper" no move may stall, as in the game of the paper.
    inert_fraction: values and questions that can save less than this fraction of the all-slow
        latency are answered by the game itself; in [0, 1).

    Raises:
      InputError: a field is out of range.
    """

    rules: str = "full"
    inert_fraction: float = 1e-6

    def __post_init__(self) -> None:
        if self.rules not in RULES:
            raise InputError(
                f"game config: rules must be one of {', '.join(RULES)}, got {self.rules!r}"
            )
        fraction = self.inert_fraction
        if not isinstance(fraction, (int, float)) or not (
            math.isfinite(fraction) and 0 <= fraction < 1
        ):
            raise InputError(
                f"game config: inert_fraction must be a number in [0, 1), got {fraction!r}"
            )
