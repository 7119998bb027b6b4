"""The jitted game against the plain-Python oracle, move for move (docs/game.md, section 9, 1).

Every variant of the rules plays one batch of random programs, each game by its own random policy.
Compilation is what takes the time: a batch of 250 games costs hardly more than one game.
"""

from __future__ import annotations

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallocgame.game.environment import Game, build_game
from mallocgame.game.options import GameConfig
from mallocgame.oracle import COPY, DROP, NO_COPY, Oracle
from mallocgame.program import Program
from mallocgame.synthetic.random_programs import random_program
from tests.support.handmade import all_programs

KINDS = ("read", "define", "depart")
PROGRAMS = 400
VARIANTS = {
    "default": GameConfig(),
    "no_stalls": GameConfig(late_prefetch="illegal"),
    "two_ended": GameConfig(placement="two_ended"),
    "late_backup": GameConfig(late_eviction="backup"),
    "proxy": GameConfig(reward="proxy"),
    "short_window": GameConfig(prefetch_window=3, late_eviction="backup"),
    "small_table": GameConfig(max_residencies=4),
    "inert": GameConfig(inert_fraction=0.03, placement="two_ended"),
    "nothing_inert": GameConfig(inert_fraction=0.0, max_residencies=6, prefetch_window=5),
}


def _observe(game: Game, state):
    kind, value, slot = game.asked(state)
    return {
        "legal": game.legal_actions(state),
        "done": game.done(state),
        "kind": kind,
        "value": value,
        "slot": slot,
        "saved": game.saved_ticks(state),
        "backups": game.history(state).backtracks,
    }


@jax.jit
def _init(game: Game, index):
    state = game.init(index)
    return state, _observe(game, state)


@jax.jit
def _step(game: Game, state, action):
    state, step = game.step(state, action)
    return state, step.reward, _observe(game, state)


def _policy(rng: np.random.Generator) -> np.ndarray:
    """Weights of COPY, NO_COPY and DROP: mostly to fast memory, mostly not, or anything between."""
    bold = rng.choice([0.2, 0.5, 0.8, 0.95, 1.0])
    return np.array([bold * rng.choice([0.3, 1.0]) + 1e-3, bold + 1e-3, 1.001 - bold])


def _differences(oracle: Oracle, seen: dict[str, np.ndarray], i: int) -> list[str]:
    expected = {
        "legal": list(oracle.legal),
        "done": oracle.done,
        "saved": oracle.saved_ticks,
        "backups": oracle.backups,
    }
    if oracle.question is not None:
        kind, value, slot = oracle.question
        expected |= {"kind": KINDS.index(kind), "value": value, "slot": slot}
    return [
        f"{name}: game {seen[name][i].tolist()}, oracle {want}"
        for name, want in expected.items()
        if seen[name][i].tolist() != want
    ]


