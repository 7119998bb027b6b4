"""Room beside production, against a plain loop over slots; what is refused leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest

from mallocgame.followed import Follower
from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate
from mallocgame.judge.reading import Reading
from mallocgame.mappers.layouts.local_search import LayoutSearch
from mallocgame.mappers.msa import msa
from mallocgame.synthetic.random_programs import random_program, sized_program


@pytest.mark.parametrize("seed", range(8))
def test_room_is_what_production_leaves_in_every_slot(seed):
    rng = np.random.default_rng([28, seed])
    program = sized_program(rng, accesses=120) if seed % 2 else random_program(rng)
    production = msa(program, GameConfig(), 0.0, 0).mapping
    search = LayoutSearch(program, seed)
    search.start()
    mapping = search.mapping()
    follower = Follower(program, production)
    instructions = program.instructions
    in_use = [instruction.reserved_bytes for instruction in instructions]
    own = np.zeros((len(program.values), len(instructions)), np.int64)
    for stay in Reading(program, production).stays:
        for slot in range(stay.start, stay.end):
            in_use[slot] += stay.size
            own[stay.value, slot] += stay.size
    for stay in Reading(program, mapping).stays:
        free = min(
            program.machine.fast_capacity_bytes - in_use[slot] + own[stay.value, slot]
            for slot in range(stay.start, stay.end)
        )
        new_access = [-1]
        why = follower.why_refused(stay.value, stay.start, stay.end, new_access, leaves=False)
        assert bool(why) == (stay.size <= free)
    kept, served = follower.follows(mapping)
    assert set(kept.residencies) <= set(mapping.residencies)
    # What production serves is never lost by a refusal, and nothing else is won.
    before, wanted = follower.served, Reading(program, mapping).served_fast()
    assert (served <= wanted).all() and (served >= (wanted & before)).all()
    assert simulate(program, kept).stall_s.sum() <= simulate(program, mapping).stall_s.sum() + 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_production_follows_itself(seed):
    program = sized_program(np.random.default_rng([29, seed]), accesses=120)
    production = msa(program, GameConfig(), 0.0, 0).mapping
    kept, served = Follower(program, production).follows(production)
    assert kept == production
    np.testing.assert_array_equal(served, Reading(program, production).served_fast())
