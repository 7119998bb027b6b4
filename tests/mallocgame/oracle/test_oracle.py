"""The oracle on little programs whose answers were worked out by hand from docs/game.md.

Sizes are seconds here (see `handmade`): an access in slow memory takes the value's size, in fast
memory nothing, and a copy demands the value's size of idle time.  Idle times that just suffice are
`A_BIT` longer, as demands are rounded up to ticks.
"""

from __future__ import annotations

import numpy as np
import pytest

from gamekit.errors import InputError
from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.oracle import COPY, DROP, NO_COPY, Oracle
from mallocgame.program import Loop
from mallocgame.program.mapping import Transfer
from mallocgame.synthetic.random_programs import random_program
from tests.support.handmade import (
    A_BIT,
    FREE,
    MARKER,
    Slot,
    asked,
    carried,
    evicting,
    gaps,
    late,
    occupied,
    play,
    prefetching,
    program,
    reentered,
    reserved,
    seconds,
    start,
    value,
)


def approx(expected: float):
    return pytest.approx(expected, abs=1e-6)


def stays(oracle: Oracle) -> dict[str, list[tuple[int, int, int, str]]]:
    """(offset, start, end, arrival) of every residency of the finished game, by name."""
    found: dict[str, list[tuple[int, int, int, str]]] = {}
    for r in oracle.mapping().residencies:
        name = oracle.program.values[r.value].name
        found.setdefault(name, []).append((r.offset, r.start, r.end, r.arrival))
    return found


# --- Placement (4) ---


GAPS = [("define", name, t, NO_COPY) for t, name in enumerate("abcd")]


@pytest.mark.parametrize(
    ("placement", "size", "where"),
    [
        ("best_fit", 20, 40),
        ("best_fit", 25, 0),
        ("best_fit", 5, 40),
        ("two_ended", 5, 85),
        ("two_ended", 24, 36),
        ("two_ended", 25, 0),
    ],
)
def test_placement(placement: str, size: int, where: int):
    oracle = start(gaps(size), placement=placement)
    play(oracle, *GAPS, ("define", "e", 5, NO_COPY))
    assert oracle.done
    assert stays(oracle)["e"] == [(where, 5, 7, "defined")]


def test_no_gap_suffices():
    oracle = start(gaps(31))
    play(oracle, *GAPS)
    assert oracle.done and "e" not in stays(oracle)


def test_sizes_are_rounded_up_and_reservations_are_kept_clear():
    values = {"a": value(5), "b": value(5)}
    slots = [Slot(defines="a"), Slot(defines="b", reserved=9), Slot(reads="a b")]
    oracle = start(program(32, values, slots, alignment=8))
    play(oracle, ("define", "a", 0, NO_COPY), ("define", "b", 1, NO_COPY))
    assert stays(oracle) == {"a": [(16, 0, 3, "defined")], "b": [(24, 1, 3, "defined")]}


def test_zero_bytes_lie_at_zero_and_block_nothing():
    values = {"z": value(0, is_input=True), "a": value(8)}
    slots = [Slot(reads="z", defines="a", reserved=8), Slot(reads="a z")]
    oracle = start(program(16, values, slots))
    # No supply before slot 0, but none is needed: s = t.
    play(oracle, ("read", "z", 0, COPY), ("define", "a", 0, NO_COPY), ("depart", "z", 0, NO_COPY))
    assert stays(oracle) == {"z": [(0, 0, 2, "copied")], "a": [(8, 0, 2, "defined")]}
    assert oracle.mapping().prefetches == (Transfer(0, 0, 0),)


# --- Supply of a prefetch (4) ---


def test_prefetch_takes_the_supply_backwards():
    oracle = start(prefetching())
    play(oracle, ("read", "a", 3, COPY), ("read", "b", 3, COPY))
    # a takes 4 s of slot 2 and 6 s of slot 0, b the 2 s left there; c finds nothing.
    assert oracle.done
    assert oracle.mapping().prefetches == (Transfer(0, 0, 3), Transfer(1, 0, 3))
    assert stays(oracle) == {"a": [(0, 0, 4, "copied")], "b": [(10, 0, 4, "copied")]}
    assert seconds(oracle) == approx(12)


