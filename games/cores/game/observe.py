"""What an agent sees: facts about every answer, and about the game."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from gamekit.observation import ObservationSpec, Part
from games.cores.game.offers import next_use
from games.cores.game.options import NUM_ACTIONS
from games.cores.game.rules import headroom, peak_of
from games.cores.game.state import State, has, lacks_room, mask_of, thing_of, used, ways_of
from games.cores.game.tables import Tables

ANSWER_NAMES = (
    "legal", "none", "starts", "moves", "drops", "time", "relative_time", "energy", "price",
    "urgency", "tail", "bits", "lacks_room", "fills", "missing", "readers", "delivers", "spills",
    "copies", "is_read", "completes", "elsewhere",
)  # fmt: skip
GAME_NAMES = (
    "weight_time", "weight_energy", "weight_peak", "started", "score", "headroom", "time",
    "energy", "peak", "runs", "idle", "runs_left", "longest", "must", "drops", "moves_left",
    "fullest", "operations", "next_end",
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
    lacks, taken, uses = lacks_room(t, state, thing), used(t, state), next_use(t, state)
    count = jnp.maximum(t.count, 1)
    size = jnp.maximum(t.size[target], 1)
    inside = target != t.external
    slower = t.slower.ravel()[jnp.clip(number, 0, ways_of(t) - 1)]
    readers, together, complete = _readers(t, state, value, target)
    # Other ways of an operation in groups that do nothing now.
    free = (state.running < 0)[t.group] & (t.group >= 0) & (t.group != state.asked)
    elsewhere = jnp.any(free, axis=1)[jnp.clip(number, 0, ways_of(t) - 1) // t.group.shape[1]]
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
            jnp.where(starts, jnp.clip(slower - 1, 0, 4), 0),
            jnp.where(goes, share(thing.energy, t.unit[1]), 0),
            jnp.where(goes, jnp.clip(price * count, 0, 4), 0),
            jnp.where(starts, t.urgency[value], uses[value]) / count,
            jnp.where(starts, t.tail[value] / longest, 0),
            jnp.where(inside, t.bits[value] / size, 0),
            goes & (lacks > 0),
            jnp.where(inside, taken[target] / size, 0),
            jnp.where(moves, jnp.minimum(together, 8) / 4, 0),
            jnp.minimum(readers, 8) / 4,
            moves & t.wanted[value] & ~inside,
            moves & ~t.wanted[value] & ~inside,
            jnp.minimum(lax.population_count(state.held[value]), 4) / 2,
            has(state.read[value], mask_of(target)),
            jnp.where(moves, jnp.minimum(complete, 8) / 4, 0),
            starts & elsewhere,
        ],
        axis=-1,
    )
    seen = (offered | is_none)[:, None]
    running = state.running >= 0
    left = jnp.where(running, state.ends - state.now, 0)
    filled = jnp.where(t.touches.any(0), taken / jnp.maximum(t.size, 1), 0)
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
            share(jnp.min(jnp.where(running, left, jnp.max(left))), t.unit[0]),
        ]
    )
    flat = [jnp.where(seen, answers, 0).astype(jnp.float32).ravel(), game.astype(jnp.float32)]
    return jnp.where(state.done, 0.0, jnp.concatenate(flat))


def _readers(t: Tables, state: State, value: Array, target: Array) -> tuple[Array, Array, Array]:
    """Int32 [A] of values [A]: the operations that read them and have not started; those of them
    with another input in the target, and those with all others there."""
    readers, inputs = t.readers[value], t.inputs.shape[1]
    operation, place = readers // inputs, readers % inputs
    waits = (readers >= 0) & ~state.started[t.made[operation]]
    other = (jnp.arange(inputs) != place[..., None]) & (t.inputs[operation] >= 0)
    there = has(state.held[t.inputs[operation]], mask_of(target)[:, None, None])
    beside, complete = jnp.any(other & there, axis=2), jnp.all(~other | there, axis=2)
    some, all_others = jnp.sum(waits & beside, axis=1), jnp.sum(waits & complete, axis=1)
    return jnp.sum(waits, axis=1), some, all_others
