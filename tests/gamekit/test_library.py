"""Instances by name, of a game whose problems are files with a word."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gamekit.errors import InputError
from gamekit.library import MOST_GENERATED, Library, instances


@dataclasses.dataclass(frozen=True)
class Word:
    name: str

    @property
    def fingerprint(self) -> str:
        return f"<{self.name}>"


@pytest.fixture
def library(tmp_path: Path) -> Library[Word]:
    for suite, names in {"short": ("w10", "w9"), "long": ("only",), "empty": ()}.items():
        (tmp_path / suite).mkdir()
        for name in names:
            (tmp_path / suite / f"{name}.json").write_text(f"{suite} {name}")
    (tmp_path / "notes.txt").write_text("no suite")
    return Library(
        tmp_path,
        lambda path: Word(path.read_text()),
        lambda count, seed: [Word(f"made {seed} {i}") for i in range(count)],
    )


def named(library: Library[Word], name: str) -> list[str]:
    return [problem.name for problem, _ in library.problems(name)]


def test_names_lead_to_files_folders_suites_and_generated_problems(library):
    folder = library.suites / "short"
    assert named(library, "short") == ["short w9", "short w10"], "by number"
    assert named(library, str(folder)) == ["short w9", "short w10"]
    assert named(library, "long/only") == named(library, str(library.suites / "long/only.json"))
    assert named(library, "generated:2") == ["made 0 0", "made 0 1"]
    assert named(library, "generated:1:7") == ["made 7 0"]
    ((_, source),) = library.problems("long")
    assert source == str(library.suites / "long" / "only.json")
    assert library.names == ["empty", "long", "short"]
    assert library.has("short") and library.has("short/w9") and not library.has("notes.txt")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "none",
            "problem must be a file, a folder, a suite (empty, long, short) or generated:COUNT",
        ),
        ("short/none", "got 'short/none'"),
        ("empty", "must hold problem files (*.json)"),
        ("generated:0", "generated:0: must be 1..100000 problems"),
        (f"generated:{MOST_GENERATED + 1}", "must be 1..100000 problems"),
        ("generated:-1", "got 'generated:-1'"),
    ],
)
def test_other_names_are_refused(library, name, said):
    with pytest.raises(InputError) as error:
        library.problems(name)
    assert said in str(error.value)


def test_instances_have_different_names(library):
    found = instances(library.problems("short"))
    assert [(it.name, it.fingerprint) for it in found] == [
        ("short w9", "<short w9>"),
        ("short w10", "<short w10>"),
    ]
    assert found[0].content == Word("short w9") and found[0].source.endswith("w9.json")
    with pytest.raises(InputError, match=r"w9\.json: the name 'short w9' is there twice"):
        instances([*library.problems("short"), *library.problems("short/w9")])
