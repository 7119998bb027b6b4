"""From moves to a mapping: one game is played again and its residencies are written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mallocgame.game.environment import Game, build_game
from mallocgame.game.options import GameConfig
from mallocgame.game.rules import micro_step, start
from mallocgame.game.state import (
    ASK_DEPART,
    ASK_READ,
    DROP,
    Flag,
    State,
)
from mallocgame.game.tables import EventRow
from mallocgame.program import Program
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer

CHUNK = 512
COLUMNS = ("value", "start", "end", "offset", "flags", "ticket")


class _Look(NamedTuple):
    """One micro step: its slot, the arrival it began with (value, -1 without), the table after."""

    slot: np.ndarray
    arrival: np.ndarray
    copied: np.ndarray
    table: np.ndarray


def replay(program: Program, config: GameConfig, actions: Sequence[int] | np.ndarray) -> Mapping:
    """The mapping of a finished game.

    actions: the moves of the game's final branch, forced ones included (`Game.history`).

    Raises:
      ValueError: the moves do not finish a game of this program.
    """
    mapping, _ = replay_game(build_game([program], config), program, actions)
    return mapping


def replay_game(
    game: Game, program: Program, actions: Sequence[int] | np.ndarray, index: int = 0
) -> tuple[Mapping, float]:
    """The mapping and the saved fraction of moves played in a game of some programs.

    program: the one with this index in the game.

    Raises:
      ValueError: the moves do not finish a game of this program.
    """
    moves = np.zeros(game.max_decisions, np.int32)
    moves[: len(actions)] = actions
    recorder = _Recorder()
    state = _play_through(game, index, jnp.asarray(moves), len(actions), recorder)
    if not bool(state.done):
        raise ValueError(
            f"program {program.name!r}: the moves must finish a game, got {len(actions)} that end "
            f"in slot {int(state.slot)}"
        )
    return recorder.mapping(program), float(game.score(state))


def _play_through(
    game: Game, index: int, moves: jax.Array, count: int, recorder: _Recorder
) -> State:
    """Plays the moves until the game ends or needs another one; the recorder looks on."""
    state, goes_on = start(game, jnp.int32(index)), True
    while goes_on:
        length = int(state.length)
        state, looks = _trace(game, state, moves, jnp.int32(count))
        for row in zip(*(np.asarray(x) for x in looks), strict=True):
            recorder.look(_Look(*row))
        stuck = bool(state.waiting) and int(state.length) >= count
        goes_on = not (bool(state.done) or stuck or int(state.length) < length)
    return state


@jax.jit
def _trace(game: Game, state: State, moves: jax.Array, count: jax.Array) -> tuple[State, tuple]:
    def step(state: State, _: None) -> tuple[State, tuple]:
        action = moves[jnp.minimum(state.length, len(moves) - 1)]
        plays = state.waiting & ~state.done & (state.length < count)
        state = state.replace(
            pending=jnp.where(plays, jnp.where(state.may_accept, action, DROP), state.pending),
            length=state.length + plays,
            replay_until=state.length + plays,
            waiting=state.waiting & ~plays,
        )
        arrives = plays & (state.pending != DROP) & (state.question != ASK_DEPART)
        value = game.events[state.program, state.event, EventRow._fields.index("value")]
        look = state.slot, jnp.where(arrives, value, -1), state.question == ASK_READ
        state = micro_step(game, state)
        table = jnp.stack([state.table[name] for name in COLUMNS], axis=-1)
        return state, (*look, table)

    return lax.scan(step, state, None, length=CHUNK)


class _Recorder:
    """Follows the newest residency of every value through the table."""

    def __init__(self) -> None:
        self.residencies: list[list] = []
        self.prefetches: list[Transfer] = []
        self.evictions: list[Transfer] = []
        self.current: dict[int, int] = {}
        self.flags: dict[int, int] = {}
        self.eviction_start: dict[int, int] = {}
        self.table: np.ndarray | None = None

    def look(self, look: _Look) -> None:
        if self.table is not None and look.arrival < 0 and np.array_equal(self.table, look.table):
            return
        self.table = look.table
        for row in _newest(look.table):
            arrives = int(look.arrival) == row[0]
            self._entry(row, int(look.slot), arrives, arrives and bool(look.copied))

    def _entry(self, row: list[int], slot: int, arrives: bool, copied: bool) -> None:
        value, begin, end, offset, flags, ticket = row
        if arrives or value not in self.current:
            self.current[value] = len(self.residencies)
            self.residencies.append([value, offset, begin, end, COPIED if copied else DEFINED])
            if copied:
                self.prefetches.append(Transfer(value, begin, slot))
            self.flags[value] = flags & ~Flag.EVICTED
        residency = self.residencies[self.current[value]]
        if begin != residency[2] or end < residency[3]:
            return  # An older one, that outlived the newest in the table.
        before = self.flags[value]
        if flags & Flag.EVICTING and not before & Flag.EVICTING:
            self.eviction_start[value] = slot + 1
        elif before & Flag.EVICTING and not flags & Flag.EVICTING and flags & Flag.EVICTED:
            self.evictions.append(Transfer(value, self.eviction_start[value], end))
        elif before & Flag.DIRTY and not flags & (Flag.DIRTY | Flag.EVICTING):
            self.evictions.append(Transfer(value, ticket, ticket))
        if not flags & Flag.EVICTING:
            residency[3] = end
        self.flags[value] = flags

    def mapping(self, program: Program) -> Mapping:
        return Mapping(
            program=program.name,
            fingerprint=program.fingerprint,
            residencies=tuple(Residency(*row) for row in self.residencies),
            prefetches=tuple(self.prefetches),
            evictions=tuple(self.evictions),
        )


def _newest(table: np.ndarray) -> list[list[int]]:
    """Of each value in the table [R, columns] the residency that ends last."""
    newest: dict[int, list[int]] = {}
    there = (table[:, 2] > 0) & ((table[:, 4] & Flag.PROMISED) == 0)
    for row in table[there].tolist():
        if row[0] not in newest or row[2] > newest[row[0]][2]:
            newest[row[0]] = row
    return list(newest.values())
