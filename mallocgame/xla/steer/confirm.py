"""The compiler's last word on a mapping: its own cycles with the options, beside production's.

A mapping is said as faithfully as the options can.  Where the compiler leaves something out, that
has its turn first in the next compile, until the compiler follows well enough.  Then come other
mappings, for which the caller may have learned from these compiles.
Then, if there are seconds for it, the compiler searches from the best of all.  Only options that it
does not estimate as slower than production are handed out.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gamekit.errors import InputError
from gamekit.files import write_text
from mallocgame.judge.reading import Reading
from mallocgame.program import Program
from mallocgame.program.latency import access_seconds
from mallocgame.program.mapping import Mapping
from mallocgame.xla.compile.compiler import DEFAULT_TIMEOUT_S
from mallocgame.xla.read.chips import Chip, Options
from mallocgame.xla.steer.export import Wishes, options_of, wishes_of
from mallocgame.xla.steer.followed import Placement, followed_share, modelled_seconds
from mallocgame.xla.steer.in_the_loop import CompilerSearch, own_benefits, search
from mallocgame.xla.steer.roundtrip import STABLEHLO, CompilerBench

PRODUCTION = "production's own options"
ENOUGH = 0.5  # of the promised gain: no further way is compiled then
LEAST_GAIN = 0.001  # that is worth a compile
MOST_TURNS = 6  # compiles of the order of one mapping
MOST_COMPILES = 12  # of all mappings, before the search in the compiler
LEAST_LOSS = 0.002  # of what a mapping saves: values that lose less keep their turn
# How a mapping is said.
FAITHFUL, ORDER_ALONE = "its order and copies", "its order alone"
TURNS, COPIES = "its order, with what was left out first", "the starts of its copies"


@dataclass(frozen=True)
class Attempt:
    """One compile.

    what: how the mapping was said.
    cycles: the compiler's estimate; None if it refused the options, or took too long.
    followed: share of the bytes to be accessed in fast memory that are.
    simulated_s: our latency of what was compiled, without stalls.
    placement: where the compile has the program's accesses.
    number: of the mapping that was said, from 0.
    is_late: whether it took longer than the time-out; no compile follows then.
    """

    what: str
    cycles: int | None
    followed: float | None = None
    simulated_s: float | None = None
    placement: Placement | None = dataclasses.field(default=None, repr=False, compare=False)
    number: int = 0
    is_late: bool = False


@dataclass(frozen=True)
class Confirmation:
    """What the compiler makes of a mapping.

    production_cycles: its estimate for its own mapping, loops as often as they run, without waiting
        for copies.
    cycles: its estimate with `options`.
    what: how the mapping was said; `PRODUCTION` if no way of saying it was better.
    attempts: ways that were compiled, in that order.
    seconds: for all compiles.
    searched: compiles of the search that followed.
    number: of the mapping that `options` say; 0 too where they are production's.
    """

    production_cycles: int
    cycles: int
    options: Options
    what: str
    attempts: tuple[Attempt, ...]
    seconds: float
    searched: int = 0
    number: int = 0

    @property
    def gain(self) -> float:
        """Speed-up over production by the compiler's own estimate; never negative."""
        return self.production_cycles / self.cycles - 1 if self.cycles else 0.0

    def __str__(self) -> str:
        if self.what != PRODUCTION:
            first = self.attempts[0].what if self.attempts else ""
            return f"the compiler confirms {self.gain:+.2%}" + (
                "" if self.what == first else f", by {self.what}"
            )
        if not self.attempts and not self.searched:
            return "nothing to be confirmed: production's own options are kept"
        compiled = [a.cycles for a in self.attempts if a.cycles is not None]
        if compiled:
            told = f"{self.production_cycles / min(compiled) - 1:+.2%} at best"
        else:
            told = "too slowly" if self.attempts[-1:] and self.attempts[-1].is_late else "refused"
        return f"not confirmed (compiled: {told}): production's own options are kept"


