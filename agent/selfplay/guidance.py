"""Games that follow the best game so far: where they leave it, and how they come back to it.

The game is deterministic, so following is a restart from a state that was reached before.  A guided
game copies the best game up to a random move, and then changes it by one of four plans (`Plan`).
"""

from __future__ import annotations

import dataclasses
import enum
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from agent.randomness import draw
from gamekit.environment import GuidingEnvironment, Question, Spec, State


class Plan(enum.IntEnum):
    """How a game deviates from the best one."""

    NONE = 0  # It plays by itself.
    LEAVE = 1  # At one move it answers otherwise, at random, and plays by itself from there on.
    WINDOW = 2  # It answers a few questions otherwise in a window of moves, and comes back.
    TOPIC = 3  # It answers all questions about one topic alike from one move on.
    ROOM = 4  # It makes room for one thing that the best game declined.
    FOLLOW = 5  # It answers as it is told, as far as that is legal, to its end.


# The expected number of moves that a game with a window answers otherwise.
DEVIATIONS = 3
# Shares: of the games that come back, those that make room; of the others, those with a topic.
MAKING_ROOM, BY_TOPIC = 1 / 3, 0.5
# Room is made for at most so much of the game's time before something comes in.
LONGEST_ROOM = 32
# `Guides.topic` until the game meets its topic, and `Guides.goal` without a goal.
OPEN_TOPIC, NO_GOAL = -1, -1


