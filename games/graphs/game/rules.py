"""One game: its beginning, its moves and its score."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from games.graphs.game.group import NOBODY
from games.graphs.game.options import FIRST_ADDED, MORE, MOST_MOVES, RETAIN, SPARE
from games.graphs.game.state import Moment, State, members, must_run, offers_of, outputs
from games.graphs.game.tables import Tables


def most_moves(count: int) -> int:
    """No game of so many operations has more moves."""
    return MOST_MOVES * count + 2 * SPARE


def begin(t: Tables, instance: Array, largest: int) -> State:
    """A game before its first move; t: tables of one problem."""
    size = t.source.shape[0]
    no = jnp.zeros(size, bool)
    zero = jnp.float32(0)
    waiting = jnp.arange(size) < t.count
    moment = Moment(
        no, no, waiting, no, jnp.full(largest, size), jnp.int32(NOBODY), jnp.int32(0), jnp.int32(0)
    )
    state = State(
        instance=instance,
        ran=moment.ran,
        stored=moment.stored,
        pending=waiting,
        waiting=waiting,
        recent=moment.recent,
        ops=moment.ops,
        resident=moment.resident,
        closed=zero,
        open=zero,
        page=moment.page,
        score=zero,
        length=moment.length,
        log=jnp.zeros(most_moves(size), jnp.int8),
        done=jnp.array(False),
        offers=offers_of(t, moment),
    )
    return jax.tree.map(_strong, state)


def _strong(value: Array) -> Array:
    """The same with a dtype of its own, so that states look alike to `jit`."""
    return lax.convert_element_type(value, value.dtype)


def play(t: Tables, state: State, action: Array) -> State:
    """The game after a legal move; a finished one stays as it is."""
    size, offers = t.source.shape[0], state.offers
    opened = state.ops[0] < size
    closes = opened & (action < FIRST_ADDED)
    asks = offers.more & (action == MORE)
    retains = closes & (action == RETAIN)
    leaves = outputs(t, state.ops)
    kept = retains & (jnp.arange(size) == offers.retained)
    moment = Moment(
        ran=state.ran | (closes & members(t, state.ops)),
        stored=state.stored | (closes & leaves & ~kept),
        waiting=jnp.where(closes, state.pending, state.waiting),
        recent=jnp.where(closes, leaves, state.recent),
        ops=jnp.where(retains, offers.next_ops, jnp.where(closes, size, offers.ops[action])),
        resident=jnp.where(closes, jnp.where(retains, offers.retained, NOBODY), state.resident),
        page=jnp.where(asks, state.page + 1, 0),
        length=state.length + 1,
    )
    closed = state.closed + jnp.where(closes, offers.time[action], 0.0)
    opens = jnp.where(retains, offers.next_time, jnp.where(closes, 0.0, offers.time[action]))
    # As if the open group were closed, and all that leaves it stored.
    pending = must_run(
        t, moment.ran | members(t, moment.ops), moment.stored | outputs(t, moment.ops)
    )
    after = state.replace(
        **moment._asdict(),
        pending=pending,
        closed=closed,
        open=opens,
        score=saved(t, pending, closed, opens),
        log=state.log.at[state.length].set(action.astype(jnp.int8), mode="drop"),
        done=closes & ~retains & ~state.pending.any(),
        offers=offers_of(t, moment),
    )
    return jax.tree.map(
        lambda old, new: _strong(jnp.where(state.done, old, new).astype(old.dtype)), state, after
    )


def saved(t: Tables, pending: Array, closed: Array, opens: Array) -> Array:
    """The score: the part of the naive time that is saved, with what must run yet run naively."""
    ahead = jnp.sum(jnp.where(pending, t.naive, 0.0))
    return ((t.total - ahead - closed - opens) / t.total).astype(jnp.float32)


def headroom(t: Tables, state: State) -> Array:
    """How much the score can grow at most: computing alone takes what is ahead, the open group
    included."""
    inside = members(t, state.ops)
    first = ~(state.ran | inside) & (jnp.arange(inside.shape[0]) < t.count)
    bound = jnp.sum(jnp.where(inside, t.bound, 0.0)) + jnp.sum(jnp.where(first, t.bound, 0.0))
    most = 1 - (state.closed + bound) / t.total
    return jnp.where(state.done, 0.0, jnp.maximum(most - state.score, 0.0)).astype(jnp.float32)


def legal_actions(state: State) -> Array:
    """Bool [A]."""
    return (state.offers.time < jnp.inf) | state.done
