"""The suite of large programs: large, right, and with legal mappings."""

from __future__ import annotations

import pytest

from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.mappers.msa import msa
from mallocgame.program import load_program
from mallocgame.promise import assumed_slots
from mallocgame.suites import find_programs, load_production

PATHS = find_programs(["tpu_v4_large"])


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name.partition(".")[0])
def test_large_programs_are_judged_and_mapped(path):
    program = load_program(path)
    production = load_production(path, program)
    assert 5_000 <= len(program.accesses) <= 50_000
    assert production is not None and verify(program, production) == []
    clock = program.machine.clock_hz or 1.0
    # Instructions without an estimate are in no figure of the compiler's.
    ours = set(assumed_slots(program))
    theirs = [t for t in range(len(program.instructions)) if t not in ours]
    cycles = simulate(program, production).elapsed_s[theirs].sum() * clock
    made = program.provenance["production"]["estimated_cycles"]
    assert cycles == pytest.approx(made, rel=0.03)
    assert verify(program, msa(program, GameConfig(), 0.0, 0).mapping) == []
