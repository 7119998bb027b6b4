"""The oracle by hand: loops and carried groups (docs/game.md, 7).

Sizes are seconds here (see `handmade`): an access in slow memory takes the value's size, in fast
memory nothing, and a copy demands the value's size of idle time.
"""

from __future__ import annotations

import pytest

from mallocgame.judge import simulate, verify
from mallocgame.oracle import COPY, DROP, NO_COPY, Origin
from mallocgame.program import Loop
from mallocgame.program.mapping import COPIED, DEFINED
from tests.support.handmade import (
    MARKER,
    Slot,
    approx,
    asked,
    carried,
    copies,
    handed_over,
    nested,
    occupied,
    play,
    program,
    seconds,
    start,
    stays,
    value,
)
from tests.support.packing import pack


def invariant():
    """v (4 s) is read in the body of a loop of ten trips, and behind it."""
    values = {"v": value(4, is_input=True)}
    slots = [Slot(compute=5), MARKER, Slot(compute=5), Slot(reads="v"), MARKER, Slot(reads="v")]
    return program(8, values, slots, (Loop(1, 4, 10),))


def test_a_value_is_held_over_the_loop_or_decided_in_the_body():
    oracle = start(invariant())
    # All that the body saves counts at once.
    play(oracle, ("read", "v", 1, COPY))
    assert seconds(oracle) == approx(10 * 4)
    play(oracle, ("depart", "v", 4, NO_COPY))
    assert oracle.done and stays(oracle) == {"v": [(0, 6, COPIED)]}
    assert seconds(oracle) == approx(10 * 4 + 4)
    oracle = start(invariant())
    play(oracle, ("read", "v", 1, DROP), ("read", "v", 3, COPY))
    # Behind the loop there is no supply: the exit marker is the first slot of its segment.
    assert oracle.done and copies(oracle)[0] == [("v", 2, 3)]
    assert seconds(oracle) == approx(10 * 4)


def test_a_hold_needs_room_over_the_whole_loop():
    for t in range(1, 5):
        values = {"v": value(4, is_input=True)}
        slots = [Slot(compute=9), MARKER, Slot(reads="v"), Slot(compute=1), MARKER]
        slots[t] = Slot(slots[t].compute, slots[t].reads, reserved=5)
        oracle = start(program(8, values, slots, (Loop(1, 4, 10),)))
        # In the body v costs what it saves.
        assert oracle.done


def test_a_hold_takes_in_the_loops_inside():
    values = {"v": value(4), "o": value(1, is_output=True)}
    slots = [Slot(defines="v"), MARKER, Slot(reads="v"), MARKER, Slot(reads="v", updates="v")]
    slots += [MARKER, Slot(defines="o"), MARKER]
    oracle = start(program(8, values, slots, (Loop(1, 7, 3), Loop(3, 5, 2))))
    play(oracle, ("define", "v", 0, NO_COPY), ("depart", "v", 0, NO_COPY))
    play(oracle, ("depart", "v", 1, NO_COPY))
    # Reads and updates in slot 4 happen at once.
    assert seconds(oracle) == approx(4 + 3 * 4 + 6 * 4)
    # Nothing is asked about v in the body; it is dead behind the loop, though dirty.
    play(oracle, ("define", "o", 6, DROP))
    assert oracle.done and oracle.evictions == () and stays(oracle) == {"v": [(0, 8, DEFINED)]}


def test_in_the_body_the_inner_loops_entry_is_the_next_read():
    values = {"v": value(4, is_input=True)}
    slots = [MARKER, Slot(compute=4.1), Slot(reads="v"), MARKER, Slot(reads="v"), MARKER, MARKER]
    oracle = start(program(8, values, slots, (Loop(0, 6, 3), Loop(3, 5, 2))))
    play(oracle, ("read", "v", 0, DROP), ("read", "v", 2, COPY))
    play(oracle, ("depart", "v", 2, NO_COPY), ("depart", "v", 3, NO_COPY))
    # It departs at the exit marker 5, where it has no later read in the body, and is clean.
    assert oracle.done and stays(oracle) == {"v": [(1, 6, COPIED)]}
    assert seconds(oracle) == approx(3 * 4 + 6 * 4)


def test_a_value_of_the_body_that_is_needed_outside_is_written_back():
    values = {"v": value(4), "w": value(4)}
    slots = [MARKER, Slot(defines="v w"), Slot(compute=8, reads="w"), MARKER, Slot(reads="v")]
    oracle = start(program(8, values, slots, (Loop(0, 3, 5),)))
    play(oracle, ("define", "v", 1, NO_COPY), ("define", "w", 1, NO_COPY))
    play(oracle, ("depart", "w", 1, NO_COPY))
    # v crosses the loop, w does not.  v departs first, when w is still to be read in slow memory.
    assert oracle.done and copies(oracle)[1] == [("v", 2, 3)]
    assert seconds(oracle) == approx(5 * 8)


# --- Carried groups ---


def test_a_held_group_comes_back_to_its_place():
    oracle = start(carried())
    play(oracle, ("read", "p", 1, COPY))
    # r's definition counts with the hold; its place is used from slot 5 on, nothing between.
    assert seconds(oracle) == approx(3 * (4 + 4))
    assert oracle.used == [4, 4, 4, 0, 0, 4, 4, 0]
    play(oracle, ("define", "q", 3, NO_COPY), ("depart", "q", 3, NO_COPY))
    play(oracle, ("depart", "r", 6, NO_COPY))
    assert oracle.done
    assert stays(oracle) == {
        "p": [(0, 3, COPIED)],
        "q": [(3, 5, DEFINED)],
        "r": [(5, 8, DEFINED)],
    }
    assert seconds(oracle) == approx(3 * (4 + 4 + 4 + 4) + 4)
    p, r, q = oracle.residencies()
    assert p.origin == r.origin == Origin("enter", 0, 1) and q.origin == Origin("arrival", 1, 3)
    assert (p.tied, r.tied, q.tied) == (None, 0, None)
    assert verify(oracle.program, oracle.mapping([0, 0, 0])) == []
    saved = simulate(oracle.program, oracle.mapping([0, 0, 0])).saved_fraction
    assert saved == pytest.approx(oracle.saved_ticks / oracle.total_ticks, abs=1e-5)


