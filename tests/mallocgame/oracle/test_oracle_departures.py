"""The oracle by hand: write-backs, inert questions, forced answers (docs/game.md, 2, 5 and 6).

Sizes are seconds here (see `handmade`): an access in slow memory takes the value's size, in fast
memory nothing, and a copy demands the value's size of idle time.  Idle times that just suffice are
`A_BIT` longer, as demands are rounded up to ticks.
"""

from __future__ import annotations

from mallocgame.judge import verify
from mallocgame.oracle import COPY, DROP, NO_COPY
from mallocgame.program import Loop
from mallocgame.program.mapping import COPIED, DEFINED
from tests.support.handmade import (
    A_BIT,
    MARKER,
    Slot,
    approx,
    asked,
    copies,
    late,
    overdrawn,
    play,
    program,
    reaching,
    seconds,
    start,
    stays,
    taken,
    value,
)
from tests.support.packing import packed_game

DEFINE = ("define", "v", 0, NO_COPY)
HOLD = ("depart", "v", 0, NO_COPY)


# --- Write-backs (5) ---


def test_a_write_back_takes_idle_time_since_the_last_write():
    values = {"v": value(5, is_output=True)}
    slots = [Slot(compute=9, defines="v"), Slot(compute=2), Slot(compute=4), Slot(reads="v")]
    oracle = start(program(8, values, [*slots, Slot(compute=1)]))
    play(oracle, DEFINE, HOLD)
    # Slot 0, that of the write, does not count; slot 1 comes before slot 2.
    assert oracle.done and taken(oracle) == approx([0, 2, 3, 0, 0])
    assert copies(oracle)[1] == [("v", 1, 3)] and stays(oracle) == {"v": [(0, 4, DEFINED)]}
    assert seconds(oracle) == approx(0 + 5)


def test_a_write_back_takes_nothing_before_an_update():
    values = {"v": value(5, is_output=True)}
    slots = [Slot(defines="v"), Slot(compute=9), Slot(reads="v", updates="v"), Slot(compute=2)]
    oracle = start(program(8, values, slots))
    play(oracle, DEFINE, HOLD)
    # 2 s from now on, and the rest is a stall.
    assert oracle.done and taken(oracle) == approx([0, 0, 0, 2])
    assert copies(oracle)[1] == [("v", 3, 4)] and stays(oracle) == {"v": [(0, 4, DEFINED)]}
    assert seconds(oracle) == approx(5 + 5 - 3)


def test_write_backs_share_the_supply():
    values = {name: value(size, is_output=True) for name, size in (("a", 5), ("b", 3))}
    slots = [Slot(defines="a b"), Slot(compute=4), Slot(compute=3), Slot(compute=9)]
    oracle = start(program(8, values, slots))
    play(oracle, ("define", "a", 0, NO_COPY), ("define", "b", 0, NO_COPY))
    # a: 4 s of slot 1 and 1 of slot 2; b: 2 s of slot 2 and 1 of slot 3.
    assert oracle.done and taken(oracle) == approx([0, 4, 3, 1])
    assert copies(oracle)[1] == [("a", 1, 3), ("b", 1, 4)]
    assert stays(oracle) == {"a": [(0, 3, DEFINED)], "b": [(0, 4, DEFINED)]}
    assert seconds(oracle) == approx(8)


def test_a_write_back_ends_before_the_next_stop():
    oracle = start(late())
    play(oracle, DEFINE, HOLD, ("depart", "v", 1, DROP))
    assert copies(oracle)[1] == [("v", 1, 2)] and seconds(oracle) == approx(5 + 5 - 5)
    # Slow memory holds it from slot 2 on, where it may come again at once.
    play(oracle, ("read", "v", 2, COPY), ("depart", "v", 2, NO_COPY))
    assert stays(oracle) == {"v": [(0, 2, DEFINED), (2, 5, COPIED)]}
    assert seconds(oracle) == approx(5 + 5 - 5 + 5 - 5 + 5)


