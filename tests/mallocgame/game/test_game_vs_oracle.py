"""The jitted game against the plain-Python oracle, move for move (docs/game.md, section 9, 1).

Every variant of the rules plays one batch of random programs, each game by its own random policy.
Compilation is what takes the time: a batch of a thousand games costs hardly more than one game.
"""

from __future__ import annotations

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallocgame.game.environment import RETIMED, Game, build_game
from mallocgame.game.options import GameConfig
from mallocgame.game.profile import used_at
from mallocgame.game.state import State
from mallocgame.game.tables import StopRow
from mallocgame.game.transcript import transcribe
from mallocgame.oracle import COPY, DROP, NO_COPY, Oracle
from mallocgame.program import Program
from mallocgame.synthetic.random_programs import random_program
from tests.support.handmade import all_programs, long_held, waiting_long

KINDS = ("read", "define", "depart")
PROGRAMS, MANY = 250, 1000
TRANSCRIBED = 40  # games of a batch whose residencies are compared too
VARIANTS = {
    "default": GameConfig(),
    "paper": GameConfig(rules="paper"),
    "inert": GameConfig(inert_fraction=0.03),
    "nothing_inert": GameConfig(inert_fraction=0.0),
}


def _observe(game: Game, state: State) -> dict[str, jax.Array]:
    kind, value, slot = game.asked(state)
    slots = jnp.arange(game.slots.shape[2]).reshape((-1,) + (1,) * slot.ndim)
    return {
        "legal": game.legal_actions(state),
        "done": game.done(state),
        "kind": kind,
        "value": value,
        "slot": slot,
        "saved": state.saved,
        "used": used_at(state.used, slots),
        "left": state.left,
    }


