"""The command `mallocgame`: its help, its parts from input to files, one line for bad input."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gamekit.errors import InputError
from mallocgame.command import mapping as map_command
from mallocgame.command.main import COMMANDS, main, make_parser
from mallocgame.judge import simulate, verify
from mallocgame.program import load_program
from mallocgame.program.mapping import load_mapping
from tests.support.evaluations import NAME, OTHER, PATH, SAMPLE
from tests.support.program_files import PROGRAM

HOUSE = Path(__file__).parents[3]


def test_every_part_has_help_with_examples(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert text.startswith(f"usage: mallocgame {name} ") and f"\n    mallocgame {name} " in text
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(f"\n    {name} " in text for name in COMMANDS)


def test_examples_of_help_can_be_parsed(capsys):
    """No example has an option that is gone."""
    found = 0
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        for line in capsys.readouterr().out.splitlines():
            if line.startswith(f"    mallocgame {name} "):
                words = shlex.split(line.partition(">")[0])[1:]
                make_parser(words).parse_args(words)
                found += 1
    assert found > 20


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from mallocgame.command.main import make_parser; make_parser(['map']);"
        "sys.exit(bool({'jax', 'numba', 'matplotlib', 'libtpu'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=HOUSE).returncode == 0


def test_map_ends_in_files_that_fit(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["map", SAMPLE, "--mapper", "msa", "-o", str(out)]) == 0
    program = load_program(PATH)
    mapping = load_mapping(out / f"{NAME}.mapping.json.gz", program)
    assert verify(program, mapping) == []
    summary = json.loads((out / "summary.json").read_text())
    (record,) = summary["programs"]
    assert summary["waiting"] == []
    assert record["program"] == NAME and record["verified"] is True
    assert record["saved_fraction"] == simulate(program, mapping).saved_fraction
    # Once more: nothing is overwritten.
    before = (out / "summary.json").read_bytes()
    assert main(["map", SAMPLE, "--mapper", "msa", "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "already exists; choose another folder" in error
    assert (out / "summary.json").read_bytes() == before


def test_an_interrupted_map_claims_what_is_there(tmp_path, monkeypatch):
    """The second of two programs is interrupted: the summary has the first one alone."""
    from mallocgame import api

    mapped, map_ = [], api.map

    def interrupted(problem, *arguments, **options):
        if mapped:
            raise KeyboardInterrupt
        mapped.append(problem.program.name)
        return map_(problem, *arguments, **options)

    monkeypatch.setattr(api, "map", interrupted)
    out = tmp_path / "out"
    words = ["map", SAMPLE, f"tpu_v4_sample/{OTHER}", "--mapper", "msa", "-o", str(out)]
    assert main(words) == 130
    summary = json.loads((out / "summary.json").read_text())
    assert [record["program"] for record in summary["programs"]] == mapped == [NAME]
    assert summary["waiting"] == [OTHER]
    assert [path.name for path in out.glob("*.mapping.json.gz")] == [
        summary["programs"][0]["mapping"]
    ]


def test_the_promise_grows_and_is_kept():
    """What progress shows is what the mapping saves in the end, or a little less."""
    from mallocgame import api

    seen: list[float] = []
    problem = api.load(f"tpu_v4_sample/{OTHER}")
    result = api.map(problem, "local_search", budget_s=3, watch=seen.append)
    assert len(seen) > 2 and seen == sorted(seen)
    assert seen[-1] - 1e-9 <= result.saved <= seen[-1] + 1e-3
    # A mapper that tells nothing is not asked to.
    assert api.map(problem, "msa", watch=seen.append).verified


def test_what_is_a_function(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert map_command._is_function("my.model:step")
    for other in ("tpu_v4:test", "tpu_v4/x", "folder:train", "a:b:c", "./a:b"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        assert not map_command._is_function(other)


def test_export_is_what_map_wrote(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["map", SAMPLE, "--mapper", "msa", "-o", str(out)]) == 0
    capsys.readouterr()
    assert main(["export", SAMPLE, str(out / f"{NAME}.mapping.json.gz")]) == 0
    written = (out / f"{NAME}.options.json").read_text()
    assert json.loads(capsys.readouterr().out) == json.loads(written)


def test_report_of_a_mapping_and_of_an_evaluation(tmp_path, capsys):
    mapping = PATH.with_name(f"{NAME}.production.mapping.json.gz")
    assert main(["report", SAMPLE, str(mapping), "-o", str(tmp_path / "one")]) == 0
    assert f"{tmp_path}/one/report.html" in capsys.readouterr().out
    assert "given" in (tmp_path / "one" / "report.html").read_text()
    out = tmp_path / "out"
    words = ["evaluate", "--suite", SAMPLE, "--mappers", "production,msa", "--out", str(out)]
    assert main([*words, "--no-pictures"]) == 0
    assert not (out / "pictures").exists()
    results = json.loads((out / "results.json").read_text())
    assert results["command"][:2] == ["mallocgame", "evaluate"]
    assert main(["report", str(out), "--processes", "1"]) == 0
    assert (out / "pictures" / f"{NAME}.layout.svg").is_file()
    assert json.loads((out / "results.json").read_text()) == results
    assert main(["report", str(out), "x", "y"]) == 2
    (out / "results.json").write_text(json.dumps(results | {"names": [f"tpu_v4_sample/{OTHER}"]}))
    assert main(["report", str(out)]) == 0  # results without rows of it
    for row in results["rows"]:
        row["fingerprint"] = "0" * 16
    (out / "results.json").write_text(json.dumps(results))
    capsys.readouterr()
    assert main(["report", str(out)]) == 2
    assert "got results of another one" in capsys.readouterr().err


def test_suites_are_listed(capsys):
    assert main(["suite", "list"]) == 0
    assert "tpu_v4_sample: 16 programs\n" in capsys.readouterr().out
    assert main(["suite", "list", "tpu_v4_sample"]) == 0
    assert f"{SAMPLE}\n" in capsys.readouterr().out


PROBLEM = "id,lower,upper,size,alignment,gaps\r\na,0,9,5,8,3-5 6-7\r\nb,0,3,3,8,\r\nc,3,5,5,1,\r\n"


def test_pack_reads_alignment_gaps_and_a_byte_order_mark(tmp_path):
    """b goes above a, at a multiple of 8; c goes into a's gap."""
    path, out = tmp_path / "problem.csv", tmp_path / "answer.csv"
    path.write_bytes(b"\xef\xbb\xbf" + PROBLEM.encode())
    assert main(["pack", str(path), "-o", str(out)]) == 0
    answer = list(csv.DictReader(out.open()))
    assert [row["id"] for row in answer] == ["a", "b", "c"]
    places = [int(row["offset"]) for row in answer]
    assert sorted(places[:2]) == [0, 8] and places[2] < 8
    assert [row["gaps"] for row in answer] == ["3-5 6-7", "", ""]
    # 13 bytes are needed with a above b, 11 with b above a.
    assert max(int(row["offset"]) + int(row["size"]) for row in answer) == 11
    assert main(["pack", str(path), "--capacity", "11", "--budget", "1"]) == 0


