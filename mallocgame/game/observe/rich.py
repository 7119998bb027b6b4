"""The rich observation: one flat vector whose parts `SPEC` names.

Beside the question it shows what lies ahead: how the memory is occupied at some later times if
nothing more is decided, what useful values will then want to be there, how much could be copied
until then, and the next stops, each with all that is known of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from gamekit.observation import ObservationSpec, Part
from mallocgame.game.observe.plain import DYNAMIC, STATIC, compress, log_scaled, observe_question
from mallocgame.game.placement import at_row
from mallocgame.game.state import ASK_DEPART, EVICTING, UP, State, departure_order, has
from mallocgame.game.tables import EventRow, SlotRow, Tables

if TYPE_CHECKING:
    from mallocgame.game.environment import Game

# Slots ahead at which the memory is shown, and bins of offsets.
TIMES = (0, 1, 2, 3, 5, 8, 12, 20, 32, 52, 84, 136)
BINS = 24
PROSPECTS = 3
WINDOW = 16
TOKEN = STATIC + 6


# question: features of the question, the memory and the supply now.
# profile: share of each bin of offsets that is occupied at each time ahead.
# footprint: share of each bin that the value in question takes, or would take.
# prospects: see `slot_prospects`.
# window: the stop in question and the next ones: the features of `plain.stop_features`, then how
#   far it is, whether its value is in fast memory or being evicted, is the value in question, or
#   one of its carried group, and whether there is such a stop.
SPEC = ObservationSpec(
    (
        Part("question", (STATIC + DYNAMIC,)),
        Part("profile", (len(TIMES), BINS), "series"),
        Part("footprint", (1, BINS), "series"),
        Part("prospects", (len(TIMES), PROSPECTS), "series"),
        Part("window", (1 + WINDOW, TOKEN), "tokens"),
    )
)


def slot_prospects(tables: Tables) -> np.ndarray:
    """Float32 [T, PROSPECTS * TIMES]: what no decision changes about the time ahead of each slot.

    For each time ahead: bytes of useful values alive then, over the capacity (a value is alive from
    a stop to its next read if it may save enough to be asked about); copies of the whole fast
    memory that the slots until then have idle time for, with everything in slow memory; share of
    the memory that is reserved then.
    """
    slots = SlotRow(*tables.slots.T.astype(np.float64))
    count = len(tables.slots)
    alive = np.zeros(count)
    events = EventRow(*tables.events.T)
    useful = (events.ask_end > 0) & (events.inert_arrival == 0)
    for value in np.unique(events.value[useful]):
        there = np.zeros(count + 1)
        mine = useful & (events.value == value)
        np.add.at(there, events.slot[mine], 1)
        np.add.at(there, events.ask_end[mine], -1)
        alive += (np.cumsum(there[:-1]) > 0) * float(events.size[mine][0])
    idle = np.append(0.0, np.cumsum(np.maximum(slots.slow_elapsed - slots.bus, 0)))
    now = np.arange(count)[:, None]
    then = now + np.array(TIMES)
    inside = then < count
    at = np.minimum(then, max(count - 1, 0))
    supply = idle[np.minimum(then, count)] - idle[now]
    return np.concatenate(
        [
            np.where(inside, compress(alive / tables.capacity, 1.0)[at], 0.0),
            compress(supply / max(tables.capacity_ticks, 1.0), 10.0),
            np.where(inside, (slots.reserved / tables.capacity)[at], 0.0),
        ],
        axis=1,
    ).astype(np.float32)


def stop_columns(tables: Tables) -> np.ndarray:
    """Int32 [E, 3]: slot, value and alias group of each stop.

    The group is -1 without one: values that share one memory at the boundary of a loop, and those
    that share it with them elsewhere.
    """
    group = np.arange(len(tables.program.values))
    for carried in tables.program.carried:
        group[group == group[carried.result]] = group[carried.parameter]
    sizes = np.bincount(group, minlength=len(group))
    events = EventRow(*tables.events.T)
    shared = np.where(sizes[group] > 1, group, -1)[events.value]
    return np.stack([events.slot, events.value, shared], axis=1).astype(np.int32)


def observe(game: Game, state: State) -> Array:
    """Float32 [..., F], laid out as `SPEC` says."""
    prospects = game.prospects.at[state.program, state.slot].get(mode="clip")
    parts = [observe_question(game, state), *_memory(game, state), prospects, _window(game, state)]
    return jnp.concatenate(parts, axis=-1)


def _memory(game: Game, state: State) -> tuple[Array, Array]:
    """The profile [..., TIMES * BINS] and the footprint [..., BINS]."""
    table = {name: jnp.moveaxis(column, 0, -1) for name, column in state.table.items()}  # [..., R]
    scale = (BINS / game.capacity[state.program])[..., None]
    covered = _bins(table["offset"] * scale, (table["offset"] + table["size"]) * scale)
    then = state.slot[..., None] + np.array(TIMES)  # [..., TIMES]
    there = (table["start"][..., None, :] <= then[..., None]) & (
        table["end"][..., None, :] > then[..., None]
    )
    profile = jnp.einsum("...tr,...rb->...tb", there.astype(jnp.float32), covered)
    # In the slot where a held group's result takes over, its parameter is still there.
    profile = jnp.minimum(profile, 1.0)
    asking = has(state.table["flags"], UP) & (departure_order(state.table) == state.key)
    departs = state.question == ASK_DEPART
    offset = jnp.where(departs, at_row(state.table["offset"], asking), state.place)
    arriving = game.events[state.program, state.event, EventRow._fields.index("size")]
    size = jnp.where(departs, at_row(state.table["size"], asking), arriving)
    size = jnp.where(departs | state.can, size, 0)
    footprint = _bins(offset[..., None] * scale, (offset + size)[..., None] * scale)[..., 0, :]
    return profile.reshape(*profile.shape[:-2], -1), footprint


def _bins(start: Array, end: Array) -> Array:
    """Share of each bin that [start, end), in bins, covers: [..., n] to [..., n, BINS]."""
    edge = np.arange(BINS, dtype=np.float32)
    low = jnp.maximum(start[..., None], edge)
    return jnp.maximum(jnp.minimum(end[..., None], edge + 1) - low, 0.0)


def _window(game: Game, state: State) -> Array:
    """The stop in question and the next ones: [..., (1 + WINDOW) * TOKEN]."""
    first = state.cursor + 1 - (state.question == ASK_DEPART)

    def rows(table: Array) -> Array:
        """[..., 1 + WINDOW, C] of a table [P, E, C]; behind the end its last row."""
        coming = _slices(table, state.program, first)
        asked = table.at[state.program, state.event].get(mode="clip")
        return jnp.concatenate([asked[..., None, :], coming], axis=-2)

    slot, value, group = jnp.moveaxis(rows(game.stops), -1, 0)  # [..., 1 + WINDOW]
    exists = slot < game.num_slots[state.program][..., None]
    table, now = state.table, state.slot
    lives = (table["start"] <= now) & (table["end"] > now)
    status = jnp.where(lives, 1 + has(table["flags"], EVICTING), 0)  # [R, ...]
    mine = table["value"] == jnp.moveaxis(value, -1, 0)[:, None]  # [1 + WINDOW, R, ...]
    status = jnp.moveaxis(jnp.max(jnp.where(mine, status, 0), axis=1), 0, -1)
    distance = jnp.where(exists, slot - now[..., None], 64)
    extra = [
        log_scaled(distance / 64.0, 10.0),
        status > 0,
        status > 1,
        exists & (value == value[..., :1]),
        exists & (group == group[..., :1]) & (group >= 0),
        exists,
    ]
    extra = jnp.stack([x.astype(jnp.float32) for x in extra], axis=-1)
    tokens = jnp.concatenate([rows(game.features), extra], axis=-1)
    return tokens.reshape(*tokens.shape[:-2], -1)


def _slices(table: Array, program: Array, first: Array) -> Array:
    """Rows `first` .. `first + WINDOW` of each program's table [P, E, C]: [..., WINDOW, C]."""

    def one(program: Array, first: Array) -> Array:
        return lax.dynamic_slice(table, (program, first, 0), (1, WINDOW, table.shape[2]))[0]

    flat = jax.vmap(one)(program.reshape(-1), first.reshape(-1))
    return flat.reshape(*program.shape, WINDOW, table.shape[2])