def confirm(
    program: Program,
    mapping: Mapping,
    module: str,
    chip: Chip,
    *,
    levers: str = "public",
    promised: float,
    again: Callable[[Sequence[Attempt], float], tuple[Mapping, float] | None] | None = None,
    search_s: float = 0.0,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    progress: Callable[[str], None] | None = None,
    bench: CompilerBench | None = None,
) -> Confirmation:
    """Compiles a mapping's options and chooses what to hand out.

    Args:
      module: the StableHLO that the program was compiled from.
      levers: what may be said, see `options_of`.
      promised: the gain that the mapping promises; with half of it the compiler is believed to
        follow, and below `LEAST_GAIN` nothing is compiled.
      again: gets the compiles of the last mapping and the best gain so far, and gives another
        mapping and the gain that it promises, or None; not asked where nothing was compiled.
      search_s: seconds for a search with the compiler in the loop (`.in_the_loop`) after that.
      bench: a stand-in for tests.

    Raises:
      InputError: the program does not say production's cycles, or the compiler is missing.
    """
    production = production_cycles(program)
    kept = Confirmation(production, production, plain_options(program, chip), PRODUCTION, (), 0.0)
    started = time.monotonic()
    asked: tuple[Mapping, float] | None = (mapping, promised)
    with tempfile.TemporaryDirectory(prefix="mallocgame-confirm-") as name:
        folder = Path(name)
        write_text(folder / STABLEHLO, module)
        bench = bench or CompilerBench(program, folder, chip, timeout_s)
        tries = _Tries(bench, chip, levers, folder, kept, progress)
        while asked is not None:
            done = tries.compile_ways(*asked)
            asked = again(done, tries.best.gain) if again and done and not tries.is_late else None
        best = tries.best
        if search_s > 0 and not tries.is_late:
            best = _searched(bench, best, tries.wishes, levers, search_s, progress)
    seconds = time.monotonic() - started
    return dataclasses.replace(best, attempts=tuple(tries.attempts), seconds=seconds)


class _Tries:
    """Compiles of mappings, and the best one so far.

    best, wishes: what it is, and what it says.
    """

    def __init__(
        self,
        bench: CompilerBench,
        chip: Chip,
        levers: str,
        folder: Path,
        best: Confirmation,
        progress: Callable[[str], None] | None,
    ):
        self._bench, self._chip, self._levers, self._folder = bench, chip, levers, folder
        self._progress, self._mappings = progress, 0
        self._said = [Wishes()]
        self.best, self.wishes = best, Wishes()
        self.attempts: list[Attempt] = []

    def compile_ways(self, mapping: Mapping, promised: float) -> list[Attempt]:
        """Compiles ways to say a mapping until one gains enough of what is promised, and more than
        the mappings before.

        Ways that were compiled already are left out; none is compiled if the promise is not worth
        it.
        """
        enough = max(ENOUGH * promised, self.best.gain + LEAST_GAIN)
        left = MOST_COMPILES - len(self.attempts)
        done: list[Attempt] = []
        program, number = self._bench.program, self._mappings
        self._mappings += 1
        wishes = wishes_of(program, mapping)
        if self._levers == "public":
            wishes = dataclasses.replace(wishes, reads_out=frozenset())  # they cannot be said
        what, copies = FAITHFUL, Wishes(prefetches=wishes.prefetches)
        while promised >= LEAST_GAIN and len(done) < min(MOST_TURNS, left):
            attempt = self._compile(wishes, what, mapping, number)
            if attempt is None:
                break
            done.append(attempt)
            if attempt.is_late or self.best.gain >= enough:
                break
            if attempt.placement is None:
                what, wishes = ORDER_ALONE, dataclasses.replace(wishes, prefetches=())
                continue
            what, order = TURNS, promoted(program, mapping, attempt.placement, wishes.order)
            wishes = dataclasses.replace(wishes, order=order)
        if self.best.gain < enough and 0 < len(done) < left and not done[-1].is_late:
            attempt = self._compile(copies, COPIES, mapping, number)
            done += [attempt] if attempt is not None else []
        self.attempts += done
        return done

    @property
    def is_late(self) -> bool:
        """Whether the last compile took too long."""
        return bool(self.attempts) and self.attempts[-1].is_late

    def _compile(self, wishes: Wishes, what: str, mapping: Mapping, number: int) -> Attempt | None:
        """A compile with wishes, which is told of, and kept if it is the best so far; None if they
        are none, or were compiled already."""
        if wishes in self._said:
            return None
        self._said.append(wishes)
        options = options_of(self._bench.program, wishes, self._chip, self._levers)
        out = self._folder / f"attempt_{len(self._said)}"
        made = _compiled(self._bench, options, out, what, mapping)
        attempt = dataclasses.replace(made, number=number)
        if attempt.cycles is not None and attempt.cycles < self.best.cycles:
            self.best = dataclasses.replace(
                self.best, cycles=attempt.cycles, options=options, what=what, number=number
            )
            self.wishes = wishes
        self._tell(attempt)
        return attempt

    def _tell(self, attempt: Attempt) -> None:
        if self._progress:
            production, cycles = self.best.production_cycles, attempt.cycles
            told = "too slow" if attempt.is_late else "refused"
            told = told if cycles is None else f"{production / cycles - 1:+.2%}"
            name = self._bench.program.name
            self._progress(f"{name}: compiled with {attempt.what}: {told}")


