"""Learning targets from the replay: returns along the final branch, and which moves count.

A game may undo moves, as by Drop-backup: it refunds their rewards and asks an earlier question
again.  Moves that this or a later move of the game undid get no targets: neither they nor their
states are part of the final game.  The rewards and refunds between two surviving moves belong to
the first of them, so that returns telescope to the final score.

A random move that left the best game says little about the state it was made in, unless it turned
out well: there the value is the larger of the return and the search's (in a deterministic game any
return is a lower bound of the optimum), and earlier states see that.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from agent.learning.replay import Replay
from agent.selfplay.rollout import Moves

_FAR = jnp.iinfo(jnp.int32).max


@struct.dataclass
class Targets:
    """Targets of moves.

    value: float32 [T, B], the unscaled return from the move on.
    usable: bool [T, B], the game has ended and the move was not undone.
    """

    value: jax.Array
    usable: jax.Array


def compute_targets(moves: Moves, written: jax.Array, td_lambda: float) -> Targets:
    """Targets of moves [T, B] in the order of time.

    With lambda below 1 the return is a mixture of n-step returns over surviving moves that end in
    the search's root values; 1 is the full return.
    """
    games = moves.reward.shape[1]
    zeros = jnp.zeros(games)
    start = (zeros, zeros, zeros, jnp.full(games, _FAR), jnp.zeros(games, bool))

    def step(carry: tuple, cell: tuple[Moves, jax.Array]):
        future, bootstrap, pending, lowest, ended = carry
        move, written = cell
        # Looking back from a game's last move: nothing lies ahead.
        future = jnp.where(move.done, 0.0, future)
        bootstrap = jnp.where(move.done, 0.0, bootstrap)
        pending = jnp.where(move.done, 0.0, pending)
        lowest = jnp.minimum(jnp.where(move.done, _FAR, lowest), move.undone_from)
        ended = (ended | move.done) & written
        survives = move.index < lowest
        reward = move.reward + pending
        target = reward + (1 - td_lambda) * bootstrap + td_lambda * future
        target = jnp.where(move.branched, jnp.maximum(target, move.value), target)
        carry = (
            jnp.where(survives, target, future),
            jnp.where(survives, move.value, bootstrap),
            jnp.where(survives, 0.0, reward),
            lowest,
            ended,
        )
        return carry, Targets(target, ended & survives)

    _, targets = jax.lax.scan(step, start, (_small(moves), written), reverse=True)
    return targets


def replay_targets(replay: Replay, td_lambda: float) -> Targets:
    """Targets of every cell of the replay, in the order of its cells."""
    # The ring's oldest cell comes first in time.
    moves, written = jax.tree.map(
        lambda x: jnp.roll(x, -replay.cursor, axis=0), (_small(replay.moves), replay.written)
    )
    targets = compute_targets(moves, written, td_lambda)
    return jax.tree.map(lambda x: jnp.roll(x, replay.cursor, axis=0), targets)


def _small(moves: Moves) -> Moves:
    """The moves without what targets do not need: no observations travel through the scan."""
    nothing = jnp.zeros((moves.reward.shape[0], 0))
    return dataclasses.replace(moves, observation=nothing, legal=nothing, policy=nothing)
