"""A Gymnasium environment over the game (extra `gym`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from gamekit.errors import InputError
from games.loops.game.options import ACTION_NAMES, STOP, LoopsConfig
from games.loops.mappers.search import Seconds
from games.loops.oracle.oracle import first, legal, moved
from games.loops.program.cost import seconds as modelled
from games.loops.program.nest import MAX_LOOPS
from games.loops.spaces.observations import (
    LOOP_FEATURES,
    OBSERVATIONS,
    PREVIOUS,
    STRIDE_BUCKETS,
    Seen,
)
from games.loops.suites import find

# Those that an agent can get at every step.
SPACES = {
    "loops_tensor": (MAX_LOOPS, LOOP_FEATURES),
    "stride_tensor": (STRIDE_BUCKETS,),
    "previous_actions": (PREVIOUS, len(ACTION_NAMES)),
    "runtime": (1,),
    "flops": (1,),
}


class LoopsEnv(gymnasium.Env):
    """One game at a time, on one of some computations.

    Rewards are changes of log2 of the speed-up over the starting nest. `info` has the mask of legal
    actions, `action_mask`: bool [A]. An illegal action ends nothing and changes nothing.
    """

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012

    def __init__(
        self,
        computations: Sequence[str] = ("mm64_256_16/train",),
        observation: str = "loops_tensor",
        moves: int = 20,
        seconds: Seconds = modelled,
        render_mode: str | None = None,
    ):
        """computations: names as in docs/loops.md. observation: one of `SPACES`. moves: of a game.
        seconds: what a nest takes, the model as it stands; of a clock it is
        `lambda computation, nest: clock.measure(computation, nest).seconds`.

        Raises:
          InputError: a name is unknown, or moves are out of range.
        """
        if observation not in SPACES:
            known = ", ".join(SPACES)
            raise InputError(f"observation: must be one of {known}, got {observation!r}")
        self._computations = {c.name: c for _, c in find(computations)}
        self._moves, self._seconds = LoopsConfig(moves).moves, seconds
        self._observation, self.render_mode = observation, render_mode
        self.action_space = spaces.Discrete(len(ACTION_NAMES))
        self.observation_space = spaces.Box(0, np.inf, SPACES[observation], np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins a game; options: {"computation": NAME} chooses one."""
        super().reset(seed=seed)
        names = list(self._computations)
        name = (options or {}).get("computation") or names[self.np_random.integers(len(names))]
        if name not in self._computations:
            raise InputError(f"computation: must be one of this environment's, got {name!r}")
        computation = self._computations[name]
        at = first(computation)
        self._seen = Seen(computation, at, self._seconds(computation, at.nest))
        self._played = 0
        return self._observed(), self._info()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Plays an action: the observation, the reward, whether the game was stopped, whether its
        moves are used up, and `info`."""
        seen = self._seen
        after = moved(seen.computation, seen.position, int(action))
        self._played += 1
        took, position = seen.seconds, seen.position
        if after is not None:
            position = after
            if after.nest != seen.position.nest:
                took = self._seconds(seen.computation, after.nest)
        reward = math.log2(seen.seconds / took)
        self._seen = Seen(seen.computation, position, took, (*seen.actions, int(action)))
        over = self._played >= self._moves
        return self._observed(), reward, action == STOP, over, self._info()

    def observe(self, name: str) -> Any:
        """Any observation of `games.loops.spaces.observations`, by its name."""
        if name not in OBSERVATIONS:
            known = ", ".join(OBSERVATIONS)
            raise InputError(f"observation: must be one of {known}, got {name!r}")
        return OBSERVATIONS[name](self._seen)

    def render(self) -> str | None:
        return self.observe("loop_tree") if self.render_mode == "ansi" else None

    def _observed(self) -> np.ndarray:
        return np.asarray(self.observe(self._observation), np.float32).reshape(
            SPACES[self._observation]
        )

    def _info(self) -> dict[str, Any]:
        seen = self._seen
        return {
            "action_mask": np.array(legal(seen.computation, seen.position)),
            "computation": seen.computation.name,
        }
