"""The compiler in the loop: changes what it is asked for and keeps what it estimates to be faster.

A hill climb over `Wishes`.  The state is in a JSON file that is written after every compile, so a
search can be killed at any time and continues from there.  The result is never worse than
production by the compiler's own estimate: if nothing better is found, it is production's options.

The estimates contain no waiting for copies; the result is simulated afterwards.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gamekit.errors import InputError
from gamekit.jsonfile import Record, read_json, write_json
from mallocgame.program import Access, Program
from mallocgame.program.latency import access_seconds
from mallocgame.program.levels import Levels
from mallocgame.program.mapping import Mapping
from mallocgame.xla.read.chips import Options
from mallocgame.xla.steer.export import Wishes, options_of, wishes_of
from mallocgame.xla.steer.roundtrip import CompilerBench

FORMAT, VERSION = "mallocgame.compiler_search", 1
SHARE_OF_CHANCE = 0.1  # of picking a value that is spread evenly, so that any may be picked
MOST_TRIES = 20  # of moves that may change nothing
FARTHEST = 32  # the most slots by which a prefetch starts before its read


@dataclass(frozen=True)
class CompilerSearch:
    """A search in the compiler, as far as it has come.

    Attributes:
      begin: what it started from, "mapping" or "production".
      cycles_production: the compiler's estimate for production.
      cycles_begin: its estimate for the start; None until that has been compiled, or if it is
        refused.
      cycles, wishes: of the best so far that is no worse than the start.
      seconds: spent so far.
      compiles: made so far; refused: those of them that the compiler rejected.
      history: (seconds, compiles, cycles) of each improvement.
      levers: what it may say, see `options_of`; files of earlier versions have all.
    """

    program: str
    fingerprint: str
    begin: str
    seed: int
    cycles_production: int
    wishes: Wishes
    cycles_begin: int | None = None
    cycles: int | None = None
    seconds: float = 0.0
    compiles: int = 0
    refused: int = 0
    history: tuple[tuple[float, int, int], ...] = ()
    levers: str = "all"

    @property
    def cycles_best(self) -> int:
        """The estimate of the result: production's if nothing better was found."""
        return min(self.cycles_production, self.cycles or self.cycles_production)

    @property
    def gain(self) -> float:
        """Speed-up over production by the compiler's own estimate."""
        return self.cycles_production / self.cycles_best - 1 if self.cycles_best else 0.0

    def options(self, bench: CompilerBench) -> Options:
        """The compiler options of the best wishes."""
        is_better = self.cycles is not None and self.cycles < self.cycles_production
        wishes = self.wishes if is_better else Wishes()
        return options_of(bench.program, wishes, bench.chip, self.levers)

    def line(self) -> str:
        """One line of progress."""
        return (
            f"{self.program}: {self.seconds:.0f} s, {self.compiles} compiles: production "
            f"{self.cycles_production:,}, best {self.cycles_best:,} ({self.gain:+.2%})"
        )


def begin(
    bench: CompilerBench,
    mapping: Mapping | None,
    benefits: dict[int, float],
    seed: int,
    path: Path,
    levers: str = "public",
) -> CompilerSearch:
    """A new search, or the one in the file.

    Args:
      mapping: the mapping whose export it starts from; None to start from production's own order.
      benefits: seconds by value, the most urgent first; see `buffer_benefits`.

    Raises:
      InputError: the file is of another program, start or seed.
    """
    program = bench.program
    kind = "production" if mapping is None else "mapping"
    if mapping is None:
        wishes = Wishes(order=tuple(v for v in benefits if program.fits(v)))
    else:
        wishes = wishes_of(program, mapping)
    new = CompilerSearch(
        program=program.name,
        fingerprint=program.fingerprint,
        begin=kind,
        seed=seed,
        cycles_production=bench.cycles(bench.account()),
        wishes=wishes,
        levers=levers,
    )
    if not path.exists():
        return new
    old = load_search(path)
    for name in ("program", "fingerprint", "begin", "seed", "cycles_production", "levers"):
        if getattr(old, name) != getattr(new, name):
            raise InputError(
                f"{path}: {name}: must be {getattr(new, name)!r} to continue this search, "
                f"got {getattr(old, name)!r}; choose another folder"
            )
    return old


