"""Configurations: what is wrong is said in one line that names the key."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agent.config import Config, config_from_record, differences, load_config, save_config
from gamekit.errors import InputError

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("name: a\nlearner: {lr: 1}", [], "learner.lr: unknown key"),
        ("name: a\nfoo: 1", [], "foo: unknown key"),
        ("seed: 1", [], "name: is missing"),
        ("name: a/b", [], "name: 'a/b' cannot name a folder"),
        ("name: a", ["learner.batch_size=x"], "learner.batch_size: expected int, found 'x'"),
        ("name: a", ["learner.batch_size=0"], "learner.batch_size: 0 is not positive"),
        ("name: a", ["learner.learning_rate=.nan"], "learner.learning_rate: is not a number"),
        ("name: a", ["targets.td_lambda=2"], "targets.td_lambda: 2.0 is not in [0, 1]"),
        ("name: a", ["replay.moves=100"], "replay.moves: 100 is no multiple of"),
        ("name: a", ["search.simulations=-1"], "search.simulations: -1 is negative"),
        ("name: a", ["search={simulations: 0, algorithm: puct}"], "search.simulations: 0 needs"),
        ("name: a", ["learner.unroll=-1"], "learner.unroll: -1 is negative"),
        ("name: a", ["learner.unroll=0"], "learner.unroll: 0 trains no model"),
        ("name: a", ["search.algorithm=alpha"], "search.algorithm: 'alpha' is neither"),
        ("name: a", ["game.placement=worst"], "game config: placement must be one of"),
        ("name: a", ["search=3"], "search: expected keys and values"),
        ("name: a", ["programs=[1]"], "programs: expected a list of strings"),
        ("name: a", ["seed"], "seed: expected key.sub=value"),
        ("name: [", [], "expected"),
        ("- 1", [], "expected keys and values"),
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
    config = config_from_record(
        {"name": "x", "programs": ["a", "b"], "learner": {"learning_rate": 1, "unroll": 3}}, "test"
    )
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_a_longer_run_is_the_same_run():
    config = Config(name="x")
    longer = dataclasses.replace(config, train=dataclasses.replace(config.train, iterations=999))
    other = dataclasses.replace(config, seed=1)
    assert differences(config, longer) == []
    assert differences(config, other) == ["seed"]
