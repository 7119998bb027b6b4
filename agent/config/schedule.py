"""What changes over a run: factors that go linearly from 1 to their ends, by the iteration.

They depend on nothing but the number of the iteration, so that a resumed run has them too, and on a
length of their own, so that a run may be continued beyond its planned end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
    """Factors reached after `iterations` iterations, and kept from then on; 0: nothing changes.

    What schedules bring has not been measured by itself.

    noise: of the noise by which self-play chooses its actions.
    guided: of rollout.guided_fraction.
    taught: of targets.taught.
    learning_rate: of learner.learning_rate.
    """

    iterations: int = 0
    noise: float = 1.0
    guided: float = 1.0
    taught: float = 1.0
    learning_rate: float = 1.0

    def __post_init__(self) -> None:
        for field in ("iterations", "noise", "guided", "taught", "learning_rate"):
            if not 0 <= getattr(self, field) < float("inf"):
                value = getattr(self, field)
                raise ValueError(f"{field}: must be at least 0 and finite, got {value!r}")

    def at(self, end: float, iteration: jax.Array) -> jax.Array:
        """The factor in an iteration (0 is the first), of which `end` is the last value."""
        if not self.iterations:
            return jnp.float32(1.0)
        return 1.0 + (end - 1.0) * jnp.clip(iteration / self.iterations, 0.0, 1.0)


class Exploration(NamedTuple):
    """noise: of the actions in self-play; guided: share of new games that follow the best one;
    taught: what its answers count for in the policy's target."""

    noise: jax.Array | float
    guided: jax.Array | float
    taught: jax.Array | float = 0.0


def exploration(
    schedule: ScheduleConfig, guided: float, iteration: jax.Array, taught: float = 0.0
) -> Exploration:
    """How self-play explores in an iteration, with rollout.guided_fraction = `guided` and
    targets.taught = `taught`."""
    return Exploration(
        noise=schedule.at(schedule.noise, iteration),
        guided=jnp.minimum(guided * schedule.at(schedule.guided, iteration), 1.0),
        taught=jnp.minimum(taught * schedule.at(schedule.taught, iteration), 1.0),
    )


def learning_rate(
    schedule: ScheduleConfig, rate: float, warmup: int, updates: int
) -> Callable[[ArrayLike], jax.Array]:
    """The rate by the number of the update, of which an iteration has `updates`.

    It grows linearly over `warmup` updates; without an end of its own it stays, so that a run can
    be continued.
    """

    def at(count: ArrayLike) -> jax.Array:
        count = jnp.asarray(count)
        begun = jnp.minimum(count / warmup, 1.0) if warmup else 1.0
        return rate * begun * schedule.at(schedule.learning_rate, count / updates)

    return at
