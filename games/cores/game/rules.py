"""One game: its beginning, its moves, its score."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from games.cores.game.offers import (
    drops_to_offer,
    group_to_ask,
    ranks_of,
    things_to_offer,
)
from games.cores.game.options import CANDIDATES, NONE
from games.cores.game.state import (
    ARRIVING,
    HERE,
    NOTHING,
    NOWHERE,
    READ,
    State,
    locked,
    marked,
    room_after_drops,
    thing_of,
    used,
)
from games.cores.game.tables import Tables

NEVER = jnp.iinfo(jnp.int32).max
UNKNOWN = jnp.int32(-2)


def begin(t: Tables, instance: Array, most_moves: int) -> State:
    """A game at its first question; t: tables of one problem."""
    _values, memories, groups = t.bits.shape[0], t.size.shape[0], t.touches.shape[0]
    external = jnp.arange(memories) == t.external
    alive = t.given & (t.uses > 0)
    zero = jnp.int32(0)
    state = State(
        instance=instance,
        now=zero,
        length=zero,
        energy=jnp.float32(0),
        score=jnp.float32(0),
        peak=jnp.zeros(memories, jnp.int32),
        started=t.given,
        left=t.uses,
        place=jnp.where(alive[:, None] & external, HERE, NOWHERE).astype(jnp.int8),
        running=jnp.full(groups, NOTHING),
        ends=jnp.zeros(groups, jnp.int32),
        refused=jnp.zeros(groups, bool),
        must=jnp.array(False),
        pending=jnp.int32(NOTHING),
        asked=zero,
        offers=jnp.full(CANDIDATES, NOTHING),
        done=jnp.array(False),
        stuck=jnp.array(False),
        log=jnp.zeros(most_moves, jnp.int8),
    )
    return jax.tree.map(_strong, _next_question(t, state))


def _strong(value: Array) -> Array:
    """The same with a dtype of its own, so that states look alike to `jit`."""
    return lax.convert_element_type(value, value.dtype)


def play(t: Tables, state: State, action: Array) -> State:
    """The game at the next question, or at its end; a finished one stays as it is."""
    chosen = jnp.where(action == NONE, NOTHING, state.offers[jnp.maximum(action - 1, 0)])
    drops = state.pending >= 0
    refuses = (action == NONE) & ~drops
    target = thing_of(t, state.pending).target
    gone = drops & (jnp.arange(t.bits.shape[0]) == jnp.maximum(chosen, 0))
    gone = gone[:, None] & (jnp.arange(t.size.shape[0]) == target)
    after = state.replace(
        place=jnp.where(gone, NOWHERE, state.place).astype(jnp.int8),
        refused=state.refused | (refuses & (jnp.arange(state.refused.shape[0]) == state.asked)),
        log=state.log.at[state.length].set(action.astype(jnp.int8), mode="drop"),
        length=state.length + 1,
    )
    number = jnp.where(drops, state.pending, chosen)
    lacks, _ = room_after_drops(t, after, thing_of(t, number))
    starts = (number >= 0) & (lacks <= 0)
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
    values, memories = state.place.shape
    group = where & (jnp.arange(state.running.shape[0]) == thing.group)
    reads = marked((values, memories), thing.reads, thing.memories, where)
    runs = where & ~thing.moves
    made = (jnp.arange(values) == thing.value)[:, None] & (jnp.arange(memories) == thing.target)
    place = jnp.where(reads & (state.place == HERE), READ, state.place)
    place = jnp.where(made & where, ARRIVING, place).astype(jnp.int8)
    at = jnp.where(runs & (thing.reads >= 0), thing.reads, values)
    state = state.replace(
        place=place,
        left=state.left.at[at].add(-1, mode="drop"),
        started=state.started | (runs & (jnp.arange(values) == thing.value)),
        running=jnp.where(group, number, state.running),
        ends=jnp.where(group, state.now + thing.time, state.ends),
        energy=state.energy + jnp.where(where, thing.energy, 0.0),
        must=state.must & ~where,
    )
    state = _vanish(t, state)
    return state.replace(peak=jnp.maximum(state.peak, used(t, state.place)))


def _vanish(t: Tables, state: State) -> State:
    """Forgets the copies that nothing needs and nothing reads."""
    dead = (state.left <= 0)[:, None] & (state.place >= HERE) & ~locked(t, state)
    return state.replace(place=jnp.where(dead, NOWHERE, state.place).astype(jnp.int8))


def _finish(t: Tables, state: State) -> State:
    """Ends what ends by now; groups that touch its memories are asked again."""
    ending = (state.running >= 0) & (state.ends <= state.now)
    thing = thing_of(t, state.running)
    values, memories = state.place.shape
    made = marked((values, memories), thing.value, thing.target, ending)
    slots = jnp.where(ending[:, None] & (thing.reads >= 0), thing.memories, memories)
    touched = jnp.zeros(memories, bool).at[slots.ravel()].set(True, mode="drop")
    touched |= made.any(0)
    state = state.replace(
        place=jnp.where(made, HERE, state.place).astype(jnp.int8),
        running=jnp.where(ending, NOTHING, state.running),
        refused=state.refused & ~jnp.any(t.touches & touched, axis=1),
    )
    return _vanish(t, state)


def _next_question(t: Tables, state: State) -> State:
    """Goes on in time until there is something to ask, or the game is over."""

    def is_over(state: State) -> Array:
        wanted = jnp.take(state.place, t.external, axis=1) >= HERE
        idle = jnp.all(state.running < 0)
        return jnp.all(state.started) & idle & jnp.all(~t.wanted | wanted)

    # Groups are looked through once before anything goes on.
    def searches(carry: tuple[State, Array, Array]) -> Array:
        state, _, group = carry
        can = jnp.any(state.running >= 0) | jnp.any(state.refused)
        return (group == UNKNOWN) | ((group < 0) & ~is_over(state) & can)

    def go_on(carry: tuple[State, Array, Array]) -> tuple[State, Array, Array]:
        state, _, group = carry
        waits = group != UNKNOWN
        runs = jnp.any(state.running >= 0)
        soon = jnp.min(jnp.where(state.running >= 0, state.ends, NEVER))
        state = _finish(t, state.replace(now=jnp.where(waits & runs, soon, state.now)))
        # Where nothing runs, what was refused is asked again, and something has to start.
        again = waits & ~runs
        state = state.replace(refused=state.refused & ~again, must=state.must | again)
        ranks = ranks_of(t, state)
        group = jnp.where(state.pending >= 0, 0, group_to_ask(t, ranks))
        return state, things_to_offer(t, ranks, jnp.maximum(group, 0)), group

    state, offers, group = lax.while_loop(searches, go_on, (state, state.offers, UNKNOWN))
    over = is_over(state)
    drops = state.pending >= 0
    offers = jnp.where(drops, drops_to_offer(t, state), offers)
    # Games that are too long are given up.
    stuck = ~over & ((group < 0) | (state.length >= t.limit))
    state = state.replace(
        asked=jnp.where(drops, state.asked, jnp.maximum(group, 0)),
        offers=offers,
        done=over | stuck,
        stuck=stuck,
    )
    return state.replace(score=_score(t, state))


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
