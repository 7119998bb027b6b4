"""Evaluations of one program of the sample suite, for tests of evaluate.py and its parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gamekit.evaluation import plan
from gamekit.evaluation.evaluation import Evaluation
from gamekit.registry import load_domain
from mallocgame.suites import SUITES

NAME = "lstm_scan_v4_64mib"
SAMPLE = f"tpu_v4_sample/{NAME}"
PATH = SUITES / "tpu_v4_sample" / f"{NAME}.program.json.gz"
OTHER = "resnet50_b1_inference_v4_4mib"


def command(folder: Path, *more: str) -> list[str]:
    """An evaluation without games, which need no compilation and so no time."""
    return ["--suite", SAMPLE, "--out", str(folder), "--no-pictures", *more]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of its results."""
    return json.loads((folder / "results.json").read_text())["rows"]


def one_line(capsys: pytest.CaptureFixture[str], message: str) -> None:
    """Checks that the command said one line, which holds the message."""
    lines = [
        line
        for line in capsys.readouterr().err.splitlines()
        if line.startswith("mallocgame evaluate")
    ]
    assert len(lines) == 1
    assert message in lines[0]


def an_evaluation(folder: Path, solvers: tuple[str, ...], **more: Any) -> Evaluation:
    """An evaluation of the program by solvers of a game, by default one that does much wrong."""
    game = more.get("game", "tests.support.faulty_games:FAULTY")
    domain = load_domain(game)
    options: dict[str, Any] = {
        "game": game,
        "domain": domain,
        "suite": NAME,
        "names": [SAMPLE],
        "instances": plan.load_subjects(domain, [SAMPLE]),
        "entries": plan.expand(domain, solvers, (1.0,), (0,)),
        "player": None,
        "command": [],
        "out": folder,
        "grace_s": 120.0,
        "processes": 1,
        "retry": False,
        "overwrite": False,
        "pictures": False,
    }
    return Evaluation(**(options | more))
