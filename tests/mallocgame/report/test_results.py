"""Statistics over programs and seeds, and the tables that show them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from mallocgame.report import (
    markdown,
    print_results,
    result_tables,
    summarize,
)
from mallocgame.report.statistics import geometric, interval, mean, median, pool_seeds
from mallocgame.report.tables import between, by_program, percent
from tests.support.report_sample import RESULTS, ROWS, row


def test_summary_by_hand():
    summary = RESULTS["summary"]
    agent = summary["agent"]
    assert agent["programs"] == 3 and agent["verified"] == 3 and agent["failed"] == 0
    assert (agent["wins"], agent["ties"], agent["losses"]) == (1, 0, 1)
    # 1.6 / 1.25 - 1 = 0.28 and 1 / 1.25 - 1 = -0.2; the third program has no production
    assert agent["mean_speedup_vs_production"] == pytest.approx(0.04)
    assert agent["median_speedup_vs_production"] == pytest.approx(0.04)
    assert agent["geomean_speedup_vs_production"] == pytest.approx((1.28 * 0.8) ** 0.5 - 1)
    assert (agent["worst"], agent["best"]) == pytest.approx((-0.2, 0.28))
    # Of two programs a mean is one of three: both the one, both the other, one each.
    assert agent["mean_speedup_vs_production_ci95"] == pytest.approx([-0.2, 0.28])
    assert agent["gap_to_bound_closed"] == pytest.approx(0.2)
    assert agent["mean_saved_fraction"] == pytest.approx((0.375 + 0.375 + 0.5) / 3)
    production = summary["production"]
    assert production["verified"] == 1
    assert (production["wins"], production["ties"], production["losses"]) == (0, 2, 0)
    assert list(summary) == ["bound", "agent", "production"]  # most saved first


def test_summary_without_production():
    summary = summarize([row("three", "agent", 1.0, None)])["agent"]
    assert summary["mean_speedup_vs_production"] is None and summary["worst"] is None
    assert summary["wins"] == 0
    assert summary["mean_saved_fraction_ci95"] is None


def test_failed_rows_count_as_failed_alone():
    failed = {"status": "timed out", "reason": "took more than 1 s", "verified": None}
    empty = dict.fromkeys(("saved_fraction", "latency_s", "speedup_vs_production"))
    rows = [*ROWS[:2], ROWS[3] | {"mapper": "agent"} | failed | empty]
    summary = summarize(rows)["agent"]
    assert (summary["programs"], summary["failed"]) == (1, 1)
    assert summary["mean_saved_fraction"] == pytest.approx(0.375)
    assert summarize(rows[2:])["agent"]["mean_saved_fraction"] is None
    cells = result_tables(RESULTS | {"rows": rows, "summary": summarize(rows)})[2].rows[0]
    assert cells[0] == "agent" and "timed out" in cells and set(cells[1:-2]) == {"-"}


def test_seeds_are_averaged_before_programs():
    rows = [
        row("one", "agent", latency, 1.6, seed=seed) for seed, latency in enumerate((1.25, 1.0))
    ]
    rows += [row("two", "agent", 1.0, 1.0, seed=0)]
    (one, two) = pool_seeds(rows)
    assert one["seeds"] == 2 and two["seeds"] == 1
    assert one["saved_fraction"] == pytest.approx((0.375 + 0.5) / 2)
    assert one["saved_spread"] == [0.375, 0.5] and two["saved_spread"] is None
    summary = summarize(rows)["agent"]
    assert summary["programs"] == 2
    assert summary["mean_speedup_vs_production"] == pytest.approx(((0.28 + 0.6) / 2 + 0) / 2)
    table = result_tables(RESULTS | {"rows": rows, "summary": summarize(rows)})[1]
    assert table.rows[0][:3] == ("agent", "43.75 %", "37.50 to 50.00")
    assert "over seeds" not in result_tables(RESULTS)[1].header


@pytest.mark.parametrize("statistic", [mean, median, geometric])
def test_intervals_agree_with_scipy(statistic):
    stats = pytest.importorskip("scipy.stats")
    sample = np.random.default_rng(1).normal(0.05, 0.1, 47)
    theirs = stats.bootstrap(
        (sample,), lambda x, axis: statistic(x), n_resamples=10_000, method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    mine = interval(list(sample), statistic)
    assert mine == interval(list(sample), statistic)  # the same every time
    assert mine == pytest.approx([theirs.low, theirs.high], abs=0.002)
    assert interval([0.3], statistic) is None


def test_rows_are_sorted_by_what_they_save():
    assert [r["mapper"] for r in by_program(ROWS)["one"]] == ["bound", "agent", "production"]


def test_percent():
    assert percent(0.12345) == "12.35 %" and percent(None) == "-"
    assert percent(0.001, sign=True) == "+0.10 %" and percent(-0.5, sign=True) == "-50.00 %"
    assert between([-0.01, 0.2]) == "-1.00 to 20.00" and between(None) == "-"


def test_printed_tables():
    out = io.StringIO()
    print_results(RESULTS, Console(file=out, width=120))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 120
    (agent, *_) = [line for line in lines if "agent" in line]
    for cell in ("37.50 %", "+28.00 %", "1,250,000.0", "1,234", "50.00 %"):
        assert cell in agent
    assert any("3 of 3" in line for line in lines)
    one = io.StringIO()
    print_results(RESULTS | {"rows": ROWS[:3]}, Console(file=one, width=120))
    assert "suite" not in one.getvalue()  # a summary of one program says nothing new


def test_markdown():
    text = markdown(result_tables(RESULTS))
    lines = text.splitlines()
    assert lines[0] == r"## suite \<suite\>"
    header, rule, bound = lines[2:5]
    assert header.count("|") == rule.count("|") == bound.count("|") == 14
    assert bound.startswith("| bound | 50.00 % | +60.00 % |")
    assert sum(line.startswith("## ") for line in lines) == 4