def test_a_held_result_is_extended_and_written_back_as_one_residency():
    oracle = start(carried(is_output=True))
    play(oracle, ("read", "p", 1, COPY), ("define", "q", 3, DROP), ("depart", "r", 6, NO_COPY))
    # It was last written in slot 5; but slot 6 begins the segment, and slot 7 is not idle.
    assert oracle.done and stays(oracle)["r"] == [(5, 8, DEFINED)]
    assert copies(oracle)[1] == [("r", 7, 8)]
    assert seconds(oracle) == approx(3 * (4 + 4) + 4 - 4)


def test_a_group_that_is_not_held():
    oracle = start(carried())
    # p's copy in the body would cost what it saves.
    play(oracle, ("read", "p", 1, DROP), ("define", "q", 3, NO_COPY), ("depart", "q", 3, NO_COPY))
    play(oracle, ("define", "r", 5, NO_COPY))
    # r saves 4 s and is written back in a stall of 4 s, each of three times.
    assert oracle.done and seconds(oracle) == approx(3 * (4 + 4 + 4 - 4))
    assert copies(oracle)[1] == [("r", 6, 6)]


def test_a_group_with_a_pinned_result_is_not_held():
    assert asked(start(carried(is_pinned=True))) == ("define", "q", 3)


def test_a_forced_entry_lets_the_group_out():
    oracle = start(carried(), forced=(("enter", "p", 1),))
    assert asked(oracle) == ("define", "q", 3)
    # The result's own arrival is another question, which a held group does not ask.
    oracle = start(carried(), forced=(("arrival", "r", 5),))
    play(oracle, ("read", "p", 1, COPY), ("define", "q", 3, DROP), ("depart", "r", 6, DROP))


def test_parameter_and_result_in_one_slot_count_once():
    oracle = start(handed_over())
    play(oracle, ("read", "p", 1, COPY))
    assert oracle.used == [4, 4, 4, 4, 4, 0]
    play(oracle, ("depart", "r", 4, NO_COPY))
    # One slot reads p and defines r: 4 s together.
    assert stays(oracle) == {"p": [(0, 3, COPIED)], "r": [(2, 6, DEFINED)]}
    assert seconds(oracle) == approx(3 * 4 + 4)
    assert pack(oracle.program, oracle.residencies()) == [0, 0]
    assert verify(oracle.program, oracle.mapping([0, 0])) == []


def test_a_parameter_that_departs_at_the_entry_and_is_used_in_an_inner_loop():
    oracle = start(nested())
    play(oracle, ("define", "p", 0, NO_COPY), ("depart", "p", 0, NO_COPY))
    play(oracle, ("depart", "p", 1, NO_COPY))
    # p's last stop in the body is the exit marker of the inner loop; it is dirty, and dead then.
    # r is written back behind the loop, where no time is left.
    assert oracle.done and stays(oracle) == {"p": [(0, 5, DEFINED)], "r": [(6, 8, DEFINED)]}
    assert copies(oracle)[1] == [("r", 8, 8)]
    assert seconds(oracle) == approx(4 + 6 * 4 + 3 * 4 - 4)
    p, r = oracle.residencies()
    assert p.origin == Origin("arrival", 0, 0) and r.origin == Origin("enter", 0, 1)
    assert r.tied == 0
    # Not held it is written back at the entry marker.
    oracle = start(nested())
    play(oracle, ("define", "p", 0, NO_COPY), ("depart", "p", 0, NO_COPY))
    play(oracle, ("depart", "p", 1, DROP))
    assert copies(oracle)[1] == [("p", 1, 2)] and seconds(oracle) == approx(4 - 4)
    assert asked(oracle) == ("read", "p", 2)


def test_the_results_place_is_taken():
    oracle = start(occupied())
    play(oracle, ("read", "p", 1, COPY), ("define", "q", 3, NO_COPY), ("depart", "q", 3, NO_COPY))
    # q cannot stay for slot 6, and its write-back must end before r comes in slot 5.
    assert asked(oracle) == ("depart", "r", 7) and copies(oracle)[1] == [("q", 4, 5)]
    assert oracle.used == [4, 4, 4, 4, 4, 4, 4, 4, 0]
    assert seconds(oracle) == approx(3 * (4 + 4 + 4 - 4 + 4))


def test_a_hold_needs_room_for_the_result():
    # q is held over the loop and in the way of r, not of p.
    values = {"p": value(4, is_input=True), "r": value(4)}
    slots = [Slot(compute=9), MARKER, Slot(reads="p"), Slot(compute=1), Slot(defines="r"), MARKER]
    for t, offered in ((3, True), (4, False), (5, False)):
        row = [*slots]
        row[t] = Slot(row[t].compute, row[t].reads, row[t].defines, reserved=1)
        made = program(4, values, [*row, Slot(reads="r")], (Loop(1, 5, 3),), ((0, "p", "r"),))
        assert (asked(start(made)) == ("read", "p", 1)) == offered
