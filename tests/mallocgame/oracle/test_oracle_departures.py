"""The oracle by hand: departures, evictions and Drop-backup (docs/game.md, 3, 5 and 6).

Sizes are seconds here (see `handmade`): an access in slow memory takes the value's size, in fast
memory nothing, and a copy demands the value's size of idle time.  Idle times that just suffice are
`A_BIT` longer, as demands are rounded up to ticks.
"""

from __future__ import annotations

from mallocgame.oracle import COPY, DROP, NO_COPY
from mallocgame.program.mapping import Transfer
from tests.support.handmade import (
    Slot,
    approx,
    asked,
    evicting,
    late,
    play,
    program,
    reserved,
    seconds,
    start,
    stays,
    value,
)

# --- Departures and evictions (3 C, 3 D, 5) ---


def test_evictions_queue():
    oracle = start(evicting())
    play(oracle, ("define", "a", 0, NO_COPY), ("define", "b", 0, NO_COPY))
    play(oracle, ("depart", "a", 1, DROP), ("depart", "b", 1, DROP))
    # a: 4 s of slot 2 and 1 of slot 3; b: 2 s of slot 3 and 1 of slot 4, which leaves 2 s there.
    assert asked(oracle) == ("read", "c", 5)
    assert oracle.residents() == {}
    play(oracle, ("read", "c", 5, COPY))
    assert oracle.done
    mapping = oracle.mapping()
    assert mapping.evictions == (Transfer(0, 2, 4), Transfer(1, 2, 5))
    # b is there until slot 5, a until slot 4, so that [0, 5) is free for c.
    assert mapping.prefetches == (Transfer(2, 4, 5),)
    assert stays(oracle)["a"] == [(0, 0, 4, "defined")]
    assert stays(oracle)["b"] == [(5, 0, 5, "defined")]
    assert stays(oracle)["c"] == [(0, 4, 6, "copied")]


def test_an_eviction_waits_for_earlier_ones_even_with_nothing_to_move():
    values = {"a": value(6), "z": value(0)}
    slots = [Slot(defines="a z"), Slot(reads="a z"), Slot(compute=4), Slot(compute=4)]
    oracle = start(program(8, values, [*slots, Slot(reads="a z")]))
    play(oracle, ("define", "a", 0, NO_COPY), ("define", "z", 0, NO_COPY))
    play(oracle, ("depart", "a", 1, DROP), ("depart", "z", 1, DROP))
    play(oracle, ("read", "z", 4, DROP))
    assert oracle.mapping().evictions == (Transfer(0, 2, 4), Transfer(1, 2, 4))


def test_late_eviction_stays_and_is_asked_again():
    oracle = start(late())
    play(oracle, ("define", "v", 0, NO_COPY), ("depart", "v", 1, DROP))
    # Read from fast memory at 2; done at 3, and there it is asked again, clean now.
    assert asked(oracle) == ("depart", "v", 3)
    assert oracle.residents() == {0: (0, 0, 4, False, False)}
    play(oracle, ("depart", "v", 3, NO_COPY))
    assert oracle.done
    assert stays(oracle) == {"v": [(0, 0, 5, "defined")]}
    assert oracle.mapping().evictions == (Transfer(0, 2, 4),)
    assert seconds(oracle) == approx(4 * 5)


def test_late_eviction_backs_up():
    oracle = start(late(), late_eviction="backup")
    rewards = play(oracle, ("define", "v", 0, NO_COPY), ("depart", "v", 1, DROP))
    # The definition is a DROP now; slow memory holds v from 1 on, but has no time before slot 4.
    assert oracle.backups == 1
    assert asked(oracle) == ("read", "v", 4)
    assert rewards == 0 and oracle.saved_ticks == 0
    play(oracle, ("read", "v", 4, COPY))
    assert seconds(oracle) == approx(5)


def test_cancelled_eviction():
    values = {"v": value(5), "c": value(1, is_input=True)}
    slots = [Slot(defines="v"), Slot(reads="v"), Slot(compute=4), Slot(updates="v")]
    oracle = start(program(8, values, [*slots, Slot(reads="v c")]))
    play(oracle, ("define", "v", 0, NO_COPY), ("depart", "v", 1, DROP))
    # The update at 3 cancels it and puts v up for departure; the 4 s of slot 2 stay spent.
    assert asked(oracle) == ("depart", "v", 3)
    assert oracle.residents() == {0: (0, 0, 4, True, False)}
    play(oracle, ("depart", "v", 3, NO_COPY))
    assert oracle.done
    assert oracle.mapping().evictions == oracle.mapping().prefetches == ()


def test_departures_follow_the_stops_that_caused_them():
    values = {"u": value(5), "v": value(1)}
    slots = [Slot(defines="u v"), Slot(reads="u"), Slot(reads="u v", updates="u")]
    oracle = start(program(8, values, [*slots, Slot(reads="u v")]))
    play(oracle, ("define", "u", 0, NO_COPY), ("define", "v", 0, NO_COPY))
    play(oracle, ("depart", "u", 1, DROP))
    # v's hold ends at its read; u's eviction is cancelled by the write that follows all reads.
    play(oracle, ("depart", "v", 2, NO_COPY), ("depart", "u", 2, NO_COPY))
    assert oracle.done


def test_extension_meets_a_reservation():
    slots = [Slot(defines="v"), Slot(reads="v"), Slot(reserved=1), Slot(compute=9), Slot(reads="v")]
    oracle = start(program(8, {"v": value(5)}, slots))
    play(oracle, ("define", "v", 0, NO_COPY))
    # NO_COPY at 1 is illegal, DROP starts an eviction, and the reservation finds it.
    assert oracle.backups == 1 and asked(oracle) == ("read", "v", 4)


def test_dead_values_leave_outputs_are_evicted():
    values = {"a": value(5), "b": value(5, is_output=True)}
    slots = [Slot(defines="a b"), Slot(reads="a b"), Slot(compute=2), Slot()]
    oracle = start(program(16, values, slots))
    play(oracle, ("define", "a", 0, NO_COPY), ("define", "b", 0, NO_COPY))
    # b's eviction finds 2 s; 3 s are a stall of the last slot.
    assert oracle.done
    assert stays(oracle) == {"a": [(0, 0, 2, "defined")], "b": [(5, 0, 4, "defined")]}
    assert seconds(oracle) == approx(2 * (5 + 5) - 3)


def test_an_output_of_the_last_slot_is_all_stall():
    values = {"v": value(5, is_output=True)}
    oracle = start(program(8, values, [Slot(defines="v")]))
    assert play(oracle, ("define", "v", 0, NO_COPY)) == 0
    assert oracle.mapping().evictions == (Transfer(0, 1, 1),)


# --- Drop-backup (6) ---


def test_reservation_backs_up_and_refunds():
    oracle = start(reserved())
    play(oracle, ("define", "w", 0, NO_COPY))
    reward = play(oracle, ("define", "v", 1, NO_COPY))
    assert oracle.backups == 1
    # As if DROP had been played.
    other = start(reserved())
    play(other, ("define", "w", 0, NO_COPY))
    assert reward == play(other, ("define", "v", 1, DROP))
    assert oracle.question == other.question == ("read", 0, 5)
    assert oracle.saved_ticks == other.saved_ticks
    assert oracle.residents() == other.residents()
    for one in (oracle, other):
        play(one, ("read", "v", 5, COPY))
    assert oracle.mapping() == other.mapping()
    assert seconds(oracle) == approx(3 + 3 + 5)
