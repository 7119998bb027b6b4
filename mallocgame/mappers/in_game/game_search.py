"""Local search that stays inside the game: plans are mutated, and many played at once.

What it finds an agent can play too, unlike the layouts of `local_search`,
which are not bound by the game's order and copies.
"""

from __future__ import annotations

import numpy as np

from mallocgame.game.compile_program import compile_program
from mallocgame.game.environment import unobserved_game
from mallocgame.game.options import GameConfig
from mallocgame.game.tables import QuestionRow, Tables
from mallocgame.mappers.base import Clock, Mapped
from mallocgame.mappers.in_game.plans import Answer, play_plans, score_plans
from mallocgame.mappers.in_game.simple import THRESHOLDS, greedy, imitate
from mallocgame.mappers.layouts.local_search import local_search
from mallocgame.program import Program

PARENTS = 8
LAYOUTS = 0.25  # share of the budget for a layout to imitate
# How often a yes is YES, IN_TIME and OWN_SLOT.
YES_KINDS = (0.5, 0.4, 0.1)


def game_search(program: Program, config: GameConfig, budget_s: float, seed: int) -> Mapped:
    """Mutates the best plans known, window by window and value by value, until time is up.

    Starts from the density rule at every threshold and from a layout of local search, imitated.
    Every round plays `THRESHOLDS` children of the `PARENTS` best plans.
    """
    clock = Clock(budget_s)
    rng = np.random.default_rng(seed)
    layout = local_search(program, config, LAYOUTS * budget_s, seed).mapping
    tables = compile_program(program, config)
    game = unobserved_game(tables, config)
    neighbours = _Neighbours(tables, rng)
    first = greedy(tables)
    which = np.arange(THRESHOLDS - 1) % len(first)
    pool = np.concatenate([imitate(tables, layout), first[which]])
    scores = score_plans(game, pool)
    rounds, round_s = 0, 0.0
    # The last round is as long as the others, and the best plan is played once more for its moves.
    while len(tables.questions) and clock.expects(3 * round_s):
        before = clock.seconds
        best = np.argsort(-scores, kind="stable")[:PARENTS]
        parents, scores = pool[best], scores[best]
        children = neighbours.children(parents, THRESHOLDS)
        pool = np.concatenate([parents, children])
        scores = np.concatenate([scores, score_plans(game, children)])
        rounds += 1
        round_s = clock.seconds - before
    winner = int(np.argmax(scores))
    # In a batch of the usual size, so that nothing is compiled for it.
    played = play_plans(game, program, np.repeat(pool[[winner]], THRESHOLDS, 0))
    info = {"games": float(THRESHOLDS * (rounds + 1)), "rounds": float(rounds)}
    return Mapped(played.mapping, clock.seconds, played.decisions, played.drop_backups, info)


class _Neighbours:
    """Makes plans that differ from others in few places: a stretch of the schedule, a value."""

    def __init__(self, tables: Tables, rng: np.random.Generator):
        self.rng = rng
        rows = QuestionRow(*tables.questions.T)
        self.slot, self.value = np.asarray(rows.slot), np.asarray(rows.value)

    def children(self, parents: np.ndarray, count: int) -> np.ndarray:
        """`count` children [count, Q] of parents [P, Q], each of a random one."""
        chosen = self.rng.integers(len(parents), size=count)
        children = parents[chosen]
        for plan in children:
            for _ in range(self.rng.geometric(0.6)):
                self._mutate(plan, parents)
        return children

    def _mutate(self, plan: np.ndarray, parents: np.ndarray) -> None:
        """Changes one plan [Q] in place."""
        rng, kind, questions = self.rng, self.rng.random(), len(self.slot)
        if kind < 0.4:  # one value, from here on or as a whole
            which = self.value == self.value[(one := rng.integers(questions))]
            if rng.random() < 0.5:
                which &= self.slot >= self.slot[one]
            plan[which] = Answer.NO if rng.random() < 0.5 else self._yes(1)
        elif kind < 0.8:  # a few answers
            which = rng.integers(questions, size=rng.geometric(0.3))
            self._flip(plan, which)
        else:  # a stretch: some answers flipped, or another parent's
            length = int(2 ** rng.uniform(1, np.log2(questions + 2)))
            first = int(rng.integers(questions))
            stretch = np.arange(first, min(first + length, questions))
            if kind < 0.9:
                self._flip(plan, stretch[rng.random(len(stretch)) < rng.uniform(0.02, 0.2)])
            else:
                plan[stretch] = parents[rng.integers(len(parents)), stretch]

    def _flip(self, plan: np.ndarray, which: np.ndarray) -> None:
        """A no becomes a yes of some kind, a yes a no or another kind."""
        changed = (plan[which] == Answer.NO) | (self.rng.random(len(which)) < 0.3)
        plan[which] = np.where(changed, self._yes(len(which)), Answer.NO)

    def _yes(self, count: int) -> np.ndarray:
        return self.rng.choice([Answer.YES, Answer.IN_TIME, Answer.OWN_SLOT], count, p=YES_KINDS)
