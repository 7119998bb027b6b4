"""The command line of training: bad input, folders, resumed runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from agent.commands import train as command
from agent.config import save_config
from agent.run.checkpoint import Checkpoints, load_agent
from agent.run.errors import TrainingDiverged
from agent.run.hosts import _divisor
from agent.run.journal import truncate
from agent.run.loop import train
from gamekit.errors import InputError
from gamekit.probe import DOMAIN, delayed, together
from tests.support.agent_setup import PROBE, one_device, small_config, without_clock

ROOT = Path(__file__).parents[1]
CONFIG = "name: test\nprograms: [none_such]\n"
GAME = together(delayed(5))


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (None, [], "config.yaml: no such file"),
        (CONFIG, [], "none_such: neither a file, a folder nor a committed program"),
        (CONFIG, ["learner.lr=1"], "learner.lr: unknown key"),
        (CONFIG, ["seed=-1"], "seed: must be in [0, 2**31), got -1"),
        ("name: test\n", [], "programs: none given"),
        (CONFIG, ["game=gamekit.probe:DOMAIN"], "instance must be one of delayed, "),
        (CONFIG, ["game=gamekit.probe:GAME"], "game 'gamekit.probe:GAME': cannot be loaded: "),
    ],
)
def test_bad_input_is_one_line_and_code_2(tmp_path, capsys, text, overrides, message):
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    runs = tmp_path / "runs"
    assert command.main(["--config", str(path), "--runs", str(runs), *overrides]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("error: ") and error.count("\n") == 1
    assert message in error
    assert not runs.exists()


def refused(run: Path, message: str, **sections) -> None:
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != ".lock"}
    with pytest.raises(InputError, match=message) as caught:
        train(small_config(**sections), DOMAIN, GAME, run, one_device(), PROBE)
    assert "\n" not in str(caught.value)
    after = {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != ".lock"}
    assert before == after


def test_a_folder_of_another_run_is_left_alone(tmp_path):
    save_config(small_config(), tmp_path / "config.yaml")
    refused(tmp_path, r"another config \(learner.updates\)", learner={"updates": 3})


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    refused(tmp_path, "is not a training run")


def test_metrics_after_the_checkpoint_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    truncate(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_torn_line_in_the_middle_costs_that_line(tmp_path, capsys):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"st\xff\n{"step": 2.5}\n{"step": 2}\n{"step": 3}\n')
    truncate(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    said = capsys.readouterr().err.splitlines()
    assert said == [f"{path}: line {n} is damaged and left out" for n in (2, 3)]


@pytest.mark.parametrize(
    ("limit", "numbers", "expected"), [(2, (64, 256), 2), (3, (64,), 2), (8, (5, 256), 1)]
)
def test_games_are_divided_evenly(limit, numbers, expected):
    assert _divisor(limit, *numbers) == expected


def start(run: Path, iterations: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.train_probe", str(run), str(iterations)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(whole, 24)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    assert "\n" in error  # plain lines where no terminal is

    for step in (7, 18):  # between two checkpoints
        process = start(killed, 10_000)
        deadline = time.monotonic() + 240
        while not (killed / "metrics.jsonl").exists() or len(lines_so_far(killed)) < step:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    reached = len(lines_so_far(killed))
    process = start(killed, max(24, reached + 1))
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    expected, got = without_clock(lines(whole)), without_clock(lines(killed))
    assert [row["step"] for row in got] == list(range(1, len(got) + 1))
    assert got[:24] == expected
    assert any(row["return_mean"] for row in expected)


def lines_so_far(run: Path) -> list[str]:
    return (run / "metrics.jsonl").read_text().splitlines()


def test_a_training_that_diverges_stops_with_its_checkpoint_intact(tmp_path):
    bad = small_config(learner={"learning_rate": 1e35, "warmup": 0}, train={"checkpoint_every": 1})
    with pytest.raises(TrainingDiverged, match=r"iteration \d: .* not finite") as caught:
        train(bad, DOMAIN, GAME, tmp_path / "bad", one_device(), PROBE)
    assert "\n" not in str(caught.value)
    rows = lines(tmp_path / "bad")
    kept = Checkpoints(tmp_path / "bad" / "checkpoints", GAME.spec)
    assert (kept.latest() or 0) == len(rows)
    kept.close()
    if rows:
        agent = load_agent(tmp_path / "bad").agent
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(agent.params))


def test_profile_leaves_a_trace(tmp_path):
    config = small_config(train={"iterations": 4})
    train(config, DOMAIN, GAME, tmp_path / "run", one_device(), PROBE, profile=True)
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))
