"""The oracle by hand: where values go, and their copies (docs/game.md, 4).

Sizes are seconds here (see `handmade`): an access in slow memory takes the value's size, in fast
memory nothing, and a copy demands the value's size of idle time.  Idle times that just suffice are
`A_BIT` longer, as demands are rounded up to ticks.
"""

from __future__ import annotations

import pytest

from mallocgame.judge import simulate, verify
from mallocgame.oracle import COPY, DROP, NO_COPY
from mallocgame.program import Loop
from mallocgame.program.mapping import Transfer
from tests.support.handmade import (
    A_BIT,
    MARKER,
    Slot,
    approx,
    asked,
    gaps,
    play,
    prefetching,
    program,
    seconds,
    start,
    stays,
    value,
)

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
