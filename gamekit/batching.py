"""Functions of one game over batch axes, for environments whose states have these axes last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def over_batch(
    one: Callable[..., Any], depth: int, kinds: Sequence[int], state_out: bool
) -> Callable[..., Any]:
    """Maps a function of one game over `depth` batch axes.

    kinds: for each argument -1 where its batch axes come last, 0 where they come first.
    state_out: whether they come last in the result.
    """
    mapped = one
    for level in range(1, depth + 1):
        # The innermost map takes the last of the batch axes.
        axes = tuple(-level if kind else 0 for kind in kinds)
        mapped = jax.vmap(mapped, in_axes=axes, out_axes=-level if state_out else 0)
    return mapped


def over_last_axes(function: Callable[..., Any], axes: int) -> Callable[..., Any]:
    """Maps a function of one game over `axes` batch axes, which come last in all arguments and in
    all results."""
    for _ in range(axes):
        function = jax.vmap(function, in_axes=-1, out_axes=-1)
    return function


def batch_first(values: Array, axes: int) -> Array:
    """Moves `axes` batch axes from the end to the front."""
    return jnp.moveaxis(values, range(values.ndim - axes, values.ndim), range(axes))
