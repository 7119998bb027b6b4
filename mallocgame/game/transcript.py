"""From moves to residencies: a game is played again, and what its moves decide is written down."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from mallocgame.game.arrays import GameArrays
from mallocgame.game.profile import take_one
from mallocgame.game.rules import micro_step, question_number, question_row
from mallocgame.game.state import COPY, DROP, State, fresh_state
from mallocgame.game.tables import ASK_DEPART, ASK_READ, QuestionRow
from mallocgame.program.mapping import COPIED, DEFINED, Transfer

# Steps that are traced at once.
CHUNK = 512


@dataclasses.dataclass
class Stay:
    """A residency without an offset: a value over the slots [start, end).

    arrival: DEFINED or COPIED. origin: number of the question that began it.
    tied: the stay, by its number in the transcript, whose offset it must have; itself mostly.
    """

    value: int
    start: int
    end: int
    arrival: str
    origin: int
    tied: int


@dataclasses.dataclass
class Transcript:
    """What the moves of a finished game decide.

    stays: in the order in which they were decided. saved_fraction: by the game's account.
    answers: what was answered to each question that was asked, by its number.
    """

    stays: list[Stay]
    prefetches: list[Transfer]
    evictions: list[Transfer]
    saved_fraction: float
    moves: np.ndarray
    answers: dict[int, int]


class _Look(NamedTuple):
    """One micro step, arrays of one entry a step: the answer that it applied (-1 without), to which
    question, by whom; where a copy begins; whether it waits; the slot before which a write-back may
    not begin (-1 without one); and afterwards the end of the residency and of the write-back."""

    action: Any
    asked: Any
    chosen: Any
    begin: Any
    waits: Any
    low: Any
    until: Any
    copied: Any


def transcribe(game: GameArrays, index: int, moves: Sequence[int] | np.ndarray) -> Transcript:
    """Plays the moves of a finished game of one program.

    index: of the program in the game.

    Raises:
      ValueError: the moves do not finish a game of this program.
    """
    logged = np.zeros(game.max_decisions, np.int32)
    logged[: len(moves)] = moves
    return _transcribe(game, index, logged, len(moves))


def transcribe_answers(game: GameArrays, index: int, answers: Mapping[int, int]) -> Transcript:
    """Plays a game by the answers to its questions; what is not among them is answered DROP."""
    by_number = np.full(2 * game.stops.shape[1], DROP, np.int32)
    by_number[list(answers)] = list(answers.values())
    return _transcribe(game, index, by_number, -1)


def _transcribe(game: GameArrays, index: int, answers: np.ndarray, count: int) -> Transcript:
    """count: how many moves there are, -1 where answers are looked up by question."""
    state = fresh_state(game, jnp.int32(index))
    recorder = _Recorder(QuestionRow(*np.asarray(game.questions[index]).T))
    while not bool(state.done):
        state, looks = _trace(game, state, jnp.asarray(answers), jnp.int32(count))
        recorder.look(_Look(*(np.asarray(x) for x in looks)))
        if bool(state.waiting) and int(state.length) == count:
            raise ValueError(f"the moves must finish a game, got {count} that do not")
    saved = int(state.saved) / int(game.total_ticks[index])
    made = np.asarray(state.log)[: int(state.length)].astype(np.int32)
    return Transcript(
        recorder.stays, recorder.prefetches, recorder.evictions, saved, made, recorder.answers
    )


@jax.jit
def _trace(game: GameArrays, state: State, answers: Array, count: Array) -> tuple[State, _Look]:
    def step(state: State, _: None) -> tuple[State, _Look]:
        row = question_row(game, state, state.asked)
        plays = state.waiting & ((count < 0) | (state.length < count))
        position = jnp.where(count < 0, question_number(row), state.length)
        action = answers[jnp.minimum(position, len(answers) - 1)]
        may = jnp.where(action == COPY, state.may_copy, state.may_hold)
        action = jnp.where((action != DROP) & may, action, DROP)
        state = state.replace(
            pending=jnp.where(plays, action, state.pending),
            waiting=state.waiting & ~plays,
            log=state.log.at[jnp.where(plays, state.length, len(state.log))].set(
                action.astype(jnp.int8), mode="drop"
            ),
            length=state.length + plays,
        )
        written = take_one(state.written, row.value)
        leaves = (state.pending == DROP) & (row.kind == ASK_DEPART) & (written >= 0)
        low = jnp.where(leaves, jnp.maximum(written, row.segment) + 1, -1)
        applied, asked, begin = state.pending, state.asked, state.begin
        waits = state.waits & (applied >= 0) & (applied != DROP)
        run = ~(state.waiting | state.done)
        state = lax.cond(run, lambda s: micro_step(game, s), lambda s: s, state)
        until = take_one(state.until, row.value)
        return state, _Look(applied, asked, plays, begin, waits, low, until, state.copied)

    return lax.scan(step, state, None, length=CHUNK)


class _Recorder:
    """Writes down what micro steps do."""

    def __init__(self, rows: QuestionRow):
        self.rows = rows
        self.stays: list[Stay] = []
        self.prefetches: list[Transfer] = []
        self.evictions: list[Transfer] = []
        self.answers: dict[int, int] = {}
        # The newest stay of each value, and the stays and copies of write-backs.
        self.newest: dict[int, int] = {}
        self.write_backs: list[tuple[int, int]] = []

    def look(self, looks: _Look) -> None:
        for i in np.flatnonzero(looks.action >= 0):
            self._apply(_Look(*(x[i].item() for x in looks)))

    def _apply(self, look: _Look) -> None:
        row = QuestionRow(*(int(x[look.asked]) for x in self.rows))
        departs = row.kind == ASK_DEPART
        number = 2 * row.stop + departs
        if look.chosen:
            self.answers[number] = int(look.action)
        if look.waits:
            self._end_write_backs(row.slot + departs)
        if look.action != DROP:
            self._hold(row, look, number)
        elif look.low >= 0:
            self.stays[self.newest[row.value]].end = int(look.until)
            self.write_backs.append((self.newest[row.value], len(self.evictions)))
            self.evictions.append(Transfer(row.value, int(look.low), int(look.copied)))

    def _hold(self, row: QuestionRow, look: _Look, number: int) -> None:
        if row.kind == ASK_DEPART:
            self.stays[self.newest[row.value]].end = int(look.until)
        else:
            reads = row.kind == ASK_READ
            start = int(look.begin) if look.action == COPY else row.slot
            if reads:
                self.prefetches.append(Transfer(row.value, start, row.slot))
            self._begin(row.value, start, int(look.until), COPIED if reads else DEFINED, number)
        if row.result >= 0:
            parameter = self.newest[row.value]
            self._begin(row.result, row.result_start, row.result_end, DEFINED, number)
            self.stays[-1].tied = self.stays[parameter].tied

    def _begin(self, value: int, start: int, end: int, arrival: str, number: int) -> None:
        self.newest[value] = len(self.stays)
        self.stays.append(Stay(value, start, end, arrival, number, len(self.stays)))

    def _end_write_backs(self, at: int) -> None:
        for stay, copy in self.write_backs:
            if self.stays[stay].end > at:
                self.stays[stay].end = at
                self.evictions[copy] = dataclasses.replace(self.evictions[copy], end=at)
        self.write_backs.clear()