def test_prefetch_window():
    oracle = start(prefetching(), prefetch_window=2)
    assert asked(oracle) == ("read", "b", 3)  # Slot 0 is out of reach for a.
    play(oracle, ("read", "b", 3, COPY), ("read", "c", 3, COPY))
    assert oracle.mapping().prefetches == (Transfer(1, 2, 3), Transfer(2, 2, 3))


def test_prefetch_needs_its_source():
    values = {"v": value(4), "w": value(5)}
    slots = [Slot(compute=100), Slot(compute=100, defines="v w")]
    slots += [Slot(compute=4 + A_BIT), Slot(reads="v w")]
    oracle = start(program(16, values, slots))
    # Slow memory holds both from slot 2 on, whose 4 s suffice for v, not for w.
    play(oracle, ("define", "v", 1, DROP), ("define", "w", 1, DROP), ("read", "v", 3, COPY))
    assert oracle.done
    assert oracle.mapping().prefetches == (Transfer(0, 2, 3),)


def test_table_of_residencies():
    values = {name: value(4, is_input=True) for name in "ab"}
    slots = [Slot(compute=100), Slot(reads="a b"), Slot(), Slot(compute=9), Slot(reads="b")]
    moves = [("read", "a", 1, COPY), ("read", "b", 4, COPY)]
    # One at a time is remembered: b must wait until a's end, 2, is no longer after t - 2.
    oracle = start(program(16, values, slots), max_residencies=1, prefetch_window=2)
    play(oracle, *moves)
    assert oracle.done
    oracle = start(program(16, values, slots), max_residencies=1, prefetch_window=3)
    play(oracle, moves[0])
    assert oracle.done


# --- Copies that come too late (4) ---


def test_a_late_copy_stalls_its_reader_for_what_is_missing():
    oracle = start(prefetching(), late_prefetch="stall", prefetch_window=2)
    assert asked(oracle) == ("read", "a", 3)
    # 4 of 10 s are there in slot 2; the reader waits 6 s and saves 10.
    play(oracle, ("read", "a", 3, COPY))
    # Nothing is left for b and c, and waiting for all of a value gains nothing.
    assert oracle.done
    assert seconds(oracle) == approx(4)
    assert oracle.mapping().prefetches == (Transfer(0, 2, 3),)


def test_a_loop_that_nothing_precedes_is_entered_with_a_stall():
    slots = [MARKER, Slot(reads="w"), MARKER]
    made = program(16, {"w": value(10, is_input=True)}, slots, (Loop(0, 2, 5),))
    assert start(made).done
    oracle = start(made, late_prefetch="stall")
    play(oracle, ("read", "w", 0, COPY))
    assert stays(oracle) == {"w": [(0, 0, 3, "copied")]}
    # Five reads of 10 s for one copy of 10 s.
    assert seconds(oracle) == approx(40)
    assert simulate(made, oracle.mapping()).latency_s == approx(10)


def test_a_late_copy_begins_where_its_source_is_there():
    values = {"v": value(4), "w": value(5)}
    slots = [Slot(compute=100), Slot(compute=100, defines="v w")]
    slots += [Slot(compute=4), Slot(reads="v w")]
    oracle = start(program(16, values, slots), late_prefetch="stall")
    play(oracle, ("define", "v", 1, DROP), ("define", "w", 1, DROP))
    # With v in slow memory w takes the 4 s of slot 2 and waits 1 s.
    play(oracle, ("read", "v", 3, DROP), ("read", "w", 3, COPY))
    assert oracle.mapping().prefetches == (Transfer(1, 2, 3),)
    assert seconds(oracle) == approx(5 - 1)


@pytest.mark.parametrize("capacity, start_of_b", [(12, 3), (20, 0)])
def test_a_copy_begins_later_where_there_is_no_room(capacity, start_of_b):
    values = {name: value(10, is_input=True) for name in "ab"}
    slots = [Slot(compute=10 + A_BIT), Slot(compute=7), Slot(compute=3, reads="a")]
    slots += [Slot(compute=4), Slot(reads="b")]
    oracle = start(program(capacity, values, slots), late_prefetch="stall")
    # b wants 4 s of slot 3, 3 s of slot 2 and 3 s of slot 0, which a leaves; but a has the place
    # until slot 3 begins.  Then the reader waits 6 s.
    play(oracle, ("read", "a", 2, COPY), ("read", "b", 4, COPY))
    assert oracle.mapping().prefetches == (Transfer(0, 0, 2), Transfer(1, start_of_b, 4))
    assert seconds(oracle) == approx(7 + 10 - (6 if start_of_b else 0))
    assert verify(oracle.program, oracle.mapping()) == []


