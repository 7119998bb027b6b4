"""The end of a game: its residencies get offsets, by Drop-backup where they do not pack.

docs/game.md, section 6.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mallocgame.game.arrays import GameArrays
from mallocgame.game.retime import retime
from mallocgame.game.state import DROP
from mallocgame.game.tables import ENTRY, StopRow
from mallocgame.game.transcript import Transcript, transcribe, transcribe_answers
from mallocgame.packing.host import pack
from mallocgame.packing.problem import PackingProblem
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping, Residency, in_order

# Seconds that the packer may take, for the game as it was played and after each Drop-backup.
PACK_S, PACK_AGAIN_S = 10.0, 2.0


@dataclasses.dataclass(frozen=True)
class FinishedGame:
    """A packed game.

    saved_fraction: of the all-slow latency, by the game's account. moves: int32 [n], of the final
        branch. backups: how often Drop-backup was needed. lost: what that took off the saved
        fraction. seconds: that packing took.
    """

    mapping: Mapping
    saved_fraction: float
    moves: np.ndarray
    backups: int
    lost: float
    seconds: float


def finish_game(
    game: GameArrays, program: Program, moves: Sequence[int] | np.ndarray, index: int = 0
) -> FinishedGame:
    """Packs a finished game of a program.

    program: the one with this index in the game.

    Raises:
      ValueError: the moves do not finish a game of this program.
    """
    made = played = transcribe(game, index, moves)
    answers = dict(made.answers)
    backups, packing_s = 0, 0.0
    while True:
        problem, item = packing_problem(program, made)
        packed = pack(problem, PACK_AGAIN_S if backups else PACK_S)
        packing_s += packed.seconds
        if not packed.unplaced:
            break
        culprit = packed.unplaced[0]
        origin = made.stays[int(np.argmax(item == culprit))].origin
        answers |= dict.fromkeys(_question(game, index, origin), DROP)
        backups += 1
        made = transcribe_answers(game, index, answers)
        answers = made.answers | answers
    offsets = packed.offsets[item]
    return FinishedGame(
        mapping=retime(program, _mapping(program, made, offsets)),
        saved_fraction=made.saved_fraction,
        moves=made.moves,
        backups=backups,
        lost=played.saved_fraction - made.saved_fraction,
        seconds=packing_s,
    )


def packing_problem(program: Program, made: Transcript) -> tuple[PackingProblem, np.ndarray]:
    """The residencies as items to be packed, and the item that each residency is, int64 [N].

    Residencies that share a place over a loop are one item; reservations are floors.
    """
    roots = np.array([stay.tied for stay in made.stays], np.int64)
    first, item = np.unique(roots, return_inverse=True)
    sizes = [program.machine.align(program.values[made.stays[i].value].size_bytes) for i in first]
    reserved = np.array([program.machine.align(i.reserved_bytes) for i in program.instructions])
    floor = np.zeros(len(first), np.int64)
    for stay, i in zip(made.stays, item, strict=True):
        floor[i] = max(floor[i], reserved[stay.start : stay.end].max())
    lower = np.array([stay.start for stay in made.stays], np.int64)
    upper = np.array([stay.end for stay in made.stays], np.int64)
    size = np.array(sizes, np.int64)
    capacity = program.machine.fast_capacity_bytes
    return PackingProblem(capacity, size, floor, item, lower, upper), item


def _question(game: GameArrays, index: int, number: int) -> set[int]:
    """The numbers of a question that is forced: at an entry marker both kinds are one."""
    stop = StopRow(*np.asarray(game.stops[index, number // 2]))
    return {number, number ^ 1} if stop.kind == ENTRY else {number}


def _mapping(program: Program, made: Transcript, offsets: np.ndarray) -> Mapping:
    residencies = [
        Residency(stay.value, int(offset), stay.start, stay.end, stay.arrival)
        for stay, offset in zip(made.stays, offsets, strict=True)
    ]
    return Mapping(
        program=program.name,
        fingerprint=program.fingerprint,
        residencies=in_order(residencies),
        prefetches=in_order(made.prefetches),
        evictions=in_order(made.evictions),
    )
