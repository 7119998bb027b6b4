"""Computations as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from games.loops.program.computation import MAX_AXES, MAX_VARIABLES, WIDTH, Computation
from games.loops.program.machine import Machine
from games.loops.program.nest import MAX_LOOPS, start

LINE_FLOATS = 16
# Of the first cache.
SETS = 64


@struct.dataclass
class Tables:
    """P computations of at most V indices. Tensors are the output and both inputs.

    sizes: int32 [P, V], 1 behind the last. factors: float32 [P, 3, axes, V], of each axis.
    strides: int32 [P, 3, V], elements. uses: bool [P, 3, V], whether an index is a tensor's.
    crowding: float32 [P, 3], rows of a tensor begin at every so many-th set of the first cache.
    elements: float32 [P], of the output. vectors: float32 [P], multiplications / WIDTH.
    variable: int32 [P, 2, L], the nests that a game starts with, and count: int32 [P, 2], of loops.
    prices: float32 [P, constants], and caches: float32 [P, 2], of the machine.
    """

    sizes: jax.Array
    factors: jax.Array
    strides: jax.Array
    uses: jax.Array
    crowding: jax.Array
    elements: jax.Array
    vectors: jax.Array
    variable: jax.Array
    count: jax.Array
    prices: jax.Array
    caches: jax.Array


def build_tables(computations: Sequence[Computation], machine: Machine) -> Tables:
    """The arrays of computations, on one machine."""
    rows = [_row(c, machine) for c in computations]
    return Tables(**{name: jnp.asarray(np.stack([row[name] for row in rows])) for name in rows[0]})


def _row(c: Computation, machine: Machine) -> dict[str, np.ndarray]:
    at = {name: i for i, name in enumerate(c.variables)}
    row: dict[str, np.ndarray] = {
        "sizes": np.ones(MAX_VARIABLES, np.int32),
        "factors": np.zeros((3, MAX_AXES, MAX_VARIABLES), np.float32),
        "strides": np.zeros((3, MAX_VARIABLES), np.int32),
        "uses": np.zeros((3, MAX_VARIABLES), bool),
        "variable": np.zeros((2, MAX_LOOPS), np.int32),
        "count": np.zeros(2, np.int32),
    }
    row["sizes"][: len(at)] = [size for _, size in c.sizes]
    for t, tensor in enumerate(c.tensors):
        # The last axis is the last one here too.
        for a, axis in enumerate(tensor.axes, MAX_AXES - len(tensor.axes)):
            for name, factor in axis:
                row["factors"][t, a, at[name]] = factor
        for name, stride in c.strides(tensor).items():
            row["strides"][t, at[name]] = stride
            row["uses"][t, at[name]] = True
    for n, loops in enumerate(start(c).rows):
        row["variable"][n, : len(loops)] = [at[loop.variable] for loop in loops]
        row["count"][n] = len(loops)
    elements = float(np.prod(c.shape(c.out)))
    return row | {
        "crowding": np.array([_crowding(c.shape(t)[-1]) for t in c.tensors], np.float32),
        "elements": np.array(elements, np.float32),
        "vectors": np.array(c.macs / WIDTH, np.float32),
        "prices": np.array(machine.constants, np.float32),
        "caches": np.array(machine.caches, np.float32),
    }


def _crowding(distance: int) -> int:
    """Of rows that are so many elements apart: the power of 2 in their distance in lines."""
    return math.gcd(distance // LINE_FLOATS, SETS) if distance % LINE_FLOATS == 0 else 1
