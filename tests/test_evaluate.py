"""evaluate.py: its contract, its mappers, and one clear line for every bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest

import evaluate
from mallocgame.generate import random_program
from mallocgame.mapping import load_mapping
from mallocgame.program import load_program, save_program
from mallocgame.suites import SUITES

NAME = "lstm_scan_v4_64mib"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation") / "out"
    code = evaluate.main(["--suite", f"tpu_v4_sample/{NAME}", "--out", str(folder)])
    assert code == 0
    return folder


def test_results_follow_the_contract(out):
    results = json.loads((out / "results.json").read_text())
    assert {"suite", "machine", "versions", "rows", "summary"} <= set(results)
    rows = {row["mapper"]: row for row in results["rows"]}
    assert set(rows) == {"production", "imitated", "all_fast", "greedy", "random", "bound"}
    for row in rows.values():
        assert row["verified"] is True
        assert row["saved_fraction"] == pytest.approx(
            1 - row["latency_s"] / row["all_slow_latency_s"]
        )
        assert row["speedup_vs_production"] == pytest.approx(
            rows["production"]["latency_s"] / row["latency_s"] - 1
        )
        assert row["latency_s"] >= rows["bound"]["latency_s"] * (1 - 1e-9)
    # The compiler's own cycles with its assignment off and on: 78,794 and 55,742.
    assert rows["production"]["saved_fraction"] == pytest.approx(1 - 55742 / 78794, abs=1e-5)
    assert rows["greedy"]["saved_fraction"] >= rows["all_fast"]["saved_fraction"]
    assert results["summary"]["greedy"]["programs"] == 1


def test_mappings_and_report_are_written(out):
    program = load_program(SUITES / "tpu_v4_sample" / f"{NAME}.program.json.gz")
    for mapper in ("production", "greedy", "random"):
        load_mapping(out / "mappings" / f"{NAME}.{mapper}.mapping.json.gz", program)
    page = (out / "report.html").read_text()
    assert page.count("<svg") >= 1
    assert "greedy" in page
    # Nothing is loaded from elsewhere; the pictures' own namespaces are names, not links.
    assert "<script" not in page
    assert ' src="' not in page


def test_results_are_not_overwritten(out, capsys):
    before = (out / "results.json").read_bytes()
    assert evaluate.main(["--suite", "tpu_v4_sample", "--out", str(out)]) == 2
    assert (out / "results.json").read_bytes() == before
    _one_line(capsys, "holds results already")


def test_programs_without_production_are_evaluated(tmp_path):
    program = random_program(np.random.default_rng(5))
    save_program(program, tmp_path / "suite" / "random.program.json")
    code = evaluate.main(["--suite", str(tmp_path / "suite"), "--mappers", "all_fast",
                          "--out", str(tmp_path / "out")])  # fmt: skip
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert code == 0
    assert [row["speedup_vs_production"] for row in rows] == [None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "nowhere"], "nowhere: neither a file"),
        (["--suite", "tpu_v4_sample", "--mappers", "magic"], "--mappers 'magic': unknown"),
        (["--suite", "tpu_v4_sample", "--mappers", "agent"], "needs --checkpoint"),
        (["--suite", "tpu_v4_sample", "--checkpoint", "nowhere"], "nowhere"),
        (["--suite", "tpu_v4_sample", "--games", "0"], "--games 0"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    assert evaluate.main([*arguments, "--out", str(out)]) == 2
    _one_line(capsys, message)
    assert not (out / "results.json").exists()


def test_a_broken_program_file_is_one_line(tmp_path, capsys):
    path = tmp_path / "broken.program.json.gz"
    path.write_bytes((SUITES / "tpu_v4_sample" / f"{NAME}.program.json.gz").read_bytes()[:500])
    assert evaluate.main(["--suite", str(path), "--out", str(tmp_path / "out")]) == 2
    _one_line(capsys, "broken.program.json.gz")


def _one_line(capsys, message):
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("evaluate")]
    assert len(lines) == 1
    assert message in lines[0]
