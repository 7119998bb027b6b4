"""From the moves of a finished game to its schedule."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from games.fences.game.environment import Game
from games.fences.game.state import NOBODY, State
from games.fences.game.tables import offered_order
from games.fences.program.program import Program
from games.fences.program.schedule import Placement


def placements_of(game: Game, program: Program, index: int, moves: np.ndarray) -> list[Placement]:
    """What a finished game of program number `index` placed, in its order. moves: int [n]."""
    padded = np.zeros(game.spec.max_moves, np.int32)
    padded[: len(moves)] = moves
    state = jax.tree.map(np.asarray, _play(game, jnp.int32(index), jnp.asarray(padded)))
    numbers = offered_order(program)
    assert state.device[: len(numbers)].min() > NOBODY, f"{program.name}: the game is not over"
    found = []
    for at in np.argsort(state.order[: len(numbers)]):
        after = int(state.after[at])
        fences = () if after == NOBODY else (numbers[after],)
        found.append(Placement(numbers[at], int(state.device[at]), fences))
    return found


@jax.jit
def _play(game: Game, index: jax.Array, moves: jax.Array) -> State:
    def one(state: State, move: jax.Array) -> tuple[State, None]:
        return game.step(state, move)[0], None

    return jax.lax.scan(one, game.init(index), moves)[0]
