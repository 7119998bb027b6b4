"""Checkpoints hold everything, and unusable ones are refused in one line."""

from __future__ import annotations

import gc
import shutil
import warnings

import jax
import numpy as np
import pytest

from agent.config import save_config
from agent.learning.learner import make_iteration
from agent.run import checkpoint
from agent.run.checkpoint import Checkpoints, Counters, load_agent
from gamekit.errors import InputError
from mallocgame.game.options import GAME_VERSION
from tests.support.agent_setup import one_device, small_config
from tests.support.probe_games import delayed


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run's folder with one checkpoint of a fresh state."""
    config, game = small_config(), delayed(5)
    iteration = make_iteration(config, game, one_device())
    state = iteration.init(game, jax.random.key_data(jax.random.key(7)))
    folder = tmp_path_factory.mktemp("run")
    save_config(config, folder / "config.yaml")
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(3, state, Counters(moves=10, games=2, wall_s=1.5, programs=("a", "b")))
    checkpoints.close()
    return folder, iteration, state, game


def test_a_state_survives_the_round_trip(saved):
    folder, iteration, state, _ = saved
    checkpoints = Checkpoints(folder / "checkpoints")
    assert checkpoints.latest() == 3
    restored, counters = checkpoints.restore(3, iteration.abstract_state)
    assert counters == Counters(moves=10, games=2, wall_s=1.5, programs=("a", "b"))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert a.dtype == b.dtype and a.sharding.is_equivalent_to(b.sharding, a.ndim)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_the_agent_loads_alone(saved):
    folder, _, state, game = saved
    agent, config = load_agent(folder, game.observation_size)
    assert config == small_config()
    for a, b in zip(jax.tree.leaves(agent.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_other_shapes_are_refused(saved):
    folder, *_, game = saved
    with pytest.raises(InputError, match=r"encoder.*expected float32\[.*made by another config"):
        load_agent(folder, game.observation_size + 1)
    wider = make_iteration(small_config(network={"latent": 48}), game, one_device())
    with pytest.raises(InputError, match="another config") as caught:
        Checkpoints(folder / "checkpoints").restore(3, wider.abstract_state)
    assert "\n" not in str(caught.value)


def test_another_version_of_the_game_is_refused(saved, monkeypatch):
    folder, iteration, _, game = saved
    now = GAME_VERSION + 1
    monkeypatch.setattr(checkpoint, "GAME_VERSION", now)
    said = f"3: was trained on version {GAME_VERSION} of the game, this is version {now}; train"
    with pytest.raises(InputError, match=said) as caught:
        load_agent(folder, game.observation_size)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=said):
        Checkpoints(folder / "checkpoints").restore(3, iteration.abstract_state)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_checkpoint_is_refused(saved, tmp_path):
    folder, iteration, *_ = saved
    copy = tmp_path / "copy"
    shutil.copytree(folder / "checkpoints", copy)
    largest = max((p for p in copy.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged") as caught:
        Checkpoints(copy).restore(3, iteration.abstract_state)
    assert "\n" not in str(caught.value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # orbax leaves what it was about to read behind
        gc.collect()


def test_what_is_no_run_is_refused(tmp_path, saved):
    with pytest.raises(InputError, match="no training run"):
        load_agent(tmp_path, 3)
    shutil.copy(saved[0] / "config.yaml", tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        load_agent(tmp_path, 3)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match="no finished checkpoint"):
        load_agent(tmp_path, 3)
