"""What the networks' values mean."""

from __future__ import annotations

import jax
from flax import struct


@struct.dataclass
class ValueScale:
    """The networks' values are returns, compared with a baseline and divided by a spread.

    In a state from which the score can still grow by `headroom` at most, a game that will grow it
    by `ret` has the value

        (ret - baseline * headroom) / spread

    For example, let a program's best game have saved 60 % of what could be saved (baseline 0.6),
    and let returns lie within 0.02 of that (spread 0.02).  In a state that can still save 0.10, a
    game that goes on to save 0.07 has the value (0.07 - 0.6 * 0.10) / 0.02 = 0.5.

    Taking off the baseline is potential-based shaping of the rewards (Ng, Harada and Russell, ICML
    1999).  It changes no policy, but what is left to learn is far smaller than the return.

    baseline, spread: float32 [P], one an instance.
    """

    baseline: jax.Array
    spread: jax.Array

    def to_return(self, value: jax.Array, instance: jax.Array, headroom: jax.Array) -> jax.Array:
        """Returns [...] of values [...] in states of `instance` [...] with `headroom` [...]."""
        return value * self.spread[instance] + self.baseline[instance] * headroom

    def of_return(self, value: jax.Array, instance: jax.Array, headroom: jax.Array) -> jax.Array:
        """Values [...] of returns [...]; of rewards, with the headroom that the move lost."""
        return (value - self.baseline[instance] * headroom) / self.spread[instance]
