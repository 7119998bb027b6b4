"""Whole games of the oracle: a plain packer for small programs, and Drop-backup around it.

Docs/game.md, section 6.  The packer only serves tests; it shares nothing with the game's own.
"""

from __future__ import annotations

from collections.abc import Callable

from mallocgame.game.options import GameConfig
from mallocgame.oracle import DROP, Oracle, Origin, Question, Stay
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping


def pack(program: Program, stays: tuple[Stay, ...]) -> list[int] | int:
    """Offsets of the residencies, in bytes; if none are found, the index of one without a place.

    Best fit in several orders.  Residencies that are tied have one place.
    """
    blocks: dict[int, list[int]] = {}  # first of those tied -> all of them
    first_of: list[int] = []
    for i, stay in enumerate(stays):
        first_of.append(i if stay.tied is None else first_of[stay.tied])
        blocks.setdefault(first_of[i], []).append(i)
    slots = {
        k: {s for i in b for s in range(stays[i].start, stays[i].end)} for k, b in blocks.items()
    }
    sizes = {k: program.machine.align(program.values[stays[k].value].size_bytes) for k in blocks}
    above = {
        k: max(program.machine.align(program.instructions[s].reserved_bytes) for s in slots[k])
        for k in blocks
    }
    orders: list[Callable[[int], tuple[int, ...]]] = [
        lambda k: (min(slots[k]), -sizes[k]),
        lambda k: (-sizes[k], -len(slots[k])),
        lambda k: (-sizes[k] * len(slots[k]),),
        lambda k: (-above[k], -sizes[k] * len(slots[k])),
        lambda k: (-max(slots[k]), -sizes[k]),
    ]
    culprit = -1
    for order in orders:
        places: dict[int, int] = {}
        for k in sorted(blocks, key=lambda k: (*order(k), k)):
            others = [m for m in places if slots[m] & slots[k] and sizes[m]]
            taken = sorted((places[m], places[m] + sizes[m]) for m in others)
            place = best_fit(taken, sizes[k], above[k], program.machine.fast_capacity_bytes)
            if place is None:
                culprit = k
                break
            places[k] = place
        else:
            return [places[first] for first in first_of]
    return culprit


def best_fit(taken: list[tuple[int, int]], size: int, above: int, capacity: int) -> int | None:
    """The low end of the smallest gap from `above` on that holds `size` bytes."""
    if size == 0:
        return 0
    gaps, free_from = [], above
    for low, high in [*taken, (capacity, capacity)]:
        if low - free_from >= size:
            gaps.append((low - free_from, free_from))
        free_from = max(free_from, high)
    return min(gaps)[1] if gaps else None


Player = Callable[[Oracle], int]


def packed_game(
    program: Program, player: Player, config: GameConfig | None = None
) -> tuple[Oracle, Mapping]:
    """A finished game and its mapping, with Drop-backup until it packs.

    Args:
      player: answers the question of an oracle; it is not asked again after a game that did not
        pack.
    """
    forced: frozenset[Origin] = frozenset()
    answers: dict[Question, int] = {}
    first = True
    while True:
        oracle = Oracle(program, config, forced)
        while oracle.question is not None:
            question = oracle.question
            if first:
                answers[question] = player(oracle)
            answer = answers.get(question, DROP)
            oracle.step(answer if oracle.legal[answer] else DROP)
        first = False
        stays = oracle.residencies()
        offsets = pack(program, stays)
        if isinstance(offsets, list):
            return oracle, oracle.mapping(offsets)
        assert stays[offsets].origin not in forced
        forced |= {stays[offsets].origin}
