"""The oracle by hand: the walk, copies and waiting (docs/game.md, 3 and 4).

Sizes are seconds here (see `handmade`): an access in slow memory takes the value's size, in fast
memory nothing, and a copy demands the value's size of idle time.  Idle times that just suffice are
`A_BIT` longer, as demands are rounded up to ticks.
"""

from __future__ import annotations

import pytest

from mallocgame.judge import simulate, verify
from mallocgame.oracle import COPY, DROP, NO_COPY, Oracle
from mallocgame.program import Loop
from mallocgame.program.mapping import COPIED, DEFINED
from tests.support.handmade import (
    A_BIT,
    MARKER,
    Slot,
    approx,
    asked,
    copies,
    play,
    program,
    reaching,
    seconds,
    start,
    stays,
    taken,
    value,
    waiting_definition,
    waiting_departure,
    waiting_read,
)
from tests.support.packing import pack


def judged(oracle: Oracle) -> float:
    """Seconds that the judge says are saved."""
    offsets = pack(oracle.program, oracle.residencies())
    assert isinstance(offsets, list)
    mapping = oracle.mapping(offsets)
    assert verify(oracle.program, mapping) == []
    simulation = simulate(oracle.program, mapping)
    return simulation.all_slow_latency_s - simulation.latency_s


# --- The walk (3) ---


def test_gains_count_at_once_over_the_hold():
    values = {"v": value(5, is_input=True)}
    slots = [Slot(compute=5 + A_BIT), Slot(reads="v"), Slot(updates="v"), Slot(reads="v")]
    oracle = start(program(8, values, slots))
    play(oracle, ("read", "v", 1, COPY))
    assert seconds(oracle) == approx(5)
    # The update in slot 2, where nothing is asked, and the read in slot 3.
    play(oracle, ("depart", "v", 1, NO_COPY))
    assert seconds(oracle) == approx(15) and oracle.done
    assert oracle.evictions == ()  # no output: its content is dead


def test_a_read_and_an_update_of_one_slot():
    values = {"v": value(5, is_input=True, is_output=True)}
    slots = [Slot(compute=5 + A_BIT), Slot(reads="v", updates="v"), Slot(compute=5 + A_BIT)]
    oracle = start(program(8, values, slots))
    # The read decides for both; together they save the slot's 5 s.
    play(oracle, ("read", "v", 1, COPY))
    assert oracle.done and seconds(oracle) == approx(5)
    assert copies(oracle) == ([("v", 0, 1)], [("v", 2, 3)])


def test_order_of_arrivals_and_departures():
    values = {"u": value(1), "v": value(1), "w": value(1)}
    slots = [Slot(defines="w v u"), Slot(reads="u v w", updates="u"), Slot(reads="u v w")]
    oracle = start(program(16, values, slots))
    play(oracle, *(("define", name, 0, NO_COPY) for name in "wvu"))
    play(oracle, *(("depart", name, 0, NO_COPY) for name in "wvu"))
    # u's last stop is its update, which follows all reads.
    play(oracle, *(("depart", name, 1, NO_COPY) for name in "vwu"))
    assert oracle.done


def test_a_dead_value_leaves_and_an_unneeded_one_is_no_stop():
    values = {"a": value(5), "b": value(5)}
    oracle = start(program(16, values, [Slot(defines="a b"), Slot(reads="a"), Slot()]))
    play(oracle, ("define", "a", 0, NO_COPY), ("depart", "a", 0, NO_COPY))
    assert oracle.done and stays(oracle) == {"a": [(0, 2, DEFINED)]}
    assert seconds(oracle) == approx(5 + 5) and oracle.evictions == ()


def test_a_definition_in_slow_memory_bounds_a_copy_even_where_it_is_no_stop():
    slots = [Slot(compute=9), Slot(compute=2, defines="v"), MARKER, Slot(updates="v"), MARKER]
    oracle = start(program(8, {"v": value(2)}, slots, (Loop(2, 4, 3),)))
    # Nobody reads v, so that its definition is not asked.  In slot 1 it takes all the time.
    play(oracle, ("read", "v", 2, COPY))
    assert copies(oracle)[0] == [("v", 2, 2)] and seconds(oracle) == approx(3 * 2 - 2)


