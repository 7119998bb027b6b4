"""A solver that fails, dies or hangs costs its row, which can be run again."""

from __future__ import annotations

from agent.commands import evaluate as command_line
from gamekit.evaluation.evaluation import evaluate
from tests.support.evaluations import NAME, an_evaluation, command, one_line, rows_of

KILLED = "tests.support.faulty_games:KILLED"


def test_a_mapper_that_fails_costs_its_row(tmp_path, capsys):
    mappers = ("all_fast", "greedy", "belady", "msa", "production", "bound")
    assert evaluate(an_evaluation(tmp_path / "out", mappers, grace_s=9.0)) == 1
    rows = {row["mapper"]: row for row in rows_of(tmp_path / "out")}
    assert list(rows) == list(mappers)
    failures = {
        "all_fast": ("failed", "ZeroDivisionError: a bug of two lines"),
        "greedy": ("died", "its process ended with SIGKILL"),
        "belady": ("timed out", "took more than 9 s"),
    }
    for mapper, (status, reason) in failures.items():
        row = rows[mapper]
        assert (row["status"], row["reason"]) == (status, reason)
        assert row["saved_fraction"] is None and row["verified"] is None
    assert rows["msa"]["status"] == "ok" and rows["msa"]["verified"] is False
    assert rows["production"]["verified"] and rows["bound"]["verified"]
    errors = capsys.readouterr().err
    assert f"{NAME}: greedy: died: its process ended with SIGKILL" in errors
    assert f"{NAME}: msa: the judge rejects it: '" in errors


def test_only_rows_that_failed_are_retried(tmp_path, capsys):
    folder, mappers = tmp_path / "out", ("msa", "production")
    assert evaluate(an_evaluation(folder, mappers, game=KILLED)) == 1
    rows = (folder / "rows.jsonl").read_text()
    assert [row["status"] for row in rows_of(folder)] == ["died", "ok"]
    assert command_line.main(command(folder, "--mappers", "msa,production")) == 2
    one_line(capsys, "holds results already; choose another or say --overwrite (--retry: only")
    for _ in range(2):  # the second time there is nothing left to do
        again = an_evaluation(folder, mappers, game="mallocgame", retry=True)
        assert evaluate(again) == 0
        assert [row["status"] for row in rows_of(folder)] == ["ok", "ok"]
    after = (folder / "rows.jsonl").read_text()
    assert after.startswith(rows) and len(after.splitlines()) == len(rows.splitlines()) + 1