@struct.dataclass
class Guides:
    """How each of B games is guided; all arrays [B].

    plan: a `Plan`.
    leave: the move at which the plan begins.
    width: WINDOW: how many moves the window has.
    topic, accepts: TOPIC: what it is about, and whether the answer is a yes.
    goal: ROOM: the number of the question that it says yes to.
    room: ROOM: for how long before the goal it keeps others out.
    beyond: ROOM: only what would stay beyond the goal is kept out.
    returns: ROOM: after the goal it copies the best game again, else it plays by itself.
    """

    plan: jax.Array
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

    question: each field [B]; goal: the question that the game makes room for.
    legal: bool [B, A]. move: int32 [B], the move's number in the game.
    """

    question: Question
    goal: Question
    legal: jax.Array
    move: jax.Array


def no_guides(games: int) -> Guides:
    """Games that play by themselves."""
    zero, no = jnp.zeros(games, jnp.int32), jnp.zeros(games, bool)
    return Guides(
        plan=zero,
        leave=zero,
        width=zero,
        topic=jnp.full_like(zero, OPEN_TOPIC),
        accepts=no,
        goal=jnp.full_like(zero, NO_GOAL),
        room=zero,
        beyond=no,
        returns=no,
    )


def draw_guides(
    key: jax.Array,
    number: jax.Array,
    length: jax.Array,
    declined: jax.Array,
    guided: jax.Array | float,
    deviating: float,
    has_topics: bool = True,
) -> Guides:
    """Guides of new games.

    number: [B], the games' numbers, to which their random numbers belong; the key is consumed.
    length: [B], moves of the best game of each, 0 where there is none to follow.
    declined: bool [B, Q], questions by number that the best game declines and could accept.
    guided: share of the games that follow one; deviating: share of these that come back to it.
    has_topics: whether questions can be declined, and so answered alike.
    """
    guided_key, leave_key, window_key, room_key = jax.random.split(key, 4)
    is_guided = (draw(jax.random.uniform, guided_key, number) < guided) & (length > 0)
    share = draw(jax.random.uniform, leave_key, number)
    leave = jnp.where(is_guided, (share * length).astype(jnp.int32), 0)
    # Windows of all lengths, from a few moves to the whole game, each equally likely.
    mark = draw(lambda k: jax.random.uniform(k, (3,)), window_key, number)
    width = jnp.maximum(length, 2).astype(jnp.float32) ** mark[:, 0]
    comes_back = is_guided & (mark[:, 1] < deviating)
    width = jnp.where(comes_back, 1 + width.astype(jnp.int32), 0)

    dice = draw(lambda k: jax.random.uniform(k, (5,)), room_key, number)
    goal = _pick(declined, dice[:, 0])
    makes_room = comes_back & (dice[:, 1] < MAKING_ROOM) & (goal != NO_GOAL)
    by_topic = comes_back & ~makes_room & (mark[:, 2] < BY_TOPIC) & has_topics
    plan = jnp.where(comes_back, int(Plan.WINDOW), int(Plan.LEAVE))
    plan = jnp.where(by_topic, int(Plan.TOPIC), jnp.where(makes_room, int(Plan.ROOM), plan))
    centred = jnp.maximum(leave - width // 2, 0)
    return dataclasses.replace(
        no_guides(len(number)),
        plan=jnp.where(is_guided, plan, int(Plan.NONE)).astype(jnp.int32),
        leave=jnp.where(plan == Plan.WINDOW, centred, leave),
        width=width,
        goal=jnp.where(makes_room, goal, NO_GOAL),
        room=(LONGEST_ROOM ** dice[:, 2]).astype(jnp.int32),
        beyond=dice[:, 3] < 0.5,
        returns=dice[:, 4] < 0.5,
    )


def declined_arrivals(game: GuidingEnvironment[State], answers: jax.Array) -> jax.Array:
    """Bool [..., Q], by the numbers of the questions; answers: [..., Q], -1 where not asked."""
    if game.spec.decline is None:
        return jnp.zeros(answers.shape, bool)
    return (answers == game.spec.decline) & game.takes_room(jnp.arange(answers.shape[-1]))


def _pick(candidates: jax.Array, share: jax.Array) -> jax.Array:
    """Position [B] of one of the true ones of [B, Q], the given share [B] of them before it;
    `NO_GOAL` where there is none."""
    passed = jnp.cumsum(candidates, axis=1)
    before = (share * passed[:, -1]).astype(jnp.int32)
    found = jnp.argmax(passed > before[:, None], axis=1).astype(jnp.int32)
    return jnp.where(passed[:, -1] > 0, found, NO_GOAL)


def ask(game: GuidingEnvironment[State], state: State, legal: jax.Array, guides: Guides) -> Asked:
    """What the games [B] are asked."""
    return Asked(
        question=game.question(state),
        goal=game.question_of(game.instance(state), jnp.maximum(guides.goal, 0)),
        legal=legal,
        move=game.history(state).length,
    )


def follow(
    spec: Spec,
    guides: Guides,
    asked: Asked,
    answer: jax.Array,
    action: jax.Array,
    key: jax.Array,
    number: jax.Array,
) -> tuple[Guides, jax.Array, jax.Array]:
    """The actions [B] of games.

    answer: int32 [B], the best game's answer to the question, -1 if it was not asked.
    action: int32 [B], what the games would do by themselves.
    number: [B], the games' numbers; the key is consumed.

    Returns:
      The guides of the next move, the actions, and which of them were not chosen by the game itself
      and are not the best game's.
    """
    actions = spec.num_actions
    noise = draw(lambda k: jax.random.uniform(k, (actions + 2,)), key, number)
    comes_back = guides.plan >= Plan.WINDOW
    told = or_another(spec, asked.legal, answer)
    answer = jnp.where(guides.plan == Plan.FOLLOW, told, answer)
    copies = _copies(guides, asked, answer)
    guides = _open_topic(spec, guides, asked, answer, copies)
    leaves = jnp.where(
        comes_back, _deviates(guides, asked, noise[:, actions]), asked.move == guides.leave
    )
    follows = copies & ~leaves & (comes_back | (asked.move < guides.leave))
    # A game that leaves for good answers otherwise; in a window half of the deviations do, and
    # half are the game's own.
    at_random = ~comes_back | (noise[:, actions + 1] < 0.5)
    other, has_other = _other(asked.legal, answer, noise[:, :actions])
    branched = copies & leaves & at_random & has_other
    action = jnp.where(follows, answer, jnp.where(branched, other, action))
    if spec.decline is not None:
        wanted, is_wanted = _wanted(spec.decline, guides, asked)
        action = jnp.where(is_wanted, wanted, action)
        branched |= is_wanted & (wanted != answer)
    plan = jnp.where(follows | comes_back, guides.plan, int(Plan.NONE))
    return dataclasses.replace(guides, plan=plan), action, branched


def or_another(spec: Spec, legal: jax.Array, answer: jax.Array) -> jax.Array:
    """Answers [B] as they can be given under legal [B, A]; -1 where there is none.

    Where an answer other than to decline is not legal, another such answer takes its place, and if
    there is none, declining does.
    """
    is_legal = jnp.take_along_axis(legal, jnp.maximum(answer, 0)[:, None], axis=1)[:, 0]
    if spec.decline is None:
        return jnp.where(is_legal, answer, -1)
    accepting = legal & (jnp.arange(legal.shape[1]) != spec.decline)
    other = jnp.where(jnp.any(accepting, axis=1), jnp.argmax(accepting, axis=1), spec.decline)
    return jnp.where((answer < 0) | is_legal, answer, other)


def _copies(guides: Guides, asked: Asked, answer: jax.Array) -> jax.Array:
    """Which games [B] would copy the best game's answer: it is legal, and they follow it now."""
    is_legal = jnp.take_along_axis(asked.legal, jnp.maximum(answer, 0)[:, None], axis=1)[:, 0]
    before_goal = asked.question.begin <= asked.goal.begin
    follows = (guides.plan != Plan.ROOM) | guides.returns | before_goal
    return (answer >= 0) & is_legal & (guides.plan != Plan.NONE) & follows


