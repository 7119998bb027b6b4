"""Local search that stays inside the game: plans are mutated, and many played at once.

What it finds an agent can play too, unlike the layouts of `local_search`,
which are not bound by the game's order, places and copies.
"""

from __future__ import annotations

import numpy as np

from mallocgame.game.compile_program import compile_program
from mallocgame.game.environment import stack
from mallocgame.game.options import GameConfig
from mallocgame.game.tables import EventRow, Tables
from mallocgame.mappers.base import Clock, Mapped
from mallocgame.mappers.in_game.plans import Plans, play_plans, score_plans
from mallocgame.mappers.in_game.simple import THRESHOLDS, greedy, imitate
from mallocgame.mappers.layouts.local_search import local_search
from mallocgame.program import Program

PARENTS = 8
LAYOUTS = 0.25  # share of the budget for a layout to imitate


def game_search(program: Program, config: GameConfig, budget_s: float, seed: int) -> Mapped:
    """Mutates the best plans known, window by window and value by value, until time is up.

    Starts from the density rule at every threshold and from a layout of local search, imitated.
    Every round plays `THRESHOLDS` children of the `PARENTS` best plans.
    """
    clock = Clock(budget_s)
    rng = np.random.default_rng(seed)
    layout = local_search(program, config, LAYOUTS * budget_s, seed).mapping
    tables = compile_program(program, config)
    game = stack([tables], config)
    neighbours = _Neighbours(tables, rng)
    first, copy = greedy(tables), imitate(tables, layout)
    which = np.arange(THRESHOLDS - 1) % len(first.arrive)
    pool = Plans(*(np.concatenate([c, f[which]]) for f, c in zip(first, copy, strict=True)))
    scores = score_plans(game, pool)
    rounds, round_s = 0, 0.0
    # The last round is as long as the others, and the best plan is played once more for its moves.
    while len(tables.events) and clock.expects(3 * round_s):
        before = clock.seconds
        best = np.argsort(-scores, kind="stable")[:PARENTS]
        parents, scores = Plans(*(p[best] for p in pool)), scores[best]
        children = neighbours.children(parents, THRESHOLDS)
        pool = Plans(*(np.concatenate(pair) for pair in zip(parents, children, strict=True)))
        scores = np.concatenate([scores, score_plans(game, children)])
        rounds += 1
        round_s = clock.seconds - before
    winner = int(np.argmax(scores))
    plan = Plans(*(np.repeat(p[[winner]], THRESHOLDS, 0) for p in pool))
    played = play_plans(game, program, plan)
    info = {"games": float(THRESHOLDS * (rounds + 1)), "rounds": float(rounds)}
    return Mapped(played.mapping, clock.seconds, played.decisions, played.drop_backups, info)


class _Neighbours:
    """Makes plans that differ from others in few places: a stretch of the schedule, a value."""

    def __init__(self, tables: Tables, rng: np.random.Generator):
        self.rng = rng
        events = EventRow(*tables.events.T)
        self.slot, self.value = np.asarray(events.slot), np.asarray(events.value)

    def children(self, parents: Plans, count: int) -> Plans:
        """`count` children [count, E] of parents [P, E], each of a random one."""
        chosen = self.rng.integers(len(parents.arrive), size=count)
        children = Plans(*(p[chosen] for p in parents))
        for k in range(count):
            for _ in range(self.rng.geometric(0.6)):
                self._mutate([c[k] for c in children], parents)
        return children

    def _mutate(self, plan: list[np.ndarray], parents: Plans) -> None:
        """Changes one plan, its answers [E] of each kind, in place."""
        rng, kind, stops = self.rng, self.rng.random(), len(self.slot)
        if kind < 0.4:  # one value, from here on or as a whole
            stop = rng.integers(stops)
            which = self.value == self.value[stop]
            if rng.random() < 0.5:
                which &= self.slot >= self.slot[stop]
            for answers in plan:
                answers[which] = rng.random() < 0.5
        elif kind < 0.8:  # a few answers
            which = rng.integers(stops, size=rng.geometric(0.3))
            for answers in plan:
                answers[which] ^= rng.random(len(which)) < 0.5
        else:  # a stretch: some answers flipped, or another parent's
            length = int(2 ** rng.uniform(1, np.log2(stops + 2)))
            first = int(rng.integers(stops))
            stretch = slice(first, first + length)
            if kind < 0.9:
                rate = rng.uniform(0.02, 0.2)
                for answers in plan:
                    answers[stretch] ^= rng.random(len(answers[stretch])) < rate
            else:
                other = rng.integers(len(parents.arrive))
                for answers, theirs in zip(plan, parents, strict=True):
                    answers[stretch] = theirs[other, stretch]
