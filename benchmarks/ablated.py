"""Runs a script of the project with a part of the game left out, for ablations.

    python -m benchmarks.ablated prices train.py --config configs/single_program.yaml ...
    python -m benchmarks.ablated reward train.py --config configs/single_program.yaml ...
    python -m benchmarks.ablated prices benchmarks/zero_shot.py --checkpoint RUN ...

- `prices`: the linear relaxation is not solved. Its shadow prices and its plan are 0 in all
  observations, and the headroom of values is what the slots ahead can save.
- `reward`: a proxy takes the place of the exact reward. An answer that puts an access into fast
  memory is paid what the access would save if it were the only one there, times what can be saved
  at most over the sum of all these. Scores, and which game is the best one, stay exact.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from gamekit.environment import Step
from mallocgame.game import environment, tables
from mallocgame.game.arrays import stack_tables
from mallocgame.game.compile_program import compile_program
from mallocgame.game.environment import Game
from mallocgame.game.options import GameConfig
from mallocgame.game.rules import question_number
from mallocgame.game.state import COPY, NO_COPY, State
from mallocgame.game.tables import ASK_DEPART, QuestionRow, Tables, pad
from mallocgame.program import Program
from mallocgame.relaxation.prices import no_prices


def without_prices() -> None:
    """Everything is free, as where the relaxation's time runs out."""
    tables.prices_of = no_prices


def with_proxy_reward() -> None:
    """Games pay the proxy."""
    environment.build_game = proxy_game


PARTS: dict[str, Callable[[], None]] = {"prices": without_prices, "reward": with_proxy_reward}


@struct.dataclass
class ProxyGame(Game):
    """paid: float32 [P, 2 * E]; the reward of a yes, by the number of the question."""

    paid: Array

    def step(self, state: State, action: Array) -> tuple[State, Step]:
        """As `Game.step`, but for the reward."""
        row = environment.question_row(self, state, state.asked)
        legal = ((action == COPY) & state.may_copy) | ((action == NO_COPY) & state.may_hold)
        paid = self.paid[state.program, question_number(row)]
        after, step = super().step(state, action)
        reward = jnp.where(legal & state.waiting & ~state.done, paid, 0.0)
        return after, step._replace(reward=reward.astype(jnp.float32))


def proxy_game(programs: Sequence[Program], config: GameConfig) -> ProxyGame:
    """Takes the place of `mallocgame.game.environment.build_game`."""
    compiled = [compile_program(program, config) for program in programs]
    arrays = stack_tables(compiled, config)
    numbers = 2 * arrays.stops.shape[1]
    paid = pad([proxy_rewards(t)[:, None] for t in compiled], numbers, 0)[..., 0]
    return ProxyGame(**vars(arrays), paid=jnp.asarray(paid, jnp.float32))


def proxy_rewards(compiled: Tables) -> np.ndarray:
    """Float32 [2 * E], by the number of the question: share of the all-slow latency for a yes."""
    rows = QuestionRow(*compiled.questions.T)
    departs = rows.kind == ASK_DEPART
    held = departs | (rows.entry > 0)
    alone = np.where(departs, 0.0, compiled.own) + np.where(held, compiled.following, 0.0)
    # Each access is in the slot of exactly one arrival.
    every = float(compiled.own[~departs].sum())
    paid = np.zeros(2 * len(compiled.stops), np.float32)
    number: Any = question_number(rows)
    paid[number] = alone * (float(compiled.bound[0]) / every if every else 0.0)
    return paid


def main() -> None:
    if len(sys.argv) < 3 or sys.argv[1] not in PARTS:
        sys.exit(f"usage: python -m benchmarks.ablated {'|'.join(PARTS)} SCRIPT [ARGUMENT ...]")
    PARTS[sys.argv[1]]()
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
