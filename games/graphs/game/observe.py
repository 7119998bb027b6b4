"""What an agent sees: facts about every answer, and about the game."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from gamekit.observation import ObservationSpec, Part
from games.graphs.game.group import NOBODY
from games.graphs.game.options import FIRST_ADDED, MORE, NUM_ACTIONS, RETAIN
from games.graphs.game.rules import headroom
from games.graphs.game.state import State, members
from games.graphs.game.tables import Tables

ANSWER_NAMES = (
    "legal", "closes", "retains", "gain", "relative_gain", "time_over_bound", "matmul",
    "height", "width", "reduction", "cost_share", "stall_share", "waiting_readers", "reads_group",
    "shares_input", "left_readers", "next_gain", "reads_recent",
    "joining", "more",
)  # fmt: skip
GAME_NAMES = (
    "open", "size", "open_share", "open_over_bound", "pending", "score", "headroom", "resident",
    "capacity", "bandwidth", "free", "answers", "page",
)  # fmt: skip
SPEC = ObservationSpec(
    (Part("answers", (NUM_ACTIONS, len(ANSWER_NAMES))), Part("game", (len(GAME_NAMES),)))
)


def _log(value: Array) -> Array:
    return jnp.log2(jnp.maximum(value, 1).astype(jnp.float32)) / 12


def observe(t: Tables, state: State) -> Array:
    """Float32 [F]; of one game, t: the tables of its problem."""
    size = t.source.shape[0]
    offers = state.offers
    legal = (offers.time < jnp.inf) & ~state.done
    opened = state.ops[0] < size
    inside = members(t, state.ops)
    mean = t.total / t.count
    at = jnp.minimum(offers.op, size - 1)
    is_op = offers.op < size
    closes = opened & (jnp.arange(NUM_ACTIONS) < FIRST_ADDED)
    retains = closes & (jnp.arange(NUM_ACTIONS) == RETAIN)

    # Time against the open group and what joins it, alone.
    joins = (offers.ops[:, :, None] == jnp.arange(size)).any(1) & ~inside
    alone = state.open + jnp.sum(jnp.where(joins, t.naive, 0.0), axis=-1)
    time = jnp.where(legal, offers.time, alone)
    gain = alone - time
    group_bound = jnp.sum(jnp.where(joins | inside, t.bound, 0.0), axis=-1)
    following = (offers.next_ops[:, None] == jnp.arange(size)).any(0)
    next_gain = jnp.sum(jnp.where(following, t.naive, 0.0)) - offers.next_time
    next_gain = jnp.where(retains & legal, next_gain, 0.0)

    # Who reads the candidate, and who reads what it would make ephemeral.
    waits = state.waiting & ~inside
    reads = (t.source[:, :, None] == at).any(1) & waits[:, None]
    source = t.source[at]
    from_group = (source >= 0) & inside[jnp.maximum(source, 0)]
    others = (t.source[:, :, None, None] == source).any(1) & waits[:, None, None]
    left = jnp.sum(others & from_group & (jnp.arange(size)[:, None, None] != at[:, None]), (0, 2))
    recent = ((source >= 0) & state.recent[jnp.maximum(source, 0)]).any(-1)

    def of_op(values: Array) -> Array:
        return jnp.where(is_op, values[at], 0)

    answers = jnp.stack(
        [
            legal,
            closes,
            retains,
            jnp.clip(gain / mean, -4, 4),
            gain / jnp.maximum(alone, 1e-6),
            jnp.clip(time / jnp.maximum(group_bound, 1e-6) - 1, 0, 4),
            of_op(t.matmul),
            _log(of_op(t.out_height)),
            _log(of_op(t.out_width)),
            _log(of_op(t.reduction)),
            jnp.clip(of_op(t.naive) / mean, 0, 4),
            1 - of_op(t.bound) / jnp.maximum(of_op(t.naive), 1e-6),
            jnp.minimum(jnp.where(is_op, reads.sum(0), 0), 8) / 4,
            is_op & from_group.any(-1),
            is_op & opened & ~from_group.any(-1),
            jnp.minimum(jnp.where(is_op & opened, left, 0), 8) / 4,
            jnp.clip(next_gain / mean, -4, 4),
            is_op & recent,
            jnp.minimum(joins.sum(-1), 8) / 4,
            offers.more & (jnp.arange(NUM_ACTIONS) == MORE),
        ],
        axis=-1,
    )
    held = jnp.maximum(state.resident, 0)
    resident = jnp.where(state.resident == NOBODY, 0, t.out_height[held] * t.out_width[held])
    bound = jnp.sum(jnp.where(inside, t.bound, 0.0))
    game = jnp.stack(
        [
            opened,
            inside.sum() / state.ops.shape[0],
            jnp.clip(state.open / mean, 0, 8) / 4,
            jnp.where(opened, jnp.clip(state.open / jnp.maximum(bound, 1e-6) - 1, 0, 4), 0),
            state.pending.sum() / t.count,
            state.score,
            headroom(t, state),
            resident / t.capacity,
            _log(t.capacity),
            _log(t.bandwidth * 16),
            1 - state.length / (4 * t.count),
            legal.sum() / NUM_ACTIONS,
            jnp.minimum(state.page, 8) / 4,
        ]
    )
    seen = jnp.concatenate([answers.astype(jnp.float32).ravel(), game.astype(jnp.float32)])
    return jnp.where(state.done, 0.0, seen)
