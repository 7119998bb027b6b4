"""The compiled programs of a game, stacked: what the rules and the observations read.

Nothing in them changes during a game.  Batch axes of games come last in every array of the state;
these are looked up by the number of the program that each game plays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from mallocgame.game.first import first_question
from mallocgame.game.observe.static import AHEAD, question_features, slot_features
from mallocgame.game.options import GameConfig
from mallocgame.game.tables import NEVER, Brief, QuestionRow, Tables, pad

# The least slots, questions and values that a game is padded to.
SHORTEST = 64


@struct.dataclass
class GameArrays:
    """P programs in one set of arrays, padded to lengths that others share.

    stops: int32 [P, E, columns of StopRow]; questions: int32 [P, Q, columns of QuestionRow];
        briefs: their first columns, those of Brief; slots: int32 [columns of SlotRow, P, T].
    num_slots, num_questions_of, capacity, total_ticks, floor_ticks: int32 [P].
    bound: float32 [P, T + 1]; fraction of the latency that slots t, t + 1, ... save at most.
    limit: float32 [P]; fraction of the latency that no game saves more than.
    plan: float32 [P, T + 1]; fraction that slots t, t + 1, ... save in the relaxation's optimum.
    capacity_ticks: float32 [P]; ticks that a copy of the whole fast memory takes.
    first: int32 [P, columns of First]; the first question.
    features: float32 [P, Q + AHEAD, K]; what the observation knows about each question.
    prospects: float32 [P, T, K']; what the observation knows about each slot.
        In a game that nobody observes there is nothing in the two, nor in the plan.
    num_values: V, how many values are told apart.
    """

    stops: Array
    questions: Array
    briefs: Array
    slots: Array
    num_slots: Array
    num_questions_of: Array
    capacity: Array
    total_ticks: Array
    floor_ticks: Array
    bound: Array
    limit: Array
    plan: Array
    capacity_ticks: Array
    first: Array
    features: Array
    prospects: Array
    config: GameConfig = struct.field(pytree_node=False)
    num_values: int = struct.field(pytree_node=False)
    has_groups: bool = struct.field(pytree_node=False)

    @property
    def num_programs(self) -> int:
        return self.questions.shape[0]

    @property
    def max_decisions(self) -> int:
        """M: no game has more moves."""
        return self.questions.shape[1]


def stack_tables(tables: Sequence[Tables], config: GameConfig, observed: bool = True) -> GameArrays:
    """Stacks compiled programs, padded to powers of two.

    What is compiled for a game serves every game of the same shape.

    observed: whether somebody looks at its observations, for which each program's relaxation is
        solved.
    """
    slots = _rounded_up(max(len(t.slots) for t in tables))
    stops = _rounded_up(max(len(t.stops) for t in tables))
    questions = 2 * stops
    values = _rounded_up(max(len(t.program.values) for t in tables))
    rows = pad([t.questions for t in tables], questions, NEVER)
    groups = any((QuestionRow(*t.questions.T).result >= 0).any() for t in tables)
    bounds = pad([t.bound[:, None] for t in tables], 1 + slots, 0)[..., 0]
    return GameArrays(
        stops=jnp.asarray(pad([t.stops for t in tables], stops, NEVER)),
        questions=jnp.asarray(rows),
        briefs=jnp.asarray(rows[..., : len(Brief._fields)]),
        slots=jnp.asarray(np.moveaxis(pad([t.slots for t in tables], slots, 0), -1, 0)),
        num_slots=_numbers([len(t.slots) for t in tables]),
        num_questions_of=_numbers([len(t.questions) for t in tables]),
        capacity=_numbers([t.capacity for t in tables]),
        total_ticks=_numbers([max(t.total_ticks, 1) for t in tables]),
        floor_ticks=_numbers([t.floor_ticks for t in tables]),
        bound=jnp.asarray(bounds, jnp.float32),
        capacity_ticks=jnp.array([t.capacity_ticks for t in tables], jnp.float32),
        first=jnp.array([first_question(t, config) for t in tables], jnp.int32),
        **(_seen(tables, questions, slots) if observed else _unseen(tables)),
        config=config,
        num_values=values,
        has_groups=groups,
    )


def _seen(tables: Sequence[Tables], questions: int, slots: int) -> dict[str, Array]:
    """What observations read, padded."""
    features = pad([question_features(t) for t in tables], questions + AHEAD, 0)
    prospects = pad([slot_features(t) for t in tables], slots, 0)
    plan = pad([t.prices.saved[:, None] for t in tables], 1 + slots, 0)[..., 0]
    limit = np.array([t.prices.limit for t in tables])
    found = {"limit": limit, "plan": plan, "features": features, "prospects": prospects}
    return {name: jnp.asarray(x, jnp.float32) for name, x in found.items()}


def _unseen(tables: Sequence[Tables]) -> dict[str, Array]:
    nothing = jnp.zeros((len(tables), 1, 1))
    limit = jnp.array([t.bound[0] for t in tables], jnp.float32)
    return {"limit": limit, "plan": nothing[..., 0], "features": nothing, "prospects": nothing}


def _numbers(numbers: Sequence[int]) -> Array:
    return jnp.array(numbers, jnp.int32)


def _rounded_up(count: int) -> int:
    """The power of two from `count` on, at least `SHORTEST`."""
    return max(SHORTEST, 1 << max(count - 1, 0).bit_length())


def gather(table: Array, *index: Array) -> tuple[Any, ...]:
    """Rows of an [..., C] table at the given indices, as C arrays of the indices' shape."""
    rows = table.at[index].get(mode="clip")
    return tuple(jnp.moveaxis(rows, -1, 0))
