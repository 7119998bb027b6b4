"""The game of docs/graphs.md in plain Python, one object a game."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from games.graphs.game.options import (
    CLOSE,
    FIRST_ADDED,
    FREE_MOVES,
    HALVINGS,
    MORE,
    NUM_ACTIONS,
    RETAIN,
    SLOWEST,
    SPARE,
    GraphsConfig,
)
from games.graphs.oracle.rules import Rejected, subgraph_run
from games.graphs.problem.problem import Problem
from games.graphs.problem.solution import Subgraph

Ops = frozenset[int]
# Time of a group at its best tile, given tensors retained before and to be retained; None where no
# tile is legal, or the game does not play the group.
Timing = Callable[[Ops, frozenset[int], frozenset[int]], float | None]


@dataclasses.dataclass(frozen=True)
class Closed:
    """A closed group: its operations, and the tensors that it found and that it retains."""

    ops: Ops
    resident: frozenset[int]
    retain: frozenset[int]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What an action leads to: the operation it is about, the group, its time; None if illegal."""

    op: int | None
    ops: Ops
    time: float | None


class Oracle:
    """A game; `answers`, `score` and `headroom` are those of the present question.

    Operations are numbered as in the problem; the game goes by their topological order.
    """

    def __init__(self, problem: Problem, config: GraphsConfig, timing: Timing):
        self.problem, self.config, self._timing = problem, config, timing
        none: frozenset[int] = frozenset()
        self.naive = [timing(frozenset([op]), none, none) or 0.0 for op in range(problem.num_ops)]
        self.ran: set[int] = set()
        self.stored = set(problem.graph_inputs)
        self.recent: Ops = none
        self.group: Ops = none
        self.resident: int | None = None
        self.closed_time, self.length, self.done = 0.0, 0, False
        self.page, self.more = 0, False
        self.closed: list[Closed] = []
        self.open_time = 0.0
        self.waiting = set(range(problem.num_ops))
        self._ask()

    def step(self, action: int) -> None:
        """Plays a legal action."""
        if self.done:
            return
        answer = self.answers[action]
        assert answer.time is not None, "the action is not legal"
        self.length += 1
        asks = self.more and action == MORE
        self.page = self.page + 1 if asks else 0
        if asks:
            pass
        elif not self.group or action >= FIRST_ADDED:
            self.group, self.open_time = answer.ops, answer.time
        else:
            self._close(answer.time, action == RETAIN)
        if not self.done:
            self._ask()

    @property
    def legal(self) -> list[bool]:
        return [self.done or answer.time is not None for answer in self.answers]

    @property
    def total(self) -> float:
        return sum(self.naive)

    @property
    def score(self) -> float:
        ahead = sum(self.naive[op] for op in self._pending())
        return 1 - (ahead + self.closed_time + self.open_time) / self.total

    @property
    def headroom(self) -> float:
        if self.done:
            return 0.0
        first = [op for op in range(self.problem.num_ops) if op not in self.ran | self.group]
        bound = sum(self.problem.compute_bounds[op] for op in (*self.group, *first))
        return max(1 - (self.closed_time + bound) / self.total - self.score, 0.0)

    def _outputs(self, ops: Ops) -> list[int]:
        """Tensors that leave a group, in order."""
        readers = self.problem.consumers
        made = (self.problem.outputs[op] for op in self._sorted(ops))
        return [t for t in made if not any(reader in ops for reader in readers[t])]

    def _sorted(self, ops: Ops | set[int]) -> list[int]:
        return sorted(ops, key=self.problem.rank.__getitem__)

    def _pending(self) -> set[int]:
        """What must run yet if the open group were closed and all that leaves it stored."""
        stored = self.stored | set(self._outputs(self.group))
        found: set[int] = set()
        stack = [op for op in range(self.problem.num_ops) if op not in self.ran | self.group]
        while stack:
            op = stack.pop()
            if op not in found:
                found.add(op)
                missing = [t for t in self.problem.inputs[op] if t not in stored]
                stack += [self.problem.producer[t] for t in missing]
        return found

    def _close(self, time: float, retains: bool) -> None:
        waiting, outputs = self._pending(), self._outputs(self.group)
        kept = self.retained if retains else None
        found = frozenset() if self.resident is None else frozenset([self.resident])
        keeps = frozenset() if kept is None else frozenset([kept])
        self.closed.append(Closed(self.group, found, keeps))
        self.ran |= self.group
        self.stored |= {t for t in outputs if t != kept}
        self.recent = frozenset(self.problem.producer[t] for t in outputs)
        self.closed_time += time
        self.waiting = waiting
        self.resident = kept
        self.group, self.open_time = (self.readers, self.next_time) if retains else (frozenset(), 0)
        self.done = not self.group and not waiting

    def _ask(self) -> None:
        """Works out the answers to the next question."""
        size = len(self.problem.outputs)
        self.retained: int | None = None
        self.readers: Ops = frozenset()
        self.next_time = 0.0
        if not self.group:
            ready = [op for op in self.waiting if self._known(op, self.stored)]
            ready.sort(key=lambda op: (not self._reads(op, self.recent), self.problem.rank[op]))
            self.answers = []
            self.answers += [self._answer(op, frozenset([op])) for op in self._shown(ready)]
        else:
            self._find_retained()
            self.answers = [self._answer(None, self.group), self._retaining()]
            for op in self._shown(self._added()):
                self.answers.append(self._joining(op))
        missing = NUM_ACTIONS - len(self.answers)
        self.answers += [Answer(None, frozenset(), None)] * missing
        if self.more:
            self.answers[MORE] = Answer(None, self.group, self.open_time)
        assert size and len(self.answers) == NUM_ACTIONS and CLOSE == 0

    def _answer(self, op: int | None, ops: Ops) -> Answer:
        return Answer(op, ops, self._time(ops, self.resident, None))

    def _shown(self, candidates: list[int]) -> list[int]:
        """Those of the present page; `more` says whether another one follows."""
        slots = NUM_ACTIONS - len(self.answers)
        left = candidates[self.page * (slots - 1) :]
        self.more = len(left) > slots and self._is_free
        return left[: slots - 1] if self.more else left[:slots]

    def _joining(self, op: int) -> Answer:
        ops = self.group | self._needed(op)
        if len(ops) > self.config.largest_group:
            return Answer(op, ops, None)
        answer = self._answer(op, ops)
        alone = sum(self.naive[o] for o in ops)
        fast = answer.time is not None and answer.time <= SLOWEST * alone
        return answer if fast else Answer(op, ops, None)

    def _time(self, ops: Ops, resident: int | None, retain: int | None) -> float | None:
        before = frozenset() if resident is None else frozenset([resident])
        after = frozenset() if retain is None else frozenset([retain])
        return self._timing(ops, before, after)

    def _retaining(self) -> Answer:
        if self.retained is None:
            return Answer(None, self.group, None)
        after = self._time(self.readers, self.retained, None)
        if after is None:
            return Answer(None, self.group, None)
        self.next_time = after
        return Answer(None, self.group, self._time(self.group, self.resident, self.retained))

    def _known(self, op: int, tensors: set[int]) -> bool:
        return all(t in tensors for t in self.problem.inputs[op])

    def _reads(self, op: int, ops: Ops) -> bool:
        return any(self.problem.producer.get(t) in ops for t in self.problem.inputs[op])

    @property
    def _is_free(self) -> bool:
        return self.length < FREE_MOVES * self.problem.num_ops + SPARE

    def _find_retained(self) -> None:
        """The first output all of whose waiting readers can run next, together."""
        outputs = self._outputs(self.group)
        known = self.stored | set(outputs)
        for tensor in outputs if self._is_free else ():
            readers = set(self.problem.consumers[tensor]) & self.waiting - self.group
            if 0 < len(readers) <= self.config.largest_group and all(
                self._known(op, known) for op in readers
            ):
                self.retained, self.readers = tensor, frozenset(readers)
                return

    def _added(self) -> list[int]:
        """Operations that may join: readers first, then by order."""
        problem, group = self.problem, self.group
        touched = {t for op in group for t in problem.inputs[op]}
        first = self._outputs(group)[0]
        shape = (problem.heights[first], problem.widths[first])
        found = []
        if not self._is_free or len(group) >= self.config.largest_group:
            return found
        for op in self._sorted(self.waiting - group):
            made = problem.outputs[op]
            shares = bool(touched & set(problem.inputs[op]))
            same = (problem.heights[made], problem.widths[made]) == shape
            if self._reads(op, group) or (shares and same):
                found.append(op)
        return sorted(found, key=lambda op: not self._reads(op, group))

    def _needed(self, op: int) -> Ops:
        """An operation, and all that has to run in the open group for it."""
        known = self.stored | {self.problem.outputs[o] for o in self.group} | {self.resident}
        found, stack = set[int](), [op]
        while stack:
            found.add(stack[-1])
            missing = [t for t in self.problem.inputs[stack.pop()] if t not in known]
            stack += {self.problem.producer[t] for t in missing} - found
        return frozenset(found)


