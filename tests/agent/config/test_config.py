"""Configurations: what is wrong is said in one line that names the key."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agent.config import config_from_record, differences, load_config, save_config
from gamekit.errors import InputError

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("name: a\nlearner: {lr: 1}", [], "learner.lr: unknown key"),
        ("name: a\nfoo: 1", [], "foo: unknown key"),
        ("seed: 1", [], "name: is missing"),
        ("name: a/b", [], "name: must be able to name a folder, got 'a/b'"),
        (
            "name: a",
            ["learner.batch_size=x"],
            "learner.batch_size: must be a value of type int, got 'x'",
        ),
        ("name: a", ["learner.batch_size=0"], "learner.batch_size: must be positive, got 0"),
        (
            "name: a",
            ["learner.learning_rate=.nan"],
            "learner.learning_rate: must be a finite number, got nan",
        ),
        ("name: a", ["targets.td_lambda=2"], "targets.td_lambda: must be in [0, 1], got 2.0"),
        (
            "name: a",
            ["replay.moves=100"],
            "replay.moves: must be a multiple of rollout.moves = 128, got 100",
        ),
        ("name: a", ["search.simulations=-1"], "search.simulations: must be at least 0, got -1"),
        ("name: a", ["search.max_depth=0"], "search.max_depth: must be positive, got 0"),
        ("name: a", ["targets.taught=1.5"], "targets.taught: must be in [0, 1], got 1.5"),
        ("name: a", ["schedule.taught=-1"], "schedule.taught: must be at least 0 and finite"),
        ("name: a", ["variants.count=-1"], "variants.count: must be at least 0, got -1"),
        ("name: a", ["variants.of=3"], "variants.of: must be a list of strings, got 3"),
        ("name: a", ["learner.unroll=-1"], "learner.unroll: must be at least 0, got -1"),
        (
            "name: a",
            ["learner.unroll=0"],
            "learner.unroll: must be positive for search.model = 'learned'",
        ),
        (
            "name: a",
            ["search.model=alpha"],
            "search.model: must be one of learned, game, got 'alpha'",
        ),
        ("name: a", ["game.rules=worst_fit"], "game config: rules must be one of"),
        ("name: a", ["game.gravity=9.81"], "game.gravity: unknown key"),
        ("name: a", ["game=chess"], "mallocgame or MODULE:ATTRIBUTE, got 'ch"),
        ("name: a\ngame: 3", [], "game: must be a name, or keys and values, got 3"),
        ("name: a", ["network.encoder=x"], "network.encoder: must be one of flat, parts, got 'x'"),
        ("name: a", ["network.width=30", "network.heads=4"], "network.width: must be a multiple"),
        ("name: a", ["network=3"], "network: must hold keys and values"),
        ("name: a", ["search=3"], "search: must hold keys and values"),
        ("name: a", ["programs=[1]"], "programs: must be a list of strings"),
        ("name: a", ["seed"], "seed: must be key.sub=value"),
        ("name: [", [], "expected"),
        ("- 1", [], "must hold keys and values"),
    ],
)
def test_bad_values_are_named(tmp_path, text, overrides, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(path, overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or "seed" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_committed_configurations_are_valid(path):
    config = load_config(path, ["seed=3"])
    assert config.name == path.stem
    assert config.seed == 3


def test_configurations_round_trip(tmp_path):
    record = {"name": "x", "programs": ["a", "b"], "learner": {"learning_rate": 1, "unroll": 3}}
    for game in ("gamekit.probe:DOMAIN", {"rules": "paper"}):
        config = config_from_record(record | {"game": game}, "test")
        save_config(config, tmp_path / "config.yaml")
        assert load_config(tmp_path / "config.yaml") == config


def test_a_longer_run_is_the_same_run():
    config = config_from_record({"name": "x"}, "test")
    longer = dataclasses.replace(config, train=dataclasses.replace(config.train, iterations=999))
    other = dataclasses.replace(config, seed=1)
    assert differences(config, longer) == []
    assert differences(config, other) == ["seed"]
    rules = config_from_record({"name": "x", "game": {"rules": "paper"}}, "test")
    assert differences(config, rules) == ["game.rules"]


def test_a_game_and_its_options_may_both_be_overridden(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("name: x\ngame: gamekit.probe:DOMAIN\n")
    config = load_config(path, ["game=mallocgame", "game.rules=paper"])
    assert config.game.name == "mallocgame" and config.game.options.rules == "paper"