def _open_topic(
    spec: Spec, guides: Guides, asked: Asked, answer: jax.Array, copies: jax.Array
) -> Guides:
    """TOPIC: the first question from `leave` on says what it is about; the answer is the other."""
    begins = (guides.plan == Plan.TOPIC) & (guides.topic == OPEN_TOPIC)
    begins &= copies & (asked.move >= guides.leave)
    return dataclasses.replace(
        guides,
        topic=jnp.where(begins, asked.question.topic, guides.topic),
        accepts=jnp.where(begins, answer == spec.decline, guides.accepts)
        if spec.decline is not None
        else guides.accepts,
    )


def _deviates(guides: Guides, asked: Asked, dice: jax.Array) -> jax.Array:
    """WINDOW: which games [B] answer this question otherwise; dice [B] in [0, 1)."""
    inside = (asked.move >= guides.leave) & (asked.move < guides.leave + guides.width)
    often = dice * jnp.maximum(guides.width, 2 * DEVIATIONS) < DEVIATIONS
    return inside & often & (guides.plan == Plan.WINDOW)


def _other(legal: jax.Array, answer: jax.Array, dice: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A random legal action [B] that is not the answer, and whether there is one."""
    others = legal & (answer[:, None] != jnp.arange(legal.shape[1]))
    return jnp.argmax(jnp.where(others, dice, -1.0), axis=1), jnp.any(others, axis=1)


def _wanted(decline: int, guides: Guides, asked: Asked) -> tuple[jax.Array, jax.Array]:
    """TOPIC and ROOM: the answers [B] that the plan wants, and whether it wants one here."""
    accepting = asked.legal & (jnp.arange(asked.legal.shape[1]) != decline)
    yes = jnp.where(jnp.any(accepting, axis=1), jnp.argmax(accepting, axis=1), decline)
    on_topic = (guides.plan == Plan.TOPIC) & (guides.topic == asked.question.topic)
    makes_room = guides.plan == Plan.ROOM
    at_goal = makes_room & (asked.question.number == guides.goal)
    in_way = makes_room & ~at_goal & _in_way(guides, asked)
    wanted = jnp.where(at_goal | (on_topic & guides.accepts), yes, decline)
    return wanted, on_topic | at_goal | in_way


def _in_way(guides: Guides, asked: Asked) -> jax.Array:
    """Which games [B] are asked about another topic that would lie in the goal's room."""
    time, question = asked.goal.begin, asked.question
    meets = (question.begin <= time) & (question.end > time - guides.room)
    stays = ~guides.beyond | (question.end > time + 1)
    return meets & stays & (question.topic != asked.goal.topic)
