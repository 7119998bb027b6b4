"""The best finished game of every instance."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from gamekit.environment import Spec


@struct.dataclass
class Best:
    """The best finished game of each of P instances.

    score: float32 [P], -inf without a game.
    moves: int32 [P, M], the game's final branch, valid below length int32 [P].
    answers: int32 [P, Q], its answers by the number of the question, -1 where it was not asked.
    ended_at: int32 [P], the move of the newest rollout with which it ended, -1 if it is older.
    """

    score: jax.Array
    moves: jax.Array
    length: jax.Array
    answers: jax.Array
    ended_at: jax.Array


def init_best(spec: Spec) -> Best:
    """No game finished yet."""
    count = spec.num_instances
    return Best(
        score=jnp.full(count, -jnp.inf),
        moves=jnp.zeros((count, spec.max_moves), jnp.int32),
        length=jnp.zeros(count, jnp.int32),
        answers=jnp.full((count, spec.num_questions), -1, jnp.int32),
        ended_at=jnp.full(count, -1, jnp.int32),
    )


def update_best(
    best: Best,
    score: jax.Array,
    ended: jax.Array,
    instance: jax.Array,
    moves: jax.Array,
    length: jax.Array,
    answers: jax.Array,
    time: jax.Array,
) -> Best:
    """Keeps the best of the games [B] that ended with this move; the first one wins a tie."""
    instances = jnp.arange(best.score.shape[0])
    mine = ended[None, :] & (instance[None, :] == instances[:, None])  # [P, B]
    score = jnp.where(mine, score[None, :], -jnp.inf)
    winner = jnp.argmax(score, axis=1)
    top = jnp.max(score, axis=1)
    better = top > best.score
    return Best(
        score=jnp.where(better, top, best.score),
        moves=jnp.where(better[:, None], moves[winner], best.moves),
        length=jnp.where(better, length[winner], best.length),
        answers=jnp.where(better[:, None], answers[winner], best.answers),
        ended_at=jnp.where(better, time, best.ended_at),
    )
