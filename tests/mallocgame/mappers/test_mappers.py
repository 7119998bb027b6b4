"""Mappers: one interface, everything legal."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from agent.commands import evaluate
from gamekit.domain import Instance
from mallocgame.domain import DOMAIN
from mallocgame.game.compile_program import compile_program
from mallocgame.game.environment import COPY, DROP, build_game, unobserved_game
from mallocgame.game.observe.static import worths_of_yes
from mallocgame.game.options import GameConfig
from mallocgame.game.tables import ASK_DEPART, QuestionRow
from mallocgame.judge import simulate, verify
from mallocgame.mappers.in_game import simple
from mallocgame.mappers.in_game.imitate import relaxed_openings
from mallocgame.mappers.in_game.plans import Answer, play_plans, score_plans
from mallocgame.mappers.in_game.simple import SHARES, THRESHOLDS, imitate
from mallocgame.mappers.layouts.local_search import LayoutSearch, fast_accesses, local_search
from mallocgame.mappers.msa import msa
from mallocgame.mappers.registry import LEARNED, MAPPERS
from mallocgame.program import load_program
from mallocgame.program.mapping import Mapping, all_slow
from mallocgame.relaxation.bound import lower_bound
from mallocgame.suites import SUITES, find_programs, load_production
from mallocgame.synthetic.random_programs import (
    known_optimum_program,
    random_program,
    sized_program,
)

CONFIG = GameConfig()
SAMPLE = SUITES / "tpu_v4_sample"


@pytest.mark.slow
def test_every_mapper_makes_a_legal_mapping_between_bound_and_all_slow():
    pytest.importorskip("evosax", reason="extra `mappers`")
    program = random_program(np.random.default_rng([21, 3]), instructions=16, values=9)
    bound = lower_bound(program).latency_s
    slow = simulate(program, all_slow(program)).latency_s
    latency = {}
    for name in MAPPERS.keys() - set(LEARNED):
        mapped = MAPPERS[name](program, CONFIG, 2.0, 0)
        assert verify(program, mapped.mapping) == [], name
        assert mapped.seconds > 0
        latency[name] = simulate(program, mapped.mapping).latency_s
        # What plays the game rounds to ticks.
        assert bound * (1 - 1e-9) <= latency[name] <= slow * (1 + 1e-5), name
    assert latency["greedy"] <= latency["all_fast"] * (1 + 1e-9)
    assert latency["belady"] <= latency["all_fast"] * (1 + 1e-9)
    assert latency["evolution"] <= latency["greedy"] * (1 + 1e-9)
    assert latency["local_search"] <= latency["msa"] * (1 + 1e-9)
    assert latency["local_search"] < slow


@pytest.mark.parametrize("seed", range(2))
def test_the_rounded_relaxation_is_a_rule_and_opens_games(seed):
    program = sized_program(np.random.default_rng([23, seed]), accesses=50)
    tables = compile_program(program, CONFIG)
    plans = simple.relaxed(tables)
    openings = relaxed_openings(program, CONFIG)
    assert len(plans) == 2 * len(openings) <= THRESHOLDS
    scores = score_plans(unobserved_game(tables, CONFIG), plans)
    made = MAPPERS["relaxed"](program, CONFIG, 0.0, 0)
    assert verify(program, made.mapping) == []
    assert simulate(program, made.mapping).saved_fraction >= scores.max() - 1e-5
    limit = tables.prices.limit
    assert 0.5 * limit < scores.max() <= limit + 1e-6
    # The first plan says yes where the optimum has at least a share of the value.
    worth = worths_of_yes(tables)
    np.testing.assert_array_equal(plans[0] == Answer.IN_TIME, worth[:, 2] >= SHARES[0])
    # An opening has the answer of its plan at the number of each question.
    rows = QuestionRow(*tables.questions.T)
    late = plans[(plans == Answer.YES).any(axis=1)]
    for plan, opening in zip(late, openings, strict=True):
        for i in range(len(plan)):
            number = 2 * int(rows.stop[i]) + int(rows.kind[i] == ASK_DEPART)
            assert opening[number] == (COPY if plan[i] == Answer.YES else DROP)


@pytest.mark.parametrize("seed", range(8))
def test_local_search_finds_known_optima_nearly(seed):
    program, optimum, _ = known_optimum_program(np.random.default_rng(seed), turns=5, lanes=3)
    search = LayoutSearch(program, 0)  # by steps, not seconds: a busy machine is no failure
    search.start()
    search.search(2500)
    mapping = search.mapping()
    assert verify(program, mapping) == []
    saved = simulate(program, mapping).saved_fraction
    assert optimum * 0.97 <= saved <= optimum + 1e-9


def test_local_search_can_take_up_any_mapping():
    path = SAMPLE / "resnet50_b1_inference_v4_8mib.program.json.gz"
    program = load_program(path)
    mapping = msa(program, CONFIG, 0.0, 0).mapping
    wanted = fast_accesses(program, mapping)
    search = LayoutSearch(program, 0)
    search.lay(wanted)
    taken = fast_accesses(program, search.mapping())
    # What is left out saves nothing.
    assert sum(map(len, taken.values())) >= 0.6 * sum(map(len, wanted.values()))
    theirs = simulate(program, mapping).saved_fraction
    assert simulate(program, search.mapping()).saved_fraction >= theirs - 1e-6


def test_local_search_is_no_worse_than_what_it_starts_from():
    program = load_program(SAMPLE / "resnet50_b1_inference_v4_4mib.program.json.gz")
    elsewhere = LayoutSearch(program, 7)
    elsewhere.start()
    elsewhere.search(500)
    start = elsewhere.mapping()

    def latency(*starts: Mapping) -> float:
        found = local_search(program, CONFIG, 0.0, 0, starts=starts).mapping
        assert verify(program, found) == []
        return simulate(program, found).latency_s

    alone, theirs = latency(), simulate(program, start).latency_s
    assert theirs < alone, "the start matters"
    assert latency(all_slow(program), start) <= theirs
    assert latency(all_slow(program)) == alone


@pytest.mark.parametrize(
    "name",
    [
        "tpu_v4_sample/gpt2_decode_v4_8mib",
        "tpu_v4_sample/transformer_scan_train_v4_16mib",
        "tpu_v4/lstm_b8_inference",
    ],
)
def test_local_search_is_no_worse_than_msa_and_production(name):
    (path,) = find_programs([name])
    program = load_program(path)
    production = load_production(path, program)
    assert production is not None
    found = simulate(program, local_search(program, CONFIG, 15.0, 0).mapping).latency_s
    assert found <= simulate(program, msa(program, CONFIG, 0.0, 0).mapping).latency_s
    assert found <= simulate(program, production).latency_s


def test_the_game_can_pass_all_of_the_memory_from_one_weight_to_the_next():
    """Production's weights of 16 MiB take turns, each copied when the one before is gone."""
    (path,) = find_programs(["tpu_v4/lstm_b8_inference"])
    program = load_program(path)
    production = load_production(path, program)
    assert production is not None
    plans = imitate(compile_program(program, CONFIG), production)
    played = play_plans(build_game([program], CONFIG), program, plans)
    theirs = simulate(program, production).saved_fraction
    assert simulate(program, played.mapping).saved_fraction >= theirs - 1e-4


