"""What a state shows (docs/loops.md)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gamekit.observation import ObservationSpec, Part
from games.loops.game.cost import counts
from games.loops.game.options import ACTION_NAMES
from games.loops.game.rules import headroom, is_done, score
from games.loops.game.shape import extents, shared
from games.loops.game.state import State
from games.loops.game.tables import Tables
from games.loops.program.machine import CONSTANTS
from games.loops.program.nest import COMPUTE, MAX_LOOPS, WRITE

QUESTION_NAMES = (
    *("vector", "loops", "shared", "left", "score", "headroom"),
    *(f"share_{name}" for name in CONSTANTS),
)
LOOP_NAMES = (
    *("there", "cursor", "shared", "write", "size", "extent", "step", "tail", "unroll"),
    *("innermost", "sum", "uses_a", "uses_b", "unit_out", "unit_a", "unit_b"),
    *("stride_out", "stride_a", "stride_b"),
)
# The lines before the cursor's, at it and after it.
NEAR = 3
SPEC = ObservationSpec(
    (
        Part("question", (len(QUESTION_NAMES),)),
        Part("gains", (len(ACTION_NAMES),)),
        Part("near", (NEAR, len(LOOP_NAMES))),
        Part("loops", (MAX_LOOPS, len(LOOP_NAMES))),
    )
)
MANY = 8.0


def observe(t: Tables, s: State) -> jax.Array:
    """Float32 [F]; zero in a finished game."""
    loops, cursor = _loops(t, s)
    near = cursor + jnp.arange(-(NEAR // 2), NEAR // 2 + 1)
    inside = (near >= 0) & (near < MAX_LOOPS)
    close = jnp.where(inside[:, None], loops[jnp.clip(near, 0, MAX_LOOPS - 1)], 0.0)
    parts = [_question(t, s), jnp.clip(s.gains, -MANY, MANY), close.reshape(-1), loops.reshape(-1)]
    return jnp.where(is_done(s), 0.0, jnp.concatenate(parts)).astype(jnp.float32)


def _question(t: Tables, s: State) -> jax.Array:
    count = counts(t, s.nest)
    paid = jnp.concatenate([count.core, count.others]) * t.prices * 1e-9 / s.seconds
    facts = jnp.stack(
        [
            s.nest.vector.astype(jnp.float32),
            s.nest.count[COMPUTE] / MAX_LOOPS,
            shared(s.nest) / MAX_LOOPS,
            1 - s.length / len(s.log),
            score(s) / MANY,
            headroom(t, s) / MANY,
        ]
    )
    return jnp.concatenate([facts, paid])


def _loops(t: Tables, s: State) -> tuple[jax.Array, jax.Array]:
    """Float32 [L, ...], the lines of the tree, and at which of them the cursor is."""
    nest, common = s.nest, shared(s.nest)
    first = nest.count[COMPUTE]
    line = jnp.arange(MAX_LOOPS)
    row = jnp.where(line < first, COMPUTE, WRITE)
    place = jnp.where(line < first, line, jnp.minimum(common + line - first, MAX_LOOPS - 1))
    there = line < first + nest.count[WRITE] - common
    cursor = jnp.where(s.row == COMPUTE, s.place, first + s.place - common)
    variable = jnp.where(there, nest.variable[row, place], 0)
    step = jnp.where(there, nest.step[row, place], 1)
    both = jnp.stack([extents(t, nest.variable[n], nest.step[n]) for n in (COMPUTE, WRITE)])
    extent = both[row, place]
    strides = t.strides[:, variable]  # [3, L]
    columns = jnp.stack(
        [
            jnp.ones(MAX_LOOPS),
            line == cursor,
            line < common,
            row == WRITE,
            jnp.log2(jnp.maximum(extent // step, 1)) / MANY,
            jnp.log2(jnp.maximum(extent, 1)) / MANY,
            jnp.log2(step) / MANY,
            extent % step > 0,
            (row == COMPUTE) & nest.unroll[place],
            line == first - 1,
            *(~t.uses[:1, variable]),
            *t.uses[1:, variable],
            *(strides == 1),
            *(jnp.log2(1.0 + strides) / MANY),
        ],
        axis=1,
    )
    return jnp.where(there[:, None], columns, 0.0), cursor