def test_what_is_known_between_moves():
    oracle = start(reaching(12))
    play(oracle, ("read", "a", 2, COPY))
    assert oracle.used == [10, 10, 10, 0, 0]
    assert taken(oracle) == approx([3, 7, 0, 0, 0])
    assert [i * oracle.tables.tick_s for i in oracle.idle[:4]] == approx([10 + A_BIT, 7, 3, 4])
    # The walk is in slot 4; a left it clean.
    assert oracle.residents() == {} and asked(oracle) == ("read", "b", 4)
    with pytest.raises(ValueError, match="must be legal"):
        oracle.step(NO_COPY)
    with pytest.raises(ValueError, match="must be finished"):
        oracle.residencies()
    play(oracle, ("read", "b", 4, DROP))
    assert oracle.done and oracle.step(COPY) == 0
    with pytest.raises(ValueError):
        oracle.mapping([])


# --- Prefetches (4) ---


@pytest.mark.parametrize("capacity", [12, 20])
def test_a_prefetch_reaches_back_as_far_as_its_bytes_fit(capacity):
    oracle = start(reaching(capacity))
    # a takes 7 s of slot 1 and 3 s of slot 0.  b wants 4 s of slot 3, 3 s of slot 2, none of slot 1
    # and 3 s of slot 0; in small memory a lies in the way until slot 3, and b's reader waits 6 s.
    play(oracle, ("read", "a", 2, COPY), ("read", "b", 4, COPY))
    assert copies(oracle)[0] == [("a", 0, 2), ("b", 3 if capacity == 12 else 0, 4)]
    assert seconds(oracle) == approx(7 + 10 - (6 if capacity == 12 else 0))
    assert judged(oracle) == pytest.approx(seconds(oracle), abs=1e-4)


def test_supply_is_taken_once():
    values = {"a": value(5, is_input=True), "b": value(5, is_input=True)}
    slots = [Slot(compute=8), Slot(reads="a b"), Slot(reads="b")]
    oracle = start(program(16, values, slots))
    play(oracle, ("read", "a", 1, COPY), ("read", "b", 1, COPY))
    # b finds 3 s and waits for 2 s.
    assert seconds(oracle) == approx(10 - 2) and taken(oracle) == approx([8, 0, 0])


def test_a_prefetch_stays_behind_the_values_last_residency_and_its_last_slow_write():
    values = {"v": value(5, is_input=True)}
    slots = [Slot(compute=5 + A_BIT), Slot(reads="v"), Slot(compute=1, reads="v")]
    made = program(8, values, [Slot(compute=9), *slots, *slots[2:]])
    oracle = start(made)
    # After a hold to slot 3 a copy may only use slots from 4 on: there are none.
    play(oracle, ("read", "v", 2, COPY), ("depart", "v", 2, NO_COPY), ("depart", "v", 3, DROP))
    assert oracle.done and taken(oracle) == approx([0, 5, 0, 0, 0])
    slots = [Slot(compute=9), Slot(updates="v"), Slot(compute=3), Slot(reads="v"), Slot(reads="v")]
    oracle = start(program(8, values, slots))
    play(oracle, ("read", "v", 3, COPY))
    assert copies(oracle)[0] == [("v", 2, 3)] and seconds(oracle) == approx(5 - 2)


def test_reservations_take_room_and_are_rounded_up():
    for reserved, offered in ((4, True), (5, False)):
        values = {"v": value(3, is_input=True)}
        slots = [Slot(compute=9), Slot(reads="v", reserved=reserved), Slot()]
        oracle = start(program(8, values, slots, alignment=4))
        assert oracle.used == [0, 4 if offered else 8, 0]
        assert asked(oracle) == (("read", "v", 1) if offered else None)