def test_pack_says_what_has_no_place(tmp_path, capsys):
    path, out = tmp_path / "problem.csv", tmp_path / "answer.csv"
    path.write_text(PROBLEM)
    words = ["pack", str(path), "--capacity", "10", "--budget", "1", "-o", str(out)]
    assert main(words) == 1
    assert "1 of 3 buffers found no place in 10 bytes" in capsys.readouterr().err
    assert not out.exists()
    mapping = PATH.with_name(f"{NAME}.production.mapping.json.gz")
    assert main(["pack", "--mapping", SAMPLE, str(mapping), "-o", str(out)]) == 0
    assert main(["pack", str(out), "--capacity", str(64 << 20)]) == 0
    assert main(["pack", "--mapping", SAMPLE, str(mapping), "-o", str(out)]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["map", "nowhere", "-o", "OUT"], "nowhere: neither a file"),
        (["map", SAMPLE, "--mapper", "magic", "-o", "OUT"], "mapper: must be one of"),
        (["map", SAMPLE, "--args", "f32[8]", "-o", "OUT"], "--args: must be left out with"),
        (["map", SAMPLE, SAMPLE, "-o", "OUT"], "is the name of two programs"),
        (["map", SAMPLE, "--budget", "-1", "-o", "OUT"], "budget_s: must be a time"),
        (["export", "tpu_v4_sample", "x.json"], "must be one program, got 16"),
        (["report", "nowhere"], "nowhere/results.json: no such file"),
        (["report", SAMPLE, "x.json"], "-o: is missing"),
        (["report", "nowhere", "--processes", "0"], "--processes: must be at least 1, got 0"),
        (["pack", "nowhere.csv"], "nowhere.csv: no such file"),
        (["suite", "build", "nowhere.yaml", "-o", "OUT"], "nowhere.yaml: no such file"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr("mallocgame.xla.compile.compiler.require_libtpu", lambda: None)
    monkeypatch.chdir(tmp_path)
    assert main([word.replace("OUT", str(tmp_path / "out")) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error


def test_completion_names_what_to_install_or_completes(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", "bash"])
    said = capsys.readouterr()
    if ended.value.code == 0:
        assert "complete -o" in said.out and "--mapper" in said.out
    else:
        assert "pip install 'mallocgame[completion]'" in said.err


def test_several_imports_go_on_without_those_that_fail(tmp_path, monkeypatch, capsys):
    """A stand-in makes the programs: one fails, one is there already."""
    from mallocgame.command import importing
    from mallocgame.xla.make import wanted

    made: list[str] = []

    def make(each, progress):
        made.append(each.name)
        if each.name == "bad":
            raise InputError("tracing failed")
        return each

    monkeypatch.setattr("mallocgame.xla.compile.compiler.require_libtpu", lambda: None)
    monkeypatch.setattr(wanted, "make", make)
    monkeypatch.setattr(importing, "_write", lambda wanted, target: target.write_text(wanted.name))
    (tmp_path / "there.program.json.gz").write_text(PROGRAM.name)
    words = ["import", "--jax", "m:there", "m:bad", "m:good", "-o", str(tmp_path)]
    assert main(words) == 1
    assert made == ["bad", "good"]
    assert (tmp_path / "good.program.json.gz").read_text() == "good"
    assert capsys.readouterr().err == "error: bad: tracing failed\n"
    assert main(["import", "--jax", "m:a", "n:a", "-o", str(tmp_path)]) == 2
    assert "a: is there twice" in capsys.readouterr().err
