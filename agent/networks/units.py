"""What the networks' values mean: returns compared with a share of what could still be saved."""

from __future__ import annotations

import jax
from flax import struct


@struct.dataclass
class Units:
    """What the networks' values mean: the return is compared with a share of what could be saved.

    Of a state from which a share b of the latency could be saved at most, the networks value
    (return - share * b) / scale.  This is potential-based shaping of the rewards (Ng,
    Harada and Russell, ICML 1999): it changes no policy, but what is left to learn is far smaller
    than the return.

    share, scale: [P].
    """

    share: jax.Array
    scale: jax.Array

    def to_return(self, value: jax.Array, program: jax.Array, ahead: jax.Array) -> jax.Array:
        """Returns [...] of values [...] of states of `program` [...], `ahead` [...] being b."""
        return value * self.scale[program] + self.share[program] * ahead

    def of_return(self, value: jax.Array, program: jax.Array, ahead: jax.Array) -> jax.Array:
        """Values [...] of returns [...]; of rewards, with `ahead` what the move has passed."""
        return (value - self.share[program] * ahead) / self.scale[program]
