"""The oracle by hand: loops, carried groups, inert steps, rewards (docs/game.md, 2, 7 and 8).

Sizes are seconds here (see `handmade`): an access in slow memory takes the value's size, in fast
memory nothing, and a copy demands the value's size of idle time.  Idle times that just suffice are
`A_BIT` longer, as demands are rounded up to ticks.
"""

from __future__ import annotations

import numpy as np
import pytest

from mallocgame.oracle import COPY, DROP, NO_COPY, Oracle
from mallocgame.program import Loop
from mallocgame.program.mapping import Transfer
from mallocgame.synthetic.random_programs import random_program
from tests.support.handmade import (
    FREE,
    MARKER,
    Slot,
    approx,
    asked,
    carried,
    late,
    occupied,
    play,
    program,
    reentered,
    seconds,
    start,
    stays,
    value,
)

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
        with pytest.raises(ValueError, match="must be legal"):
            oracle.step(action)
    with pytest.raises(ValueError, match="must be finished"):
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
