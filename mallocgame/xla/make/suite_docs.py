"""The documentation's tables and picture of a built suite, from its index."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from gamekit.errors import InputError
from mallocgame.xla.make.build import INDEX, read_index

Rows = dict[str, dict[str, Any]]


def suite_table(index: dict[str, Any]) -> str:
    """A Markdown table with one row for each program; below it what could not be made."""
    rows: Rows = index["programs"]
    lines = [
        "| program | split | MiB | instructions | values | accesses | loops | MB "
        "| pressure | saved | bound | violations |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['entry']['split']} | {row['capacity_mib']} | {row['instructions']:,} "
            f"| {row['values']:,} | {row['accesses']:,} | {row['loops']} | {row['value_mb']:,.0f} "
            f"| {row['pressure']:.1f} | {row['saved']:.1%} | {row['bound']:.1%} "
            f"| {', '.join(row['violations']) or '-'} |"
        )
    counted = [row["entry"]["split"] for row in rows.values()]
    splits = ", ".join(f"{counted.count(s)} {s}" for s in ("train", "validation", "test"))
    left_out = sum(row["left_out"] for row in rows.values())
    lines += ["", f"{len(rows)} programs ({splits}); {left_out} buffers left out."]
    if index["failed"]:
        lines += ["", "Could not be made:", ""]
        lines += [f"- `{name}`: {_plain(reason)}" for name, reason in index["failed"].items()]
    return "\n".join(lines)


def _plain(reason: str) -> str:
    """A reason without what differs between runs: log prefixes, process numbers."""
    reason = re.sub(r"[FE]\d{4} [\d:.]+ +\d+ ", "", reason)
    return reason.replace("|", "/")[:200]


def calibration_table(index: dict[str, Any]) -> str:
    """A Markdown table of the compiler's cycles and the fit's errors, one row for each program."""
    lines = [
        "| program | cycles, off | production | reproduced | held out | median instruction |",
        "|---|---|---|---|---|---|",
    ]
    rows: Rows = index["programs"]
    for name, row in rows.items():
        unseen = ", ".join(f"{e:+.1%}" for e in row["held_out_errors"]) or "-"
        median = f"{max(row['held_out_medians']):.1%}" if row["held_out_medians"] else "-"
        lines.append(
            f"| {name} | {row['cycles_off']:,} | {row['cycles_on']:,} "
            f"| {row['production_error']:+.2%} | {unseen} | {median} |"
        )
    every = np.abs([e for row in rows.values() for e in row["held_out_errors"]] or [0.0])
    worst = [max(map(abs, row["held_out_errors"]), default=0.0) for row in rows.values()]
    lines += [
        "",
        f"{len(every)} held-out placements: median error {np.median(every):.2%}, "
        f"{np.mean(every <= 0.03):.0%} within 3 %; "
        f"{np.mean(np.array(worst) <= 0.03):.0%} of the programs within 3 % on all of theirs.",
    ]
    return "\n".join(lines)


def calibration_picture(index: dict[str, Any], path: Path) -> None:
    """Draws predicted against compiled savings of cycles, and the held-out errors."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows: Rows = index["programs"]
    off = np.array([row["cycles_off"] for row in rows.values()], float)
    on = np.array([row["cycles_on"] for row in rows.values()], float)
    error = np.array([row["production_error"] for row in rows.values()], float)
    saved, predicted = (100 * (1 - on * factor / off) for factor in (1.0, 1.0 + error))
    held_out = [100 * e for row in rows.values() for e in row["held_out_errors"]]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    left.plot(saved, predicted, "o", ms=3)
    left.plot([0, saved.max()], [0, saved.max()], lw=0.8, color="0.6")
    left.set(
        xlabel="cycles saved, compiled, %",
        ylabel="cycles saved, predicted, %",
        title="production's placement",
    )
    right.hist(np.clip(held_out, -15, 15), bins=np.arange(-15, 15.5, 1))
    right.set(xlabel="error, % (clipped at 15)", ylabel="placements", title="held-out placements")
    figure.savefig(path, dpi=90, metadata={"Software": ""})
    plt.close(figure)


def write_docs(suites: list[Path], docs: Path) -> None:
    """Replaces the tables of these suites in ``suite.md`` and ``calibration.md``, and the picture.

    A table stands between ``<!-- SUITE -->`` and ``<!-- end SUITE -->``.

    Raises:
      InputError: a suite has no index, or a page has no place for its table.
    """
    for folder in suites:
        if not (folder / INDEX).is_file():
            raise InputError(f"{folder / INDEX}: no such file")
        index = read_index(folder)
        for page, table in (("suite.md", suite_table), ("calibration.md", calibration_table)):
            _replace(docs / page, folder.name, table(index))
        calibration_picture(index, docs / f"calibration_{folder.name}.png")


def _replace(page: Path, name: str, text: str) -> None:
    if not page.is_file():
        raise InputError(f"{page}: no such file")
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise InputError(f"{page}: must have a place for the table, {begin} ... {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")
