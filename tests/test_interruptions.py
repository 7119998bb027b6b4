"""Evaluations and trainings that are stopped or short of disk: one line, nothing left behind."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from agent.commands import evaluate
from agent.run.journal import Journal
from gamekit.errors import InputError
from gamekit.evaluation.rows import Row
from gamekit.evaluation.rows_file import RowsFile
from gamekit.files import locked
from gamekit.probe import DOMAIN
from gamekit.registry import load_domain
from mallocgame.domain import MallocGame
from tests.support.agent_setup import PROBE, small_config
from tests.support.evaluations import NAME, OTHER, command, one_line, rows_of

ROOT = Path(__file__).parents[1]


def started(
    *arguments: str, before=None, **environment: str
) -> tuple[subprocess.Popen[str], IO[str]]:
    """A command in a session of its own, as in a terminal, and what it says on stderr."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if before:
            before()

    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment, start_new_session=True,
        preexec_fn=prepare,
    )  # fmt: skip
    assert process.stderr is not None
    return process, process.stderr


def searching(folder: Path) -> list[str]:
    """The arguments of an evaluation that takes a while."""
    arguments = command(folder, "--mappers", "production,local_search", "--budget", "60")
    arguments[1] = f"tpu_v4_sample/{OTHER}"
    return arguments


def test_two_evaluations_of_one_folder_exclude_each_other(tmp_path, capsys):
    folder = tmp_path / "out"
    folder.mkdir()
    with locked(folder / ".lock", "busy"):
        assert evaluate.main(command(folder, "--mappers", "production")) == 2
    one_line(capsys, f"--out {folder}: another evaluation is at work there")
    assert list(folder.iterdir()) == []
    assert evaluate.main(command(folder, "--mappers", "production")) == 0
    assert not [path.name for path in folder.rglob(".*")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_evaluation_is_one_line_and_leaves_nothing(tmp_path, number):
    folder, temporary = tmp_path / "out", tmp_path / "tmp"
    temporary.mkdir()
    arguments = searching(folder)
    process, errors = started("evaluate.py", *arguments, TMPDIR=str(temporary))
    assert "1/2" in errors.readline()
    os.killpg(process.pid, number)
    assert errors.read() == "evaluate.py: stopped; the same command goes on from here\n"
    assert process.wait() == 128 + number
    assert {path.name for path in folder.iterdir()} == {"rows.jsonl", "mappings"}
    assert list(temporary.iterdir()) == []


def test_results_are_there_before_the_report(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "out"
    arguments = command(folder, "--mappers", "production,bound")
    with monkeypatch.context() as patch:

        def interrupted(self, finished):
            raise KeyboardInterrupt

        patch.setattr(MallocGame, "report", interrupted)
        assert evaluate.main(arguments) == 130
    rows = rows_of(folder)
    assert [row["mapper"] for row in rows] == ["production", "bound"]
    summary = json.loads((folder / "results.json").read_text())["summary"]
    assert summary["bound"]["programs"] == 1
    assert not (folder / "report.html").exists()
    capsys.readouterr()
    assert evaluate.main(arguments) == 0  # the same command goes on
    assert "2 rows are there already" in capsys.readouterr().err
    assert (folder / "report.html").exists() and rows_of(folder) == rows
    assert evaluate.main(arguments) == 2
    one_line(capsys, "holds results already")


def test_results_do_not_claim_what_is_gone(tmp_path, capsys):
    folder = tmp_path / "out"
    arguments = command(folder, "--mappers", "production,bound")
    assert evaluate.main(arguments) == 0
    (folder / "results.json").unlink()
    (folder / "mappings" / f"{NAME}.production.mapping.json.gz").unlink()
    assert evaluate.main(arguments) == 2
    one_line(capsys, f"{NAME}.production.mapping.json.gz: is gone")
    assert not (folder / "results.json").exists()


def test_rows_and_metrics_that_vanish_are_noticed(tmp_path):
    domain = load_domain("gamekit.probe:DOMAIN")
    file = RowsFile(domain, tmp_path / "out", {})
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(InputError, match=r"rows\.jsonl: was taken away"):
        file.add(Row("trap", "f", "random", None, 0))
    file.close()
    run = tmp_path / "run"
    run.mkdir()
    with (
        pytest.raises(InputError, match=r"metrics\.jsonl: was taken away"),
        Journal(small_config(), DOMAIN, run, 0, (), None) as journal,
    ):
        shutil.rmtree(run)
        journal.write({"step": 1}, np.zeros(0), np.zeros(0))
    assert PROBE


def test_a_full_disk_is_one_line(tmp_path):
    """A limit on the size of files fails as a full disk does, in the middle of a write."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 11, 1 << 11))

    arguments = command(tmp_path / "out", "--mappers", "production,bound,msa,greedy")
    process, errors = started("evaluate.py", *arguments, before=limit)
    said = errors.read().splitlines()
    assert process.wait() == 2, said
    assert said[-1].startswith("evaluate.py: ") and "cannot be written: File too large" in said[-1]
    assert not any("Traceback" in line for line in said)
    assert not (tmp_path / "out" / "results.json").exists()
    assert not [path.name for path in (tmp_path / "out").rglob(".*")]


@pytest.mark.slow
def test_evaluations_killed_at_random_moments_end_in_the_same_rows(tmp_path):
    """Forty kills, by each signal, of the whole group and of the command alone."""
    rng = random.Random(0)
    base = ["--suite", f"tpu_v4_sample/{NAME}", f"tpu_v4_sample/{OTHER}", "--no-pictures"]
    base += ["--mappers", "production,msa,msa_library,relaxed,bound", "--processes", "2"]
    assert evaluate.main([*base, "--out", str(tmp_path / "whole")]) == 0
    whole = rows_of(tmp_path / "whole")
    folder = tmp_path / "killed"
    for _ in range(40):
        (folder / ".lock").unlink(missing_ok=True)  # of a command that SIGKILL ended
        process, errors = started("evaluate.py", *base, "--out", str(folder))
        number = rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGKILL))
        time.sleep(1.0 + 12.0 * rng.random())
        if process.poll() is None:
            group = rng.random() < 0.5
            (os.killpg if group else os.kill)(process.pid, number)
        said = errors.read()
        code = process.wait()
        assert "Traceback" not in said, said
        if code in (130, 143):
            assert not (folder / ".lock").exists()
        if (folder / "report.html").exists():
            (folder / "results.json").unlink()
            (folder / "report.html").unlink()
            lines = (folder / "rows.jsonl").read_text().splitlines(keepends=True)
            (folder / "rows.jsonl").write_text("".join(lines[:3]))
    code = evaluate.main([*base, "--out", str(folder)])
    assert code in (0, 2)
    clock = {"seconds": 0.0}
    assert [row | clock for row in rows_of(folder)] == [row | clock for row in whole]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_training_is_one_line_and_goes_on(tmp_path, number):
    arguments = ["train.py", "--config", "configs/probes.yaml", "--runs", str(tmp_path)]
    process, errors = started(*arguments, "train.iterations=100000", "name=stopped")
    metrics = tmp_path / "stopped" / "metrics.jsonl"
    deadline = time.monotonic() + 500
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        assert process.poll() is None, errors.read()
        time.sleep(0.1)
    os.killpg(process.pid, number)
    said = errors.read()
    assert process.wait() == 128 + number, said
    assert "Traceback" not in said and "Exception" not in said
    assert said.splitlines()[-1] == "stopped; the same command goes on from the last checkpoint"
    left = {path.name for path in (tmp_path / "stopped").iterdir()}
    assert ".lock" not in left and not [name for name in left if name.startswith(".")]
