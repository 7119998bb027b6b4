"""Large-neighbourhood search over mappings: remove some stays, insert others, keep what helps."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np

from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.judge.reading import Reading
from mallocgame.mappers.base import Clock, Mapped
from mallocgame.mappers.layouts.layout import MemoryLayout, Placed
from mallocgame.mappers.layouts.stays import PlannedStay, possible_stays
from mallocgame.mappers.msa import msa
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping, all_slow
from mallocgame.relaxation.bound import dual_bound, solve
from mallocgame.relaxation.relaxation import relax, wanted_accesses

# Shares of the all-slow latency: the loss that a step may accept at first and at last, and the
# least gain that counts.
HOT, COLD, WORTH = 5e-4, 1e-6, 1e-9
TRUST = 0.02  # weight of what a stay saves only together with others: `LayoutSearch.insert`
# Shares of the steps that make room for one stay, and of those that clear some slots.
WANTED, WINDOWS = 0.5, 0.35
PRICING = 0.2  # share of the budget that the linear relaxation may take
FIRST_CYCLE = 3000  # steps from hot to cold; each further cycle takes 1.5 times as many


def local_search(
    program: Program,
    config: GameConfig,
    budget_s: float,
    seed: int,
    *,
    starts: Sequence[Mapping] = (),
) -> Mapped:
    """Ruins and recreates a layout until time is up or the lower bound is reached.

    It starts from fillings by density, from MSA and from the mappings `starts`, and is never worse
    than MSA or one of these.  It obeys the
    judge's rules rather than the game's: it lays out the whole program at once and may accept a
    stall for a copy that is worth it.  `config` has no effect.
    """
    clock = Clock(budget_s)
    heuristic = msa(program, config, budget_s, seed).mapping
    search = LayoutSearch(program, seed)
    search.start()
    for start in (heuristic, *starts):
        search.lay(fast_accesses(program, start))
    search.learn_prices(PRICING * budget_s)
    while clock.expects(0.0) and not search.optimal and search.step():
        pass
    mapping = best_legal(program, search.mapping(), heuristic, *starts)
    info = {"steps": float(search.steps), "improvements": float(search.improvements)}
    return Mapped(mapping, clock.seconds, info=info)


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


class LayoutSearch:
    """A layout, the best one found, and the moves between layouts.

    stays: the possible stays of each value.
    hope: the most that each stay could save.
    values: the values worth a place; worth: the most that one of a value's stays could save; reach:
        the
    first and last slot of any of them.
    near: per slot, the values used there; busy: the slots with any.
    best, best_cost: the best layout found; limit: a cost that no layout can go below.
    since, cycle: steps done and to be done from hot to cold.
    price: for each value, the relaxation's price of each of its stays.
    """

    def __init__(self, program: Program, seed: int):
        self.program, self.rng = program, random.Random(seed)
        self.layout = MemoryLayout(program)
        self.slow = self.layout.cost
        self.stays = possible_stays(program)
        self.reach: dict[int, tuple[int, int]] = {}
        self.worth: dict[int, float] = {}
        self.hope: dict[PlannedStay, float] = {}
        for v, stays in enumerate(self.stays):
            for stay in stays:
                self.hope[stay] = self.layout.most(stay)
            most = max((self.hope[s] for s in stays), default=0.0)
            if most > WORTH:
                self.worth[v] = most
                self.reach[v] = (min(s.first for s in stays), max(s.last for s in stays))
        self.values = list(self.worth)
        self.near: list[list[int]] = [[] for _ in program.instructions]
        for v in self.values:
            for t in {gain.slot for stay in self.stays[v] for gain in stay.gains}:
                self.near[t].append(v)
        self.busy = [t for t, row in enumerate(self.near) if row]
        self.best_cost = math.inf
        self.best: list[Placed] = []
        self.steps = self.improvements = self.since = self.cycles = 0
        self.cycle = FIRST_CYCLE
        self.price: dict[int, list[float]] = {}
        self.limit = -math.inf

    def start(self) -> None:
        """Fills an empty layout by density, with several tastes, and keeps the best."""
        for taste in (0.0, 0.25, 0.5, 0.75, 1.0, 1.25):
            for number in list(self.layout.placed):
                self.layout.remove(number)
            order = sorted(self.values, key=lambda v: -self._density(v, taste))
            for v in order:
                self.insert(v, 0.0, 0.0)
            for v in order:
                self.insert(v, 0.0, TRUST)
            self._note()
        self._back_to_best()

    def learn_prices(self, time_limit_s: float) -> None:
        """Starts from the linear relaxation's optimum and learns what memory is worth at each slot.

        If time runs out first, all slots cost the same.
        """
        model = relax(self.program)
        solution = solve(model, time_limit_s) if model is not None else None
        if model is None or solution is None:
            return
        prices = np.maximum(0.0, -solution.of_ub[model.capacity_rows :])
        total = np.concatenate([[0.0], np.cumsum(prices)]) / self.layout.capacity
        for v in self.values:
            self.price[v] = [
                stay.size * float(total[min(stay.last, len(prices))] - total[stay.first])
                for stay in self.stays[v]
            ]
        self.limit = dual_bound(model, solution.of_ub, solution.of_eq)
        self.lay(wanted_accesses(model, solution.x))

    @property
    def optimal(self) -> bool:
        """Whether there is nothing left to gain."""
        return self.best_cost <= self.limit + WORTH

    def _density(self, v: int, taste: float) -> float:
        """Worth per byte and slot, these to the power of `taste`."""
        first, last = self.reach[v]
        area = max(1, self.stays[v][0].size) * (last - first)
        return self.worth[v] / area**taste

    def _note(self) -> None:
        if self.layout.cost < self.best_cost - 1e-12:
            self.best_cost = self.layout.cost
            self.best = list(self.layout.placed.values())
            self.improvements += 1

    def _back_to_best(self) -> None:
        for number in list(self.layout.placed):
            self.layout.remove(number)
        for placed in self.best:
            self.layout.restore(placed)

    def insert(self, v: int, rent: float, trust: float, priced: float = 0.0) -> None:
        """Puts in the best stays of a value, after paying rent for bytes times slots.

        Args:
          rent: latency for each byte and slot.
          trust: weight of what a stay would save if other accesses became fast too; an instruction
            may need several accesses in fast memory before it becomes faster at all.
          priced: share of the relaxation's prices that is charged as well.
        """
        rated: list[tuple[float, float, int, PlannedStay]] = []
        prices = self.price.get(v, ())
        priced = priced if prices else 0.0
        for i, stay in enumerate(self.stays[v]):
            hope = trust * self.hope[stay]
            due = rent * stay.size * (stay.last - stay.first) - hope
            if priced:
                due += priced * prices[i]
            score = self.layout.saving(stay) - due
            if score > 0 and self.hope[stay] > WORTH:
                rated.append((score, due, -i, stay))
        rated.sort(key=lambda r: r[:3], reverse=True)
        taken: list[PlannedStay] = []
        for _, due, _, stay in rated:
            free = all(s.last <= stay.first or stay.last <= s.first for s in taken)
            if free and self.layout.try_place(stay, due if due < 0 else max(due, WORTH)) >= 0:
                taken.append(stay)

    def step(self) -> bool:
        """One ruin and recreate step; False if there is nothing to search."""
        if not self.values:
            return False
        self.steps += 1
        self.since += 1  # steps of this cycle
        layout, rng = self.layout, self.rng
        before = layout.cost
        kind = rng.random()
        wanted: tuple[PlannedStay, int] | None = None
        if kind < WANTED:
            wanted, ruin = self._want()
        elif kind < WANTED + WINDOWS:
            ruin = self._window()
        else:
            ruin = self._some()
        removed = [layout.remove(number) for number in ruin]
        kept_after = layout.number
        if wanted is not None:
            layout.try_place(wanted[0], -math.inf, wanted[1])
        pool = list(dict.fromkeys([p.stay.value for p in removed] + self._others(removed, wanted)))
        self._recreate(pool)
        temperature = HOT * (COLD / HOT) ** (self.since / self.cycle)
        change = layout.cost - before
        if change <= 0 or rng.random() < math.exp(-change / temperature):
            self._note()
        else:
            for number in [n for n in layout.placed if n >= kept_after]:
                layout.remove(number)
            for placed in removed:
                layout.restore(placed)
        if self.since >= self.cycle:
            self._restart()
        return True

    def _restart(self) -> None:
        """Continues from the best layout, or every other time from a new filling."""
        self.since, self.cycle = 0, self.cycle * 3 // 2
        self.cycles += 1
        self._back_to_best()
        if self.cycles % 2:
            for number in list(self.layout.placed):
                self.layout.remove(number)
            self._recreate(self.values)
            self._note()

    def _recreate(self, pool: list[int]) -> None:
        """Puts values in, ordered by density with a random taste and noise."""
        rng = self.rng
        rent = 0.0
        if rng.random() < 0.5:
            rent = 10 ** rng.uniform(-2, 0) * (self.slow / len(self.program.instructions))
            rent /= self.layout.capacity
        taste = rng.choice((0.0, 0.5, 1.0))
        noise = rng.uniform(0.0, 1.5)
        trust = rng.choice((0.0, TRUST, 0.3))
        priced = rng.choice((0.0, 0.0, 0.5, 0.8, 0.95))
        keys = {v: math.log(self._density(v, taste)) + rng.gauss(0, noise) for v in pool}
        for v in sorted(pool, key=lambda v: -keys[v]):
            self.insert(v, rent, trust, priced)

    def _others(self, removed: list[Placed], wanted: tuple[PlannedStay, int] | None) -> list[int]:
        """Some values that are used at about the same time."""
        anchors = [p.stay for p in removed] or ([wanted[0]] if wanted else [])
        if not anchors:
            return []
        stay = self.rng.choice(anchors)
        t = self.rng.randint(stay.first, max(stay.first, min(stay.last, len(self.near)) - 1))
        width = int(self.rng.expovariate(1 / 4))
        some = [v for row in self.near[max(0, t - width) : t + width + 1] for v in row]
        self.rng.shuffle(some)
        return some[: self.rng.randint(0, 12)]

    def _want(self) -> tuple[tuple[PlannedStay, int] | None, list[int]]:
        """A stay that is not in the layout, a place for it, and the stays in its way."""
        rng, layout = self.rng, self.layout
        for _ in range(20):
            v = rng.choice(self.near[rng.choice(self.busy)])
            stay = rng.choice(self.stays[v])
            if layout.saving(stay) + TRUST * self.hope[stay] > WORTH:
                break
        else:
            return None, []
        clash = {
            n for value in {stay.value, stay.result[0]} for n in layout.of_value.get(value, ())
        }
        span = range(max(0, stay.first - 1), min(stay.last + 1, len(layout.at)))
        lies: dict[int, tuple[int, int]] = {}
        for t in span:
            lies.update(layout.at[t])
        top = layout.capacity - stay.size
        if top < 0:
            return None, []
        alignment = self.program.machine.alignment_bytes
        top -= top % alignment
        edges = {0, top}
        for low, high in lies.values():
            edges.update((high, low - stay.size))
        places = [e for e in edges if 0 <= e <= top]
        best: tuple[float, int, list[int]] = (math.inf, 0, [])
        for place in rng.sample(places, min(6, len(places))):
            hits = [
                n for n, (low, high) in lies.items() if low < place + stay.size and high > place
            ]
            value = sum(self.worth.get(layout.placed[n].stay.value, 0.0) for n in hits)
            value *= rng.uniform(0.5, 1.5)
            if value < best[0]:
                best = (value, place, hits)
        ruin = list(clash.union(best[2]))
        return (stay, best[1]), ruin

    def _window(self) -> list[int]:
        """Most of the stays in fast memory over a few slots."""
        rng, layout = self.rng, self.layout
        t = rng.choice(self.busy)
        width = 1 + int(rng.expovariate(1 / 3))
        rate = rng.choice((0.2, 0.5, 1.0))
        found: dict[int, None] = {}
        for slot in range(t, min(t + width, len(layout.at))):
            found.update(dict.fromkeys(layout.at[slot]))
        some = [n for n in found if rng.random() < rate]
        if len(some) > 24:
            some = rng.sample(some, 24)
        return some

    def _some(self) -> list[int]:
        """A few stays of values that are used near each other."""
        layout, rng = self.layout, self.rng
        t = rng.choice(self.busy)
        width = 1 + int(rng.expovariate(1 / 8))
        numbers = {
            n for row in self.near[t : t + width] for v in row for n in layout.of_value.get(v, ())
        }
        return rng.sample(sorted(numbers), min(len(numbers), rng.randint(1, 8)))

    def mapping(self) -> Mapping:
        """The mapping of the best layout found."""
        self._back_to_best()
        return self.layout.mapping()

    def lay(self, wanted: dict[int, set[int]]) -> None:
        """Tries the layout that has the given values in fast memory at the given slots."""
        slots: dict[int, list[int]] = {}
        for access in self.program.accesses:
            slots.setdefault(access.value, []).append(access.instruction)
        for number in list(self.layout.placed):
            self.layout.remove(number)
        chosen = []
        for owner in self.values:
            fitting = []
            for stay in self.stays[owner]:
                served = {
                    (v, t) for v, first, end in stay.spans for t in slots[v] if first <= t < end
                }
                if all(t in wanted.get(v, ()) for v, t in served):
                    fitting.append((len(served), stay))
            fitting.sort(key=lambda item: -item[0])
            chosen += [stay for _, stay in fitting]
        for stay in sorted(chosen, key=lambda s: -self.hope[s] / max(1, s.size)):
            self.layout.try_place(stay, -math.inf)
        self._note()
        self._back_to_best()