def production_cycles(program: Program) -> int:
    """The compiler's estimate of its own mapping, each loop body as often as it runs.

    Raises:
      InputError: the program does not say it: it was made by an earlier version, or otherwise.
    """
    made = program.provenance.get("production")
    cycles = made.get("executed_cycles") if isinstance(made, dict) else None
    if not isinstance(cycles, int) or cycles <= 0:
        raise InputError(
            f"{program.name}: provenance.production.executed_cycles: must be there to compare with "
            "production; load the program again from its function"
        )
    return cycles


def plain_options(program: Program, chip: Chip) -> Options:
    """The options of production: the closed program, and no wishes."""
    return options_of(program, Wishes(), chip)


def promoted(
    program: Program, mapping: Mapping, placement: Placement, order: tuple[int, ...]
) -> tuple[int, ...]:
    """The order with those values first that a compile left out, the dearest ahead.

    Squeaky wheel optimization (Joslin and Clements, 1999, doi:10.1613/jair.561): what came off
    badly has its turn earlier next time.  A value is as dear as what its accesses would have saved
    that the mapping has in fast memory and the compile has not.
    """
    slow_s, fast_s = access_seconds(program)
    lost: dict[int, float] = {}
    total = 0.0
    wanted = Reading(program, mapping).served_fast()
    for number in np.flatnonzero(wanted).tolist():
        access = program.accesses[number]
        saved = program.weights[access.instruction] * float(slow_s[number] - fast_s[number])
        total += max(saved, 0.0)
        if not placement.in_fast[number]:
            lost[access.value] = lost.get(access.value, 0.0) + saved
    dear = [v for v in order if lost.get(v, 0.0) > LEAST_LOSS * total]
    dear.sort(key=lambda v: -lost[v])
    return (*dear, *(v for v in order if v not in set(dear)))


def _searched(
    bench: CompilerBench,
    best: Confirmation,
    wishes: Wishes,
    levers: str,
    seconds: float,
    progress: Callable[[str], None] | None,
) -> Confirmation:
    """The best of a search that starts from the best wishes so far, or production's."""
    program, benefits = bench.program, own_benefits(bench.program)
    start = CompilerSearch(
        program.name, program.fingerprint, "mapping", 0, best.production_cycles, wishes,
        cycles=best.cycles, compiles=1, levers=levers,
    )  # fmt: skip
    if wishes == Wishes():
        order = tuple(v for v in benefits if program.fits(v))
        start = dataclasses.replace(start, wishes=Wishes(order=order), cycles=None, compiles=0)

    def told(state: CompilerSearch, is_better: bool) -> None:
        if progress and is_better:
            progress(state.line())

    with tempfile.TemporaryDirectory(prefix="mallocgame-search-") as folder:
        found = search(bench, start, benefits, seconds, Path(folder) / "search.json", told)
    best = dataclasses.replace(best, searched=found.compiles - start.compiles)
    if found.cycles_best >= best.cycles:
        return best
    what = f"a search of {best.searched} compiles in the compiler"
    return dataclasses.replace(
        best, cycles=found.cycles_best, options=found.options(bench), what=what
    )


def _compiled(
    bench: CompilerBench, options: Options, out: Path, what: str, mapping: Mapping
) -> Attempt:
    """A compile with options."""
    try:
        cycles = bench.compile(options, out)
    except InputError as error:
        is_late = "took longer" in str(error)
        if not is_late and "compile failed" not in str(error):
            raise
        return Attempt(what, None, is_late=is_late)
    placement = bench.placement(out)
    followed = followed_share(bench.program, mapping, placement)
    seconds = float(modelled_seconds(bench.program, placement).sum())
    return Attempt(what, cycles, followed, seconds, placement)