def test_an_update_is_a_next_stop_too():
    values = {"v": value(5, is_output=True)}
    slots = [Slot(defines="v"), Slot(compute=2), Slot(updates="v"), Slot(compute=9)]
    oracle = start(program(8, values, slots))
    play(oracle, DEFINE)
    # It has no later read; the update then finds it in slow memory.
    assert oracle.done and copies(oracle)[1] == [("v", 1, 2)]
    assert stays(oracle) == {"v": [(0, 2, DEFINED)]} and seconds(oracle) == approx(5 - 3)


def test_a_write_back_ends_where_there_is_no_room():
    slots = [Slot(defines="v"), Slot(compute=1), Slot(reserved=4), Slot(compute=9), Slot(reads="v")]
    oracle = start(program(8, {"v": value(5)}, slots))
    play(oracle, DEFINE)
    # It cannot stay for slot 4, and leaves before slot 2 with 4 s missing.
    assert copies(oracle)[1] == [("v", 1, 2)] and taken(oracle) == approx([0, 1, 0, 0, 0])
    assert seconds(oracle) == approx(5 - 4)
    play(oracle, ("read", "v", 4, COPY))
    assert stays(oracle) == {"v": [(0, 2, DEFINED), (3, 5, COPIED)]}
    assert seconds(oracle) == approx(5 - 4 + 5)


def test_a_write_back_with_room_for_itself_alone():
    # v's own residency up to the slot of its departure is no obstacle.
    values = {"v": value(8, is_output=True)}
    oracle = start(program(8, values, [Slot(defines="v"), Slot(compute=9)]))
    play(oracle, DEFINE)
    assert stays(oracle) == {"v": [(0, 2, DEFINED)]} and seconds(oracle) == approx(8)


def test_a_write_back_of_the_last_slot_is_all_stall():
    oracle = start(program(8, {"v": value(5, is_output=True)}, [Slot(defines="v")]))
    assert play(oracle, DEFINE) == 0
    assert copies(oracle)[1] == [("v", 1, 1)]


def test_a_write_back_of_nothing():
    values = {"z": value(0, is_output=True), "a": value(2)}
    slots = [Slot(defines="z"), Slot(defines="a"), Slot(reads="a z"), Slot(compute=9)]
    oracle = start(program(8, values, slots))
    play(oracle, ("define", "z", 0, NO_COPY), ("depart", "z", 0, NO_COPY))
    play(oracle, ("define", "a", 1, DROP))
    # It is done before it begins.
    assert copies(oracle)[1] == [("z", 1, 1)] and stays(oracle) == {"z": [(0, 3, DEFINED)]}


def test_a_write_back_ends_with_its_segment():
    slots = [Slot(defines="v"), MARKER, Slot(compute=9, reads="v"), MARKER]
    oracle = start(program(8, {"v": value(4)}, slots, (Loop(1, 3, 10),)))
    play(oracle, DEFINE, HOLD, ("depart", "v", 1, DROP))
    # It costs 4 s once, before the loop; in the body nothing is idle before slot 2.
    assert copies(oracle)[1] == [("v", 1, 2)] and seconds(oracle) == approx(4 - 4)
    slots = [MARKER, Slot(defines="v"), MARKER, Slot(compute=9), Slot(reads="v")]
    oracle = start(program(8, {"v": value(4)}, slots, (Loop(0, 2, 10),)))
    play(oracle, ("define", "v", 1, NO_COPY))
    # In the body it is paid ten times.
    assert copies(oracle)[1] == [("v", 2, 2)] and seconds(oracle) == approx(10 * (4 - 4))


