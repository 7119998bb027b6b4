"""`python -m games.graphs`."""

from __future__ import annotations

import json

import pytest

from games.graphs.__main__ import main
from games.graphs.problem import load_solution, save_problem, save_solution
from games.graphs.problem.solution import Subgraph
from tests.support.graphs import diamond, plan


@pytest.fixture
def problem(tmp_path):
    save_problem(diamond(), tmp_path / "p.json")
    return str(tmp_path / "p.json")


def test_solve_check_and_draw(problem, tmp_path, capsys):
    solution, picture = str(tmp_path / "s.json"), tmp_path / "s.png"
    assert main(["solve", problem, solution, "--seconds", "0.5"]) == 0
    out, err = capsys.readouterr()
    # The whole diamond in one subgraph: one load and one store of 16,384 elements, or computing.
    assert "s.json: latency 4,500.0, 60.76 % less than every operation alone (11,468.8)" in out
    assert "local_search again: 4,500.0" in err
    assert main(["check", problem, solution]) == 0
    assert "accepted: latency 4,500.0" in capsys.readouterr().out
    assert main(["draw", problem, solution, str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["solve", problem, solution]) == 2
    assert "s.json: is there already; --overwrite replaces it" in capsys.readouterr().err
    assert main(["solve", problem, solution, "--mapper", "naive", "--overwrite"]) == 0
    assert len(load_solution(solution, diamond()).subgraphs) == 3


def test_the_agent_that_comes_with_the_game_solves(problem, tmp_path, capsys):
    solution = str(tmp_path / "s.json")
    assert main(["solve", problem, solution, "--seconds", "1", "--mapper", "agent"]) == 0
    assert "s.json: latency 4,500.0, 60.76 %" in capsys.readouterr().out


def test_check_says_what_is_wrong(problem, tmp_path, capsys):
    path = tmp_path / "bad.json"
    subgraphs = (Subgraph((0, 1), (128, 128, 1), latency=7.0), Subgraph((2,), (128, 128, 1)))
    save_solution(plan(*subgraphs), path)
    assert main(["check", problem, str(path)]) == 1
    out = capsys.readouterr().out
    assert "rejected: subgraph 1: available: operation 2 reads tensor 1" in out
    assert main(["check", problem, str(path), "--reading", "read_outside=stored"]) == 0
    record = json.loads(path.read_text()) | {"subgraph_latencies": [7.0, 9.0]}
    path.write_text(json.dumps(record))
    main(["check", problem, str(path), "--reading", "read_outside=stored"])
    assert "(claims 7.0)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "PROBLEM", "nowhere.json"], "nowhere.json: no such file"),
        (["check", "PROBLEM", "GOOD", "--reading", "x"], "--reading: must be OPTION=VALUE of base"),
        (["solve", "PROBLEM", "new.json", "--mapper", "magic"], "--mapper: must be one of "),
        (["solve", "PROBLEM", "new.json", "--seconds", "0"], "--seconds: must be positive, got 0"),
        (["draw", "PROBLEM", "PROBLEM", "x.txt"], "PROBLEM: subgraphs: is missing"),
    ],
)
def test_unusable_input_is_one_line(problem, tmp_path, capsys, arguments, message):
    good = tmp_path / "good.json"
    save_solution(plan(Subgraph((0, 1, 2), (64, 64, 1))), good)
    places = {"PROBLEM": problem, "GOOD": str(good)}
    assert main([places.get(argument, argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message.replace("PROBLEM", problem) in error
