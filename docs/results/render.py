"""Writes the tables of these pages from data/*.json.

    python docs/results/render.py            # rewrites the pages in place
    python docs/results/render.py --check    # exit code 1 if a page is not up to date

A page holds `<!-- table: NAME -->` and `<!-- end -->`; what lies between them comes from
data/NAME.json:

    title, question, machine: text
    command: list of shell lines, commit, date: the commit that brought the figures, YYYY-MM-DD
    columns: list of {"name", "unit"} and, if wanted, "decimals" (digits behind the point) and
      "signed" (a plus before positive numbers)
    rows: list of lists; a cell is a number, a text (in columns without unit) or null
    notes: list of texts, shown below the table
    game, if an older version of the mallocGame was played: its GAME_VERSION, a number

A page with a table of an older version says so at its top, between `<!-- game -->` and
`<!-- end game -->`; that is written here too.

Figures with a decimal point in the rest of a page have to be in one of the page's tables (in the
index, README.md: in any table), so that a figure that is changed by hand is found.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TEXTS = ("title", "question", "machine", "commit", "date")
LISTS = ("command", "columns", "rows", "notes")
# Versions of the game that are not played any more: what they are called, and the last commit.
OLDER = {1: ("the first version of the game", "905e9c1, 2026-11-28")}
NOTICE = re.compile(r"<!-- game -->\n.*?<!-- end game -->", re.S)
BLOCK = re.compile(r"<!-- table: ([\w.-]+) -->\n.*?<!-- end -->", re.S)
FIGURE = re.compile(r"\d[\d,]*\.\d+")
CODE = re.compile(r"^```.*?^```|^ {4}\S.*?$|`[^`]*`|\]\([^)]*\)", re.M | re.S)


class DataError(ValueError):
    """A data file or a page that cannot be used; the message names it."""


def read_table(path: Path) -> dict[str, Any]:
    """Reads one data file.

    Raises:
      DataError: it is no JSON, lacks a field, or a cell does not suit its column.
    """
    try:
        table: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path.name}: must be JSON ({error})") from None
    if {*table} - {"game"} != {*TEXTS, *LISTS}:
        raise DataError(f"{path.name}: fields must be {', '.join((*TEXTS, *LISTS))}")
    if "game" in table and table["game"] not in OLDER:
        known = ", ".join(map(str, OLDER))
        raise DataError(f"{path.name}: game must be one of {known}, got {table['game']!r}")
    for kind, names in ((str, TEXTS), (list, LISTS)):
        for name in names:
            if not isinstance(table[name], kind):
                raise DataError(f"{path.name}: {name} must be a {kind.__name__}")
    try:
        date.fromisoformat(table["date"])
    except ValueError:
        raise DataError(f"{path.name}: date must be YYYY-MM-DD, got {table['date']!r}") from None
    for number, row in enumerate(table["rows"], 1):
        if len(row) != len(table["columns"]):
            raise DataError(f"{path.name}: row {number} must have {len(table['columns'])} cells")
        for column, cell in zip(table["columns"], row, strict=True):
            texts_allowed = not column["unit"] and "decimals" not in column
            if isinstance(cell, bool) or not isinstance(
                cell, (int, float, type(None), *([str] if texts_allowed else []))
            ):
                raise DataError(f"{path.name}: row {number}, {column['name']}: got {cell!r}")
    return table


def cell_text(column: dict[str, Any], cell: str | float | None) -> str:
    """A cell as it stands in the page; null is a dash."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    sign = "+" if column.get("signed") else ""
    digits = f".{column['decimals']}f" if "decimals" in column else ""
    return format(cell, f"{sign},{digits}")