def search(
    bench: CompilerBench,
    state: CompilerSearch,
    benefits: dict[int, float],
    seconds: float,
    path: Path,
    report: Callable[[CompilerSearch, bool], None],
    compiles: float = math.inf,
) -> CompilerSearch:
    """Searches until `seconds` are spent or `compiles` made, including those of earlier runs.

    Args:
      state: from `begin`.
      path: where the state is kept.
      report: called after each compile with the state and whether the compile was an improvement.
    """
    moves = WishMoves(bench.program, benefits, state.levers)
    while state.seconds < seconds and state.compiles < compiles:
        started = time.monotonic()
        is_first = state.compiles == 0
        rng = np.random.default_rng([state.seed, state.compiles])
        candidate = state.wishes if is_first else moves.perturbed(state.wishes, rng)
        cycles = _estimate(bench, candidate, state.levers)
        spent = state.seconds + time.monotonic() - started
        before = state.cycles_best
        state = dataclasses.replace(
            state,
            seconds=spent,
            compiles=state.compiles + 1,
            refused=state.refused + (cycles is None),
            cycles_begin=cycles if is_first else state.cycles_begin,
        )
        if cycles is not None and (state.cycles is None or cycles <= state.cycles):
            state = dataclasses.replace(state, wishes=candidate, cycles=cycles)
        is_better = state.cycles_best < before
        if is_better:
            mark = (round(spent, 1), state.compiles, state.cycles_best)
            state = dataclasses.replace(state, history=(*state.history, mark))
        save_search(state, path)
        report(state, is_better)
    return state


def own_benefits(program: Program) -> dict[int, float]:
    """Seconds that each value saves in fast memory by our latencies, the most first.

    For programs whose compiler's account, `buffer_benefits`, is not at hand.
    """
    slow_s, fast_s = access_seconds(program)
    found: dict[int, float] = {}
    for access, slow, fast in zip(program.accesses, slow_s, fast_s, strict=True):
        saved = program.weights[access.instruction] * float(slow - fast)
        found[access.value] = found.get(access.value, 0.0) + saved
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _estimate(bench: CompilerBench, wishes: Wishes, levers: str) -> int | None:
    """The estimated cycles of a compile; None if the compiler refuses the wishes."""
    options = options_of(bench.program, wishes, bench.chip, levers)
    with tempfile.TemporaryDirectory(prefix="mallocgame-search-") as name:
        try:
            return bench.compile(options, Path(name))
        except InputError as error:
            if "compile failed" not in str(error):
                raise
            return None


