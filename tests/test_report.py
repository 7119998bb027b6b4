"""Tables, layout pictures and the HTML page."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from mallocgame.generate import random_program
from mallocgame.judge import simulate
from mallocgame.machine import Machine
from mallocgame.mapping import COPIED, DEFINED, Mapping, Residency, Transfer, all_slow
from mallocgame.program import Access, Instruction, Loop, Program, Value
from mallocgame.report import draw_layout, print_results, summarize, write_report
from mallocgame.report.tables import by_program, percent

MACHINE = Machine("small", 1 << 20, 1024, 1e9, 1e10)


def program(name: str = "small <&> program") -> Program:
    values = (Value("w$x$", 500_000, is_input=True), Value("a<b>", 300_000), Value("back", 200_000))
    accesses = (
        Access(0, 1, "write", bytes=300_000, defines=True),
        Access(0, 2, "write", bytes=200_000, defines=True),
        Access(3, 0, "read", bytes=500_000),
        Access(3, 1, "read", bytes=300_000),
        Access(5, 2, "read", bytes=200_000),
    )
    compute = (1e-4, 1e-3, 0.0, 1e-4, 0.0, 1e-4)
    instructions = tuple(
        Instruction(f"i{t}", compute_s=s, reserved_bytes=4096 * (t == 5))
        for t, s in enumerate(compute)
    )
    return Program(name, MACHINE, instructions, values, accesses, (Loop(2, 4, 3),))


MAPPING = Mapping(
    "small",
    "",
    (
        Residency(0, 0, 1, 5, COPIED),
        Residency(1, 500_736, 0, 5, DEFINED),
        Residency(2, 801_792, 4, 6, COPIED),
    ),
    (Transfer(0, 1, 2), Transfer(2, 4, 5)),
)


def row(program: str, mapper: str, latency: float, production: float | None, **more) -> dict:
    return {
        "program": program,
        "mapper": mapper,
        "latency_s": latency,
        "all_slow_latency_s": 2.0,
        "saved_fraction": 1 - latency / 2.0,
        "speedup_vs_production": production and production / latency - 1,
        "stall_fraction": 0.01,
        "gap_to_bound_closed": None,
        "verified": True,
        "seconds": 0.5,
        "decisions": 0,
        "drop_backups": 0,
    } | more


ROWS = [
    row("one", "production", 1.6, 1.6, gap_to_bound_closed=0.0),
    row("one", "agent", 1.25, 1.6, gap_to_bound_closed=0.5, decisions=1234, drop_backups=7),
    row("one", "bound", 1.0, 1.6),
    row("two", "production", 1.0, 1.0, gap_to_bound_closed=0.0, verified=False),
    row("two", "agent", 1.25, 1.0, gap_to_bound_closed=-0.1),
    row("three", "agent", 1.0, None),
]
RESULTS = {
    "suite": "<suite>",
    "machine": ["small"],
    "versions": {"python": "3", "jax": "0"},
    "command": ["evaluate.py", "--suite", "a & b"],
    "rows": ROWS,
    "summary": summarize(ROWS),
}


def test_summary_by_hand():
    summary = RESULTS["summary"]
    agent = summary["agent"]
    assert agent["programs"] == 3 and agent["verified"] == 3
    assert (agent["wins"], agent["losses"]) == (1, 1)
    # 1.6 / 1.25 - 1 = 0.28 and 1 / 1.25 - 1 = -0.2; the third program has no production
    assert agent["mean_speedup_vs_production"] == pytest.approx(0.04)
    assert agent["median_speedup_vs_production"] == pytest.approx(0.04)
    assert agent["geomean_speedup_vs_production"] == pytest.approx((1.28 * 0.8) ** 0.5 - 1)
    assert (agent["worst"], agent["best"]) == pytest.approx((-0.2, 0.28))
    assert agent["gap_to_bound_closed"] == pytest.approx(0.2)
    assert agent["mean_saved_fraction"] == pytest.approx((0.375 + 0.375 + 0.5) / 3)
    assert summary["production"]["verified"] == 1
    assert summary["production"]["wins"] == summary["production"]["losses"] == 0
    assert list(summary) == ["bound", "agent", "production"]  # most saved first


def test_summary_without_production():
    summary = summarize([row("three", "agent", 1.0, None)])["agent"]
    assert summary["mean_speedup_vs_production"] is None and summary["worst"] is None
    assert summary["wins"] == 0


def test_rows_are_sorted_by_what_they_save():
    assert [r["mapper"] for r in by_program(ROWS)["one"]] == ["bound", "agent", "production"]


def test_percent():
    assert percent(0.12345) == "12.35 %" and percent(None) == "-"
    assert percent(0.001, sign=True) == "+0.10 %" and percent(-0.5, sign=True) == "-50.00 %"


def test_printed_tables():
    out = io.StringIO()
    print_results(RESULTS, Console(file=out, width=120))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 120
    (agent, *_) = [line for line in lines if "agent" in line]
    for cell in ("37.50 %", "+28.00 %", "1,250,000.0", "1,234", "50.00 %"):
        assert cell in agent
    assert any("2 of 3" in line or "3 of 3" in line for line in lines)
    one = io.StringIO()
    print_results(RESULTS | {"rows": ROWS[:3]}, Console(file=one, width=120))
    assert "suite" not in one.getvalue()  # a summary of one program says nothing new


def test_layout_is_an_svg_with_every_residency(tmp_path):
    p = program()
    image = draw_layout(p, MAPPING, simulate(p, MAPPING), "hand", tmp_path / "layout.png")
    root = ElementTree.fromstring(image)
    text = " ".join(t for t in root.itertext() if t.strip())
    for expected in ("small <&> program: hand", "w$x$", "a<b>", "back", "loop, 3 times", "MiB"):
        assert expected in text
    for kind in ("input or weight, copied in", "produced there", "copied back", "reserved"):
        assert kind in text
    saved = simulate(p, MAPPING).saved_fraction
    assert f"{100 * saved:.2f} %" in text
    assert (tmp_path / "layout.png").read_bytes().startswith(b"\x89PNG")


def test_layout_is_reproducible():
    p = program()
    first, second = (draw_layout(p, MAPPING, simulate(p, MAPPING), "same") for _ in range(2))
    assert first == second


def test_layouts_of_odd_mappings_and_programs():
    for seed in range(3):
        p = random_program(np.random.default_rng(seed))
        assert draw_layout(p, all_slow(p), simulate(p, all_slow(p)), "all slow")
    idle = Program("idle", MACHINE, (Instruction("i"),) * 3, (Value("v", 9, is_input=True),), ())
    beyond = Mapping(
        "idle",
        "",
        (Residency(7, 0, 0, 1, COPIED), Residency(0, 0, 2, 99, COPIED), Residency(0, 0, 5, 6, "")),
        (Transfer(0, 4, 9), Transfer(0, -2, 1), Transfer(0, 1, 80)),
    )
    assert b"takes no time" in draw_layout(idle, beyond, simulate(idle, beyond), "odd")


class Page(HTMLParser):
    """Collects links, and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tables = 0

    def handle_starttag(self, tag, attrs):
        self.tables += tag == "table"
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open[-1] != tag and self.open[-1] in ("p", "td", "th"):
            self.open.pop()
        assert self.open.pop() == tag


def test_page(tmp_path):
    one, two = program("one"), program("two")
    layouts = [("hand", p, MAPPING, simulate(p, MAPPING)) for p in (one, two)]
    write_report(RESULTS, layouts, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert not page.open
    assert page.tables == 4  # the summary and three programs
    assert text.count("<svg") == 2
    assert all(address.startswith("#") for address in page.addresses)  # nothing from elsewhere
    assert not re.search(r"url\((?!#)|@import|<script|<link", text)
    assert "&lt;suite&gt;" in text and "a &amp; b" in text and "<suite>" not in text
    assert "37.50 %" in text and "class=bad>no<" in text


def test_page_of_one_program_has_no_summary(tmp_path):
    rows = ROWS[:3]
    results = {**RESULTS, "rows": rows, "summary": summarize(rows)}
    write_report(results, [], tmp_path / "report.html")
    assert "All programs" not in (tmp_path / "report.html").read_text()
