"""The documents: tables are what the data says, and every relative link leads somewhere."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.observation_page import check_observations

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"!?\[[^]]*\]\(([^)\s]+)\)")
BLOCKS = re.compile(r"^```.*?^```|^ {4}\S.*?$", re.M | re.S)
SPANS = re.compile(r"`[^`\n]*`")


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, folder / "render.py", "--check"], capture_output=True, text=True
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The results' folder, to be changed."""
    return Path(shutil.copytree(RESULTS, tmp_path / "results"))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_pages_of_results_are_up_to_date():
    done = check(RESULTS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("quickstart.md", "| 24.34 |", "| 24.35 |", "quickstart.md: not up to date"),
        ("quickstart.md", "2 minutes 41", "2 minutes 42", "quickstart.md: not up to date"),
        (
            "quickstart.md",
            "saves\n22.51 %",
            "saves\n22.61 %",
            "quickstart.md: 22.61 is in no table",
        ),
        ("README.md", "22.51 %", "22.61 %", "README.md: 22.61 is in no table"),
        ("data/quickstart.json", "24.34", "24.35", "quickstart.md: not up to date"),
        ("data/quickstart.json", "24.34", '"24.34"', "quickstart.json: row 1, saved"),
        ("quickstart.md", "<!-- table: quickstart -->", "<!-- table: other -->", "data/other.json"),
        ("quickstart.md", "<!-- end -->", "", "quickstart.md: a table's marker must be"),
        (
            "quickstart.md",
            "(`GAME_VERSION` 1",
            "(`GAME_VERSION` 2",
            "quickstart.md: not up to date",
        ),
        ("quickstart.md", "<!-- end game -->", "", "quickstart.md: must have <!-- game -->"),
        (
            "data/quickstart.json",
            '"game": 1',
            '"game": 3',
            "quickstart.json: game must be one of 1",
        ),
    ],
)
def test_a_change_by_hand_is_found(copy, file, old, new, message):
    change(copy / file, old, new)
    done = check(copy)
    assert done.returncode == 1
    assert message in done.stderr


def test_changed_data_reaches_the_page(copy):
    change(copy / "data" / "quickstart.json", "24.34", "24.35")
    subprocess.run([sys.executable, copy / "render.py"], check=True)
    assert "| 24.35 |" in (copy / "quickstart.md").read_text()
    assert check(copy).returncode == 0


def anchors(page: str) -> set[str]:
    """The headings of a page, as links name them."""
    heads = re.findall(r"^#+ (.+)$", BLOCKS.sub("", page), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_files(path):
    for target in LINK.findall(SPANS.sub("", BLOCKS.sub("", path.read_text()))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name) if name else path
        assert file.exists(), f"{path.relative_to(ROOT)}: {target} leads nowhere"
        if anchor:
            assert anchor in anchors(file.read_text()), f"{path.relative_to(ROOT)}: no {target}"


def test_the_rules_name_every_feature_of_an_observation():
    # Imported here: the other tests need no JAX.
    from mallocgame.game.observe import observation

    page = (ROOT / "docs" / "game.md").read_text()
    names = {
        "question": observation.QUESTION_NAMES,
        "pressure": observation.TIME_FEATURES,
        "coming": observation.COMING_NAMES,
    }
    check_observations(page, observation.SPEC, names)
    assert f"float32, {observation.SPEC.size} numbers in three parts" in page


def test_the_rules_give_the_options_and_their_defaults():
    from mallocgame.game.options import GameConfig

    page = (ROOT / "docs" / "game.md").read_text()
    for field in dataclasses.fields(GameConfig):
        row = next(line for line in page.splitlines() if line.startswith(f"| `{field.name}` |"))
        default = row.split("|")[2].strip(" `")
        assert type(field.default)(default) == field.default
