"""Opponents: they keep to the rules and the time, and find what a plain search finds."""

from __future__ import annotations

import itertools
import time

import pytest

from games.loops.fit.fit import Sample, agreement, fit, predicted
from games.loops.game.options import ACTION_NAMES, STOP
from games.loops.mappers.registry import MAPPERS, run
from games.loops.oracle.oracle import first, moved
from games.loops.program.cost import seconds
from games.loops.program.machine import machine
from games.loops.program.nest import check, start
from games.loops.suites import named
from tests.support.loops import nests

COMPUTATION = named("mm64_80_96")


@pytest.mark.parametrize("name", MAPPERS)
def test_opponents_keep_the_rules_and_the_time(name):
    began = time.perf_counter()
    found = run(name, COMPUTATION, seconds, 0.5, moves=20)
    assert time.perf_counter() - began < 3
    check(COMPUTATION, found.nest)
    assert found.seconds == seconds(COMPUTATION, found.nest)
    assert found.seconds <= seconds(COMPUTATION, start(COMPUTATION))


def test_exhaustive_finds_the_best_of_three_moves():
    best = seconds(COMPUTATION, start(COMPUTATION))
    for actions in itertools.product(range(len(ACTION_NAMES)), repeat=3):
        at = first(COMPUTATION)
        for action in actions:
            after = moved(COMPUTATION, at, action) if action != STOP else None
            if after is None:
                break
            at = after
            best = min(best, seconds(COMPUTATION, at.nest))
    assert run("exhaustive", COMPUTATION, seconds, 60, moves=3).seconds == best


def test_a_wide_beam_is_the_exhaustive_search():
    from games.loops.mappers.moving import beam
    from games.loops.mappers.search import Search

    search = Search(COMPUTATION, seconds, 60)
    beam(search, 3, 10_000)
    assert search.best_seconds == run("exhaustive", COMPUTATION, seconds, 60, moves=3).seconds


def test_a_fit_finds_the_constants_behind_times():
    import dataclasses

    of = machine()
    other = dataclasses.replace(
        of, constants=tuple(1.5 * c for c in of.constants[:5]) + of.constants[5:]
    )
    samples = [
        Sample(c, nest, seconds(c, nest, other), seconds(c, start(c), other))
        for c, nest in nests(160)
    ]
    made = fit(samples, of)
    before, after = (agreement(samples, predicted(samples, each)) for each in (of, made))
    assert after.typical < before.typical
    assert after.typical < 1.03 and after.spearman > 0.99
