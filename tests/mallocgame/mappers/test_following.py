"""Local search that knows production's mapping does nothing that the compiler would not follow."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mallocgame.followed import late_copies, without_late_copies
from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.mappers.layouts import kernels
from mallocgame.mappers.layouts.layout import MemoryLayout
from mallocgame.mappers.layouts.local_search import local_search
from mallocgame.program import Access, Instruction, Program, Value, load_program
from mallocgame.program.machine import Machine
from mallocgame.program.mapping import (
    COPIED,
    DEFINED,
    Mapping,
    Residency,
    Transfer,
    all_slow,
)
from mallocgame.suites import find_programs, load_production


@pytest.mark.parametrize("name", ["llama_decode_b8", "resnet50_b1_inference"])
def test_no_copy_is_late_but_where_production_has_it_late(name):
    path = find_programs([f"tpu_v4/{name}"])[0]
    program = load_program(path)
    production = load_production(path, program)
    assert production is not None
    free = local_search(program, GameConfig(), 0.3, 0).mapping
    bound = local_search(program, GameConfig(), 0.3, 0, production=production).mapping
    own = {(copy.value, copy.end) for copy in production.prefetches}
    late = [late_copies(program, mapping) for mapping in (free, bound)]
    others = [{copy for copy in copies if (copy[0], copy[2]) not in own} for copies in late]
    assert others[0] and not others[1]
    assert verify(program, bound) == []
    kept = without_late_copies(program, production, production)
    assert simulate(program, bound).latency_s <= simulate(program, kept).latency_s


def test_a_layout_refuses_what_the_compiler_would_not_follow():
    """The copy of `v` takes ten seconds and can hide behind one; `c` takes no time anywhere."""
    program = Program(
        "late",
        Machine("late", 16, 1, slow_bandwidth=1.0, fast_bandwidth=100.0),
        tuple(Instruction(f"i{t}", compute_s=1.0) for t in range(2)),
        (Value("v", 10, is_input=True), Value("c", 10)),
        (
            Access(0, 1, "write", (0,), 0, 0.0, 0.0, defines=True),
            Access(1, 0, "read", (0,), 100, 100.0, 1.0),
        ),
    )
    crowded = Mapping(program.name, program.fingerprint, (Residency(1, 0, 0, 2, DEFINED),))
    copied = Mapping(
        program.name, program.fingerprint, (Residency(0, 0, 0, 2, COPIED),), (Transfer(0, 0, 1),)
    )

    def is_placed(program: Program, production: Mapping | None) -> bool:
        layout = MemoryLayout(program)
        if production is not None:
            layout.follow(production)
        of_v = np.flatnonzero(layout.stays.row[:, kernels.VALUE] == 0).tolist()
        return any(layout.place(stay) for stay in of_v)

    cases = {"free": None, "late": crowded, "its own": copied, "there is room": all_slow(program)}
    placed = {name: is_placed(program, production) for name, production in cases.items()}
    assert placed == {"free": True, "late": False, "its own": True, "there is room": False}
    machine = dataclasses.replace(program.machine, slow_bandwidth=20.0)
    quick = dataclasses.replace(program, machine=machine)
    in_time = dataclasses.replace(crowded, fingerprint=quick.fingerprint)
    assert is_placed(quick, in_time)