def compare(
    programs: list[Program],
    config: GameConfig,
    rng: np.random.Generator,
    ballast: tuple[Program, ...] = (),
) -> Counter[str]:
    """Plays all programs at once, by random legal moves, until all are over.

    Args:
      ballast: programs that are compiled with the others but not played, so that batches of
        different programs have the same shapes.

    Returns:
      What was played, by question and action, and the number of Drop-backups.

    Raises:
      AssertionError: the first disagreement of each game, with the moves that lead there.
    """
    game = build_game([*programs, *ballast], config)
    oracles = [Oracle(program, config) for program in programs]
    totals = np.asarray(game.total_ticks)[: len(programs)]
    assert [max(oracle.total_ticks, 1) for oracle in oracles] == totals.tolist()
    policies = [_policy(rng) for _ in programs]
    state, seen = _init(game, jnp.arange(len(programs)))
    moves: list[list[int]] = [[] for _ in programs]
    returns = np.zeros(len(programs))
    wrong: dict[int, str] = {}
    count: Counter[str] = Counter()
    while True:
        seen = {name: np.asarray(array) for name, array in seen.items()}
        for i, oracle in enumerate(oracles):
            if i not in wrong and (found := _differences(oracle, seen, i)):
                wrong[i] = f"after {moves[i]} at {oracle.question}: {'; '.join(found)}"
        if all(oracle.done for oracle in oracles):
            break
        actions = np.full(len(programs), DROP, np.int32)
        rewards = np.zeros(len(programs))
        for i, oracle in enumerate(oracles):
            if oracle.question is not None:
                weights = policies[i] * oracle.legal
                actions[i] = rng.choice(3, p=weights / weights.sum())
                moves[i].append(int(actions[i]))
                count[f"{oracle.question.kind} {actions[i]}"] += 1
                rewards[i] = oracle.step(int(actions[i]))
        state, reward, seen = _step(game, state, jnp.asarray(actions))
        returns += np.asarray(reward)
        error = np.abs(np.asarray(reward) - rewards) / np.maximum(1, np.abs(rewards))
        for i in np.flatnonzero(error > 1e-6).tolist():
            line = f"after {moves[i]}: reward: game {reward[i]}, oracle {rewards[i]}"
            wrong.setdefault(i, line)
    text = "\n".join(f"{programs[i].name}: {line}" for i, line in wrong.items())
    assert not wrong, f"{len(wrong)} of {len(programs)} games disagree under {config}\n{text}"
    if config.reward == "exact":
        saved = [oracle.saved_ticks / max(oracle.total_ticks, 1) for oracle in oracles]
        np.testing.assert_allclose(returns, saved, atol=1e-5)
    count["backups"] = sum(oracle.backups for oracle in oracles)
    return count


def _programs(seed: int, count: int) -> list[Program]:
    def one(i: int) -> Program:
        rng = np.random.default_rng([seed, i])
        return random_program(
            rng,
            instructions=int(rng.integers(1, 32)),
            values=int(rng.integers(1, 16)),
            max_capacity_bytes=int(rng.choice([64, 256, 1024])),
            name=f"random[{seed}, {i}]",
        )

    return [one(i) for i in range(count)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_game_agrees_with_oracle(variant: str):
    seed = list(VARIANTS).index(variant)
    rng = np.random.default_rng([seed, PROGRAMS])
    count = compare(_programs(seed, PROGRAMS), VARIANTS[variant], rng)
    for event in (f"read {COPY}", f"define {NO_COPY}", f"depart {NO_COPY}", f"depart {DROP}"):
        assert count[event] > 40, (event, count)
    assert count["backups"] > 15, count


@pytest.mark.parametrize("late_eviction", ["stay", "backup"])
def test_handmade_games_agree(late_eviction: str):
    config = GameConfig(inert_fraction=0.0, late_eviction=late_eviction)
    games = [program for program in all_programs() for _ in range(30)]
    count = compare(games, config, np.random.default_rng(0))
    assert count["backups"] > 50


# Shapes, and thus compilations, are those of the ballast, which is larger than what is drawn.
BALLAST = tuple(
    random_program(np.random.default_rng(seed), instructions=60, values=40) for seed in range(8)
)
MIXED = (
    GameConfig(max_residencies=8, inert_fraction=0.0, placement="two_ended"),
    GameConfig(4, 8, "best_fit", "stall", "backup", reward="proxy"),
)


@settings(max_examples=120, derandomize=True, deadline=None, database=None)
@given(
    config=st.sampled_from(MIXED),
    seed=st.integers(0, 2**32 - 1),
    instructions=st.integers(1, 24),
    values=st.integers(1, 14),
    capacity=st.sampled_from([64, 256, 1024]),
    loop_depth=st.integers(0, 3),
)
def test_drawn_games_agree(
    config: GameConfig, seed: int, instructions: int, values: int, capacity: int, loop_depth: int
):
    program = random_program(
        np.random.default_rng(seed),
        instructions=instructions,
        values=values,
        max_capacity_bytes=capacity,
        loop_depth=loop_depth,
    )
    compare([program] * 8, config, np.random.default_rng(seed), BALLAST)
