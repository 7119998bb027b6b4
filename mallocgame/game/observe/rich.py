"""The rich observation: one flat vector whose parts `SPEC` names.

Beside the question it shows what lies ahead: how the memory is occupied at some later times if
nothing more is decided, what useful values will then want to be there, how much could be copied
until then, and the next stops, each with all that is known of it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from gamekit.observation import ObservationSpec, Part
from mallocgame.game.arrays import GameArrays
from mallocgame.game.observe.plain import (
    log_scaled,
    observe_question,
    question_names,
    stack_features,
)
from mallocgame.game.observe.static import PROSPECTS, STATIC, TIMES, WINDOW
from mallocgame.game.placement import at_row
from mallocgame.game.state import (
    ASK_DEPART,
    Flag,
    State,
    departure_order,
    has,
)
from mallocgame.game.tables import EventRow

# Bins of offsets.
BINS = 24
# What is known now of each stop of the window, beside `STOP_FEATURES`.
WINDOW_NOW = ("distance", "is_resident", "is_leaving", "same_value", "same_group", "exists")
TOKEN = STATIC + len(WINDOW_NOW)


# question: features of the question, the memory and the supply now.
# profile: share of each bin of offsets that is occupied at each time ahead.
# footprint: share of each bin that the value in question takes, or would take.
# prospects: see `static.slot_prospects`.
# window: the stop in question and the next ones: `static.stop_features`, then `WINDOW_NOW`.
SPEC = ObservationSpec(
    (
        Part("question", (len(question_names()),)),
        Part("profile", (len(TIMES), BINS), "series"),
        Part("footprint", (1, BINS), "series"),
        Part("prospects", (len(TIMES), PROSPECTS), "series"),
        Part("window", (1 + WINDOW, TOKEN), "tokens"),
    )
)


def observe(arrays: GameArrays, state: State) -> Array:
    """Float32 [..., F], laid out as `SPEC` says."""
    prospects = arrays.prospects.at[state.program, state.slot].get(mode="clip")
    parts = [
        observe_question(arrays, state),
        *_memory(arrays, state),
        prospects,
        _window(arrays, state),
    ]
    return jnp.concatenate(parts, axis=-1)


def _memory(arrays: GameArrays, state: State) -> tuple[Array, Array]:
    """The profile [..., TIMES * BINS] and the footprint [..., BINS]."""
    table = {name: jnp.moveaxis(column, 0, -1) for name, column in state.table.items()}  # [..., R]
    scale = (BINS / arrays.capacity[state.program])[..., None]
    covered = _bins(table["offset"] * scale, (table["offset"] + table["size"]) * scale)
    then = state.slot[..., None] + np.array(TIMES)  # [..., TIMES]
    there = (table["start"][..., None, :] <= then[..., None]) & (
        table["end"][..., None, :] > then[..., None]
    )
    profile = jnp.einsum("...tr,...rb->...tb", there.astype(jnp.float32), covered)
    # In the slot where a held group's result takes over, its parameter is still there.
    profile = jnp.minimum(profile, 1.0)
    asking = has(state.table["flags"], Flag.UP) & (
        departure_order(state.table) == state.departure_key
    )
    departs = state.question == ASK_DEPART
    offset = jnp.where(departs, at_row(state.table["offset"], asking), state.place)
    arriving = arrays.events[state.program, state.event, EventRow._fields.index("size")]
    size = jnp.where(departs, at_row(state.table["size"], asking), arriving)
    size = jnp.where(departs | state.may_accept, size, 0)
    footprint = _bins(offset[..., None] * scale, (offset + size)[..., None] * scale)[..., 0, :]
    return profile.reshape(*profile.shape[:-2], -1), footprint


def _bins(start: Array, end: Array) -> Array:
    """Share of each bin that [start, end), in bins, covers: [..., n] to [..., n, BINS]."""
    edge = np.arange(BINS, dtype=np.float32)
    low = jnp.maximum(start[..., None], edge)
    return jnp.maximum(jnp.minimum(end[..., None], edge + 1) - low, 0.0)


def _window(arrays: GameArrays, state: State) -> Array:
    """The stop in question and the next ones: [..., (1 + WINDOW) * TOKEN]."""
    first = state.cursor + 1 - (state.question == ASK_DEPART)

    def rows(table: Array) -> Array:
        """[..., 1 + WINDOW, C] of a table [P, E, C]; behind the end its last row."""
        coming = _slices(table, state.program, first)
        asked = table.at[state.program, state.event].get(mode="clip")
        return jnp.concatenate([asked[..., None, :], coming], axis=-2)

    slot, value, group = jnp.moveaxis(rows(arrays.stops), -1, 0)  # [..., 1 + WINDOW]
    exists = slot < arrays.num_slots[state.program][..., None]
    table, now = state.table, state.slot
    lives = (table["start"] <= now) & (table["end"] > now)
    status = jnp.where(lives, 1 + has(table["flags"], Flag.EVICTING), 0)  # [R, ...]
    mine = table["value"] == jnp.moveaxis(value, -1, 0)[:, None]  # [1 + WINDOW, R, ...]
    status = jnp.moveaxis(jnp.max(jnp.where(mine, status, 0), axis=1), 0, -1)
    distance = jnp.where(exists, slot - now[..., None], 64)
    extra = {
        "distance": log_scaled(distance / 64.0, 10.0),
        "is_resident": status > 0,
        "is_leaving": status > 1,
        "same_value": exists & (value == value[..., :1]),
        "same_group": exists & (group == group[..., :1]) & (group >= 0),
        "exists": exists,
    }
    tokens = jnp.concatenate([rows(arrays.features), stack_features(extra, WINDOW_NOW)], axis=-1)
    return tokens.reshape(*tokens.shape[:-2], -1)


def _slices(table: Array, program: Array, first: Array) -> Array:
    """Rows `first` .. `first + WINDOW` of each program's table [P, E, C]: [..., WINDOW, C]."""

    def one(program: Array, first: Array) -> Array:
        return lax.dynamic_slice(table, (program, first, 0), (1, WINDOW, table.shape[2]))[0]

    flat = jax.vmap(one)(program.reshape(-1), first.reshape(-1))
    return flat.reshape(*program.shape, WINDOW, table.shape[2])
