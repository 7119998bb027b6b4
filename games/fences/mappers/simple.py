"""Rules that make a schedule in one pass."""

from __future__ import annotations

from games.fences.mappers.board import Board, Draft
from games.fences.program.program import CPU, Program
from games.fences.program.schedule import Placement


def batching(program: Program) -> tuple[Placement, ...]:
    """Stays on a device while anything is ready for it; fences stand as late as they are useful, so
    that one hands over as much as it can."""
    board = Board(program)
    draft, device = board.start(), CPU
    while not board.is_done(draft):
        ready = board.ready(draft)
        here = [i for i in ready if program.operations[i].may_run(device)]
        if not here:
            device = 1 - device
            continue
        points = board.points(draft, here[0], device)
        draft = board.place(draft, here[0], device, points[-1] if points else None)
    return draft.placements


def critical_path(program: Program) -> tuple[Placement, ...]:
    """List scheduling: the ready operation with the longest way to the end comes next, on the
    device where it ends first; fences stand right behind what is waited for."""
    board = Board(program)
    tail = [sum(row) / len(row) for row in program.tails]
    draft = board.start()
    while not board.is_done(draft):
        operation = min(board.ready(draft), key=lambda i: (-tail[i], i))
        drafts = [
            _soonest(board, draft, operation, device)
            for device in (0, 1)
            if program.operations[operation].may_run(device)
        ]
        draft = min(drafts, key=lambda it: _end(it, operation))
    return draft.placements


def _soonest(board: Board, draft: Draft, operation: int, device: int) -> Draft:
    points = board.points(draft, operation, device)
    return board.place(draft, operation, device, points[0] if points else None)


def _end(draft: Draft, operation: int) -> float:
    finish = draft.finish[operation]
    assert finish is not None
    return sum(finish) / len(finish)