def test_a_write_back_after_a_loop_begins_behind_the_exit_marker():
    values = {"v": value(4, is_input=True, is_output=True)}
    slots = [Slot(compute=5), MARKER, Slot(compute=7, reads="v", updates="v"), MARKER]
    oracle = start(program(8, values, [*slots, Slot(compute=3)], (Loop(1, 3, 10),)))
    play(oracle, ("read", "v", 1, COPY))
    # The compute floor hides the accesses: nothing is saved, and 1 s is missing in slot 4.
    assert oracle.done and copies(oracle)[1] == [("v", 4, 5)]
    assert seconds(oracle) == approx(-1)


def test_an_overdraft_is_paid_by_the_move_that_causes_it():
    oracle = start(overdrawn())
    play(oracle, ("define", "a", 0, NO_COPY))
    assert copies(oracle)[1] == [("a", 1, 3)] and seconds(oracle) == approx(1)
    in_seconds = oracle.total_ticks * oracle.tables.tick_s
    # With y in fast memory the second that is left suffices, with z too there is none.
    assert play(oracle, ("read", "y", 2, COPY)) * in_seconds == approx(1)
    assert play(oracle, ("read", "z", 2, COPY)) * in_seconds == approx(1 - 1)
    assert oracle.done and oracle.overdraft_ticks * oracle.tables.tick_s == approx(1)
    assert oracle.stall_ticks == 0


def test_what_is_overdrawn_and_given_back_is_a_stall_instead():
    values = {"a": value(1), "z": value(0, is_input=True), "b": value(2)}
    slots = [Slot(reads="z", defines="a", updates="z"), Slot(), Slot(defines="b")]
    oracle = start(program(2, values, [*slots, Slot(reads="z b"), Slot(reads="a")]))
    play(oracle, ("read", "z", 0, COPY), ("define", "a", 0, NO_COPY), ("depart", "a", 0, DROP))
    # a takes the second of slot 3 that z's read leaves idle, and then z is held until there.
    assert taken(oracle) == approx([0, 0, 0, 1, 0])
    play(oracle, ("depart", "z", 0, NO_COPY))
    assert seconds(oracle) == approx(2 + 1 - 1)
    assert oracle.overdraft_ticks * oracle.tables.tick_s == approx(1)
    # b's definition saves 2 s and waits 1 s; the overdraft is gone.
    play(oracle, ("define", "b", 2, NO_COPY))
    assert seconds(oracle) == approx(2 + 1 + 2 - 1) and oracle.overdraft_ticks == 0
    assert copies(oracle)[1] == [("a", 1, 2)]


# --- Inert values and questions (2) ---


def test_inert_values_and_arrivals():
    values = {"big": value(1000, is_input=True), "small": value(1), "pin": value(9, is_pinned=True)}
    slots = [Slot(defines="small pin"), Slot(compute=2000), Slot(reads="big")]
    slots += [Slot(reads="small pin"), Slot(reads="big small"), Slot(reads="big")]
    made = program(2000, values, slots)
    assert asked(start(made)) == ("define", "small", 0)
    oracle = start(made, inert_fraction=0.01)
    play(oracle, ("read", "big", 2, COPY), ("depart", "big", 2, NO_COPY))
    play(oracle, ("depart", "big", 4, NO_COPY))
    assert oracle.done
    # The last read alone is worth 1000 of 5021 s: with a fraction of 0.2 it is not asked for.
    oracle = start(made, inert_fraction=0.2)
    play(oracle, ("read", "big", 2, COPY), ("depart", "big", 2, NO_COPY))
    assert oracle.done and stays(oracle) == {"big": [(1, 5, COPIED)]}
    # An arrival looks at all that is left, the end of its own hold or not.
    oracle = start(made, inert_fraction=0.2, forced=(("arrival", "big", 2),))
    play(oracle, ("read", "big", 4, NO_COPY))
    assert oracle.done and stays(oracle) == {"big": [(4, 5, COPIED)]}


