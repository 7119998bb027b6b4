"""The command line and the domain: nests in files, an evaluation, one line for what is wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from agent.commands.evaluate import main as evaluate
from gamekit.errors import InputError
from games.loops.__main__ import FORMAT, VERSION, main
from games.loops.domain import DOMAIN
from games.loops.game import observe
from games.loops.program.machine import CONSTANTS, load_machine, machine
from games.loops.program.nest import start, to_record

ROOT = Path(__file__).resolve().parents[3]
TEXT = "C[m,n] += A[m,k] * B[k,n]; m=32 n=32 k=32"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_a_nest_is_tuned_and_drawn(tmp_path, capsys):
    out, known, text = (tmp_path / name for name in ("n.json", "known.jsonl", "kernel.c"))
    arguments = ["--seconds", "0.5", "--rounds", "2", "--measure", "2", "--known", str(known)]
    assert main(["tune", TEXT, *arguments, "-o", str(out), "--code", str(text)]) == 0
    printed = capsys.readouterr().out
    assert (
        "round 2: " in printed and " numpy: " in printed and "acc += A[m, k] * B[k, n]" in printed
    )
    assert "void kernel" in text.read_text() and len(known.read_text().splitlines()) >= 3
    assert main(["draw", str(out)]) == 0
    assert "by the model" in capsys.readouterr().out
    assert main(["tune", TEXT, "-o", str(out)]) == 2
    assert "is there already; name a new file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tune", "nowhere"], "computation must be one of"),
        (["tune", "mixed"], "computation must be one, got 'mixed', which has 9"),
        (["tune", TEXT.replace("m=32", "")], "computation: m: has no size"),
        (["draw", "{folder}/none.json"], "none.json: no such file"),
        (["draw", "{file}"], "file.json: nest: must have the fields"),
        (["fit", "{folder}/none.jsonl"], "none.jsonl: no such file"),
        (["fit", "{empty}"], "holds no measurement of this machine"),
    ],
)
def test_one_line_for_what_cannot_be_used(tmp_path, capsys, arguments, message):
    file, empty = tmp_path / "file.json", tmp_path / "empty.jsonl"
    head = {"format": FORMAT, "version": VERSION, "computation": TEXT}
    file.write_text(json.dumps(head | {"nest": 3}))
    empty.write_text("")
    names = {"folder": str(tmp_path), "file": str(file), "empty": str(empty)}
    assert main([argument.format(**names) for argument in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]


@pytest.mark.parametrize("change", [{"caches": [1]}, {"constants": {}}, {"version": 9}])
def test_constants_that_cannot_be_used(tmp_path, change):
    record = json.loads((ROOT / "games/loops/program/machine.json").read_text())
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(record))
    assert load_machine(path) == machine()
    path.write_text(json.dumps(record | change))
    with pytest.raises(InputError, match=next(iter(change))):
        load_machine(path)


def test_solutions_are_read_as_they_were_written(tmp_path):
    (instance,) = DOMAIN.instances(["mm64_80_96"])
    record = to_record(start(instance.content))
    DOMAIN.save(record, tmp_path / "s.json")
    assert DOMAIN.load(tmp_path / "s.json", instance) == record
    assert DOMAIN.judge(instance, record).score == 0
    DOMAIN.save(record | {"vector": 3}, tmp_path / "s.json")
    with pytest.raises(InputError, match="solution: vector: must be true or false"):
        DOMAIN.load(tmp_path / "s.json", instance)
    assert not DOMAIN.judge(instance, {"compute": []}).valid


def test_an_evaluation_from_end_to_end(tmp_path, capsys):
    arguments = ["--game", "games.loops.domain:DOMAIN", "--suite", "mm64_80_96", "conv1d8_16_4_3"]
    names = "start,greedy1,greedy2,beam2,random,local_search"
    out = tmp_path / "out"
    assert evaluate([*arguments, "--mappers", names, "--budget", "1", "--out", str(out)]) == 0
    rows = json.loads((out / "results.json").read_text())["rows"]
    assert len(rows) == 12 and all(row["valid"] and row["score"] >= 0 for row in rows)
    capsys.readouterr()


def test_the_page_names_every_feature_and_constant():
    page = (ROOT / "docs" / "loops.md").read_text()
    _, _, section = page.partition("\n## Observations\n")
    overview, *of_parts = re.split(r"^### The part `(\w+)`$", section, flags=re.M)
    tables = dict(zip(of_parts[::2], of_parts[1::2], strict=True))
    for part in observe.SPEC.parts:
        shape = " x ".join(map(str, part.shape))
        assert f"| `{part.name}` | {shape} | {part.kind} |" in overview
    assert re.findall(r"^\| `(\w+)` \|", tables["question"], re.M) == [
        *observe.QUESTION_NAMES[:6],
        "share_CONSTANT",
    ]
    assert re.findall(r"^\| `(\w+)` \|", tables["loops"], re.M) == list(observe.LOOP_NAMES)
    assert f"{observe.SPEC.size} numbers" in overview
    _, _, model = page.partition("\n## 5. ")
    assert set(CONSTANTS) <= set(re.findall(r"^\| `(\w+)` \|", model, re.M))