def test_a_value_of_zero_bytes_is_free():
    values = {"z": value(0, is_input=True), "a": value(8, is_input=True)}
    slots = [Slot(compute=8 + A_BIT), Slot(reads="a z")]
    oracle = start(program(8, values, slots))
    play(oracle, ("read", "a", 1, COPY))
    assert oracle.legal == (True, False, True)  # NO_COPY would be the same
    play(oracle, ("read", "z", 1, COPY))
    assert copies(oracle)[0] == [("a", 0, 1), ("z", 1, 1)] and seconds(oracle) == approx(9)


# --- Late copies, and copies in the reader's own slot (4) ---


def test_a_late_copy_and_a_copy_in_the_readers_slot():
    values = {"v": value(5, is_input=True)}
    made = program(8, values, [Slot(compute=2), Slot(reads="v"), Slot(), Slot(reads="v")])
    for action, stall, begins in ((COPY, 3, 0), (NO_COPY, 5, 1)):
        oracle = start(made)
        assert oracle.legal == (True, True, True)
        play(oracle, ("read", "v", 1, action))
        assert seconds(oracle) == approx(5 - stall)
        play(oracle, ("depart", "v", 1, NO_COPY))
        assert seconds(oracle) == approx(10 - stall)
        assert copies(oracle)[0] == [("v", begins, 1)]
        assert stays(oracle) == {"v": [(begins, 4, COPIED)]}
        assert taken(oracle) == approx([5 - stall, 0, 0, 0])
        assert judged(oracle) == pytest.approx(seconds(oracle), abs=1e-4)


def test_a_copy_in_the_readers_slot_is_offered_where_copy_takes_something():
    values = {"v": value(5, is_input=True)}
    for idle, legal in ((0, (True, False, True)), (9, (True, True, True))):
        made = program(8, values, [Slot(compute=idle), Slot(reads="v"), Slot(reads="v")])
        assert start(made).legal == legal


@pytest.mark.parametrize("later_reads", [0, 1])
def test_a_stall_must_be_repaid_by_the_next_hold(later_reads):
    values = {"v": value(5, is_input=True)}
    slots = [Slot(reads="v"), *[Slot(reads="v")] * later_reads]
    # Nothing is idle before slot 0: the copy's 5 s pay off with a second read only.
    assert start(program(16, values, slots)).done == (later_reads == 0)


def test_a_stall_has_the_weight_of_its_slot():
    values = {"v": value(5, is_input=True)}
    slots = [MARKER, Slot(reads="v"), Slot(reads="v"), MARKER]
    oracle = start(program(8, values, slots, (Loop(0, 3, 4),)))
    play(oracle, ("read", "v", 0, DROP), ("read", "v", 1, COPY))
    assert seconds(oracle) == approx(4 * (5 - 5))
    play(oracle, ("depart", "v", 1, NO_COPY))
    assert seconds(oracle) == approx(4 * 5)
    # At the entry marker it is paid once.
    oracle = start(oracle.program)
    play(oracle, ("read", "v", 0, COPY))
    assert oracle.done and seconds(oracle) == approx(4 * 10 - 5)


def test_in_the_papers_rules_nothing_waits():
    values = {"v": value(5, is_input=True)}
    slots = [Slot(compute=4), Slot(reads="v"), Slot(reads="v"), Slot(compute=6), Slot(reads="v")]
    oracle = start(program(8, values, slots), rules="paper")
    assert asked(oracle) == ("read", "v", 4) and oracle.legal == (True, False, True)
    oracle = start(waiting_definition(), rules="paper")
    play(oracle, ("define", "a", 0, NO_COPY), ("depart", "a", 0, NO_COPY), ("depart", "a", 1, DROP))
    # b is not asked about; a has its place until slot 5, so that no slot is left for a copy of it.
    assert oracle.done and stays(oracle) == {"a": [(0, 5, DEFINED)]}


# --- Waiting for write-backs (4) ---