def test_the_departure_of_a_dirty_value_is_never_inert():
    for flags, first in (({}, DEFINE), ({"is_input": True}, ("read", "v", 1, COPY))):
        slots = [Slot(defines="v") if not flags else Slot(compute=6), Slot(reads="v")]
        oracle = start(program(8, {"v": value(5, **flags)}, [*slots, Slot(reads="v")]))
        play(oracle, first)
        assert asked(oracle) == ("depart", "v", first[2])
        # All of v is worth 15 of 15 or 10 of 16 s, the read in slot 2 less than half of S.
        oracle = start(oracle.program, inert_fraction=0.5)
        play(oracle, first)
        if flags:
            assert oracle.done
        else:
            play(oracle, HOLD)
            assert asked(oracle) == ("depart", "v", 1)


def test_members_of_a_group_are_judged_by_their_sum():
    values = {"p": value(4, is_input=True), "r": value(4), "x": value(20, is_input=True)}
    slots = [Slot(compute=9), MARKER, Slot(reads="p"), Slot(defines="r"), MARKER]
    made = program(32, values, [*slots, Slot(reads="x r")], (Loop(1, 4, 1),), ((0, "p", "r"),))
    # p saves 4 of 41 s, both 12.
    oracle = start(made, inert_fraction=0.15)
    assert oracle.tables.in_play == [True, True, True]
    oracle = start(made, inert_fraction=0.3)
    assert oracle.tables.in_play == [False, False, True]


# --- Forced answers, and Drop-backup around the oracle (6) ---


def test_a_forced_arrival_is_a_drop():
    oracle = start(late(), forced=(("arrival", "v", 0),))
    assert asked(oracle) == ("read", "v", 1)
    # The departure of the same slot is another question.
    oracle = start(late(), forced=(("arrival", "v", 1), ("enter", "v", 0)))
    play(oracle, DEFINE, HOLD, ("depart", "v", 1, NO_COPY))
    oracle = start(reaching(20), forced=(("arrival", "a", 2),))
    assert asked(oracle) == ("read", "b", 4)


def test_the_question_at_an_entry_marker_is_one():
    slots = [Slot(compute=9, defines="v"), Slot(compute=5), MARKER, Slot(reads="v"), MARKER]
    made = program(8, {"v": value(4)}, slots, (Loop(2, 4, 10),))
    forced = (("enter", "v", 2),)
    oracle = start(made, forced=forced)
    play(oracle, DEFINE, HOLD)
    # It departs at the marker and is written back in slot 1.
    assert oracle.done and copies(oracle)[1] == [("v", 1, 2)]
    assert play(start(made, forced=forced), ("define", "v", 0, DROP)) == 0


def test_a_game_that_does_not_pack_is_played_again():
    # 3 bytes are reserved where c is, so that c lies in the upper half; a lies there before.  By
    # bytes b fits between them, but it meets both, and cannot lie in their half.
    values = {"a": value(3), "b": value(3), "c": value(3)}
    slots = [Slot(defines="a", reserved=3), Slot(defines="b"), Slot(defines="c", reads="a")]
    slots += [Slot(reads="b c"), Slot()]
    made = program(6, values, slots)
    greedy = start(made)
    while not greedy.done:
        greedy.step(greedy.legal.index(True))
    assert max(greedy.used) <= 6
    oracle, mapping = packed_game(made, lambda oracle: oracle.legal.index(True))
    assert verify(made, mapping) == []
    assert len(oracle.residencies()) == len(greedy.residencies()) - len(oracle.forced)


def test_a_write_back_leaves_a_bit_for_others():
    values = {"a": value(5), "c": value(3, is_input=True)}
    slots = [Slot(defines="a"), Slot(compute=8 + A_BIT), Slot(reads="c"), Slot(reads="a")]
    oracle = start(program(8, values, slots))
    play(oracle, ("define", "a", 0, NO_COPY), ("depart", "a", 0, DROP))
    play(oracle, ("read", "c", 2, COPY))
    assert copies(oracle) == ([("c", 1, 2)], [("a", 1, 2)]) and taken(oracle)[1] == approx(8)
