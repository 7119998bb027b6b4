"""The command line: schedules, verdicts, pictures, and one line for whatever is wrong."""

from __future__ import annotations

import pytest

from games.fences.__main__ import main
from tests.support.fences import BRANCHES, OVERLAP


@pytest.fixture
def write(tmp_path):
    def written(text: str, name: str = "program.txt"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return written


def test_a_schedule_can_be_checked_and_drawn(write, tmp_path, capsys):
    out, picture = tmp_path / "out.txt", tmp_path / "picture.svg"
    assert main(["schedule", write(OVERLAP), "-o", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out == out.read_text()
    assert printed.out.count("---") == printed.out.count("sync") == 2
    assert "2 fences, 2 syncs" in printed.err and "proven" in printed.err
    assert main(["check", str(out)]) == 0
    assert "cost 56.2 (52.5 % saved)" in capsys.readouterr().out
    assert main(["draw", str(out), "-o", str(picture)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["time", "CPU", "GPU"]
    assert lines[-1].split() == ["6", "7", "d"]
    assert "<svg" in picture.read_text()


def test_check_without_a_schedule(write, capsys):
    path = write(BRANCHES)
    assert main(["check", path]) == 0
    assert capsys.readouterr().out == f"{path}: 5 operations, annotations can be kept\n"


def test_draw_finds_a_schedule_where_there_is_none(write, capsys):
    assert main(["draw", write(BRANCHES), "--solver", "naive"]) == 0
    assert "where b is true" in capsys.readouterr().out


def test_a_race_is_named_and_gives_status_1(write, capsys):
    path = write(BRANCHES + "schedule CPU { b x y --- f }\nGPU { if (b) { z } else { z } }")
    assert main(["check", path]) == 1
    found = capsys.readouterr().err.splitlines()
    assert found[0].startswith(f"error: {path}:7:16: z reads b, of the other device without a")
    assert main(["draw", path]) == 1


def test_every_conflict_is_listed(write, capsys):
    assert main(["check", write("x = input()\nGPU { x }\ny = x\ny before x\n")]) == 2
    found = capsys.readouterr().err.splitlines()
    assert len(found) == 2 and all("impossible" in line for line in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere.txt"], "error: nowhere.txt: no such file"),
        (["check", "{program}", "--"], None),
        (["schedule", "{program}", "-o", "{program}"], "is there already; name a new file"),
        (["schedule", "{program}", "-o", "{program}/out.txt"], "out.txt: cannot be written"),
        (["draw", "{program}", "-o", "{program}/out.svg"], "out.svg: cannot be written"),
        (["draw", "{program}", "-o", "{folder}/out.doc"], "out.doc: must end in one of"),
        (["check", "{folder}"], "cannot be read"),
    ],
)
def test_one_line_for_what_cannot_be_used(write, tmp_path, capsys, arguments, message):
    names = {"program": write(BRANCHES), "folder": str(tmp_path)}
    status = main([argument.format(**names) for argument in arguments])
    error = capsys.readouterr().err
    if message is None:
        assert status == 0
        return
    lines = [line for line in error.splitlines() if line.startswith("error:")]
    assert status == 2 and len(lines) == 1 and message in lines[0]


@pytest.mark.parametrize("seconds", ["0", "-1", "inf", "nan", "soon"])
def test_seconds_must_be_positive(write, capsys, seconds):
    with pytest.raises(SystemExit):
        main(["schedule", write(BRANCHES), "--seconds", seconds])
    assert "--seconds" in capsys.readouterr().err
