"""Evaluations of several games, one after the other, with one page of all."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path

from gamekit.evaluation.evaluation import (
    Evaluation,
    Finished,
    evaluated,
    holds_results,
    opened,
    verdict,
)
from gamekit.evaluation.rows import Row
from gamekit.evaluation.style import BASE_STYLE
from gamekit.evaluation.table import solver_table
from gamekit.files import unwritable, write_text
from gamekit.text import say, shown

PAGE = "report.html"
STYLE = BASE_STYLE + "td.best { font-weight: 650; }\n"


def evaluate_several(evaluations: Sequence[Evaluation], out: Path) -> int:
    """Runs evaluations into folders of their own below `out`, and writes a page of all; returns the
    exit code.  What is finished there is taken as it is.

    Raises:
      InputError: a folder or a player cannot be used, or all is there already.
    """
    page = out / PAGE
    again = any(each.retry or each.overwrite for each in evaluations)
    with opened(out):
        if page.exists() and not again:
            raise holds_results(out)
        try:
            page.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(page, error) from None
        finished = []
        for each in evaluations:
            say(f"{each.domain.name}: {_number(each)}")
            finished.append(evaluated(each))
        write_text(page, page_of(finished))
        say(f"all games: {page}")
        return max(map(verdict, finished))


def page_of(finished: Sequence[Finished]) -> str:
    """One page that needs no other file: a section a game, in the order given."""
    names = ", ".join(each.evaluation.domain.name for each in finished)
    first = finished[0]
    versions = ", ".join(
        f"{name} {v}" for name, v in first.results["versions"].items() if name != "game"
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(names)}</title><style>{STYLE}</style>"
        f"<h1>Evaluation of {len(finished)} games</h1>"
        "<p class=note>Figures are means over instances and seeds, by the judge of each game, "
        "which is not the game. Scores of different games have different scales.</p>"
        f"{''.join(map(_section, finished))}"
        f"<footer><p>{escape(shown(shlex.join(first.evaluation.command), None))}</p>"
        f"<p>{escape(versions)}</p></footer></html>\n"
    )


def _section(finished: Finished) -> str:
    evaluation, domain = finished.evaluation, finished.evaluation.domain
    header, lines = solver_table(domain, finished.rows)
    own = f"{evaluation.out.name}/{domain.report_file}"
    return (
        f"<section><h2>{escape(domain.name)}</h2>"
        f"<p class=note>{_number(evaluation)} of "
        f"{escape(shown(evaluation.suite))}; version {domain.version} of the game. "
        f'<a href="{escape(own)}">{escape(own)}</a></p>'
        f"{_table(header, lines)}"
        f"<details><summary>every {domain.words.instance}</summary>"
        f"{_by_instance(finished)}</details></section>"
    )


def _number(evaluation: Evaluation) -> str:
    """How many instances there are, in words."""
    number, word = len(evaluation.instances), evaluation.domain.words.instance
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _by_instance(finished: Finished) -> str:
    """A row an instance and a column a solver: the mean score over seeds, the best ones marked."""
    domain = finished.evaluation.domain
    solvers = list(dict.fromkeys(row.solver for row in finished.rows))
    rows: dict[str, dict[str, list[Row]]] = {}
    for row in finished.rows:
        rows.setdefault(row.instance, {}).setdefault(row.solver, []).append(row)
    lines = []
    for instance, of in rows.items():
        means = {solver: _mean(of.get(solver, ())) for solver in solvers}
        best = max((mean for mean in means.values() if mean is not None), default=None)
        cells = [f"<td>{escape(shown(instance))}</td>"]
        for solver in solvers:
            mean, own = means[solver], of.get(solver, ())
            if mean is None:
                why = shown(own[0].status) if own else "-"
                cells.append(f"<td{' class=bad' if own else ''}>{escape(why)}</td>")
            else:
                kind = " class=best" if mean == best else ""
                kind = kind if all(row.valid for row in own) else " class=bad"
                cells.append(f"<td{kind}>{escape(domain.show(mean))}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in (domain.words.instance, *solvers))
    return f"<div class=scroll><table><tr>{head}</tr>{''.join(lines)}</table></div>"


def _mean(rows: Sequence[Row]) -> float | None:
    scores = [row.score for row in rows if row.is_done and row.score is not None]
    return sum(scores) / len(scores) if scores else None


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(shown(name))}</th>" for name in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(shown(cell))}</td>' for cell in line)}</tr>" for line in lines
    )
    return f"<div class=scroll><table><tr>{head}</tr>{body}</table></div>"
