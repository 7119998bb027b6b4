"""What a state shows (docs/fences.md): costs over the naive cost, times over its makespan."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gamekit.observation import ObservationSpec, Part
from games.fences.game.actions import ACTION_NAMES, FENCE, NEXT, OFFERED
from games.fences.game.rules import (
    BYTE,
    FENCE_WEIGHT,
    INSTRUCTION,
    LATENCY,
    SYNC,
    TIME,
    is_done,
    offer,
    play,
    ready,
    unplaced,
)
from games.fences.game.state import NOBODY, State
from games.fences.game.tables import Tables

# So many operations that are not placed yet are shown.
COMING = 16
QUESTION_NAMES = (
    *("about_fence", "window", "ready", "left", "bound", "cpu_ahead"),
    *("cpu_open", "gpu_open"),
    *("instruction_weight", "hand_over_weight", "byte_weight", "time_weight", "latency"),
    *("asked_on_gpu", "fence_here", "fence_next", "asked_tail", "asked_time"),
)
OFFERED_NAMES = (
    *("there", "may_cpu", "may_gpu", "cpu_time", "gpu_time", "bytes", "share", "levels", "tail"),
    *("cpu_readers", "gpu_readers", "free_readers"),
    *("cpu_waits", "gpu_waits", "cpu_asks", "gpu_asks", "cpu_growth", "gpu_growth"),
)
COMING_NAMES = (
    *("there", "ready", "may_cpu", "may_gpu", "cpu_time", "gpu_time", "bytes", "tail", "share"),
    *("from_cpu", "from_gpu", "before_it", "after_1", "after_2", "after_3"),
)
SPEC = ObservationSpec(
    (
        Part("question", (len(QUESTION_NAMES),)),
        Part("offered", (OFFERED, len(OFFERED_NAMES)), "tokens"),
        Part("coming", (COMING, len(COMING_NAMES))),
    )
)
MANY = 8.0


def observe(t: Tables, s: State) -> jax.Array:
    """Float32 [F]; zero in a finished game."""
    after = jax.vmap(lambda action: play(t, s, action))(jnp.arange(len(ACTION_NAMES)))
    # By how much every move raises the bound, [A]; of moves that are not legal it means nothing.
    growth = (after.bound - s.bound) / t.naive
    asks, waits = after.asked != NOBODY, after.fences > s.fences
    seen = jnp.concatenate(
        [_question(t, s, growth), _offered(t, s, growth, asks, waits), _coming(t, s)]
    )
    return jnp.where(is_done(t, s), 0.0, seen).astype(jnp.float32)


def _question(t: Tables, s: State, growth: jax.Array) -> jax.Array:
    asking = s.asked != NOBODY
    left = unplaced(t, s)
    ahead = s.clock[0].mean() - s.clock[1].mean()
    has_reader = left.astype(jnp.float32) @ t.before > 0
    open_values = [((s.device == d) & ~s.handed & has_reader).sum() / MANY for d in (0, 1)]
    w = t.weights / t.naive
    asked = jnp.maximum(s.asked, 0)
    return jnp.stack(
        [
            asking,
            s.window / MANY,
            ready(t, s).sum() / MANY,
            left.sum() / MANY,
            s.bound / t.naive,
            ahead / _span(t),
            *open_values,
            w[INSTRUCTION] * MANY,
            w[FENCE_WEIGHT] + w[SYNC],
            w[BYTE] * t.bytes.sum(),
            w[TIME] * t.span,
            t.weights[LATENCY] / _span(t),
            asking & (s.asked_device == 1),
            asking * growth[FENCE],
            asking * growth[NEXT],
            asking * t.tail[asked].mean() / _span(t),
            asking * t.time[asked, s.asked_device] / _span(t),
        ]
    )


def _span(t: Tables) -> jax.Array:
    return jnp.maximum(t.span, 1e-6)


def _offered(
    t: Tables, s: State, growth: jax.Array, asks: jax.Array, waits: jax.Array
) -> jax.Array:
    """Float32 [OFFERED * ...]. Of the moves [A]: how they raise the bound, whether they ask for a
    fence, whether they make one."""
    offered = offer(t, s)
    there = offered.there & (s.asked == NOBODY)
    at = offered.operation
    left = unplaced(t, s)
    only = (t.may & ~t.may[:, ::-1]).astype(jnp.float32)
    kinds = jnp.concatenate([only, t.may.all(axis=1)[:, None]], axis=1)
    readers = (left[:, None] * kinds).T @ t.before / MANY  # [3, N]
    may = t.may[at]
    pairs = (OFFERED, 2)
    columns = [
        jnp.ones((OFFERED, 1)),
        may,
        t.time[at] / _span(t),
        jnp.stack([t.bytes * t.weights[BYTE] / t.naive, t.share, t.levels], axis=1)[at],
        t.tail[at].mean(axis=1, keepdims=True) / _span(t),
        readers.T[at],
        waits[:NEXT].reshape(pairs) & may,
        asks[:NEXT].reshape(pairs) & may,
        jnp.where(may, growth[:NEXT].reshape(pairs), 0.0),
    ]
    seen = jnp.concatenate([c.astype(jnp.float32) for c in columns], axis=1)
    return jnp.where(there[:, None], seen, 0.0).reshape(-1)


def _coming(t: Tables, s: State) -> jax.Array:
    """Float32 [COMING * ...]: the first operations that are not placed yet."""
    left = unplaced(t, s)
    rank = jnp.cumsum(left)
    wanted = jnp.arange(1, COMING + 1)
    at = (left[None, :] & (rank[None, :] == wanted[:, None])).astype(jnp.float32)  # [COMING, N]
    offered = offer(t, s)
    fresh = [(s.device == d) & ~s.handed for d in (0, 1)]
    sources = jnp.stack([*fresh, left], axis=1).astype(jnp.float32)
    behind = t.before[:, offered.operation] * offered.there
    facts = [
        t.valid[:, None],
        ready(t, s)[:, None],
        t.may,
        t.time / _span(t),
        (t.bytes * t.weights[BYTE] / t.naive)[:, None],
        t.tail.mean(axis=1, keepdims=True) / _span(t),
        t.share[:, None],
        (t.before @ sources) / MANY,
        behind,
    ]
    return (at @ jnp.concatenate([f.astype(jnp.float32) for f in facts], axis=1)).reshape(-1)
