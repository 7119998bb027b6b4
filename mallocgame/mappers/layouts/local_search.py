"""Large-neighbourhood search over mappings: remove some stays, insert others, keep what helps."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence

import numpy as np

from mallocgame.followed import without_late_copies
from mallocgame.game.options import GameConfig
from mallocgame.game.retime import retime
from mallocgame.judge import simulate, verify
from mallocgame.judge.reading import Reading
from mallocgame.mappers.base import Clock, Mapped
from mallocgame.mappers.layouts import kernels
from mallocgame.mappers.layouts.layout import MemoryLayout
from mallocgame.mappers.msa import msa
from mallocgame.mappers.msa.mapper import compile_kernels as compile_msa
from mallocgame.program import Access, Instruction, Program, Value
from mallocgame.program.machine import Machine
from mallocgame.program.mapping import Mapping, all_slow
from mallocgame.relaxation.bound import dual_bound, solve
from mallocgame.relaxation.relaxation import relax, wanted_accesses

PRICING = 0.2  # share of the budget that the linear relaxation may take
# Seconds that writing the relaxation down takes for each access, and solving it again as long.
RELAX_S = 5e-4
TASTES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)  # of the fillings that search starts from
AT_ONCE_S = 0.02  # seconds of steps between two looks at the clock
SWEEPS = 12  # how many levels `sweep` tries
FIRST_STEPS = 16  # steps before it is known how long one takes


def local_search(
    program: Program,
    config: GameConfig,
    budget_s: float,
    seed: int,
    *,
    starts: Sequence[Mapping] = (),
    production: Mapping | None = None,
    progress: Callable[[float], None] | None = None,
) -> Mapped:
    """Ruins and recreates a layout until time is up or the lower bound is reached.

    It starts from fillings by density, in that order and in the schedule's, from MSA and from the
    mappings `starts`, and is never worse than MSA or one of these.  It obeys the judge's rules
    rather than the game's: it lays out the whole program at once and may accept a stall for a copy
    that is worth it.  With `production`, the TPU compiler's mapping, it starts from that one too
    and does nothing that the compiler would not follow (`mallocgame.followed`).
    `config` has no effect.  What is compiled on a machine's first calls does not count towards the
    budget.  `progress` is told again and again which share of the all-slow latency the best layout
    saves.
    """
    whole = Clock(budget_s)
    compile_kernels()
    clock = Clock(budget_s)
    starts = (msa(program, config, budget_s, seed).mapping, *starts)
    search = LayoutSearch(program, seed)
    if production is not None:
        search.layout.follow(production)
        starts = [without_late_copies(program, production, m) for m in (*starts, production)]
    search.start()
    search.sweep()
    for start in starts:
        search.lay(fast_accesses(program, start))
    if RELAX_S * len(program.accesses) <= PRICING * budget_s:
        search.learn_prices(PRICING * budget_s)
    search.run(clock, progress=progress)
    found = search.mapping()
    if production is not None:  # what stalled for nothing when it was put in may be late by now
        found = without_late_copies(program, production, found)
    mapping = best_legal(program, retime(program, found), *starts)
    info = {"steps": float(search.steps), "improvements": float(search.improvements)}
    return Mapped(mapping, whole.seconds, info=info)


@functools.cache
def compile_kernels() -> None:
    """Compiles the kernels, or loads them where an earlier process has compiled them."""
    machine = Machine("", 16, 1, 1.0, 2.0)
    accesses = (Access(0, 0, "read", (0,), 8), Access(1, 0, "read", (0,), 8))
    program = Program(
        "", machine, (Instruction("a"), Instruction("b")), (Value("v", 8, is_input=True),), accesses
    )
    search = LayoutSearch(program, 0)
    search.start()
    search.lay({})
    compile_msa()
    kernels.search(*search.memory, 1)


def best_legal(program: Program, *mappings: Mapping) -> Mapping:
    """The fastest of the mappings that the judge accepts; all slow if there is none."""
    legal = [m for m in mappings if not verify(program, m)]
    return min(
        (*legal, all_slow(program)), key=lambda mapping: simulate(program, mapping).latency_s
    )


def fast_accesses(program: Program, mapping: Mapping) -> dict[int, set[int]]:
    """For each value, the slots at which fast memory serves its accesses."""
    found: dict[int, set[int]] = {}
    served = Reading(program, mapping).served_fast()
    for access, is_fast in zip(program.accesses, served, strict=True):
        if is_fast:
            found.setdefault(access.value, set()).add(access.instruction)
    return found


def least_densities(layout: MemoryLayout) -> tuple[np.ndarray, np.ndarray]:
    """What stays save for each byte and slot, at the part where they save least: float64 [S] each.

    A part goes from one access to the next and saves what that one does; a stay of a single access
    has one slot.  The second is the part before the stay, -inf if none of the same owner is there.
    Stays of values that are worth no place have density 0.
    """
    stays, row = layout.stays, layout.stays.row
    first, end = row[:, kernels.GAIN], row[:, kernels.GAIN_END]
    rate = np.append(layout.most / np.maximum(1, np.diff(stays.gain_slot, prepend=0)), -np.inf)
    rate[stays.gain_of_value] = rate[first[row[:, kernels.RESULT] >= 0]] = -np.inf
    parts = np.stack([np.minimum(first + 1, len(rate) - 1), end], axis=1).ravel()
    least = np.minimum.reduceat(rate, parts)[::2] if len(row) else np.zeros(0)
    saved = np.where(end > first + 1, least, layout.most[first])
    size = np.maximum(1, row[:, kernels.SIZE])
    worthwhile = layout.worthwhile[row[:, kernels.VALUE]]
    return np.where(worthwhile, saved / size, 0.0), rate[first] / size


class LayoutSearch:
    """A layout, the best one found, and the moves between layouts."""

    def __init__(self, program: Program, seed: int):
        self.program = program
        self.layout = MemoryLayout(program, seed)
        self.memory = self.layout.words, self.layout.floats

    @property
    def steps(self) -> int:
        """Steps made so far."""
        return int(self.layout.words[kernels.STEPS])

    @property
    def improvements(self) -> int:
        """How often a better layout was found."""
        return int(self.layout.words[kernels.IMPROVEMENTS])

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to search, or nothing left to gain."""
        limit = float(self.layout.floats[kernels.LIMIT]) + kernels.WORTH
        return not self.layout.worthwhile.any() or self.layout.best_cost <= limit

    def start(self) -> None:
        """Fills an empty layout by density, with several tastes, and keeps the best."""
        for taste in TASTES:
            kernels.fill(*self.memory, taste)
        kernels.recall(*self.memory)

    def sweep(self) -> None:
        """Fills layouts in the order of the schedule, as the rule `greedy` does in the game.

        Whatever fits is put in if its density is at least a level, the longest of those that begin
        together first.  Levels are quantiles of all densities.
        """
        row, (density, before) = self.layout.stays.row, least_densities(self.layout)
        known = density[density > 0]
        if not known.size:
            return
        for level in np.quantile(known, np.linspace(0.0, 0.95, SWEEPS)):
            chosen = row[stays := np.flatnonzero((density >= level) & (before < level))]
            keys = chosen[:, kernels.VALUE], -chosen[:, kernels.GAIN_END], chosen[:, kernels.START]
            kernels.place_all(*self.memory, self.layout.address(stays[np.lexsort(keys)]))
        kernels.recall(*self.memory)

    def learn_prices(self, time_limit_s: float) -> None:
        """Starts from the linear relaxation's optimum and learns what memory is worth at each slot.

        If time runs out first, all slots cost the same.
        """
        model = relax(self.program)
        solution = solve(model, time_limit_s) if model is not None else None
        if model is None or solution is None:
            return
        prices = np.maximum(0.0, -solution.of_ub[model.capacity_rows :])
        total = np.concatenate([[0.0], np.cumsum(prices)])
        total /= self.program.machine.fast_capacity_bytes
        row = self.layout.stays.row
        slots = total[np.minimum(row[:, kernels.LAST], len(prices))] - total[row[:, kernels.START]]
        table = self.layout.table.view(np.float64)
        table[:, kernels.PRICE] = row[:, kernels.SIZE] * slots
        limit = dual_bound(model, solution.of_ub, solution.of_eq)
        self.layout.floats[kernels.LIMIT] = limit
        self.lay(wanted_accesses(model, solution.x))

    def search(self, steps: int) -> None:
        """Makes as many ruin and recreate steps; fewer if the limit is reached."""
        if not self.is_over:
            kernels.search(*self.memory, steps)

    def run(
        self,
        clock: Clock,
        limit: float = -np.inf,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Makes steps until the time is up or the best cost is at most `limit`.

        `progress` is called with the share of the all-slow latency that is saved so far.
        """
        steps = FIRST_STEPS
        while clock.expects(0.0) and not self.is_over and self.layout.best_cost > limit:
            begin = time.perf_counter()
            self.search(steps)
            if progress is not None:
                progress(1 - self.layout.best_cost)
            seconds = max(time.perf_counter() - begin, 1e-9)
            steps = max(1, int(min(2.0, AT_ONCE_S / seconds) * steps))

    def mapping(self) -> Mapping:
        """The mapping of the best layout found."""
        kernels.recall(*self.memory)
        return self.layout.mapping()

    def lay(self, wanted: dict[int, set[int]]) -> None:
        """Tries the layout that has the given values in fast memory at the given slots."""
        stays, row = self.layout.stays, self.layout.stays.row
        value = np.repeat(np.arange(len(self.program.values)), np.diff(stays.gain_of_value))
        slot = stays.gain_slot[: len(value)]
        is_wanted = [
            t in wanted.get(v, ()) for v, t in zip(value.tolist(), slot.tolist(), strict=True)
        ]
        # A group's gain may be of two values.
        pairs = stays.merged >= 0
        missing = pairs & ~np.array([*is_wanted, True])[stays.merged]
        served, lacking = (
            np.concatenate([[0], np.cumsum(of.sum(axis=1))]) for of in (pairs, missing)
        )
        first, end = row[:, kernels.GAIN], row[:, kernels.GAIN_END]
        worthwhile = self.layout.worthwhile[row[:, kernels.VALUE]]
        chosen = np.flatnonzero(worthwhile & (lacking[end] == lacking[first]))
        density = self.layout.hope / np.maximum(1, row[:, kernels.SIZE])
        keys = (-(served[end] - served[first]), row[:, kernels.VALUE], -density)
        order = chosen[np.lexsort([key[chosen] for key in keys])]
        kernels.place_all(*self.memory, self.layout.address(order))
        kernels.recall(*self.memory)