class WishMoves:
    """Random changes of wishes; values with more benefit are picked more often.

    levers: "public" cannot say where a single read is; see `options_of`.
    """

    def __init__(self, program: Program, benefits: dict[int, float], levers: str = "all"):
        self.program, self.says_reads = program, levers == "all"
        weight = np.array([max(benefits.get(v, 0.0), 0.0) for v in range(len(program.values))])
        even = np.array([float(program.fits(v)) for v in range(len(program.values))])
        self.weight = SHARE_OF_CHANCE * even / max(even.sum(), 1.0)
        if weight.sum():
            self.weight += (1 - SHARE_OF_CHANCE) * even * weight / weight.sum()
        body_of = Levels(program).body_of
        self.reads: dict[int, list[Access]] = {}
        for access in program.accesses:
            if access.kind == "read" and access.operands and body_of[access.instruction] < 0:
                self.reads.setdefault(access.value, []).append(access)

    def perturbed(self, wishes: Wishes, rng: np.random.Generator) -> Wishes:
        """A neighbour of `wishes`: one to a few moves."""
        moves = [self._move, self._move, self._swap, self._out, self._in, self._start]
        if self.says_reads:
            moves.append(self._read)
        found, left = wishes, int(rng.geometric(0.5))
        for _ in range(MOST_TRIES):
            before = found
            found = moves[rng.integers(len(moves))](found, rng)
            left -= found != before
            if left <= 0:
                break
        return found

    def _pick(self, values: Sequence[int], rng: np.random.Generator) -> int | None:
        chance = self.weight[list(values)] if values else np.zeros(0)
        if not chance.sum():
            return None
        return values[int(rng.choice(len(values), p=chance / chance.sum()))]

    def _move(self, wishes: Wishes, rng: np.random.Generator) -> Wishes:
        """Moves a value to an earlier or later turn, mostly by a little."""
        value = self._pick(wishes.order, rng)
        if value is None:
            return wishes
        order = list(wishes.order)
        here = order.index(value)
        order.remove(value)
        spread = len(order) * 0.5 ** rng.integers(1, 6)
        there = int(np.clip(round(here + rng.normal(0.0, 1.0 + spread)), 0, len(order)))
        order.insert(there, value)
        return dataclasses.replace(wishes, order=tuple(order))

    def _swap(self, wishes: Wishes, rng: np.random.Generator) -> Wishes:
        """Swaps the turns of two values."""
        pair = [self._pick(wishes.order, rng) for _ in range(2)]
        turn = {value: i for i, value in enumerate(wishes.order)}
        order = list(wishes.order)
        if None not in pair:
            first, second = (turn[v] for v in pair if v is not None)
            order[first], order[second] = order[second], order[first]
        return dataclasses.replace(wishes, order=tuple(order))

    def _out(self, wishes: Wishes, rng: np.random.Generator) -> Wishes:
        """Keeps a value in slow memory."""
        value = self._pick(wishes.order, rng)
        if value is None:
            return wishes
        order = tuple(v for v in wishes.order if v != value)
        return dataclasses.replace(wishes, order=order, values_out=wishes.values_out | {value})

    def _in(self, wishes: Wishes, rng: np.random.Generator) -> Wishes:
        """Gives a turn to a value that was kept in slow memory."""
        value = self._pick(sorted(wishes.values_out), rng)
        if value is None:
            return wishes
        place = int(rng.integers(len(wishes.order) + 1))
        order = (*wishes.order[:place], value, *wishes.order[place:])
        return dataclasses.replace(wishes, order=order, values_out=wishes.values_out - {value})

    def _read(self, wishes: Wishes, rng: np.random.Generator) -> Wishes:
        """Keeps one read of a value in slow memory, or no longer does."""
        access = self._any_read(wishes, rng)
        if access is None:
            return wishes
        uses = {(access.instruction, operand) for operand in access.operands}
        return dataclasses.replace(wishes, reads_out=wishes.reads_out ^ uses)

    def _start(self, wishes: Wishes, rng: np.random.Generator) -> Wishes:
        """Lets the copy for a read prefer another start, or none."""
        access = self._any_read(wishes, rng)
        if access is None:
            return wishes
        use = (access.instruction, access.operands[0])
        others = tuple(p for p in wishes.prefetches if p[:2] != use)
        if len(others) < len(wishes.prefetches) and rng.random() < 0.5:
            return dataclasses.replace(wishes, prefetches=others)
        start = max(0, access.instruction - int(rng.integers(1, FARTHEST)))
        return dataclasses.replace(wishes, prefetches=(*others, (*use, start)))

    def _any_read(self, wishes: Wishes, rng: np.random.Generator) -> Access | None:
        value = self._pick([v for v in wishes.order if v in self.reads], rng)
        if value is None:
            return None
        reads = self.reads[value]
        return reads[rng.integers(len(reads))]


def save_search(state: CompilerSearch, path: Path) -> None:
    """Writes a search so that it can be continued."""
    record = dataclasses.asdict(state)
    wishes = record["wishes"]
    wishes["values_out"] = sorted(wishes["values_out"])
    wishes["reads_out"] = sorted(wishes["reads_out"])
    write_json(path, {"format": FORMAT, "version": VERSION, **record})


def load_search(path: Path) -> CompilerSearch:
    """Reads a search.

    Raises:
      InputError: names the file, the field and the offending value.
    """
    data = read_json(path, FORMAT, VERSION)
    record = Record(data, str(path))
    try:
        raw: dict[str, Any] = data["wishes"]
        wishes = Wishes(
            order=tuple(int(v) for v in raw["order"]),
            values_out=frozenset(int(v) for v in raw["values_out"]),
            reads_out=frozenset((int(t), int(o)) for t, o in raw["reads_out"]),
            prefetches=tuple((int(t), int(o), int(s)) for t, o, s in raw["prefetches"]),
        )
        history = tuple((float(s), int(n), int(c)) for s, n, c in data["history"])
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: wishes or history: must be as `save_search` writes them, got {error!r}"
        ) from None
    return CompilerSearch(
        program=record.string("program"),
        fingerprint=record.string("fingerprint"),
        begin=record.string("begin"),
        seed=record.integer("seed"),
        cycles_production=record.integer("cycles_production"),
        wishes=wishes,
        cycles_begin=record.integer("cycles_begin", None),
        cycles=record.integer("cycles", None),
        seconds=record.number("seconds"),
        compiles=record.integer("compiles"),
        refused=record.integer("refused"),
        history=history,
        levers=record.string("levers", "all"),
    )
