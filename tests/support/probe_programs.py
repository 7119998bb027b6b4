"""Little programs in which saying yes to everything is wrong, each for a reason of its own.

Sizes are seconds (see `handmade`): an access in slow memory costs the value's size, a copy demands
it, and what a slot computes beyond its accesses is idle time of the slow bus.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mallocgame.game.environment import Game
from mallocgame.game.options import GameConfig
from mallocgame.game.state import DROP, State
from mallocgame.program import Loop, Program
from tests.support.handmade import A_BIT, MARKER, Slot, program, value

# Nothing waits, so that every question has two answers and short games can all be played.
PAPER = GameConfig("paper", inert_fraction=0.0)


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


def write_back_or_copy() -> Program:
    """Twice an output is written, idle time follows, and then something is read.

    x (4 s) would be written back in the idle time, so that w (3 s) cannot be copied, which is read
    three times and worth 9 s: drop x. Then y (5 s) is worth more than z (4 s), which is read once.
    """
    values = {"x": value(4, is_output=True), "w": value(3, is_input=True)}
    values |= {"y": value(5, is_output=True), "z": value(4, is_input=True)}
    slots = [Slot(defines="x"), Slot(compute=4 + A_BIT), *3 * [Slot(reads="w")]]
    slots += [Slot(defines="y"), Slot(compute=5 + A_BIT), Slot(reads="z")]
    return program(32, values, slots)


def hold_over_loop() -> Program:
    """A group or a value can be held over a loop, not both: its first slot reserves half the place.

    p is read and r defined once an iteration, worth 24 s in three; q is read three times, worth
    36 s. p is asked about first, and the one that goes on to the loop is there already.
    """
    values = {"p": value(4, is_input=True), "q": value(4), "r": value(4)}
    slots = [Slot(compute=4 + A_BIT), Slot(reads="p"), Slot(defines="q"), MARKER]
    slots += [Slot(reserved=4), Slot(reads="p"), *3 * [Slot(reads="q")], Slot(defines="r"), MARKER]
    return program(8, values, [*slots, Slot(reads="r")], (Loop(3, 10, 3),), ((0, "p", "r"),))


PROBES = (hold_or_drop, burst, write_back_or_copy, hold_over_loop)


def every_game(game: Game, moves: int) -> np.ndarray:
    """All games of each program, by exhaustion.

    Game number n answers its k-th question by DROP if bit k of n is 0, else by the other action.

    Returns:
      What each saves [P, 2 ** moves].

    Raises:
      ValueError: some game has more moves.
    """
    count = 2**moves
    number = jnp.tile(jnp.arange(count), game.num_programs)
    state = jax.jit(Game.init)(game, jnp.repeat(jnp.arange(game.num_programs), count))

    @jax.jit
    def step(game: Game, state: State, keeps: jax.Array) -> State:
        # The first legal action is the one that is not DROP, where there is one.
        other = jnp.argmax(game.legal_actions(state), axis=-1)
        return game.step(state, jnp.where(keeps, other, DROP))[0]

    for k in range(moves):
        state = step(game, state, (number >> k) % 2 == 1)
    if not bool(jnp.all(game.done(state))):
        raise ValueError(f"moves must be enough to finish every game, got {moves}")
    return np.asarray(game.score(state)).reshape(game.num_programs, count)