@pytest.mark.parametrize("later_reads", [0, 1])
def test_a_late_copy_must_be_repaid_by_the_next_hold(later_reads):
    values = {"v": value(5, is_input=True)}
    slots = [Slot(reads="v"), *[Slot(reads="v")] * later_reads]
    oracle = start(program(16, values, slots), late_prefetch="stall")
    # Nothing is idle before slot 0: the copy's 5 s pay off with a second read only.
    assert oracle.done == (later_reads == 0)


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


# --- Loops and carried groups (7) ---


def test_held_group_comes_back_to_its_place():
    oracle = start(carried())
    play(oracle, ("read", "p", 1, COPY), ("define", "q", 3, NO_COPY))
    # r is not asked: it takes p's place at 5, and leaves the loop in fast memory.
    play(oracle, ("depart", "r", 6, NO_COPY))
    assert oracle.done
    assert stays(oracle) == {
        "p": [(0, 0, 3, "copied")],
        "q": [(0, 3, 5, "defined")],
        "r": [(0, 5, 8, "defined")],
    }
    assert seconds(oracle) == approx(3 * (4 + 4 + 4 + 4) + 4)


def test_group_that_is_not_held():
    oracle = start(carried())
    play(oracle, ("read", "p", 1, DROP), ("define", "q", 3, NO_COPY))
    # At slot 2, the first of the body, nothing can be copied; r crosses the loop dirty.
    play(oracle, ("define", "r", 5, NO_COPY))
    assert oracle.done
    # r saves 4 s and is evicted in a stall of 4 s, each of three times.
    assert seconds(oracle) == approx(3 * (4 + 4 + 4 - 4))
    assert oracle.mapping().evictions == (Transfer(2, 6, 6),)


def test_group_with_a_pinned_result_is_not_held():
    oracle = start(carried(is_pinned=True))
    assert asked(oracle) == ("define", "q", 3)


def test_one_question_at_an_entry_whether_to_copy_or_to_keep():
    oracle = start(reentered())
    play(oracle, ("define", "u", 0, NO_COPY), ("define", "p", 0, NO_COPY))
    # The group fails on q's eviction, as in `occupied`, and p's entry is a DROP from now on.
    play(oracle, ("depart", "p", 2, NO_COPY), ("define", "q", 4, NO_COPY))
    assert oracle.backups == 1
    # Then u's eviction meets the reservation of slot 11.
    play(oracle, ("define", "q", 4, NO_COPY), ("depart", "q", 5, NO_COPY))
    assert oracle.backups == 2
    # p may be copied at the entry now, but that question was answered before.
    play(oracle, ("define", "p", 0, DROP))
    assert asked(oracle) == ("define", "q", 4)


def test_group_needs_room_for_two():
    for room, first in ((1, ("define", "q", 3)), (2, ("read", "p", 1))):
        assert asked(start(carried(), max_residencies=room)) == first


def test_result_finds_its_place_occupied():
    oracle = start(occupied())
    rewards = play(oracle, ("read", "p", 1, COPY))
    assert rewards == approx(3 * 4 / (9 + 3 * 20 + 4))
    # q may not stay beyond 5, where the place is promised; its eviction is too slow for r: back to
    # the loop's entry, and q is asked once more, without the group.
    rewards += play(oracle, ("define", "q", 3, NO_COPY))
    assert oracle.backups == 1 and rewards == approx(0) and oracle.saved_ticks == 0
    play(oracle, ("define", "q", 3, NO_COPY), ("depart", "q", 4, NO_COPY))
    assert oracle.done and oracle.backups == 1
    assert stays(oracle) == {"q": [(0, 3, 7, "defined")]}


