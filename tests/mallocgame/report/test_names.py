"""Programs' names in everything that an evaluation or a training writes: data, nothing else."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from agent.commands import evaluate
from agent.run.best_store import BestStore
from agent.run.player import solution_file
from gamekit.domain import Instance, Made
from gamekit.errors import InputError
from gamekit.text import shown
from mallocgame.domain import DOMAIN
from mallocgame.judge import simulate
from mallocgame.program import load_program, save_program
from mallocgame.program.mapping import all_slow
from mallocgame.report import DrawnMapping, ProgramPictures, draw_layouts, summarize, write_report
from mallocgame.report.tables import markdown, result_tables
from mallocgame.synthetic.random_programs import random_program
from tests.support.hostile import NAMES
from tests.support.report_sample import RESULTS, program, row

# JSON that is read back has no lone surrogates.
READABLE = {kind: name for kind, name in NAMES.items() if kind != "surrogate"}


class Tags(HTMLParser):
    """The elements of a page, and what their attributes say."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def page(name: str, folder: Path) -> str:
    p = dataclasses.replace(program(name), values=(
        *program().values[:2], dataclasses.replace(program().values[2], name=name),
    ))  # fmt: skip
    layout = DrawnMapping("production", all_slow(p), simulate(p, all_slow(p)))
    rows = [row(name, mapper, 1.0, 1.0) for mapper in ("production", "agent")]
    rows += [row("other", "agent", 1.0, 1.0)]
    results = RESULTS | {"suite": name, "rows": rows, "summary": summarize(rows)}
    results |= {"command": ["evaluate.py", "--suite", name]}
    pictures = ProgramPictures(draw_layouts(p, [layout]))
    write_report(results, folder / "report.html", {name: pictures})
    return (folder / "report.html").read_text()


@pytest.mark.parametrize("kind", ["html", "escape", "surrogate", "mathematics", "long"])
def test_a_page_takes_names_for_text(tmp_path, kind):
    tags, plain = Tags(page(NAMES[kind], tmp_path)), Tags(page("plain", tmp_path))
    without = [[tag for tag in t.found if tag not in ("path", "use", "g")] for t in (tags, plain)]
    assert without[0] == without[1]
    assert tags.handlers == []


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_markdown_takes_names_for_text(name):
    rows = [row(name, "agent", 1.0, 1.0)]
    lines = markdown(result_tables(RESULTS | {"rows": rows, "summary": {}})).splitlines()
    assert len(lines) == 5 and lines[0].startswith("## ")
    assert lines[0].isprintable() and " <script" not in lines[0]
    assert lines[0].replace("\\", "") == f"## {shown(name)}".replace("\\", "")


def test_an_evaluation_of_such_programs_stays_in_its_folder(tmp_path, capsys):
    base = random_program(np.random.default_rng(3))
    for number, name in enumerate(READABLE.values()):
        named = dataclasses.replace(base, name=name)
        save_program(named, tmp_path / "suite" / f"{number:02}.program.json")
    before = set(tmp_path.parent.rglob("*")) - set(tmp_path.rglob("*"))
    arguments = ["--suite", str(tmp_path / "suite"), "--mappers", "all_fast", "--no-pictures"]
    assert evaluate.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    out, error = capsys.readouterr()
    for line in (out + error).splitlines():
        assert line.isprintable()
    assert set(tmp_path.parent.rglob("*")) - set(tmp_path.rglob("*")) == before
    assert {p.name for p in tmp_path.iterdir()} == {"suite", "out"}
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert [r["program"] for r in rows] == list(READABLE.values())  # as they are, in the data
    files = {p.name for p in (tmp_path / "out" / "mappings").iterdir()}
    assert files == {r["mapping"] for r in rows} and len(files) == len(rows)


@pytest.mark.parametrize("name", READABLE.values(), ids=READABLE.keys())
def test_a_training_keeps_solutions_in_its_folder(tmp_path, name):
    p = dataclasses.replace(random_program(np.random.default_rng(3)), name=name)
    instance = Instance(name, p.fingerprint, "made", p)
    folder = tmp_path / "run" / "best"
    store = BestStore(DOMAIN, folder)
    assert store.offer(instance, Made(all_slow(p)), 0.0)
    assert store.score(instance) == 0.0
    assert {f.name for f in folder.iterdir()} >= {solution_file(DOMAIN, instance)}
    assert {f.name for f in tmp_path.iterdir()} == {"run"}
    assert {f.name for f in (tmp_path / "run").iterdir()} == {"best"}


def test_a_lone_surrogate_is_no_text(tmp_path):
    path = tmp_path / "p.program.json"
    named = dataclasses.replace(random_program(np.random.default_rng(3)), name=NAMES["surrogate"])
    save_program(named, path)
    with pytest.raises(InputError, match="must be valid text"):
        load_program(path)