def markdown(table: dict[str, Any]) -> str:
    """The text between a page's markers."""
    columns = table["columns"]
    heads = [c["name"] + (f" ({c['unit']})" if c["unit"] else "") for c in columns]
    texts = [any(isinstance(row[i], str) for row in table["rows"]) for i in range(len(columns))]
    lines = [f"**{table['title']}**", "", "| " + " | ".join(heads) + " |"]
    lines.append("|" + "|".join("---" if text else "---:" for text in texts) + "|")
    for row in table["rows"]:
        cells = [cell_text(column, cell) for column, cell in zip(columns, row, strict=True)]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    if table["command"]:
        lines += ["Command:", "", *(f"    {line}" for line in table["command"]), ""]
    when = f"Measured with the code at or shortly before {table['commit']}, {table['date']}"
    if "game" in table:
        when += f", with {OLDER[table['game']][0]}"
    lines += [f"{when}; {table['machine']}.", ""]
    if table["notes"]:
        lines += [*(f"- {note}" for note in table["notes"]), ""]
    return "\n".join(lines)


def rendered(page: str, name: str, tables: dict[str, dict[str, Any]]) -> str:
    """A page's text with every block renewed.

    Raises:
      DataError: a marker without a data file, or one without an end; older figures and no place
        to say so.
    """

    def block(match: re.Match[str]) -> str:
        if match[1] not in tables:
            raise DataError(f"{name}: there is no data/{match[1]}.json")
        return f"<!-- table: {match[1]} -->\n{markdown(tables[match[1]])}<!-- end -->"

    if page.count("<!-- table: ") != len(BLOCK.findall(page)):
        raise DataError(f"{name}: a table's marker must be followed by <!-- end -->")
    page = BLOCK.sub(block, page)
    says = notice([tables[match[1]] for match in BLOCK.finditer(page)])
    if says and len(NOTICE.findall(page)) != 1:
        raise DataError(f"{name}: must have <!-- game --> and <!-- end game --> at its top")
    return NOTICE.sub(f"<!-- game -->\n{says}<!-- end game -->", page)


def notice(tables: list[dict[str, Any]]) -> str:
    """What a page with these tables says of older versions of the game; empty without any."""
    lines = []
    for version in sorted({table["game"] for table in tables if "game" in table}):
        called, until = OLDER[version]
        whole = all(table.get("game") == version for table in tables)
        what = "The figures of this page" if whole else "Some tables of this page, which say so,"
        lines += [
            f"**{what} were measured with {called}** (`GAME_VERSION` {version}, up to commit",
            f"{until}). The rules of the present game are others. What was different is in",
            "[history.md](../history.md#the-first-version-of-the-game).",
        ]
    return "".join(f"{line}\n" for line in lines)


def stray_figures(page: str, known: set[str]) -> list[str]:
    """Figures outside of tables, code and links that no table has."""
    prose = CODE.sub("", BLOCK.sub("", page))
    return [figure for figure in FIGURE.findall(prose) if figure not in known]


def figures(table: dict[str, Any]) -> set[str]:
    """All figures with a decimal point that a table shows, notes included."""
    return set(FIGURE.findall(markdown(table)))


def problems_of(folder: Path, *, write: bool) -> list[str]:
    """What is wrong with the pages of a folder, one line each; `write` renews them first.

    Raises:
      DataError: see `read_table` and `rendered`.
    """
    tables = {path.stem: read_table(path) for path in sorted((folder / "data").glob("*.json"))}
    everything = {figure for table in tables.values() for figure in figures(table)}
    problems, shown = [], set()
    for path in sorted(folder.glob("*.md")):
        page = path.read_text()
        new = rendered(page, path.name, tables)
        names = [match[1] for match in BLOCK.finditer(page)]
        shown.update(names)
        if new != page and write:
            path.write_text(new)
        elif new != page:
            problems.append(f"{path.name}: not up to date, run python docs/results/render.py")
        own = {figure for name in names for figure in figures(tables[name])}
        known = everything if path.name == "README.md" else own
        problems += [f"{path.name}: {f} is in no table" for f in stray_figures(new, known)]
    problems += [f"data/{name}.json: no page shows it" for name in sorted({*tables} - shown)]
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes the tables of docs/results/*.md.")
    parser.add_argument("--check", action="store_true", help="compare only; exit code 1 if stale")
    check = parser.parse_args().check
    try:
        problems = problems_of(HERE, write=not check)
    except DataError as error:
        problems = [str(error)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
