"""What the agent sees of a state: a fixed number of features, whatever the program.

`SPEC` names the parts: the question, the pressure at some times ahead, and the coming questions.
They join what was known before (`static`) with what is known now of bytes and supply.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from gamekit.observation import ObservationSpec, Part
from mallocgame.game.arrays import GameArrays, gather
from mallocgame.game.observe.static import (
    AHEAD,
    COMING_FEATURES,
    SLOT_FEATURES,
    STATIC_FEATURES,
    TIMES,
)
from mallocgame.game.profile import peak, take, take_one, used_at
from mallocgame.game.rules import question_row
from mallocgame.game.state import State
from mallocgame.game.tables import ASK_DEPART, Brief, QuestionRow, SlotRow, StopRow
from mallocgame.program.latency import elapsed_time

# Slots back over which the supply is summed.
BACK = (1, 4, 16, 64)
SUPPLIED = tuple(f"supply_of_{back}" for back in BACK)
# What is known of the question now, beside `STATIC_FEATURES`.
NOW_FEATURES = (
    "may_copy", "may_hold", "waits", "copy_stall", "hold_stall", "copy_slots",
    "saving_now", "idle_share", "is_dirty", "resident_since", "room_now", "room_over_hold",
    *SUPPLIED, "demand_over_supply", "progress", "saved", "slot_time", "slot_excess",
    "worth_now", "to_be_saved", "behind_plan",
)  # fmt: skip
# What is shown for each time ahead: bytes in use, and `RIVALS` and `SLOT_FEATURES` of `static`.
TIME_FEATURES = ("used", "rivals", *SLOT_FEATURES)
# What is known now of each coming question, beside `COMING_FEATURES`.
COMING_NOW = ("distance", "is_resident", "same_value")

WORTH, WORTH_DIRTY = (STATIC_FEATURES.index(name) for name in ("worth", "worth_dirty"))
QUESTION_NAMES = (*STATIC_FEATURES, *NOW_FEATURES)
COMING_NAMES = (*COMING_FEATURES, *COMING_NOW)
SPEC = ObservationSpec(
    (
        Part("question", (len(QUESTION_NAMES),)),
        Part("pressure", (len(TIMES), len(TIME_FEATURES)), "series"),
        Part("coming", (AHEAD, len(COMING_NAMES)), "tokens"),
    )
)


def observe(arrays: GameArrays, state: State) -> Array:
    """Float32 [..., F], laid out as `SPEC` says."""
    row = question_row(arrays, state, state.asked)
    static = arrays.features.at[state.program, state.asked].get(mode="clip")
    known, rivals = static[..., : len(STATIC_FEATURES)], static[..., len(STATIC_FEATURES) :]
    now = _question(arrays, state, row, known)
    pressure = _pressure(arrays, state, row, rivals)
    coming = _coming(arrays, state, row)
    return jnp.concatenate([known, now, pressure, coming], axis=-1)


def _question(arrays: GameArrays, state: State, row: QuestionRow, known: Array) -> Array:
    """Float32 [..., NOW_FEATURES]; known: [..., STATIC_FEATURES]."""
    t = row.slot
    capacity = arrays.capacity[state.program].astype(jnp.float32)
    total = arrays.total_ticks[state.program].astype(jnp.float32)
    whole_copy = jnp.maximum(arrays.capacity_ticks[state.program], 1.0)
    departs = row.kind == ASK_DEPART
    start = t + departs
    slow = SlotRow(*arrays.slots.at[:, state.program, t].get(mode="clip"))
    stop = StopRow(*gather(arrays.stops, state.program, row.stop))
    read, write, bus = (take_one(c, t) for c in (state.read, state.write, state.bus))
    elapsed = elapsed_time(slow.compute, read, write, jnp)
    then = elapsed_time(slow.compute, read - stop.read, write - stop.write, jnp)
    slow_elapsed = elapsed_time(slow.compute, slow.read, slow.write, jnp)
    before = t - 1 - jnp.arange(max(BACK)).reshape((-1,) + (1,) * t.ndim)
    left = jnp.where(before >= 0, jnp.maximum(take(state.left, before), 0), 0)
    back = [jnp.sum(left[:slots], axis=0) for slots in BACK]
    used = used_at(state.used, start[None])[0]
    hold = peak(state.used, start, row.hold_end)
    # Of a question without a later read the room now is all that counts.
    hold = jnp.where(row.hold_end > start, hold, used)
    is_dirty = take_one(state.written, row.value) >= 0
    plan = arrays.plan.at[state.program, start].get(mode="clip")
    saved = state.saved / total
    features = {
        "may_copy": state.may_copy,
        "may_hold": state.may_hold,
        "waits": state.waits,
        "copy_stall": log_scaled(1000.0 * state.copy_stall / total, 10.0),
        "hold_stall": log_scaled(1000.0 * state.hold_stall / total, 10.0),
        "copy_slots": log_scaled((t - state.begin) / 64.0, 10.0),
        "saving_now": jnp.where(
            departs, 0.0, log_scaled(1000.0 * (row.weight * (elapsed - then)) / total, 10.0)
        ),
        "idle_share": log_scaled((elapsed - bus) / jnp.maximum(elapsed, 1), 1.0),
        "is_dirty": is_dirty,
        "resident_since": jnp.where(
            departs,
            log_scaled(
                (t - take_one(state.since, row.value)) / arrays.num_slots[state.program], 100.0
            ),
            0.0,
        ),
        "room_now": (capacity - used - row.size) / capacity,
        "room_over_hold": (capacity - hold - row.size) / capacity,
        **{name: log_scaled(x / whole_copy, 10.0) for name, x in zip(SUPPLIED, back, strict=True)},
        "demand_over_supply": log_scaled(row.demand / jnp.maximum(back[-1], 1), 1.0),
        "progress": t / arrays.num_slots[state.program],
        "saved": saved,
        "slot_time": 100.0 * (slow_elapsed * row.weight) / total,
        "slot_excess": log_scaled(
            (slow_elapsed - slow.compute) / jnp.maximum(slow_elapsed, 1), 1.0
        ),
        "worth_now": jnp.where(departs & is_dirty, known[..., WORTH_DIRTY], known[..., WORTH]),
        "to_be_saved": plan,
        "behind_plan": 10.0 * (arrays.plan[state.program, 0] - plan - saved),
    }
    return stack_features(features, NOW_FEATURES)


def _pressure(arrays: GameArrays, state: State, row: QuestionRow, rivals: Array) -> Array:
    """Float32 [..., TIMES * TIME_FEATURES]."""
    capacity = arrays.capacity[state.program].astype(jnp.float32)
    times = np.array(TIMES).reshape((-1,) + (1,) * row.slot.ndim)
    then = row.slot + times
    inside = then < arrays.num_slots[state.program]
    used = jnp.where(inside, used_at(state.used, then) / capacity, 0.0)
    known = arrays.prospects.at[state.program, row.slot].get(mode="clip")
    known = known.reshape(*known.shape[:-1], len(TIMES), len(SLOT_FEATURES))
    found = jnp.concatenate([jnp.moveaxis(used, 0, -1)[..., None], rivals[..., None], known], -1)
    return found.reshape(*found.shape[:-2], -1)


def _coming(arrays: GameArrays, state: State, row: QuestionRow) -> Array:
    """Float32 [..., AHEAD * COMING_NAMES]: the question and the next ones, asked or not."""
    numbers = state.asked + jnp.arange(AHEAD).reshape((-1,) + (1,) * state.asked.ndim)
    exists = numbers < arrays.num_questions_of[state.program]
    brief = Brief(*gather(arrays.briefs, state.program, numbers))
    known = arrays.features.at[state.program, numbers].get(mode="clip")
    since, until = take(state.since, brief.value), take(state.until, brief.value)
    now = {
        "distance": jnp.where(exists, log_scaled((brief.slot - row.slot) / 64.0, 10.0), 1.0),
        "is_resident": exists & (since <= row.slot) & (until > row.slot),
        "same_value": exists & (brief.value == row.value),
    }
    known = jnp.where(exists[..., None], known[..., : len(COMING_FEATURES)], 0.0)
    found = jnp.concatenate([known, stack_features(now, COMING_NOW)], axis=-1)
    return jnp.moveaxis(found, 0, -2).reshape(*row.slot.shape, -1)


def stack_features(features: dict[str, Array], names: Sequence[str]) -> Array:
    """Float32 [..., names]: features [...] in the order of their names."""
    return jnp.stack([jnp.asarray(features[name], jnp.float32) for name in names], axis=-1)


def log_scaled(x: Array, scale: float) -> Array:
    """From nothing to 0, from 1 to 1; what is small stands out with the scale."""
    return jnp.log1p(jnp.maximum(x, 0) * scale) / np.log1p(scale)
