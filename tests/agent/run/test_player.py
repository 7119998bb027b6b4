"""A training run's agent in an evaluation, and what cannot be used of one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agent.commands import evaluate
from agent.run.loaded import untrained
from gamekit.evaluation import plan
from gamekit.observation import ObservationSpec, plain
from mallocgame.domain import DOMAIN
from mallocgame.game.options import GAME_VERSION
from mallocgame.program import load_program
from mallocgame.program.mapping import all_slow, save_mapping
from mallocgame.suites import SUITES
from tests.support.agent_setup import save_run, small_config
from tests.support.evaluations import NAME, OTHER, PATH, SAMPLE, command, one_line, rows_of

MALLOC_GAME = {"name": "mallocgame"}


def a_run(
    folder: Path, observation: ObservationSpec | None = None, version: int = GAME_VERSION
) -> Path:
    """A training run's folder with a fresh small agent, for such observations."""
    config = small_config(game=MALLOC_GAME)
    spec = DOMAIN.build(DOMAIN.instances([SAMPLE]), config.game.options).spec
    spec = dataclasses.replace(spec, version=version, observation=observation or spec.observation)
    return save_run(folder, config, untrained(config, spec), spec)


def test_a_checkpoint_that_does_not_fit_is_one_line(tmp_path, capsys):
    run = a_run(tmp_path / "run", observation=plain(17))
    arguments = command(tmp_path / "out", "--checkpoint", str(run), "--mappers", "played")
    assert evaluate.main([*arguments, "--game", "gamekit.probe:DOMAIN"]) == 2
    one_line(capsys, "--game must be the checkpoint's, mallocgame, got gamekit.probe:DOMAIN")
    assert evaluate.main(arguments) == 2
    one_line(capsys, "its networks were made for another observation")
    (run / "config.yaml").write_text("name: x\nprograms: [y]\ngame: {gravity: 9.81}\n")
    assert evaluate.main([*arguments, "--overwrite"]) == 2
    one_line(capsys, "game.gravity: unknown key")
    run = a_run(tmp_path / "older", version=GAME_VERSION - 1)
    arguments[arguments.index("--checkpoint") + 1] = str(run)
    assert evaluate.main([*arguments, "--overwrite"]) == 2
    one_line(capsys, f"was trained on version {GAME_VERSION - 1} of mallocgame")


def test_a_best_game_of_another_program_is_one_line(tmp_path, capsys):
    run = a_run(tmp_path / "run")
    other = load_program(SUITES / "tpu_v4_sample" / f"{OTHER}.program.json.gz")
    save_mapping(all_slow(other), run / "best" / f"{NAME}.mapping.json")
    arguments = command(tmp_path / "out", "--checkpoint", str(run), "--mappers", "trained_best")
    assert evaluate.main(arguments) == 2
    one_line(capsys, f"made for '{OTHER}'")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_every_mapper_ends_in_a_report(tmp_path):
    run = a_run(tmp_path / "run")
    save_mapping(all_slow(load_program(PATH)), run / "best" / f"{NAME}.mapping.json")
    arguments = ["--suite", SAMPLE, "--checkpoint", str(run), "--mappers", "all"]
    arguments += ["--budget", "2", "--games", "2", "--out", str(tmp_path / "out")]
    assert evaluate.main(arguments) == 0
    rows = {row["mapper"]: row for row in rows_of(tmp_path / "out")}
    assert set(rows) == set(plan.contestants(DOMAIN))
    assert all(row["verified"] for row in rows.values())
    assert rows["trained_best"]["saved_fraction"] == 0
    assert rows["agent"]["latency_s"] == rows["played"]["latency_s"]
    assert rows["hybrid"]["latency_s"] == min(
        rows[name]["latency_s"] for name in ("agent", "production")
    )
