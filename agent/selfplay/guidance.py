"""Games that follow the best game so far: where they leave it, and how they come back to it.

The game is deterministic, so following is a restart from a state that was reached before.  A
guided game answers as the best game did up to a random decision.  There it either plays on by
itself, or it comes back: it goes on with the best game's answers but for a few decisions, but for
all questions about one value, or but for what stands in the way of one arrival.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from agent.selfplay.randomness import draw
from mallocgame.game.state import DROP

# Expected number of decisions that a game with a window answers otherwise.
DEVIATIONS = 3
# Shares of the games that come back which make room for an arrival, and of the others of those
# which answer all questions about one value alike.
MAKING_ROOM, BY_VALUE = 1 / 3, 0.5
# Room is made for at most so many slots before an arrival.
LONGEST_ROOM = 32
# `Guides.topic` of games that have no such value, and of those that have not come to theirs.
NO_TOPIC, OPEN_TOPIC = -2, -1
NO_GOAL = -1


@struct.dataclass
class Guides:
    """How each of B games is guided.

    leave [B]: the decision up to which it follows the best game, -1: it follows none.
    width [B]: the number of decisions from there on among which it deviates, 0: it does not come
        back to the best game.
    topic [B]: the value whose questions it answers alike from there on (`NO_TOPIC`, `OPEN_TOPIC`);
        accepts [B]: whether with yes.
    goal [B]: the number of the question about the arrival that it makes room for (`NO_GOAL`), which
        the best game declined; room [B]: for how many slots before; beyond [B]: only values that
        would stay beyond the arrival make room; returns [B]: afterwards it goes on with the best
        game's answers, else by itself.
    """

    leave: jax.Array
    width: jax.Array
    topic: jax.Array
    accepts: jax.Array
    goal: jax.Array
    room: jax.Array
    beyond: jax.Array
    returns: jax.Array


class Asked(NamedTuple):
    """What each of B games is asked.

    question: the question's number; value: what it is about; begin, end: the slots for which an
    answer other than DROP would have it in fast memory; legal [B, A]; decision: its number in the
    game; goal_slot, goal_value: the arrival for which the game makes room.
    """

    question: jax.Array
    value: jax.Array
    begin: jax.Array
    end: jax.Array
    legal: jax.Array
    decision: jax.Array
    goal_slot: jax.Array
    goal_value: jax.Array


def no_guides(games: int) -> Guides:
    """Games that play by themselves."""
    none, no = jnp.full(games, -1, jnp.int32), jnp.zeros(games, bool)
    zero = jnp.zeros_like(none)
    topic = jnp.full_like(none, NO_TOPIC)
    return Guides(none, zero, topic, no, jnp.full_like(none, NO_GOAL), zero, no, no)


def draw_guides(
    key: jax.Array,
    number: jax.Array,
    length: jax.Array,
    declined: jax.Array,
    guided: jax.Array | float,
    deviating: float,
) -> Guides:
    """Guides of new games.

    number: [B], the games' numbers, to which their random numbers belong; the key is consumed.
    length: [B], decisions of the best game of each, 0 where there is none to follow.
    declined: [B, Q], the numbers of questions about arrivals that the best game answers DROP.
    guided: share of the games that follow one; deviating: share of these that come back to it.
    """
    guided_key, length_key, width_key, room_key = jax.random.split(key, 4)
    is_guided = (draw(jax.random.uniform, guided_key, number) < guided) & (length > 0)
    share = draw(jax.random.uniform, length_key, number)
    leave = jnp.where(is_guided, (share * length).astype(jnp.int32), -1)
    # Windows of all lengths, from a few decisions to the whole game, each equally likely.
    mark = draw(lambda k: jax.random.uniform(k, (3,)), width_key, number)
    width = jnp.maximum(length, 2).astype(jnp.float32) ** mark[:, 0]
    width = jnp.where(is_guided & (mark[:, 1] < deviating), 1 + width.astype(jnp.int32), 0)

    kind = draw(lambda k: jax.random.uniform(k, (5,)), room_key, number)
    goal = _true_one(declined, kind[:, 0])
    makes_room = (width > 0) & (kind[:, 1] < MAKING_ROOM) & (goal != NO_GOAL)
    room = (LONGEST_ROOM ** kind[:, 2]).astype(jnp.int32)

    by_value = (width > 0) & ~makes_room & (mark[:, 2] < BY_VALUE)
    topic = jnp.where(by_value, OPEN_TOPIC, NO_TOPIC)
    centred = (width > 0) & ~makes_room & ~by_value
    leave = jnp.where(centred, jnp.maximum(leave - width // 2, 0), leave)
    return Guides(
        leave=leave,
        width=width,
        topic=topic,
        accepts=jnp.zeros_like(is_guided),
        goal=jnp.where(makes_room, goal, NO_GOAL),
        room=room,
        beyond=kind[:, 3] < 0.5,
        returns=kind[:, 4] < 0.5,
    )


def declined_arrivals(game: Any, answers: jax.Array) -> jax.Array:
    """Bool [..., Q], by the numbers of the questions; answers: [..., Q], -1 where not asked."""
    return (answers == DROP) & game.is_arrival(jnp.arange(answers.shape[-1]))


def _true_one(which: jax.Array, share: jax.Array) -> jax.Array:
    """Position [B] of one of the true ones of [B, Q], the given share [B] of them before it;
    `NO_GOAL` where there is none."""
    passed = jnp.cumsum(which, axis=1)
    before = (share * passed[:, -1]).astype(jnp.int32)
    found = jnp.argmax(passed > before[:, None], axis=1).astype(jnp.int32)
    return jnp.where(passed[:, -1] > 0, found, NO_GOAL)


def ask(game: Any, state: Any, program: jax.Array, legal: jax.Array, guides: Guides) -> Asked:
    """What games of the programs [B] are asked."""
    begin, end = game.occupied(state)
    slot, value = game.stop(program, jnp.maximum(guides.goal, 0))
    return Asked(
        question=game.question_index(state),
        value=game.question(state)[1],
        begin=begin,
        end=end,
        legal=legal,
        decision=game.decision_index(state),
        goal_slot=slot,
        goal_value=value,
    )


def follow(
    guides: Guides,
    asked: Asked,
    told: jax.Array,
    action: jax.Array,
    key: jax.Array,
    number: jax.Array,
) -> tuple[Guides, jax.Array, jax.Array]:
    """The actions [B] of games.

    told: [B], the best game's answer to the question, -1 if it was not asked.
    action: [B], what the games would do by themselves.
    number: [B], the games' numbers; the key is consumed.

    Where a game that does not come back leaves the best game its answer is a random other one; it
    plays on by itself from there, as one does whose answer to follow is not legal.  In a window
    half of the deviations are random others, half are the game's own.  Room for an arrival is made
    by declining what would be in fast memory then, or in the slots before.

    Returns:
      The guides of the next decision, the actions, and which of them were not chosen by the game
      itself and are not the best game's.
    """
    told, legal, index = told.astype(jnp.int32), asked.legal, asked.decision
    allowed = jnp.take_along_axis(legal, jnp.maximum(told, 0)[:, None], axis=1)[:, 0] & (told >= 0)
    others = legal & (told[:, None] != jnp.arange(legal.shape[1]))
    actions = legal.shape[1]
    noise = draw(lambda k: jax.random.uniform(k, (actions + 2,)), key, number)
    other = jnp.argmax(jnp.where(others, noise[:, :actions], -1.0), axis=1)
    # DROP is the last action: the first legal one is a yes where there is any.
    yes = jnp.argmax(legal, axis=1)
    has_goal, deviates = guides.goal != NO_GOAL, guides.width > 0
    follows_on = ~has_goal | guides.returns | (asked.begin <= asked.goal_slot)
    guided = allowed & (guides.leave >= 0) & follows_on

    begins = (guides.topic == OPEN_TOPIC) & guided & (index >= guides.leave)
    topic = jnp.where(begins, asked.value, guides.topic)
    accepts = jnp.where(begins, told == DROP, guides.accepts)
    on_topic = topic == asked.value

    in_window = (index >= guides.leave) & (index < guides.leave + guides.width)
    often = noise[:, actions] * jnp.maximum(guides.width, 2 * DEVIATIONS) < DEVIATIONS
    near = in_window & (topic == NO_TOPIC) & ~has_goal
    leaves = jnp.where(deviates, near & often, index == guides.leave)
    at_random = ~deviates | (noise[:, actions + 1] < 0.5)
    follows = guided & ~leaves & (deviates | (index < guides.leave))
    branched = guided & leaves & at_random & jnp.any(others, axis=1)
    action = jnp.where(follows, told, jnp.where(branched, other, action))

    arrival = has_goal & (asked.question == guides.goal)
    in_way = _in_way(guides, asked) & has_goal & ~arrival
    wanted = jnp.where(arrival | (on_topic & accepts), yes, DROP)
    told_otherwise = on_topic | arrival | in_way
    action = jnp.where(told_otherwise, wanted, action)
    branched |= told_otherwise & (wanted != told)
    leave = jnp.where(follows | deviates, guides.leave, -1)
    return dataclasses.replace(guides, leave=leave, topic=topic, accepts=accepts), action, branched


def _in_way(guides: Guides, asked: Asked) -> jax.Array:
    """Which games [B] are asked about another value that would lie in the goal's room."""
    meets = (asked.begin <= asked.goal_slot) & (asked.end > asked.goal_slot - guides.room)
    stays = ~guides.beyond | (asked.end > asked.goal_slot + 1)
    return meets & stays & (asked.value != asked.goal_value)