def test_a_definition_waits():
    oracle = start(waiting_definition())
    play(oracle, ("define", "a", 0, NO_COPY), ("depart", "a", 0, NO_COPY), ("depart", "a", 1, DROP))
    assert taken(oracle) == approx([0, 0, 0, 0, 5, 0]) and copies(oracle)[1] == [("a", 1, 5)]
    assert oracle.residents() == {0: (0, 5, False, True)}
    reward = play(oracle, ("define", "b", 2, NO_COPY))
    assert reward * oracle.total_ticks * oracle.tables.tick_s == approx(5 - 5)
    assert taken(oracle) == approx([0] * 6) and copies(oracle)[1] == [("a", 1, 2)]
    play(oracle, ("depart", "b", 2, NO_COPY), ("read", "a", 5, COPY))
    assert stays(oracle) == {"a": [(0, 2, DEFINED), (4, 6, COPIED)], "b": [(2, 4, DEFINED)]}
    assert seconds(oracle) == approx(5 + 5 - 5 + 5 + 5 + 5)
    assert judged(oracle) == pytest.approx(seconds(oracle), abs=1e-4)


def test_waiting_must_pay():
    oracle = start(waiting_definition(is_output=True))
    play(oracle, ("define", "a", 0, NO_COPY), ("depart", "a", 0, NO_COPY), ("depart", "a", 1, DROP))
    # b would save 5 s and wait 5 s.
    assert oracle.done and stays(oracle) == {"a": [(0, 5, DEFINED)]}


def test_a_read_waits_and_its_copy_reaches_back_beside_the_write_back():
    moves = (("define", "a", 0, NO_COPY), ("depart", "a", 0, NO_COPY), ("depart", "a", 1, DROP))
    for action, missing, begins in ((COPY, 3, 0), (NO_COPY, 5, 2)):
        oracle = start(waiting_read())
        play(oracle, *moves)
        # a takes 3 s of slot 1 and wants 2 s of slot 4, as slots 2 and 3 read c in slow memory.
        assert taken(oracle) == approx([0, 3, 0, 0, 2, 0])
        play(oracle, ("read", "c", 2, action), ("depart", "c", 2, NO_COPY))
        # Slot 0 is idle for 2 s, and a and c fit there.
        assert seconds(oracle) == approx(3 + 2 + 5 + 5 - 2 - missing)
        assert copies(oracle) == ([("c", begins, 2)], [("a", 1, 2)])
        play(oracle, ("read", "a", 5, DROP))
        assert judged(oracle) == pytest.approx(seconds(oracle), abs=1e-4)


def test_a_departure_waits():
    oracle = start(waiting_departure())
    play(oracle, ("define", "a", 0, NO_COPY), ("define", "v", 0, NO_COPY))
    play(oracle, ("depart", "a", 0, NO_COPY), ("depart", "v", 0, NO_COPY))
    play(oracle, ("depart", "a", 1, DROP))
    assert taken(oracle) == approx([0, 0, 0, 5, 0, 0])
    # v's two accesses in slot 5 count 5 s each, so that a wait of 5 s pays.
    play(oracle, ("depart", "v", 1, NO_COPY))
    assert seconds(oracle) == approx(10 + 10 - 5 + 5) and taken(oracle) == approx([0] * 6)
    assert copies(oracle)[1] == [("a", 1, 2)]
    play(oracle, ("read", "a", 4, COPY))
    # In slot 2 the reservation and v leave no room for a.
    assert copies(oracle)[0] == [("a", 3, 4)] and oracle.done
    assert judged(oracle) == pytest.approx(seconds(oracle), abs=1e-4)


def test_a_departure_does_not_count_what_its_own_slot_saves():
    oracle = start(waiting_departure(updates=""))
    play(oracle, ("define", "a", 0, NO_COPY), ("define", "v", 0, NO_COPY))
    play(oracle, ("depart", "a", 0, NO_COPY), ("depart", "v", 0, NO_COPY))
    play(oracle, ("depart", "a", 1, DROP))
    # The read in slot 5 alone is worth the wait of 5 s, and no more: v leaves.
    assert asked(oracle) != ("depart", "v", 1)
    assert oracle.residents().get(1, (0, 0))[1] != 6