@jax.jit
def _start(game: Game, index):
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
    slots = len(oracle.program.instructions)
    expected = {"legal": list(oracle.legal), "done": oracle.done, "saved": oracle.saved_ticks}
    if oracle.question is not None:
        kind, value, slot = oracle.question
        expected |= {"kind": KINDS.index(kind), "value": value, "slot": slot}
    found = [
        f"{name}: game {seen[name][i].tolist()}, oracle {want}"
        for name, want in expected.items()
        if seen[name][i].tolist() != want
    ]
    if oracle.done:
        left = [idle - taken for idle, taken in zip(oracle.idle, oracle.taken, strict=True)]
        for name, want in (("used", oracle.used), ("left", left)):
            got = seen[name][:slots, i].tolist()
            if got != want:
                found.append(f"{name}: game {got}, oracle {want}")
    return found


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
      What was played, by question and action, and how often a move stalled or waited.

    Raises:
      AssertionError: the first disagreement of each game, with the moves that lead there.
    """
    game = build_game([*programs, *ballast], config)
    oracles = [Oracle(program, config) for program in programs]
    totals = np.asarray(game.total_ticks)[: len(programs)]
    assert [max(oracle.total_ticks, 1) for oracle in oracles] == totals.tolist()
    policies = [_policy(rng) for _ in programs]
    state, seen = _start(game, jnp.arange(len(programs)))
    moves: list[list[int]] = [[] for _ in programs]
    returns = np.zeros(len(programs))
    returns += [oracle.saved_ticks / max(oracle.total_ticks, 1) for oracle in oracles]
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
                ends = [transfer.end for transfer in oracle.evictions]
                rewards[i] = oracle.step(int(actions[i]))
                waits = any(a > b.end for a, b in zip(ends, oracle.evictions, strict=False))
                count["waits"] += waits
        state, reward, seen = _step(game, state, jnp.asarray(actions))
        returns += np.asarray(reward)
        error = np.abs(np.asarray(reward) - rewards) / np.maximum(1, np.abs(rewards))
        for i in np.flatnonzero(error > 1e-6).tolist():
            line = f"after {moves[i]}: reward: game {reward[i]}, oracle {rewards[i]}"
            wrong.setdefault(i, line)
    for i in range(min(TRANSCRIBED, len(programs))):
        if i not in wrong and (line := _other_residencies(game, i, moves[i], oracles[i])):
            wrong[i] = line
    text = "\n".join(f"{programs[i].name}: {line}" for i, line in wrong.items())
    assert not wrong, f"{len(wrong)} of {len(programs)} games disagree under {config}\n{text}"
    saved = [oracle.saved_ticks / max(oracle.total_ticks, 1) for oracle in oracles]
    np.testing.assert_allclose(returns, saved, atol=1e-5)
    waited = [oracle.stall_ticks + oracle.overdraft_ticks for oracle in oracles]
    estimates = np.asarray(game.estimate(state))[: len(programs)]
    np.testing.assert_allclose(estimates, saved + RETIMED * np.array(waited) / totals, atol=1e-5)
    count["stalls"] = sum(oracle.stall_ticks > 0 for oracle in oracles)
    count["overdrafts"] = sum(oracle.overdraft_ticks > 0 for oracle in oracles)
    return count


def _other_residencies(game: Game, i: int, moves: list[int], oracle: Oracle) -> str:
    """How the game's transcript differs from the oracle's residencies and copies."""
    made = transcribe(game, i, moves)
    stops = StopRow(*np.asarray(game.stops[i]).T)
    found = []
    for number, stay in enumerate(made.stays):
        stop, tied = stay.origin // 2, None if stay.tied == number else stay.tied
        about = int(stops.value[stop]), int(stops.slot[stop])
        found.append((stay.value, stay.start, stay.end, stay.arrival, about, tied))
    stays = oracle.residencies()
    root = {k: k if s.tied is None else s.tied for k, s in enumerate(stays)}
    expected = [
        (s.value, s.start, s.end, s.arrival, s.origin[1:], None if root[k] == k else _root(root, k))
        for k, s in enumerate(stays)
    ]
    for name, got, want in (
        ("residencies", found, expected),
        ("prefetches", made.prefetches, list(oracle.prefetches)),
        ("evictions", made.evictions, list(oracle.evictions)),
    ):
        if got != want:
            return f"after {moves}: {name}: game {got}, oracle {want}"
    return ""


def _root(tied: dict[int, int], stay: int) -> int:
    """The first of a chain of residencies that share one offset."""
    while tied[stay] != stay:
        stay = tied[stay]
    return stay


def _programs(
    seed: int,
    count: int,
    instructions: tuple[int, int] = (1, 32),
    values: tuple[int, int] = (1, 16),
) -> list[Program]:
    def one(i: int) -> Program:
        rng = np.random.default_rng([seed, i])
        return random_program(
            rng,
            instructions=int(rng.integers(*instructions)),
            values=int(rng.integers(*values)),
            max_capacity_bytes=int(rng.choice([64, 256, 1024])),
            name=f"random[{seed}, {i}]",
        )

    return [one(i) for i in range(count)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_game_agrees_with_oracle(variant: str):
    _agree(variant, PROGRAMS)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_game_agrees_with_oracle_on_many(variant: str):
    count = _agree(variant, MANY)
    # Where much is inert, little takes supply that another copy was promised.
    assert count["waits"] > 10 and (count["overdrafts"] > 0 or variant == "inert"), count


def _agree(variant: str, programs: int) -> Counter[str]:
    seed = list(VARIANTS).index(variant)
    rng = np.random.default_rng([seed, programs])
    count = compare(_programs(seed, programs), VARIANTS[variant], rng)
    for event in (f"read {COPY}", f"define {NO_COPY}", f"depart {NO_COPY}", f"depart {DROP}"):
        assert count[event] > programs // 10, (event, count)
    if variant != "paper":
        assert min(count["waits"] + 1, count[f"read {NO_COPY}"]) > 1, count
    assert count["stalls"] > programs // 10, count
    return count


def test_longer_games_agree():
    programs = _programs(90, 60, instructions=(40, 100), values=(12, 40))
    assert np.median([len(program.instructions) for program in programs]) > 40
    count = compare(programs, VARIANTS["default"], np.random.default_rng(90))
    assert count["stalls"] > 20 and count["waits"] > 0, count


def test_handmade_games_agree():
    long = (long_held(), waiting_long())
    games = [program for program in (*all_programs(), *long) for _ in range(30)]
    compare(games, GameConfig(inert_fraction=0.0), np.random.default_rng(0))


# Shapes, and thus compilations, are those of the ballast, which is larger than what is drawn.
BALLAST = tuple(
    random_program(np.random.default_rng(seed), instructions=60, values=40) for seed in range(8)
)
MIXED = (GameConfig(inert_fraction=0.0), GameConfig("paper", 0.01))


@pytest.mark.slow
@settings(max_examples=400, derandomize=True, deadline=None, database=None)
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
