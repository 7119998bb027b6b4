"""Learning targets from the replay: returns along the final branch, and which moves count.

A Drop-backup undoes moves: the game refunds their rewards and asks an earlier question again.
Moves that this or a later move of the game undid get no targets: neither they nor their states
are part of what the game came to.  The rewards and refunds between two surviving moves belong to
the first of them, so that returns telescope to what the game saved.

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
    """value [T, B]: unscaled return from the move on; usable [T, B]: the game has ended and the
    move survived; final [T, B]: what the game saved in the end (0 where not ended)."""

    value: jax.Array
    usable: jax.Array
    final: jax.Array


def compute_targets(moves: Moves, written: jax.Array, td_lambda: float) -> Targets:
    """Targets of moves [T, B] in the order of time.

    With lambda below 1 the return is a mixture of n-step returns over surviving moves that end in
    the search's root values; 1 is the full return.
    """
    games = moves.reward.shape[1]
    zeros = jnp.zeros(games)
    start = (zeros, zeros, zeros, jnp.full(games, _FAR), jnp.zeros(games, bool), zeros)

    def step(carry: tuple, cell: tuple[Moves, jax.Array]):
        future, bootstrap, pending, lowest, ended, final = carry
        move, written = cell
        # Looking back from a game's last move: nothing lies ahead.
        future = jnp.where(move.done, 0.0, future)
        bootstrap = jnp.where(move.done, 0.0, bootstrap)
        pending = jnp.where(move.done, 0.0, pending)
        lowest = jnp.minimum(jnp.where(move.done, _FAR, lowest), move.kept)
        ended = (ended | move.done) & written
        final = jnp.where(move.done, move.saved, final)
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
            final,
        )
        return carry, Targets(target, ended & survives, jnp.where(ended, final, 0.0))

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


def elite_cells(
    moves: Moves, targets: Targets, quantile: float, programs: int, axis: str | None = None
) -> jax.Array:
    """Cells [T, B] of games above the quantile of their program's returns in the replay.

    The quantile is over cells, so longer games count more; the best game always qualifies.
    axis: the mesh's axis that the games lie on, if the replay is spread over devices.
    """
    bins = 256
    low, high = _program_range(moves.program, targets, programs)
    if axis:
        low, high = jax.lax.pmin(low, axis), jax.lax.pmax(high, axis)
    span = jnp.maximum(high - low, 1e-9)
    level = ((targets.final - low[moves.program]) / span[moves.program] * (bins - 1)).astype(int)
    level = jnp.clip(level, 0, bins - 1)
    counts = jnp.zeros((programs, bins)).at[moves.program, level].add(targets.usable)
    if axis:
        counts = jax.lax.psum(counts, axis)
    below = jnp.cumsum(counts, axis=1) - counts
    reached = below >= quantile * jnp.sum(counts, axis=1, keepdims=True)
    # The threshold is the first level with enough cells below it, but not above the best game.
    threshold = jnp.where(jnp.any(reached, axis=1), jnp.argmax(reached, axis=1), bins - 1)
    return targets.usable & (level >= threshold[moves.program])


def _program_range(
    program: jax.Array, targets: Targets, programs: int
) -> tuple[jax.Array, jax.Array]:
    worst, best = jnp.float32(1e9), jnp.float32(-1e9)
    low = jnp.full(programs, worst).at[program].min(jnp.where(targets.usable, targets.final, worst))
    high = jnp.full(programs, best).at[program].max(jnp.where(targets.usable, targets.final, best))
    return low, high


def _small(moves: Moves) -> Moves:
    """The moves without what targets do not need: no observations travel through the scan."""
    nothing = jnp.zeros((moves.reward.shape[0], 0))
    return dataclasses.replace(moves, observation=nothing, legal=nothing, policy=nothing)