def by_rules(problem: Problem) -> Timing:
    """Times from the second reading of the rules: every tile is tried, step by step.

    Of each width and height the largest depth that fits is taken, with the better snake order.
    """
    known: dict[tuple[Ops, frozenset[int], frozenset[int]], float | None] = {}

    def timing(ops: Ops, resident: frozenset[int], retain: frozenset[int]) -> float | None:
        key = (ops, resident, retain)
        if key not in known:
            known[key] = _best_time(problem, ops, resident, retain)
        return known[key]

    return timing


def _best_time(
    problem: Problem, ops: Ops, resident: frozenset[int], retain: frozenset[int]
) -> float | None:
    depths = [problem.native[0]]
    depths += [problem.reduction(op) for op in ops if problem.is_matmul(op)]
    found: list[float] = []
    for high in _halvings(problem.native[1]):
        for wide in _halvings(problem.native[0]):
            for depth in _halvings(min(depths)):
                subgraph = Subgraph(tuple(ops), (wide, high, depth), tuple(retain))
                try:
                    run = subgraph_run(problem, subgraph, resident)
                except Rejected:
                    continue
                if not _is_played(problem, run.demands, run.cuts, ops, resident):
                    return None
                found += [run.time(order) for order in _snakes(run.height, run.width, wide, high)]
                break
    return min(found, default=None)


def _halvings(size: int) -> list[int]:
    return list(dict.fromkeys(max(size >> i, 1) for i in range(HALVINGS)))


def _snakes(height: int, width: int, wide: int, high: int) -> list[tuple[int, ...]]:
    down, across = -(-height // high), -(-width // wide)
    rows = [[r * across + c for c in range(across)] for r in range(down)]
    columns = [[r * across + c for r in range(down)] for c in range(across)]
    return [
        tuple(n for i, line in enumerate(lines) for n in (line[::-1] if i % 2 else line))
        for lines in (rows, columns)
    ]


def _is_played(
    problem: Problem,
    demands: dict[int, set[tuple[str, str]]],
    cuts: dict[int, tuple[str, str]],
    ops: Ops,
    resident: frozenset[int],
) -> bool:
    """Whether every tensor is loaded in one role, and the steps go along one reduction."""
    reductions = {
        problem.reduction(op)
        for op in ops
        if problem.is_matmul(op) and cuts[problem.outputs[op]] == ("y", "x")
    }
    one_role = all(len(roles) == 1 for t, roles in demands.items() if t not in resident)
    return one_role and len(reductions) <= 1
