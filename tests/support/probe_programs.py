"""Little programs in which saying yes to everything is wrong, each for a reason of its own.

Sizes are seconds (see `handmade`): an access in slow memory costs the value's size, a copy demands
it, and what a slot computes beyond its accesses is idle time of the slow bus.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mallocgame.game.environment import Game
from mallocgame.game.state import DROP
from mallocgame.program import Loop, Program
from tests.support.handmade import A_BIT, MARKER, Slot, program, value


def hold_or_drop() -> Program:
    """Twice a value could be held over a larger one's life, which then finds no place.

    a is read once more, which is worth 4 s; b is worth 16 s and wants the place: drop a. c is read
    three times more, worth 12 s; d is worth 10 s: hold c.
    """
    values = {"a": value(4), "b": value(8), "c": value(4), "d": value(5)}
    slots = [Slot(defines="a"), Slot(reads="a"), Slot(compute=4 + A_BIT), Slot(defines="b")]
    slots += [Slot(reads="b"), Slot(reads="a")]
    slots += [Slot(defines="c"), Slot(reads="c"), Slot(compute=4 + A_BIT), Slot(defines="d")]
    slots += [Slot(reads="d"), Slot(reads="c"), Slot(reads="c"), Slot(reads="c")]
    return program(8, values, slots)


def burst() -> Program:
    """Two bursts of reads; what is copied for the small values before is missing there.

    Ahead of the first burst 10 s are idle: s (4 s) could be copied, but then b (10 s) cannot.
    Ahead of the second 8 s: e (9 s) cannot be copied anyway, so u (4 s) and w (3 s) should.
    x keeps the bus busy.
    """
    sizes = {"s": 4, "b": 10, "u": 4, "w": 3, "e": 9}
    values = {name: value(size, is_input=True) for name, size in sizes.items()}
    values["x"] = value(6, is_input=True, is_pinned=True)
    busy = Slot(reads="x")
    slots = [Slot(compute=10 + A_BIT), busy, Slot(reads="s"), busy, Slot(reads="b"), busy]
    slots += [Slot(compute=8 + A_BIT), busy, Slot(reads="u"), Slot(reads="w"), busy]
    slots += [Slot(reads="e")]
    return program(32, values, slots)


def evict_in_time() -> Program:
    """Two outputs, each read again between two idle stretches of 3 s.

    u (3 s) should be held to that read: dropped before, it is gone by then. v (5 s), the last one,
    must be dropped before: it is read on its way out and gone in time; held, its eviction stalls
    the end.
    """
    values = {"u": value(3, is_output=True), "v": value(5, is_output=True)}
    slots = []
    for name in values:
        slots += [Slot(defines=name), Slot(reads=name), Slot(compute=3 + A_BIT)]
        slots += [Slot(reads=name), Slot(compute=3 + A_BIT)]
    return program(16, values, slots)


def alias_trap() -> Program:
    """p is carried as r through a loop; who holds them must not let q in, which is legal.

    q takes the place between p's last use and r's definition. It is read once more when r is there,
    so it is dirty and on its way out when r wants its place: infeasible, whatever is played then.
    """
    values = {"p": value(4, is_input=True), "q": value(4), "r": value(4)}
    slots = [Slot(compute=9), MARKER, Slot(reads="p"), Slot(reads="p"), Slot(reads="p")]
    slots += [Slot(defines="q"), Slot(reads="q"), Slot(defines="r"), Slot(reads="q"), MARKER]
    slots += [Slot(compute=3, reads="r")]
    return program(4, values, slots, (Loop(1, 9, 3),), ((0, "p", "r"),))


PROBES = (hold_or_drop, burst, evict_in_time, alias_trap)


def every_game(game: Game, moves: int) -> tuple[np.ndarray, np.ndarray]:
    """All games of each program, by exhaustion.

    Game number n answers its k-th question by DROP if bit k of n is 0, else by the other action.

    Returns:
      What each saves [P, 2 ** moves], and its Drop-backups.

    Raises:
      ValueError: some game has more moves.
    """
    count = 2**moves
    number = jnp.tile(jnp.arange(count), game.num_programs)
    state = game.init(jnp.repeat(jnp.arange(game.num_programs), count))
    step = jax.jit(Game.step)
    for k in range(moves):
        # The first legal action is the one that is not DROP, where there is one.
        other = jnp.argmax(game.legal_actions(state), axis=-1)
        state, _ = step(game, state, jnp.where((number >> k) & 1, other, DROP))
    if not bool(jnp.all(game.done(state))):
        raise ValueError(f"moves must be enough to finish every game, got {moves}")
    shape = (game.num_programs, count)
    saved, backups = game.score(state), game.history(state).backtracks
    return np.asarray(saved).reshape(shape), np.asarray(backups).reshape(shape)
