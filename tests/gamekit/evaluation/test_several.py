"""One evaluation of several games: a folder a game, one page, nothing run twice."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from agent.commands import evaluate
from gamekit.registry import games_of
from tests.support.evaluations import SAMPLE, one_line, rows_of

FENCES = "handmade/chain"
GRAPHS = "small/attention_100"


def command(out, *more: str) -> list[str]:
    suite = [FENCES, SAMPLE, GRAPHS]
    return [
        "--suite",
        *suite,
        "--mappers",
        "naive,production,msa",
        "--no-pictures",
        "--out",
        str(out),
        *more,
    ]


class Page(HTMLParser):
    """Headings, links and cells of a page."""

    def __init__(self):
        super().__init__()
        self.links: list[str] = []
        self.found: list[tuple[str, str]] = []
        self._tag = ""

    def handle_starttag(self, tag, attrs):
        self._tag = tag
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]

    def handle_data(self, data):
        self.found.append((self._tag, data))

    def of(self, tag: str) -> list[str]:
        return [text for found, text in self.found if found == tag]


def test_names_lead_to_their_games():
    assert games_of([FENCES]) == {"fences": [FENCES]}
    assert games_of([FENCES, SAMPLE]) == {"fences": [FENCES], "mallocgame": [SAMPLE]}
    assert games_of(["some/file.json"]) == {"mallocgame": ["some/file.json"]}
    assert games_of([FENCES, "file.json"], "graphs") == {
        "fences": [FENCES], "graphs": ["file.json"],
    }  # fmt: skip


def test_three_games_end_in_one_page(tmp_path, capsys):
    out = tmp_path / "out"
    assert evaluate.main(command(out)) == 0
    page = Page()
    page.feed((out / "report.html").read_text())
    assert page.of("h2") == ["fences", "mallocgame", "graphs"]
    assert page.links == ["fences/tables.md", "mallocgame/report.html", "graphs/tables.md"]
    assert all((out / link).is_file() for link in page.links)
    rows = {row["mapper"]: row for row in rows_of(out / "mallocgame")}
    assert f"{rows['msa']['speedup_vs_production']:+.4g}" in page.of("td")
    for game, solvers in (
        ("fences", ["naive"]),
        ("mallocgame", ["production", "msa"]),
        ("graphs", ["naive"]),
    ):
        results = json.loads((out / game / "results.json").read_text())
        assert [row.get("mapper", row.get("solver")) for row in results["rows"]] == solvers
        assert results["command"][2:6] == ["--suite", FENCES, SAMPLE, GRAPHS]
    capsys.readouterr()

    # Finished games are not run again, and neither is all.
    assert evaluate.main(command(out)) == 2
    one_line(capsys, "holds results already")
    before = (out / "mallocgame" / "results.json").stat().st_mtime_ns
    (out / "report.html").unlink()
    (out / "graphs" / "tables.md").unlink()
    assert evaluate.main(command(out)) == 0
    assert (out / "report.html").is_file() and (out / "graphs" / "tables.md").is_file()
    assert (out / "mallocgame" / "results.json").stat().st_mtime_ns == before
    assert evaluate.main(command(out, "--overwrite")) == 0
    assert (out / "mallocgame" / "results.json").stat().st_mtime_ns > before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mappers", "magic"], "--mappers 'magic': is known to none of fences, mallocgame"),
        (["--mappers", "msa"], "--mappers msa: the game 'fences' has none of them; it has ref"),
        (["--mappers", "agent"], "--solvers agent: needs --checkpoint, as the game 'fences' comes"),
    ],
)
def test_bad_options_are_one_line(tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    assert evaluate.main(["--suite", FENCES, SAMPLE, *arguments, "--out", str(out)]) == 2
    one_line(capsys, message)
    assert not out.exists()
