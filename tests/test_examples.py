"""The examples of the documents: what they print, and that a game of one file is played."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.commands import evaluate
from examples import first_game, knapsack
from gamekit.conformance import check_domain, check_environment
from gamekit.domain import NoOptions
from mallocgame.judge import simulate, verify

ROOT = Path(__file__).parents[1]


def render_first_game():
    path = ROOT / "docs" / "render_first_game.py"
    spec = importlib.util.spec_from_file_location("render_first_game", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_documents_show_what_the_first_game_prints():
    render, sections = render_first_game(), first_game.sections()
    shown = 0
    for page in render.PAGES:
        text = (ROOT / page).read_text()
        assert render.rendered(text, sections) == text, f"{page}: python docs/render_first_game.py"
        shown += len(render.BLOCK.findall(text))
    assert shown >= 5
    assert "0 rules broken, 14 s instead of 22 s" in sections["judge"]


def test_the_best_of_all_games_of_the_first_program_is_the_one_that_is_shown():
    """By trying all answers: nothing saves more than what the documents play."""
    program = first_game.make_program()
    from mallocgame.game.options import GameConfig
    from mallocgame.oracle import Oracle

    def best(answers: list[int]) -> float:
        oracle = Oracle(program, GameConfig())
        for answer in answers:
            oracle.step(answer)
        if oracle.done:
            return oracle.saved_ticks / oracle.total_ticks
        legal = [action for action, is_legal in enumerate(oracle.legal) if is_legal]
        return max(best([*answers, action]) for action in legal)

    assert best([]) == pytest.approx(8 / 22, abs=1e-6)


def test_the_knapsack_keeps_the_protocol():
    instances = knapsack.DOMAIN.instances(["easy", "hard"])
    check_environment(knapsack.DOMAIN.build(instances, NoOptions()))
    check_domain(knapsack.DOMAIN, instances, NoOptions())


def test_the_knapsack_fits_the_tutorial():
    assert (ROOT / "examples" / "knapsack.py").read_text().count("\n") <= 150


def test_the_knapsack_is_trained_and_evaluated(tmp_path, capsys):
    runs, out = tmp_path / "runs", tmp_path / "out"
    config = str(ROOT / "examples" / "knapsack.yaml")
    # A process of its own: it chooses its devices before anything else has touched JAX.
    command = [sys.executable, "train.py", "--config", config, "--runs", str(runs)]
    subprocess.run([*command, "train.iterations=8"], cwd=ROOT, check=True)
    lines = (runs / "knapsack" / "metrics.jsonl").read_text().splitlines()
    line = json.loads(lines[-1])
    assert line["step"] == 8 and line["share_take"] + line["share_leave"] == pytest.approx(1)
    command = ["--game", "examples.knapsack:DOMAIN", "--suite", "easy", "hard", "--games", "4"]
    command += ["--checkpoint", str(runs / "knapsack"), "--out", str(out)]
    capsys.readouterr()
    assert evaluate.main(command) == 0
    results = json.loads((out / "results.json").read_text())
    rows = {(row["instance"], row["solver"]): row for row in results["rows"]}
    assert {solver for _, solver in rows} == {
        "densest", "untrained", "played", "trained_best", "agent", "hybrid",
    }  # fmt: skip
    assert all(row["valid"] for row in rows.values())
    for name in ("easy", "hard"):
        agent, best = rows[name, "agent"]["score"], optimum(name)
        assert 0.6 * best < agent <= best + 1e-6
        solution = json.loads((runs / "knapsack" / "best" / f"{name}.solution.json").read_text())
        instance = knapsack.DOMAIN.instances([name])[0]
        verdict = knapsack.DOMAIN.judge(instance, solution["solution"])
        assert verdict.score == pytest.approx(rows[name, "trained_best"]["score"])
    assert "densest" in capsys.readouterr().out
    assert "densest" in (out / "tables.md").read_text()


def optimum(name: str) -> float:
    """By dynamic programming over the room."""
    items = knapsack.DOMAIN.suite[name]
    best = [0.0] * (items.room + 1)
    for weight, value in zip(items.weight, items.value, strict=True):
        for room in range(items.room, int(weight) - 1, -1):
            best[room] = max(best[room], best[room - int(weight)] + float(value))
    return best[-1]


def test_the_judge_of_the_first_game_is_not_the_game():
    program = first_game.make_program()
    from mallocgame.program.mapping import all_slow

    assert verify(program, all_slow(program)) == []
    assert simulate(program, all_slow(program)).latency_s == pytest.approx(22)
