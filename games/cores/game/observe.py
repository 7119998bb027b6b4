"""What an agent sees: facts about every answer, and about the game."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from gamekit.observation import ObservationSpec, Part
from games.cores.game.offers import next_use
from games.cores.game.options import NUM_ACTIONS
from games.cores.game.rules import headroom, peak_of
from games.cores.game.state import NOWHERE, READ, State, room_after_drops, thing_of, used
from games.cores.game.tables import Tables

ANSWER_NAMES = (
    "legal", "none", "starts", "moves", "drops", "time", "relative_time", "energy", "price",
    "urgency", "tail", "bits", "lacks_room", "fills", "missing", "readers", "delivers", "spills",
    "copies", "is_read",
)  # fmt: skip
GAME_NAMES = (
    "weight_time", "weight_energy", "weight_peak", "started", "score", "headroom", "time",
    "energy", "peak", "runs", "idle", "runs_left", "longest", "must", "drops", "moves_left",
    "fullest", "operations",
)  # fmt: skip
SPEC = ObservationSpec(
    (Part("answers", (NUM_ACTIONS, len(ANSWER_NAMES))), Part("game", (len(GAME_NAMES),)))
)


def observe(t: Tables, state: State) -> Array:
    """Float32 [F]; of one game, t: the tables of its problem."""
    drops = state.pending >= 0
    number = jnp.concatenate([jnp.full(1, -1), state.offers])
    offered = number >= 0
    is_none = jnp.arange(NUM_ACTIONS) == 0
    thing = thing_of(t, jnp.where(drops, -1, number))
    pending = thing_of(t, state.pending)
    value = jnp.where(drops, jnp.maximum(number, 0), thing.value)
    target = jnp.where(drops, pending.target, thing.target)
    starts, moves = offered & ~drops & ~thing.moves, offered & ~drops & thing.moves
    goes = starts | moves
    lacks, _ = room_after_drops(t, state, thing)
    held = state.place > NOWHERE
    uses = next_use(t, state)
    count = jnp.maximum(t.count, 1)
    size = jnp.maximum(t.size[target], 1)
    inside = target != t.external
    way = t.ways[jnp.clip(number, 0, t.op.shape[0] - 1)]
    exists = (t.inputs >= 0) & ~state.started[:, None]
    reads = exists[:, :, None] & (t.inputs[:, :, None] == value)
    readers = jnp.sum(reads.any(1), axis=0)
    # Of the readers of a value that moves: how many of their other inputs are in its target.
    beside = jnp.any(
        exists[:, :, None] & held[jnp.maximum(t.inputs, 0)][:, :, target] & ~reads, axis=1
    )
    together = jnp.sum(beside & reads.any(1), axis=0)
    longest = jnp.maximum(jnp.max(t.tail), 1)

    def share(x: Array, of: Array) -> Array:
        return jnp.clip(x / of, 0, 4)

    price = t.prices[0] * thing.time + t.prices[1] * thing.energy
    answers = jnp.stack(
        [
            offered | (is_none & ~state.must & ~drops),
            is_none,
            starts,
            moves,
            offered & drops,
            jnp.where(goes, share(thing.time, t.unit[0]), 0),
            jnp.where(starts, jnp.clip(way - 1, 0, 4), 0),
            jnp.where(goes, share(thing.energy, t.unit[1]), 0),
            jnp.where(goes, jnp.clip(price * count, 0, 4), 0),
            jnp.where(starts, t.urgency[value], uses[value]) / count,
            jnp.where(starts, t.tail[value] / longest, 0),
            jnp.where(inside, t.bits[value] / size, 0),
            goes & (lacks > 0),
            jnp.where(inside, used(t, state.place)[target] / size, 0),
            jnp.where(moves, jnp.minimum(together, 8) / 4, 0),
            jnp.minimum(readers, 8) / 4,
            moves & t.wanted[value] & ~inside,
            moves & ~t.wanted[value] & ~inside,
            jnp.minimum(jnp.sum(held, axis=1)[value], 4) / 2,
            (state.place == READ)[value, target],
        ],
        axis=-1,
    )
    seen = (offered | is_none)[:, None]
    running = state.running >= 0
    left = jnp.where(running, state.ends - state.now, 0)
    filled = jnp.where(t.touches.any(0), used(t, state.place) / jnp.maximum(t.size, 1), 0)
    game = jnp.stack(
        [
            *t.weights,
            jnp.sum(state.started & ~t.given) / count,
            jnp.clip(state.score, -4, 4),
            jnp.clip(headroom(t, state), 0, 4),
            share(state.now, t.unit[0] * count),
            share(state.energy, t.unit[1] * count),
            share(peak_of(state), t.unit[2]),
            jnp.minimum(jnp.sum(running), 16) / 8,
            jnp.sum(~running & t.touches.any(1)) / jnp.maximum(jnp.sum(t.touches.any(1)), 1),
            share(jnp.max(left), t.unit[0]),
            jnp.max(jnp.where(state.started, 0, t.tail)) / longest,
            state.must,
            drops,
            1 - state.length / t.limit,
            jnp.max(filled),
            jnp.log2(1.0 + count) / 8,
        ]
    )
    flat = [jnp.where(seen, answers, 0).astype(jnp.float32).ravel(), game.astype(jnp.float32)]
    return jnp.where(state.done, 0.0, jnp.concatenate(flat))
