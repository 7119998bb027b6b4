"""One game: its beginning, its moves, its score."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from games.cores.game.offers import (
    Outlook,
    drops_to_offer,
    nothing_known,
    outlook,
    things_to_offer,
)
from games.cores.game.options import CANDIDATES, NONE
from games.cores.game.state import (
    NOTHING,
    State,
    copies,
    has,
    lacks_room,
    locked,
    mask_of,
    thing_of,
    used,
)
from games.cores.game.tables import Tables

NEVER = jnp.iinfo(jnp.int32).max
UNKNOWN = jnp.int32(-2)


class Opening(struct.PyTreeNode):
    """The first question of games, [P] or of one: which group is asked, int32, and what it may
    start, int32 [7]; NOTHING where there is nothing."""

    asked: Array
    offers: Array


def opening_of(t: Tables) -> Opening:
    """The first question of a problem's games, with which `begin` starts them."""
    nothing = Opening(jnp.int32(NOTHING), jnp.full(CANDIDATES, NOTHING))
    state = begin(t, nothing, jnp.int32(0), 0)
    now = outlook(t, state)
    return Opening(now.group, things_to_offer(t, state, now))


def begin(t: Tables, opening: Opening, instance: Array, most_moves: int) -> State:
    """A game at its first question; t: tables of one problem."""
    groups = t.touches.shape[0]
    placed = jnp.where(t.given & (t.uses > 0), mask_of(t.external), 0)
    zero, stuck = jnp.int32(0), opening.asked < 0
    state = State(
        instance=instance,
        now=zero,
        length=zero,
        energy=jnp.float32(0),
        score=jnp.float32(0),
        peak=jnp.zeros_like(t.size),
        started=t.given,
        left=t.uses,
        held=placed,
        here=placed,
        read=jnp.zeros_like(placed),
        running=jnp.full(groups, NOTHING),
        ends=jnp.zeros(groups, jnp.int32),
        refused=jnp.zeros(groups, bool),
        must=jnp.array(False),
        pending=jnp.int32(NOTHING),
        asked=jnp.maximum(opening.asked, 0),
        offers=opening.offers,
        done=stuck,
        stuck=stuck,
        log=jnp.zeros(most_moves, jnp.int8),
    )
    state = state.replace(score=_score(t, state))
    return jax.tree.map(_strong, state)


def _strong(value: Array) -> Array:
    """The same with a dtype of its own, so that states look alike to `jit`."""
    return lax.convert_element_type(value, value.dtype)


def play(t: Tables, state: State, action: Array) -> State:
    """The game at the next question, or at its end; a finished one stays as it is."""
    chosen = jnp.where(action == NONE, NOTHING, state.offers[jnp.maximum(action - 1, 0)])
    drops = state.pending >= 0
    refuses = (action == NONE) & ~drops
    gone = drops & (jnp.arange(t.bits.shape[0]) == jnp.maximum(chosen, 0))
    kept = ~jnp.where(gone, mask_of(thing_of(t, state.pending).target), 0)
    after = state.replace(
        held=state.held & kept,
        here=state.here & kept,
        read=state.read & kept,
        refused=state.refused | (refuses & (jnp.arange(state.refused.shape[0]) == state.asked)),
        log=state.log.at[state.length].set(action.astype(jnp.int8), mode="drop"),
        length=state.length + 1,
    )
    number = jnp.where(drops, state.pending, chosen)
    starts = (number >= 0) & (lacks_room(t, after, thing_of(t, number)) <= 0)
    waits = (number >= 0) & ~starts
    after = after.replace(pending=jnp.where(waits, number, NOTHING))
    after = _start(t, after, number, starts)
    after = _next_question(t, after)
    return jax.tree.map(
        lambda old, new: _strong(jnp.where(state.done, old, new).astype(old.dtype)), state, after
    )


def _start(t: Tables, state: State, number: Array, where: Array) -> State:
    """Starts a thing, where a condition holds."""
    thing = thing_of(t, number)
    values = jnp.arange(t.bits.shape[0])
    group = where & (jnp.arange(state.running.shape[0]) == thing.group)
    reads = copies(t, thing.reads, thing.memories, where)
    runs = where & ~thing.moves
    made = jnp.where(where & (values == thing.value), mask_of(thing.target), 0)
    at = jnp.where(runs & (thing.reads >= 0), thing.reads, len(values))
    state = state.replace(
        held=state.held | made,
        read=state.read | reads,
        left=state.left.at[at].add(-1, mode="drop"),
        started=state.started | (runs & (values == thing.value)),
        running=jnp.where(group, number, state.running),
        ends=jnp.where(group, state.now + thing.time, state.ends),
        energy=state.energy + jnp.where(where, thing.energy, 0.0),
        must=state.must & ~where,
    )
    state = _vanish(t, state)
    return state.replace(peak=jnp.maximum(state.peak, used(t, state)))


def _vanish(t: Tables, state: State) -> State:
    """Forgets the copies that nothing needs and nothing reads."""
    dead = jnp.where(state.left > 0, 0, state.here & ~locked(t, state))
    return state.replace(held=state.held & ~dead, here=state.here & ~dead, read=state.read & ~dead)


