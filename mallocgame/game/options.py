"""The rules' options: one small immutable object shared by the game, the oracle and the tools."""

from __future__ import annotations

import dataclasses
import math

from gamekit.errors import InputError

# Grows with every change after which the same moves may make another game, or the same observation
# mean something else: what was trained or measured before belongs to another game.
GAME_VERSION = 1
PLACEMENTS = ("best_fit", "two_ended")
# From one part in so many of the capacity on, "two_ended" takes a value for a large one.
LARGE = 4
LATE_EVICTIONS = ("stay", "backup")
LATE_PREFETCHES = ("stall", "illegal")
REWARDS = ("exact", "proxy")
OBSERVATIONS = ("plain", "rich")


@dataclasses.dataclass(frozen=True)
class GameConfig:
    """Options of the rules; the defaults are the game, the others are limits and ablations.

    prefetch_window: slots that a prefetch may start before its read, at least 1.
    max_residencies: residencies the game remembers at once, at least 1; an arrival that would
        exceed it is illegal.
    placement: "best_fit" takes the smallest sufficient gap; "two_ended" is best fit where values of
        less than a quarter of the capacity lie at the gap's high end. Simple rules save more with
        "two_ended" on eight of 13 programs; an agent with it plays unknown programs worse.
    late_prefetch: what a copy is that the supply cannot feed in time: "stall" lets its reader wait
        for the rest where that can pay, "illegal" forbids it, as the paper's game does.
    late_eviction: what a read during an eviction means: "stay" reads from fast memory, "backup"
        makes the state infeasible, as XLA's uncommitted buffers. "backup" cost two points of the
        latency on a training step.
    inert_fraction: values and questions that can save less than this fraction of the all-slow
        latency are answered by the game itself; in [0, 1).
    reward: "exact" pays saved latency, "proxy" what each access would save were it the only one. In
        two minutes of training neither was ahead on both programs tried.
    observation: what the agent sees; "rich" adds the memory and the pressure ahead and a wider
        window of coming stops (`mallocgame.game.observe.rich`). In two minutes of training on a CPU
        "rich" was no better.

    Raises:
      InputError: a field is out of range.
    """

    prefetch_window: int = 16
    max_residencies: int = 128
    placement: str = "best_fit"
    late_prefetch: str = "stall"
    late_eviction: str = "stay"
    inert_fraction: float = 1e-6
    reward: str = "exact"
    observation: str = "plain"

    def __post_init__(self) -> None:
        for field in ("prefetch_window", "max_residencies"):
            number = getattr(self, field)
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise InputError(f"game config: {field} must be a positive integer, got {number!r}")
        for field, choices in (
            ("placement", PLACEMENTS),
            ("late_prefetch", LATE_PREFETCHES),
            ("late_eviction", LATE_EVICTIONS),
            ("reward", REWARDS),
            ("observation", OBSERVATIONS),
        ):
            choice = getattr(self, field)
            if choice not in choices:
                raise InputError(
                    f"game config: {field} must be one of {', '.join(choices)}, got {choice!r}"
                )
        fraction = self.inert_fraction
        if not isinstance(fraction, (int, float)) or not (
            math.isfinite(fraction) and 0 <= fraction < 1
        ):
            raise InputError(
                f"game config: inert_fraction must be a number in [0, 1), got {fraction!r}"
            )
