"""Looks at every schedule, up to those that a bound or a better draft rules out.

A fence right behind the last operation that somebody waits for, and a sync right before the first
one that waits, are never worse than elsewhere (docs/fences.md).  So the drafts of `Board` lead to
an optimum.
"""

from __future__ import annotations

import dataclasses
import time

from games.fences.mappers.board import Board, Draft
from games.fences.mappers.simple import batching, critical_path
from games.fences.program.program import Program
from games.fences.program.schedule import Placement

SLACK = 1e-9


@dataclasses.dataclass(frozen=True)
class Optimum:
    """placements, cost: of the best schedule found. proven: whether there is no better one."""

    placements: tuple[Placement, ...]
    cost: float
    proven: bool
    drafts: int


def replayed(board: Board, placements: tuple[Placement, ...]) -> Draft:
    """The draft of some placements."""
    draft = board.start()
    for it in placements:
        point = it.fences_after[0] if it.fences_after else None
        draft = board.place(draft, it.operation, it.device, point)
    return draft


def exhaustive(program: Program, budget_s: float = float("inf")) -> Optimum:
    """Depth first, the most promising draft first, until all are seen or the time is over."""
    search = _Search(Board(program), time.perf_counter() + budget_s)
    search.run()
    return Optimum(search.best.placements, search.cost, not search.late, search.drafts)


class _Search:
    def __init__(self, board: Board, until: float):
        self.board, self._until = board, until
        simple = [replayed(board, rule(board.program)) for rule in (batching, critical_path)]
        self.best = min(simple, key=board.cost)
        self.cost = board.cost(self.best)
        self.drafts, self.late = 0, False
        self._seen: dict[tuple, list[tuple[float, ...]]] = {}

    def run(self) -> None:
        start = self.board.start()
        waiting = [(self.board.bound(start), start)]
        while waiting and not self.late:
            bound, draft = waiting.pop()
            if bound >= self.cost - SLACK or self._is_beaten(draft):
                continue
            self.drafts += 1
            self.late = self.drafts % 64 == 0 and time.perf_counter() > self._until
            following = [(self.board.bound(it), it) for it in self._following(draft)]
            for bound, after in sorted(following, key=lambda pair: -pair[0]):
                if not self.board.is_done(after):
                    waiting.append((bound, after))
                elif bound < self.cost - SLACK:
                    self.best, self.cost = after, self.board.cost(after)

    def _following(self, draft: Draft) -> list[Draft]:
        board, found = self.board, []
        for operation in board.ready(draft):
            for device in (0, 1):
                if board.may[device] >> operation & 1:
                    for point in board.points(draft, operation, device) or [None]:
                        found.append(board.place(draft, operation, device, point))
        return found

    def _is_beaten(self, draft: Draft) -> bool:
        """Whether a draft seen before leads to schedules that are as good or better."""
        key, figures = self._kind(draft)
        seen = self._seen.setdefault(key, [])
        if any(all(a <= b + SLACK for a, b in zip(it, figures, strict=True)) for it in seen):
            return True
        seen[:] = [it for it in seen if not all(a >= b for a, b in zip(it, figures, strict=True))]
        seen.append(figures)
        return False

    def _kind(self, draft: Draft) -> tuple[tuple, tuple[float, ...]]:
        """Drafts of one kind go on alike; and figures, of which less is never worse."""
        board = self.board
        left = board.everything & ~draft.placed
        live = 0
        for i in range(board.count):
            if draft.placed >> i & 1 and board.readers[i] & left:
                live |= 1 << i
        fresh = live & ~draft.handed
        figures = [draft.fixed, *draft.clock[0], *draft.clock[1]]
        points = []
        for stream in draft.streams:
            waiting = tuple(i for i in stream if fresh >> i & 1)
            points.append(waiting)
            for i in waiting:
                finish = draft.finish[i]
                assert finish is not None
                figures += finish
            points.append(board.program.operations[stream[-1]].guard if stream else ())
        key = (draft.placed, draft.on_gpu & live, draft.handed & live, draft.sent & live)
        return (*key, *points), tuple(figures)
