"""A result has the mapping whose options are handed out, and the promise that was made for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

import mallocgame
from mallocgame import confirmed
from mallocgame.api import Problem
from mallocgame.promise import promise
from mallocgame.xla.make.importer import import_dump
from mallocgame.xla.read.chips import chip_by_name
from mallocgame.xla.steer.confirm import PRODUCTION, Attempt, Confirmation
from mallocgame.xla.steer.roundtrip import CompilerBench
from tests.support.xla_sample import without_compile, write_dump

CHIP = chip_by_name("v4")


@pytest.mark.parametrize("is_better", [True, False])
def test_a_later_mapping_brings_what_was_learned(
    is_better: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_dump(tmp_path / "sample")
    item = import_dump(folder, CHIP.machine, "sample").items[0]
    found = CompilerBench(item.program, folder, CHIP).placement(folder)
    program = without_compile(item.program, found)
    production = dataclasses.replace(item.mapping, fingerprint=program.fingerprint)
    told = []

    def confirm(*_, again, **__) -> Confirmation:
        told.append(again([Attempt("said", 1, 1.0, 1.0, found)], -0.5))
        return Confirmation(
            1000, 900, {}, "said" if is_better else PRODUCTION, (), 1.0, number=int(is_better)
        )

    monkeypatch.setattr(confirmed, "confirm", confirm)
    there = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: name))
    monkeypatch.setattr(confirmed, "importlib", there)
    problem = Problem(program, production, "module {}")
    result = mallocgame.map(problem, "local_search", budget_s=0.2)
    assert result.verified and result.mapping.fingerprint == program.fingerprint
    assert (result.learned is not None) == is_better
    if result.learned is None:
        assert result.promise == promise(program, production, result.mapping)
        return
    mapping, gain = told[0]
    assert result.mapping == mapping
    known = result.learned
    assert known.program.fingerprint != program.fingerprint and known.production is not None
    assert result.promise is not None and result.promise.simulated == pytest.approx(gain)
    again = dataclasses.replace(mapping, fingerprint=known.program.fingerprint)
    assert result.promise == promise(known.program, known.production, again)