def test_invariant_is_held_over_the_loop_or_decided_in_the_body():
    values = {"v": value(4, is_input=True)}
    slots = [Slot(compute=5), MARKER, Slot(compute=5), Slot(reads="v"), MARKER, Slot(reads="v")]
    made = program(8, values, slots, (Loop(1, 4, 10),))
    oracle = start(made)
    play(oracle, ("read", "v", 1, COPY), ("depart", "v", 4, NO_COPY))
    assert oracle.done and stays(oracle) == {"v": [(0, 0, 6, "copied")]}
    assert seconds(oracle) == approx(10 * 4 + 4)
    oracle = start(made)
    play(oracle, ("read", "v", 1, DROP), ("read", "v", 3, COPY))
    # After the loop there is no supply: the exit marker is the first slot of its segment.
    assert oracle.done and stays(oracle) == {"v": [(0, 2, 4, "copied")]}
    assert seconds(oracle) == approx(10 * 4)


def test_dirty_invariant_dropped_at_the_entry_is_a_stall_there():
    slots = [Slot(defines="v"), MARKER, Slot(reads="v"), MARKER]
    oracle = start(program(8, {"v": value(4)}, slots, (Loop(1, 3, 10),)))
    rewards = play(oracle, ("define", "v", 0, NO_COPY), ("depart", "v", 1, DROP))
    assert oracle.done and rewards == approx(0)
    assert oracle.mapping().evictions == (Transfer(0, 2, 2),)


# --- Inert steps (2), proxy rewards (8), interface ---


def test_inert_values_and_questions():
    values = {"big": value(1000, is_input=True), "small": value(1), "pin": value(9, is_pinned=True)}
    slots = [Slot(defines="small pin"), Slot(compute=2000), Slot(reads="big")]
    slots += [Slot(reads="small pin"), Slot(reads="big small"), Slot(reads="big")]
    made = program(2000, values, slots)
    assert asked(start(made)) == ("define", "small", 0)
    oracle = start(made, inert_fraction=0.01)
    play(oracle, ("read", "big", 2, COPY), ("depart", "big", 2, NO_COPY))
    play(oracle, ("depart", "big", 4, NO_COPY))
    assert oracle.done
    # The last read alone is worth 1000 of 5018 s: with a fraction of 0.2 it is not asked for.
    oracle = start(made, inert_fraction=0.2)
    play(oracle, ("read", "big", 2, COPY), ("depart", "big", 2, NO_COPY))
    assert oracle.done and stays(oracle) == {"big": [(0, 1, 5, "copied")]}


def test_proxy_pays_each_access_as_if_alone():
    values = {"a": value(4, is_input=True), "b": value(3, is_input=True)}
    slots = [Slot(compute=20), Slot(compute=5, reads="a b")]
    oracle = start(program(8, values, slots), reward="proxy")
    # 7 s all slow. Alone, a saves 2 s and b 2 s; together 2 s.
    assert oracle.step(COPY) == approx(2 / 27)
    assert oracle.step(COPY) == approx(2 / 27)
    assert seconds(oracle) == approx(2)


def test_actions_are_checked():
    oracle = start(late())
    for action in (COPY, 3, -1):
        with pytest.raises(ValueError, match="not legal"):
            oracle.step(action)
    with pytest.raises(ValueError, match="not finished"):
        oracle.mapping()


def test_a_finished_game_ignores_moves():
    oracle = start(late())
    play(oracle, ("define", "v", 0, DROP), ("read", "v", 4, DROP))
    assert oracle.done
    assert oracle.legal == (True, True, True) and oracle.step(COPY) == 0


def test_all_drop_is_exactly_zero():
    for seed in range(100):
        oracle = Oracle(random_program(np.random.default_rng(seed)), FREE)
        while not oracle.done:
            assert oracle.step(DROP) == 0
        assert oracle.saved_ticks == oracle.backups == 0
        assert oracle.mapping().residencies == ()


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("prefetch_window", 0),
        ("max_residencies", 2.0),
        ("placement", "worst_fit"),
        ("late_eviction", None),
        ("reward", ""),
        ("inert_fraction", float("nan")),
        ("inert_fraction", 1.0),
        ("inert_fraction", "0"),
    ],
)
def test_config_names_what_is_wrong(field: str, bad: object):
    with pytest.raises(InputError, match=f"game config: {field}: "):
        GameConfig(**{field: bad})  # type: ignore[arg-type]
