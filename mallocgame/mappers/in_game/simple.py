"""Simple rules, as plans (`.plans`): floors for anything that searches."""

from __future__ import annotations

import numpy as np

from mallocgame.game.observe.static import densities, worths_of_yes
from mallocgame.game.tables import (
    ASK_DEPART,
    ASK_READ,
    DEFINE,
    LATER,
    QuestionRow,
    StopRow,
    Tables,
)
from mallocgame.mappers.in_game.plans import Answer
from mallocgame.program.mapping import Mapping, Residency, Transfer

THRESHOLDS = 64  # plans of a rule that are played at once
# Of `relaxed`: the share of a value that the optimum wants at least; quantiles of the worth that a
# hold may lack.
SHARES, LEVELS = (0.3, 0.5, 0.9), (0.1, 0.25, 0.5)


def all_fast(tables: Tables) -> np.ndarray:
    """Brings and holds whatever there is room and time for, first come first served."""
    return np.full((1, len(tables.questions)), int(Answer.IN_TIME), np.int8)


def random(tables: Tables, seed: int) -> np.ndarray:
    """Answers every question by a fair coin."""
    return np.random.default_rng(seed).integers(2, size=(1, len(tables.questions)), dtype=np.int8)


def worths(tables: Tables) -> np.ndarray:
    """What saying yes saves at every question for the room it takes: float64 [Q].

    That of a hold is the density of what the hold serves, that of a read the larger one of its own
    access and of the next hold; see `densities`.  A definition and its departure are one decision,
    by what both save over the hold: what is produced in fast memory and leaves costs a write-back.
    """
    rows = QuestionRow(*tables.questions.T)
    access, hold = densities(tables)
    slots = np.maximum(rows.hold_end - 1 - rows.slot, 1)
    stops = StopRow(*tables.stops[rows.stop].T)
    worth = np.where((rows.kind == ASK_READ) & (rows.entry == 0), np.maximum(access, hold), hold)
    return np.where(stops.kind == DEFINE, hold + access / slots, worth)


def levels_of(known: np.ndarray) -> np.ndarray:
    """Zero and quantiles of the positive numbers among `known`: half of `THRESHOLDS`, or one."""
    known = known[known > 0]
    quantiles = np.linspace(0.0, 0.95, THRESHOLDS // 2 - 1)
    return np.append(0.0, np.quantile(known, quantiles) if known.size else np.zeros(0))


def greedy(tables: Tables) -> np.ndarray:
    """Brings and holds what saves enough for the room it takes: plans [K, Q].

    One threshold on `worths` is tried at quantiles, zero first, each without waiting (zero is
    `all_fast` then) and with it; the best game counts.
    """
    known = worths(tables)
    return _in_time_and_late(known >= levels_of(known)[:, None])


def belady(tables: Tables) -> np.ndarray:
    """Brings everything and holds what is read again soon, as Belady's rule for caches does.

    A plan cannot see who else is there, so how soon is tried: slots until the next read, at
    quantiles, any distance first, each without waiting and with it.
    """
    rows = QuestionRow(*tables.questions.T)
    departs = rows.kind == ASK_DEPART
    later = departs & ((rows.flags & LATER) > 0)
    near = np.where(later, 1.0 / np.maximum(rows.hold_end - 1 - rows.slot, 1), 0.0)
    return _in_time_and_late(~departs | (near >= levels_of(near)[:, None]))


def relaxed(tables: Tables) -> np.ndarray:
    """Answers as the linear relaxation plans: plans [K, Q].

    It says yes where the optimum says so for at least a share of a value, and to holds whose worth
    at the shadow prices is above a level, none of them first.  Each is tried with waiting and
    without it; the best game counts.
    """
    worth = worths_of_yes(tables)
    gain = np.maximum(worth[:, 0], worth[:, 1])
    known = np.abs(gain[gain != 0])
    levels = [np.inf, 0.0, *-np.quantile(known, LEVELS)] if known.size else [np.inf]
    holds = QuestionRow(*tables.questions.T).kind == ASK_DEPART
    wanted = [
        (worth[:, 2] >= share) | (holds & (gain > level)) for share in SHARES for level in levels
    ]
    return _in_time_and_late(np.array(wanted))


def _in_time_and_late(wanted: np.ndarray) -> np.ndarray:
    in_time = np.where(wanted, Answer.IN_TIME, Answer.NO)
    late = np.where(wanted, Answer.YES, Answer.NO)
    return np.concatenate([in_time, late]).astype(np.int8)


def imitate(tables: Tables, mapping: Mapping) -> np.ndarray:
    """Wants what a given mapping does: a plan [1, Q].

    A value is brought where the mapping has it in fast memory, in the reader's own slot where the
    mapping copies it there, and held where the mapping holds it as long.
    """
    stays: dict[int, list[Residency]] = {}
    for residency in mapping.residencies:
        stays.setdefault(residency.value, []).append(residency)
    copies: dict[int, list[Transfer]] = {}
    for copy in mapping.prefetches:
        copies.setdefault(copy.value, []).append(copy)
    plan = np.zeros(len(tables.questions), np.int8)
    for i, columns in enumerate(tables.questions.tolist()):
        row = QuestionRow(*columns)
        covering = [r for r in stays.get(row.value, []) if r.start <= row.slot < r.end]
        if row.entry:
            # Only what the mapping keeps over the whole loop, or up to its last use there.
            wanted = any(r.end >= row.stay_end for r in covering)
        elif row.kind == ASK_DEPART:
            wanted = any(r.end >= row.hold_end for r in covering)
        else:
            wanted = bool(covering)
        if wanted:
            awaited = [c for c in copies.get(row.value, []) if c.start <= row.slot <= c.end + 1]
            late = bool(awaited) and awaited[-1].start >= row.slot
            own = late and row.kind == ASK_READ
            plan[i] = Answer.OWN_SLOT if own else Answer.YES
    return plan[None]
