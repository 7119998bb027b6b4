"""Games that follow the best game so far: where they leave it, and how they come back to it.

The game is deterministic, so following is a restart from a state that was reached before.  A
guided game answers as the best game did up to a random decision.  There it either plays on by
itself, or it comes back: it goes on with the best game's answers but for a few decisions, or but
for all questions about one value.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from agent.randomness import draw
from mallocgame.state import DROP

# Expected number of decisions that a game with a window answers otherwise.
DEVIATIONS = 3
# Share of the games that come back which answer all questions about one value alike.
BY_VALUE = 0.5
# `Guides.topic` of games that have no such value, and of those that have not come to theirs.
NO_TOPIC, OPEN_TOPIC = -2, -1


@struct.dataclass
class Guides:
    """How each of B games is guided.

    leave [B]: the decision up to which it follows the best game, -1: it follows none.
    width [B]: the number of decisions from there on among which it deviates, 0: it does not come
        back to the best game.
    topic [B]: the value whose questions it answers alike from there on (`NO_TOPIC`, `OPEN_TOPIC`);
        accepts [B]: whether with yes.
    """

    leave: jax.Array
    width: jax.Array
    topic: jax.Array
    accepts: jax.Array


def no_guides(games: int) -> Guides:
    """Games that play by themselves."""
    none = jnp.full(games, -1, jnp.int32)
    return Guides(none, jnp.zeros_like(none), jnp.full_like(none, NO_TOPIC), jnp.zeros(games, bool))


def draw_guides(
    key: jax.Array,
    number: jax.Array,
    length: jax.Array,
    guided: jax.Array | float,
    deviating: float,
) -> Guides:
    """Guides of new games.

    number: [B], the games' numbers, to which their random numbers belong; the key is consumed.
    length: [B], decisions of the best game of each, 0 where there is none to follow.
    guided: share of the games that follow one; deviating: share of these that come back to it.
    """
    guided_key, length_key, width_key = jax.random.split(key, 3)
    is_guided = (draw(jax.random.uniform, guided_key, number) < guided) & (length > 0)
    share = draw(jax.random.uniform, length_key, number)
    leave = jnp.where(is_guided, (share * length).astype(jnp.int32), -1)
    # Windows of all lengths, from a few decisions to the whole game, each equally likely.
    mark = draw(lambda k: jax.random.uniform(k, (3,)), width_key, number)
    width = jnp.maximum(length, 2).astype(jnp.float32) ** mark[:, 0]
    width = jnp.where(is_guided & (mark[:, 1] < deviating), 1 + width.astype(jnp.int32), 0)
    topic = jnp.where((width > 0) & (mark[:, 2] < BY_VALUE), OPEN_TOPIC, NO_TOPIC)
    centred = (width > 0) & (topic == NO_TOPIC)
    leave = jnp.where(centred, jnp.maximum(leave - width // 2, 0), leave)
    return Guides(leave, width, topic, jnp.zeros_like(is_guided))


def follow(
    guides: Guides,
    told: jax.Array,
    index: jax.Array,
    value: jax.Array,
    legal: jax.Array,
    action: jax.Array,
    key: jax.Array,
    number: jax.Array,
) -> tuple[Guides, jax.Array, jax.Array]:
    """The actions [B] of games at their decision number `index` [B], a question about `value` [B].

    told: [B], the best game's answer to the question, -1 if it was not asked.
    legal: [B, A]; action: [B], what the games would do by themselves.
    number: [B], the games' numbers; the key is consumed.

    Where a game without a window or a topic leaves the best game its answer is a random other one;
    it plays on by itself from there, as one does whose answer to follow is not legal.  In a window
    half of the deviations are random others, half are the game's own.

    Returns:
      The guides of the next decision, the actions, and which of them were not chosen by the game
      itself and are not the best game's.
    """
    allowed = jnp.take_along_axis(legal, jnp.maximum(told, 0)[:, None], axis=1)[:, 0] & (told >= 0)
    others = legal & (told[:, None] != jnp.arange(legal.shape[1]))
    actions = legal.shape[1]
    noise = draw(lambda k: jax.random.uniform(k, (actions + 2,)), key, number)
    other = jnp.argmax(jnp.where(others, noise[:, :actions], -1.0), axis=1)
    deviates, guided = guides.width > 0, allowed & (guides.leave >= 0)

    begins = (guides.topic == OPEN_TOPIC) & guided & (index >= guides.leave)
    topic = jnp.where(begins, value, guides.topic)
    accepts = jnp.where(begins, told == DROP, guides.accepts)
    on_topic = topic == value
    yes = jnp.argmax(legal[:, :DROP], axis=1)
    wanted = jnp.where(accepts & jnp.any(legal[:, :DROP], axis=1), yes, DROP)

    near = (index >= guides.leave) & (index < guides.leave + guides.width) & (topic == NO_TOPIC)
    often = noise[:, actions] * jnp.maximum(guides.width, 2 * DEVIATIONS) < DEVIATIONS
    leaves = jnp.where(deviates, near & often, index == guides.leave)
    at_random = ~deviates | (noise[:, actions + 1] < 0.5)
    follows = guided & ~leaves & (deviates | (index < guides.leave))
    branched = guided & leaves & at_random & jnp.any(others, axis=1)
    action = jnp.where(follows, told, jnp.where(branched, other, action))
    action = jnp.where(on_topic, wanted, action)
    branched |= on_topic & (wanted != told)
    leave = jnp.where(follows | deviates, guides.leave, -1)
    return dataclasses.replace(guides, leave=leave, topic=topic, accepts=accepts), action, branched
