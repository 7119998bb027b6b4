"""What others wrote is data in file names, lines, tables and pages."""

from __future__ import annotations

import ast
import io
import itertools
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from gamekit.errors import InputError
from gamekit.text import MAX_LINE, MAX_NAME, cell, file_name, one_line, say, shown
from tests.support.hostile import NAMES

ROOT = Path(__file__).parents[2]
ANY = st.text(st.characters(), max_size=300)  # surrogates and control characters too


def examples(test):
    for name in NAMES.values():
        test = example(name)(test)
    return test


@examples
@given(ANY)
def test_a_file_name_names_a_file_in_its_folder(name):
    stem = file_name(name)
    folder = Path("/a/folder")
    path = folder / f"{stem}.local_search@10s.seed123.mapping.json.gz"
    assert path.parent == folder and path.resolve().parent == folder
    assert 0 < len(path.name.encode()) <= 200
    assert stem.isprintable() and stem[0] not in ".-~" and not set("/\\\0: ") & set(stem)
    assert file_name(stem) == stem


@examples
@given(ANY)
def test_what_is_shown_is_one_printable_line(text):
    for line, limit in ((shown(text), MAX_NAME), (one_line(text), MAX_LINE)):
        assert line.isprintable() and len(line) <= limit
        line.encode()
    if text.isprintable():
        assert shown(text, None) == text


def test_names_of_today_stay_as_they_are():
    for name in ("resnet50_b1_inference_v4_4mib", "a+b~x2.0", "Grüße-1@2"):
        assert file_name(name) == name


def test_other_names_have_other_files():
    names = [*NAMES.values(), "_tmp_outside", "a/b", "a_b", "a b", "x" * 200, "x" * 201]
    assert len({file_name(name) for name in names}) == len(names)


def test_the_middle_goes_and_both_ends_stay():
    line = one_line("file.json: field: must be short, got " + "x" * 10_000 + " at the end")
    assert line.startswith("file.json: field: must be short, got xx") and line.endswith(
        " at the end"
    )
    assert len(line) == MAX_LINE


def test_errors_are_one_line_of_bounded_length():
    message = str(InputError(f"a\nb\x1b[31m{'y' * 100_000}\ud800"))
    assert message.startswith("a b\\x1b[31myy") and message.endswith("\\ud800")
    assert len(message) <= MAX_LINE


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_tables_take_names_for_text(name):
    table = Table("name")
    table.add_row(cell(name))
    out = io.StringIO()
    Console(file=out, width=2000, force_terminal=False).print(table)
    assert shown(name) in out.getvalue() and "\x1b" not in out.getvalue()


def test_streams_of_other_encodings_get_escapes(monkeypatch):
    for stream in ("stdout", "stderr"):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(raw, encoding="ascii"))
        say("5 µs \ud800", error=stream == "stderr")
        assert raw.getvalue() == b"5 \\xb5s \\ud800\n"


def test_one_function_prints():
    """Nothing of the house prints but `say`, so that no name reaches a terminal unseen."""
    files = itertools.chain(
        *((ROOT / room).rglob("*.py") for room in ("gamekit", "agent", "mallocgame", "games")),
        (ROOT / "train.py", ROOT / "evaluate.py"),
    )
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(files)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "print"
    ]
    assert [line for line in found if not line.startswith("gamekit/text.py:")] == []
