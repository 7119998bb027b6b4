"""The domain: solutions in files, an evaluation from end to end, and the page of the game."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agent.commands.evaluate import main
from gamekit.errors import InputError
from games.fences.domain import DOMAIN, naive_cost, text_of
from games.fences.game import observe
from games.fences.game.tables import naive_cost as game_naive_cost
from games.fences.program.naive import naive_placements
from tests.support.observation_page import check_observations

ROOT = Path(__file__).resolve().parents[3]


def test_solutions_are_read_as_they_were_written(tmp_path):
    (instance,) = DOMAIN.instances(["worked/overlap"])
    text = text_of(instance.content, naive_placements(instance.content))
    DOMAIN.save(text, tmp_path / "s.json")
    assert DOMAIN.load(tmp_path / "s.json", instance) == text
    assert DOMAIN.judge(instance, text).score == 0


@pytest.mark.parametrize(
    ("solution", "message"),
    [
        (3, "s.json: solution: must be a text, got int"),
        ("CPU { x }", "s.json:1:1: must be 'schedule', got 'CPU'"),
        ("schedule CPU { q }", "s.json:1:16: there is no value q"),
    ],
)
def test_solutions_that_cannot_be_used(tmp_path, solution, message):
    (instance,) = DOMAIN.instances(["worked/overlap"])
    DOMAIN.save(solution, tmp_path / "s.json")
    with pytest.raises(InputError, match=re.escape(message)):
        DOMAIN.load(tmp_path / "s.json", instance)


def test_a_broken_schedule_is_not_valid():
    (instance,) = DOMAIN.instances(["worked/branches"])
    verdict = DOMAIN.judge(instance, "schedule CPU { b x y }")
    assert not verdict.valid and verdict.why is not None and "missing" in verdict.why


def test_game_and_judge_have_one_naive_cost():
    for instance in DOMAIN.instances(["worked", "handmade", "generated/5-20/0-99"]):
        own, _ = game_naive_cost(instance.content)
        assert own == pytest.approx(naive_cost(instance.content)), instance.name


def test_an_evaluation_from_end_to_end(tmp_path, capsys):
    arguments = ["--game", "games.fences.domain:DOMAIN", "--suite", "worked", "handmade/chain"]
    names = "naive,batching,critical_path,exhaustive"
    out = tmp_path / "out"
    assert main([*arguments, "--mappers", names, "--budget", "5", "--out", str(out)]) == 0
    rows = json.loads((out / "results.json").read_text())["rows"]
    assert len(rows) == 12 and all(row["valid"] for row in rows)
    best = {row["program"]: row["score"] for row in rows if row["solver"] == "exhaustive"}
    assert all(row["score"] <= best[row["program"]] + 1e-9 for row in rows)
    assert {row["proven"] for row in rows if row["solver"] == "exhaustive"} == {True}


def test_the_page_names_every_feature_of_an_observation():
    page = (ROOT / "docs" / "fences.md").read_text()
    names = {
        "question": observe.QUESTION_NAMES,
        "offered": observe.OFFERED_NAMES,
        "coming": observe.COMING_NAMES,
    }
    check_observations(page, observe.SPEC, names)


def test_the_page_shows_what_the_command_prints():
    from games.fences.mappers.exhaustive import exhaustive

    (instance,) = DOMAIN.instances(["worked/overlap"])
    page = (ROOT / "docs" / "fences.md").read_text()
    assert f"```\n{instance.content.text}```" in page
    text = text_of(instance.content, exhaustive(instance.content).placements)
    assert f"```\n{text}```" in page
