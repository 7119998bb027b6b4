"""The first question of a program, worked out on the host.

Before it nothing is decided: nothing is in fast memory, no copy takes anything.  So a new game
needs no step of the rules, and nothing is compiled for it.  Sections are those of docs/game.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mallocgame.game.options import GameConfig
from mallocgame.game.tables import (
    ALONE,
    ASK_DEPART,
    ASK_READ,
    INERT,
    QuestionRow,
    SlotRow,
    Tables,
)
from mallocgame.program.latency import elapsed_time, supply_time


class First(NamedTuple):
    """What a new game's state says of its open question; see `State`.

    asked: the question; the number of questions where none is asked.
    """

    asked: Any
    begin: Any
    copy_stall: Any
    hold_stall: Any
    may_copy: Any
    may_hold: Any


def first_question(tables: Tables, config: GameConfig) -> First:
    """The first question that has a choice."""
    slots = SlotRow(*tables.slots.T.astype(np.int64))
    idle = supply_time(elapsed_time(slots.compute, slots.read, slots.write), slots.bus)
    for number, columns in enumerate(tables.questions.tolist()):
        row = QuestionRow(*columns)
        if row.kind == ASK_DEPART or row.flags & (INERT | ALONE):
            continue
        room = tables.capacity - row.size
        ranges = [(row.slot, row.counted), (row.result_start, row.result_end)]
        if any((slots.reserved[a:b] > room).any() for a, b in ranges):
            continue
        begin, missing = row.slot, 0
        if row.kind == ASK_READ:
            begin, missing = _reach_back(row, slots.reserved <= room, idle)
        demand = row.demand if row.kind == ASK_READ else 0
        may_copy = row.kind == ASK_READ and _pays(row, missing, tables, config)
        may_hold = _pays(row, demand, tables, config)
        may_hold &= row.kind != ASK_READ or begin < row.slot
        if may_copy or may_hold:
            copy_stall = row.weight * missing if may_copy else 0
            hold_stall = row.weight * demand if may_hold else 0
            return First(number, begin, copy_stall, hold_stall, int(may_copy), int(may_hold))
    return First(len(tables.questions), 0, 0, 0, 0, 0)


def _reach_back(row: QuestionRow, fits: np.ndarray, idle: np.ndarray) -> tuple[int, int]:
    """Where a prefetch begins, and the ticks that it misses (4)."""
    begin, missing = row.slot, row.demand
    for slot in range(row.slot - 1, max(row.segment, row.slow_from) - 1, -1):
        if missing == 0 or not fits[slot]:
            break
        taken = min(missing, int(idle[slot]))
        if taken > 0:
            begin, missing = slot, missing - taken
    return begin, missing


def _pays(row: QuestionRow, ticks: int, tables: Tables, config: GameConfig) -> bool:
    """Whether a move may stall for so many ticks of its slot (4); nothing is saved yet."""
    if ticks == 0 or config.rules == "paper":
        return ticks == 0
    stall = max(row.weight, 1) * ticks
    return stall < row.worth and stall <= max(tables.total_ticks, 1)