@pytest.mark.slow
def test_a_plan_that_waits_by_the_games_account_may_be_the_best_one():
    """Of the relaxation's roundings of Llama's decode step the best by score loses to production;
    the one that the judge likes best, once its copies have more time, is ahead."""
    (path,) = find_programs(["tpu_v4/llama_decode_b8"])
    program = load_program(path)
    production = load_production(path, program)
    assert production is not None
    made = MAPPERS["relaxed"](program, CONFIG, 0.0, 0)
    saved = simulate(program, made.mapping).saved_fraction
    assert saved > simulate(program, production).saved_fraction + 0.005
    tables = compile_program(program, CONFIG)
    scores = score_plans(unobserved_game(tables, CONFIG), simple.relaxed(tables))
    assert scores.max() < simulate(program, production).saved_fraction - 0.01


def test_programs_without_anything_to_place():
    program = random_program(np.random.default_rng(1), instructions=4, values=2)
    nothing = dataclasses.replace(
        program,
        values=tuple(dataclasses.replace(v, is_pinned=True) for v in program.values),
    )
    for name in ("msa", "local_search", "milp"):
        assert MAPPERS[name](nothing, CONFIG, 0.2, 0).mapping.residencies == ()
    assert lower_bound(nothing).latency_s == pytest.approx(
        simulate(nothing, all_slow(nothing)).latency_s, rel=1e-9
    )


def test_evaluate_measures_gaps_against_the_bound(tmp_path, capsys):
    names = ["production", "msa", "local_search", "milp", "bound"]
    arguments = ["--suite", "tpu_v4_sample/resnet50_b1_inference_v4_4mib"]
    arguments += ["--mappers", ",".join(names)]
    code = evaluate.main([*arguments, "--budget", "4", "--out", str(tmp_path / "out")])
    assert code == 0
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    by_name = {row["mapper"]: row for row in rows}
    assert list(by_name) == names
    assert all(row["verified"] for row in rows)
    assert by_name["production"]["gap_to_bound_closed"] == 0
    assert by_name["bound"]["gap_to_bound_closed"] == 1
    bound, production = (by_name[name]["latency_s"] for name in ("bound", "production"))
    for row in rows:
        assert row["latency_s"] >= bound * (1 - 1e-12)
        closed = (production - row["latency_s"]) / (production - bound)
        assert row["gap_to_bound_closed"] == pytest.approx(closed, abs=1e-6)
    assert (
        by_name["msa"]["gap_to_bound_closed"] < 0 < by_name["local_search"]["gap_to_bound_closed"]
    )
    capsys.readouterr()
    assert evaluate.main([*arguments, "--budget", "-1", "--out", str(tmp_path / "other")]) == 2
    said = "mallocgame evaluate: --budget must be seconds, at least 0, got -1.0\n"
    assert capsys.readouterr().err == said


def test_openings_answer_the_questions_of_the_game_that_is_played():
    """With other options of the rules a game has other questions."""
    program = sized_program(np.random.default_rng([23, 0]), accesses=50)
    instance = Instance(program.name, program.fingerprint, "", program)
    lengths = set()
    for fraction in (0.0, 0.02):
        config = GameConfig(inert_fraction=fraction)
        openings = DOMAIN.openings(
            unobserved_game(compile_program(program, config), config), instance
        )
        stops = len(compile_program(program, config).stops)
        assert {len(opening) for opening in openings} == {2 * stops}
        lengths.add(stops)
    assert len(lengths) == 2
