"""The rules, for one game; `games.fences.game.environment` maps them over batches.

`t` is one program's row of the tables: its arrays are without the axis P.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from games.fences.game.actions import FENCE, NEXT, OFFERED
from games.fences.game.state import NOBODY, State
from games.fences.game.tables import Tables

INSTRUCTION, FENCE_WEIGHT, SYNC, BYTE, TIME, LATENCY = range(6)
FAR = 1 << 20


class Offer(NamedTuple):
    """What a question about operations offers: int32 [OFFERED], and bool [OFFERED], whether there
    is one; more: whether others are ready behind them."""

    operation: jax.Array
    there: jax.Array
    more: jax.Array


def unplaced(t: Tables, s: State) -> jax.Array:
    """Bool [N]."""
    return t.valid & (s.device == NOBODY)


def is_done(t: Tables, s: State) -> jax.Array:
    return ~unplaced(t, s).any()


def ready(t: Tables, s: State) -> jax.Array:
    """Bool [N]: operations for which all that comes before them is placed."""
    left = unplaced(t, s)
    return left & (t.before @ left.astype(jnp.float32) == 0)


def offer(t: Tables, s: State) -> Offer:
    """The ready operations of the window."""
    is_ready = ready(t, s)
    rank = jnp.cumsum(is_ready)
    wanted = OFFERED * s.window + jnp.arange(1, OFFERED + 1)
    operation = jnp.argmax(is_ready[None, :] & (rank[None, :] == wanted[:, None]), axis=1)
    return Offer(operation.astype(jnp.int32), wanted <= rank[-1], wanted[-1] < rank[-1])


def needed(t: Tables, s: State, operation: jax.Array, device: jax.Array) -> jax.Array:
    """Bool [N]: what an operation would wait for on a device: of the other one, not handed over."""
    return (t.before[operation] > 0) & (s.device == 1 - device) & ~s.handed


def earliest_point(s: State, needs: jax.Array) -> jax.Array:
    """The last one of what is needed; -1 without any."""
    last = jnp.argmax(jnp.where(needs, s.order, NOBODY)).astype(jnp.int32)
    return jnp.where(needs.any(), last, NOBODY)


def later_points(
    t: Tables, s: State, operation: jax.Array, device: jax.Array, point: jax.Array
) -> jax.Array:
    """Bool [N]: points behind `point` that would hand over something more that has a reader."""
    reader = unplaced(t, s) & t.may[:, device] & (jnp.arange(len(t.valid)) != operation)
    has_reader = reader.astype(jnp.float32) @ t.before > 0
    behind = (s.device == 1 - device) & ~s.handed & (s.order > s.order[point])
    return behind & has_reader & (point != NOBODY)


def legal(t: Tables, s: State) -> jax.Array:
    """Bool [A]."""
    offered = offer(t, s)
    place = (offered.there[:, None] & t.may[offered.operation]).reshape(-1)
    about_operations = jnp.concatenate([place, offered.more[None], jnp.zeros(1, bool)])
    about_fence = jnp.arange(len(about_operations)) >= NEXT
    chosen = jnp.where(s.asked == NOBODY, about_operations, about_fence)
    return chosen | is_done(t, s)


def place(t: Tables, s: State, operation: jax.Array, device: jax.Array, point: jax.Array) -> State:
    """An operation comes to the end of a device's stream, behind a sync on a fence at `point` of
    the other stream, without them where that is -1."""
    mine, own = jnp.arange(len(t.valid)) == operation, jnp.arange(2) == device
    waits = point != NOBODY
    passed = (s.device == 1 - device) & (s.order <= s.order[point])
    began = jnp.where(
        waits,
        jnp.maximum(s.clock[device], s.finish[point] + t.weights[LATENCY]),
        s.clock[device],
    )
    ended = began + t.time[operation, device] * t.runs[operation]
    last = s.last[device]
    shares = jnp.where(last != NOBODY, t.shared[last, operation], 0)
    reads = (t.data[operation] > 0) & (s.device == 1 - device) & ~s.sent
    waits, passed, ended, shares, reads = jax.lax.optimization_barrier(
        (waits, passed, ended, shares, reads)
    )
    return dataclasses.replace(
        s,
        device=jnp.where(mine, device, s.device),
        order=jnp.where(mine, jnp.sum(s.device != NOBODY), s.order),
        finish=jnp.where(mine[:, None], ended, s.finish),
        clock=jnp.where(own[:, None], ended, s.clock),
        handed=s.handed | (passed & waits),
        sent=s.sent | reads,
        last=jnp.where(own, operation, s.last),
        ifs=s.ifs + t.levels[operation] - shares,
        fences=s.fences + waits,
        bytes=s.bytes + jnp.sum(jnp.where(reads, t.bytes, 0.0)),
        after=jnp.where(mine, point, s.after),
        window=jnp.int32(0),
        asked=jnp.int32(NOBODY),
        asked_device=jnp.int32(0),
        point=jnp.int32(NOBODY),
    )


def play(t: Tables, s: State, action: jax.Array) -> State:
    """The state after a legal action; a finished game stays as it is."""
    asking = s.asked != NOBODY
    offered = offer(t, s)
    operation = jnp.where(asking, s.asked, offered.operation[jnp.minimum(action // 2, OFFERED - 1)])
    device = jnp.where(asking, s.asked_device, action % 2)
    points = later_points(t, s, operation, device, s.point)
    following = jnp.argmin(jnp.where(points, s.order, FAR)).astype(jnp.int32)
    earliest = earliest_point(s, needed(t, s, operation, device))
    moved = jnp.where(action == NEXT, following, s.point)
    point = jnp.where(asking, moved, earliest)
    goes_on = later_points(t, s, operation, device, point).any()
    window = ~asking & (action == NEXT)
    asks = goes_on & (action != FENCE) & ~window
    # Without the barrier the compiler computes these again for every array of the state.
    operation, device, point, window, asks = jax.lax.optimization_barrier(
        (operation, device, point, window, asks)
    )
    question = dataclasses.replace(s, asked=operation, asked_device=device, point=point)
    turned = dataclasses.replace(s, window=s.window + 1)
    placed = place(t, s, operation, device, point)
    placed = dataclasses.replace(placed, bound=cost(t, placed) + rest(t, placed))

    def choose(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
        return jnp.where(window, a, jnp.where(asks, b, c))

    after = jax.tree.map(choose, turned, question, placed)
    log = jnp.where(jnp.arange(len(s.log)) == s.length, action, s.log)
    after = dataclasses.replace(after, log=log, length=s.length + 1)
    over = is_done(t, s)
    return jax.tree.map(lambda old, new: jnp.where(over, old, new), s, after)


def cost(t: Tables, s: State) -> jax.Array:
    """What is placed so far costs, float32."""
    placed = jnp.sum(t.valid & (s.device != NOBODY))
    w = t.weights
    counted = w[INSTRUCTION] * (placed + s.ifs) + (w[FENCE_WEIGHT] + w[SYNC]) * s.fences
    return counted + w[BYTE] * s.bytes + w[TIME] * s.clock.max(axis=0).mean()


def rest(t: Tables, s: State) -> jax.Array:
    """What is not placed costs at least, float32: its instructions, time, and what must cross."""
    left, w = unplaced(t, s), t.weights
    devices = jnp.arange(2)[:, None]
    # [2, N]: what is left for one device alone; what comes, or may come, from the other one.
    bound_here = left & (t.may & ~t.may[:, ::-1]).T
    there = s.device == 1 - devices
    later = bound_here[::-1]
    waiting = bound_here.astype(jnp.float32) @ t.before > 0
    reading = bound_here.astype(jnp.float32) @ t.data > 0
    fences = jnp.sum((waiting & ((there & ~s.handed) | later)).any(axis=1))
    crossing = (reading & ((there & ~s.sent) | later)).any(axis=0)
    moved = jnp.sum(jnp.where(crossing, t.bytes, 0.0))
    span = jnp.mean(_span(t, s, left, bound_here) - s.clock.max(axis=0))
    counted = w[INSTRUCTION] * jnp.sum(left) + (w[FENCE_WEIGHT] + w[SYNC]) * fences
    return counted + w[BYTE] * moved + w[TIME] * span


def _span(t: Tables, s: State, left: jax.Array, bound_here: jax.Array) -> jax.Array:
    """A bound of the makespan under each outcome, [K]: by paths and by load."""
    # [3, N]: left for the CPU alone, for the GPU alone, for whichever is free first.
    groups = jnp.concatenate([bound_here, (left & t.may.all(axis=1))[None]])
    begin = jnp.concatenate([s.clock, s.clock.min(axis=0)[None]])
    path = jnp.max(jnp.where(groups[:, :, None], begin[:, None] + t.tail, 0.0), axis=(0, 1))
    least = jnp.min(jnp.where(t.may, t.time, jnp.inf), axis=1)
    work = jnp.where(groups, least, 0.0) @ t.runs.astype(jnp.float32)  # [3, K]
    alone = (s.clock + work[:2]).max(axis=0)
    both = (s.clock.sum(axis=0) + work.sum(axis=0)) / 2
    return jnp.maximum(jnp.maximum(s.clock.max(axis=0), path), jnp.maximum(alone, both))


def score(t: Tables, s: State) -> jax.Array:
    """The share of the naive cost that is saved if the rest costs as little as it can; nothing is
    said before the first move."""
    return jnp.where(s.length > 0, 1 - s.bound / t.naive, 0.0)


def headroom(t: Tables, s: State) -> jax.Array:
    """What the first move pays at most; the score never grows after it."""
    return jnp.where(s.length > 0, 0.0, 1 - s.bound / t.naive)
