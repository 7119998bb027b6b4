"""Searches that play the game, without learning."""

from __future__ import annotations

import time

import numpy as np

from games.cores.game.options import NONE, NUM_ACTIONS
from games.cores.mappers.mapped import Mapped, better, reference
from games.cores.oracle.game import Facts, Oracle
from games.cores.problem.problem import Problem


def greedy(problem: Problem, budget_s: float, seed: int) -> Mapped:
    """The first candidate of every question."""
    oracle = Oracle(problem)
    while not oracle.done:
        oracle.step(1)
    made = Mapped(oracle.schedule(), 1 - oracle.score)
    return better(made, reference(problem))


def random_games(problem: Problem, budget_s: float, seed: int) -> Mapped:
    """Games by chance, first candidates more often than last ones; half of them begin as the best
    game so far, up to a moment by chance."""
    deadline = time.perf_counter() + budget_s
    rng, facts = np.random.default_rng(seed), Facts(problem)
    best, best_moves, lowest = greedy(problem, 0, seed), list[int](), float("inf")
    while time.perf_counter() < deadline:
        oracle, moves = Oracle(problem, facts), list[int]()
        follows = int(rng.integers(len(best_moves))) if best_moves and rng.random() < 0.7 else 0
        # How often the game refuses, and how fast ranks lose weight.
        weight = float(rng.choice([0.05, 0.3, 1.0])), float(rng.choice([0.3, 0.6, 1.0]))
        likely = weight[1] ** np.arange(-1.0, NUM_ACTIONS - 1)
        likely[NONE] = weight[0]
        while not oracle.done:
            if len(moves) < follows:
                move = best_moves[len(moves)]
            else:
                legal = np.array(oracle.legal) * likely
                move = int(rng.choice(NUM_ACTIONS, p=legal / legal.sum()))
            moves.append(move)
            oracle.step(move)
        if (cost := 1 - oracle.score) <= lowest:
            lowest, best_moves = cost, moves
            best = better(Mapped(oracle.schedule(), cost), best)
    return best