def _finish(t: Tables, state: State) -> State:
    """Ends what ends by now; groups that touch its memories are asked again."""
    ending = (state.running >= 0) & (state.ends <= state.now)
    thing = thing_of(t, state.running)
    memories = t.size.shape[0]
    slots = jnp.where(ending[:, None] & (thing.reads >= 0), thing.memories, memories)
    slots = jnp.concatenate([slots.ravel(), jnp.where(ending, thing.target, memories)])
    touched = jnp.zeros(memories, bool).at[slots].set(True, mode="drop")
    state = state.replace(
        here=state.here | copies(t, thing.value, thing.target, ending),
        running=jnp.where(ending, NOTHING, state.running),
        refused=state.refused & ~jnp.any(t.touches & touched, axis=1),
    )
    return _vanish(t, state)


def _next_question(t: Tables, before: State) -> State:
    """Goes on in time until there is something to ask, or the game is over."""

    def is_over(state: State) -> Array:
        arrived = ~t.wanted | has(state.here, mask_of(t.external))
        return jnp.all(state.started) & jnp.all(state.running < 0) & jnp.all(arrived)

    # Groups are looked through once before anything goes on.
    def searches(carry: tuple[Changes, Outlook]) -> Array:
        changes, now = carry
        state = _changed(before, changes)
        can = jnp.any(state.running >= 0) | jnp.any(state.refused)
        return (now.group == UNKNOWN) | ((now.group < 0) & ~is_over(state) & can)

    def go_on(carry: tuple[Changes, Outlook]) -> tuple[Changes, Outlook]:
        changes, now = carry
        state = _changed(before, changes)
        waits = now.group != UNKNOWN
        runs = jnp.any(state.running >= 0)
        soon = jnp.min(jnp.where(state.running >= 0, state.ends, NEVER))
        state = _finish(t, state.replace(now=jnp.where(waits & runs, soon, state.now)))
        # Where nothing runs, what was refused is asked again, and something has to start.
        again = waits & ~runs
        state = state.replace(refused=state.refused & ~again, must=state.must | again)
        now = outlook(t, state)
        now = now.replace(group=jnp.where(state.pending >= 0, 0, now.group))
        return _changes(state), now

    unknown = nothing_known(t).replace(group=UNKNOWN)
    changes, now = lax.while_loop(searches, go_on, (_changes(before), unknown))
    state = _changed(before, changes)
    over = is_over(state)
    drops = state.pending >= 0
    offers = jnp.where(drops, drops_to_offer(t, state), things_to_offer(t, state, now))
    # Games that are too long are given up.
    stuck = ~over & ((now.group < 0) | (state.length >= t.limit))
    state = state.replace(
        asked=jnp.where(drops, state.asked, jnp.maximum(now.group, 0)),
        offers=offers,
        done=over | stuck,
        stuck=stuck,
    )
    return state.replace(score=_score(t, state))


# What changes of a state as time goes on.
_CHANGING = ("now", "held", "here", "read", "running", "refused", "must")
Changes = tuple[Array, ...]


def _changes(state: State) -> Changes:
    return tuple(getattr(state, name) for name in _CHANGING)


def _changed(state: State, changes: Changes) -> State:
    return state.replace(**dict(zip(_CHANGING, changes, strict=True)))


def _score(t: Tables, state: State) -> Array:
    """What the operations that have started cost in the reference, less what was spent; at the end
    that is the part of the reference's cost that is saved. A game that is stuck starts over with
    the reference."""
    figures = [state.now.astype(jnp.float32), state.energy, peak_of(state)]
    spent = jnp.sum(t.prices * jnp.stack(figures))
    earned = jnp.sum(jnp.where(state.started, t.share, 0.0))
    again = -t.prices[0] * state.now
    return jnp.where(state.stuck, again, earned - spent).astype(jnp.float32)


def peak_of(state: State) -> Array:
    """Float32: bits, summed over the memories."""
    return jnp.sum(state.peak.astype(jnp.float32))


def headroom(t: Tables, state: State) -> Array:
    """How much the score can grow at most: what is ahead takes its least times and energies."""
    ahead = ~state.started
    running = state.running >= 0
    time = jnp.maximum(
        jnp.max(jnp.where(ahead, t.tail, 0)),
        jnp.max(jnp.where(running, state.ends - state.now, 0)),
    )
    energy = jnp.sum(jnp.where(ahead, t.least_energy, 0.0))
    least = t.prices[0] * time + t.prices[1] * energy
    most = jnp.sum(jnp.where(ahead, t.share, 0.0)) - least
    # A game that starts over comes to 0 at most.
    most = jnp.maximum(jnp.maximum(most, -state.score), 0.0)
    return jnp.where(state.done, 0.0, most).astype(jnp.float32)


def legal_actions(state: State) -> Array:
    """Bool [A]."""
    refusable = ~state.must & (state.pending < 0)
    return jnp.concatenate([refusable[None], state.offers >= 0]) | state.done
