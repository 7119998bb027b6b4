"""Simple rules, as plans (`.plans`): floors for anything that searches."""

from __future__ import annotations

import numpy as np

from mallocgame.game.tables import ENTRY, EventRow, Tables
from mallocgame.mappers.in_game.plans import Plans
from mallocgame.program.mapping import Mapping, Residency

THRESHOLDS = 64  # plans of a rule that are played at once


def all_fast(tables: Tables) -> Plans:
    """Brings and holds whatever there is room and time for, first come first served."""
    yes = np.ones((1, len(tables.events)), bool)
    return Plans(yes, yes, ~yes)


def random(tables: Tables, seed: int) -> Plans:
    """Answers every question by a fair coin."""
    shape = (2, 1, len(tables.events))
    arrive, hold = np.random.default_rng(seed).random(shape) < 0.5
    return Plans(arrive, hold, np.ones_like(arrive))


def densities(tables: Tables) -> tuple[np.ndarray, np.ndarray]:
    """What bringing and holding save at every stop for the room they take: float64 [E] each.

    The density of a hold is the saving of the read at its end, that of a copy the saving of its own
    read and at best of the next hold, over bytes times slots.
    """
    events = EventRow(*tables.events.T.astype(np.float64))
    size = np.maximum(events.size / tables.capacity, 1e-9)
    slots = np.where(events.hold_until > 0, np.maximum(events.hold_until - 1 - events.slot, 1), 1)
    own = tables.savings[:, 0] - tables.savings[:, 1]
    hold = tables.following / (size * slots)
    arrive = np.maximum(np.where(events.kind == ENTRY, 0.0, own / size), hold)
    return arrive, hold


def levels_of(known: np.ndarray) -> np.ndarray:
    """Zero and quantiles of the positive numbers among `known`: half of `THRESHOLDS`, or one."""
    known = known[known > 0]
    quantiles = np.linspace(0.0, 0.95, THRESHOLDS // 2 - 1)
    return np.append(0.0, np.quantile(known, quantiles) if known.size else np.zeros(0))


def greedy(tables: Tables) -> Plans:
    """Brings and holds what saves enough for the room it takes.

    One threshold on `densities` is tried at quantiles, zero first, each without late copies (zero
    is `all_fast` then) and with them; the best game counts.
    """
    arrive, hold = densities(tables)
    levels = levels_of(np.concatenate([arrive, hold]))
    return _with_and_without_late(arrive >= levels[:, None], hold >= levels[:, None])


def belady(tables: Tables) -> Plans:
    """Brings everything and holds what is read again soon, as Belady's rule for caches does.

    A plan cannot see who else is there, so how soon is tried: slots until the next read, at
    quantiles, any distance first, each without late copies and with them.
    """
    events = EventRow(*tables.events.T.astype(np.float64))
    near = np.where(
        events.hold_until > 0, 1.0 / np.maximum(events.hold_until - 1 - events.slot, 1), 0.0
    )
    levels = levels_of(near)
    return _with_and_without_late(np.ones((len(levels), len(near)), bool), near >= levels[:, None])


def _with_and_without_late(arrive: np.ndarray, hold: np.ndarray) -> Plans:
    late = np.repeat([False, True], len(arrive))[:, None] & np.ones(arrive.shape[1], bool)
    return Plans(np.tile(arrive, (2, 1)), np.tile(hold, (2, 1)), late)


def imitate(tables: Tables, mapping: Mapping) -> Plans:
    """Wants what a given mapping does: its choices, with the game's places and copies."""
    stays: dict[int, list[Residency]] = {}
    for residency in mapping.residencies:
        stays.setdefault(residency.value, []).append(residency)
    events = EventRow(*tables.events.T)
    arrive = np.zeros(len(tables.events), bool)
    hold = np.zeros(len(tables.events), bool)
    for i, (value, slot, hold_until) in enumerate(
        zip(events.value.tolist(), events.slot.tolist(), events.hold_until.tolist(), strict=True)
    ):
        covering = [r for r in stays.get(value, []) if r.start <= slot < r.end]
        arrive[i] = bool(covering)
        hold[i] = any(r.end >= hold_until > 0 for r in covering)
        if events.kind[i] == ENTRY:
            # Only what the mapping keeps over the whole loop, or up to its last use there.
            arrive[i] = hold[i] = any(r.end >= events.stay_end[i] for r in covering)
    return Plans(arrive[None], hold[None], np.ones_like(arrive)[None])
