"""Checkpoints hold everything, and unusable ones are refused in one line."""

from __future__ import annotations

import dataclasses
import gc
import json
import shutil
import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest

from agent.config import save_config
from agent.learning.learner import make_iteration
from agent.run import checkpoint
from agent.run.checkpoint import Checkpoints, Counters, load_agent, load_counters
from gamekit.errors import InputError
from gamekit.probe import DOMAIN, delayed, together
from tests.support.agent_setup import one_device, small_config

GAME = together(delayed(5))
READ = """
import gc, sys
from agent.run.checkpoint import load_agent
from gamekit.errors import InputError
try:
    load_agent(sys.argv[1])
except InputError as error:
    print(error, file=sys.stderr)
gc.collect()
"""
LATE = """
import sys, types
sys.unraisablehook = lambda found: print(found.exc_value)
from agent.run.checkpoint import load_counters
from gamekit.errors import InputError
import pathlib, tempfile
with tempfile.TemporaryDirectory() as run:
    (pathlib.Path(run) / "checkpoints").mkdir()
    try:
        load_counters(pathlib.Path(run))
    except InputError:
        pass
for text, of in (("closed", None), ("stopped", None), ("closed", print)):
    error = RuntimeError(f"Event loop is {text}")
    sys.unraisablehook(types.SimpleNamespace(exc_value=error, object=of))
"""
COUNTERS = Counters(moves=10, games=2, wall_s=1.5, instances=("a", "b"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run's folder with one checkpoint of a fresh state."""
    config = small_config()
    iteration = make_iteration(config, GAME, one_device())
    state = iteration.init(GAME, jax.random.key_data(jax.random.key(7)))
    folder = tmp_path_factory.mktemp("run")
    save_config(config, folder / "config.yaml")
    checkpoints = Checkpoints(folder / "checkpoints", GAME.spec)
    checkpoints.save(3, state, COUNTERS)
    checkpoints.close()
    return folder, iteration, state


def test_a_state_survives_the_round_trip(saved):
    folder, iteration, state = saved
    checkpoints = Checkpoints(folder / "checkpoints", GAME.spec)
    assert checkpoints.latest() == 3
    restored, counters = checkpoints.restore(3, iteration.abstract_state)
    assert counters == COUNTERS
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert a.dtype == b.dtype and a.sharding.is_equivalent_to(b.sharding, a.ndim)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_the_agent_loads_alone(saved):
    folder, _, state = saved
    agent, config, spec = load_agent(folder)
    assert config == small_config() and spec == GAME.spec
    for a, b in zip(jax.tree.leaves(agent), jax.tree.leaves(state.agent), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_other_shapes_are_refused(saved, tmp_path):
    folder, *_ = saved
    shutil.copytree(folder, tmp_path / "run")
    save_config(small_config(network={"latent": 48}), tmp_path / "run" / "config.yaml")
    with pytest.raises(
        InputError, match=r"must be float32\[.*, got float32\[.*made by another config"
    ) as caught:
        load_agent(tmp_path / "run")
    assert "\n" not in str(caught.value)
    longer = together(delayed(6))  # whose observations are longer, too
    other = make_iteration(small_config(), longer, one_device())
    with pytest.raises(InputError, match=r"must be float32\[.*another config") as caught:
        Checkpoints(folder / "checkpoints", longer.spec).restore(3, other.abstract_state)
    assert "\n" not in str(caught.value)


def test_another_version_of_the_game_is_refused(saved, monkeypatch):
    folder, iteration, _ = saved
    monkeypatch.setattr(DOMAIN, "version", 2)
    said = "3: was trained on version 1 of probe, this is version 2 of probe; train anew"
    with pytest.raises(InputError, match=said) as caught:
        load_agent(folder)
    assert "\n" not in str(caught.value)
    for name in ("probe", "other"):
        spec = dataclasses.replace(GAME.spec, name=name, version=2)
        said = f"3: was trained on version 1 of probe, this is version 2 of {name}; train anew"
        with pytest.raises(InputError, match=said):
            Checkpoints(folder / "checkpoints", spec).restore(3, iteration.abstract_state)


def test_a_checkpoint_without_a_specification_is_refused(saved, tmp_path):
    folder, *_ = saved
    shutil.copy(folder / "config.yaml", tmp_path)
    with checkpoint.Checkpointer((tmp_path / "checkpoints").absolute()) as checkpointer:
        checkpointer.save_checkpointables(3, {"agent": {"x": np.zeros(2)}}, custom_metadata={})
    with pytest.raises(InputError, match="3: was made by an older version of this code; train an"):
        load_agent(tmp_path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_checkpoint_is_refused(saved, tmp_path):
    folder, iteration, _ = saved
    copy = tmp_path / "copy"
    shutil.copytree(folder / "checkpoints", copy)
    largest = max((p for p in copy.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged") as caught:
        Checkpoints(copy, GAME.spec).restore(3, iteration.abstract_state)
    assert "\n" not in str(caught.value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # orbax leaves what it was about to read behind
        gc.collect()


def test_metadata_of_another_kind_are_refused_in_one_line(saved, tmp_path):
    """Orbax reads them when it opens the folder of all checkpoints."""
    folder, *_ = saved
    shutil.copytree(folder, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "3" / "_CHECKPOINT_METADATA"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"performance_metrics": 1}))
    for read in (
        load_agent,
        load_counters,
        lambda run: Checkpoints(run / "checkpoints", GAME.spec),
    ):
        with pytest.raises(
            InputError, match="checkpoints: the metadata of a checkpoint are damage"
        ):
            read(tmp_path / "run")


def test_nothing_but_our_line_is_said_of_a_damaged_checkpoint(saved, tmp_path):
    """Orbax warns of what it cannot read, and asyncio prints the traces of its tasks."""
    folder, *_ = saved
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    manifest = run / "checkpoints" / "3" / "agent" / "manifest.ocdbt"
    manifest.write_bytes(manifest.read_bytes()[:-1])
    done = subprocess.run([sys.executable, "-c", READ, run], capture_output=True, text=True)
    assert done.stderr.count("\n") == 1 and "checkpoints/3: damaged" in done.stderr


def test_only_the_trace_of_a_late_read_is_kept_silent():
    """It comes from a thread, sometimes; here the hook is handed what the thread hands it."""
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["Event loop is stopped", "Event loop is closed"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_older_checkpoint_takes_the_place_of_a_damaged_one(saved, tmp_path, capsys):
    folder, iteration, state = saved
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    checkpoints = Checkpoints(run / "checkpoints", GAME.spec)
    checkpoints.save(4, state, Counters(moves=44))
    checkpoints.save(5, state, Counters(moves=55))
    for path in (run / "checkpoints" / "5").rglob("*"):
        if path.is_file() and "METADATA" not in path.name:
            path.write_bytes(path.read_bytes()[:1])
    (run / "checkpoints" / "5" / "_CHECKPOINT_METADATA").write_bytes(b"{")
    assert load_counters(run)[0] == 4
    assert load_agent(run).spec == dataclasses.replace(GAME.spec)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2  # each says it
    for line in said:
        assert "checkpoints/5: " in line and "iteration 4 takes its place" in line
    assert (run / "checkpoints" / "5").is_dir()  # who only reads moves nothing

    found = checkpoints.restore_newest(iteration.abstract_state)
    assert found is not None and found[1].moves == 44
    assert "iteration 4 takes its place" in capsys.readouterr().err
    assert (run / "damaged_checkpoint_5").is_dir() and checkpoints.latest() == 4
    checkpoints.save(5, state, Counters(moves=56))  # the iteration comes again
    checkpoints.close()
    assert load_counters(run)[1].moves == 56
    assert capsys.readouterr().err == ""

    for path in (run / "checkpoints").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(InputError, match="checkpoints/5: "):
        load_agent(run)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # orbax leaves what it was about to read behind
        gc.collect()


def test_what_is_no_run_is_refused(tmp_path, saved):
    with pytest.raises(InputError, match="no training run"):
        load_agent(tmp_path)
    shutil.copy(saved[0] / "config.yaml", tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        load_agent(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match="no finished checkpoint"):
        load_agent(tmp_path)
