"""The HTML page, and the trace of a mapping."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser

import pytest

from gamekit.errors import InputError
from mallocgame.judge import simulate
from mallocgame.program import load_program
from mallocgame.program.mapping import all_slow
from mallocgame.report import (
    DrawnMapping,
    ProgramPictures,
    draw_layouts,
    summarize,
    write_report,
)
from mallocgame.report.buffers import draw_buffers
from mallocgame.report.suite_pictures import draw_suite
from mallocgame.report.trace import write_trace
from mallocgame.suites import find_programs, load_production
from tests.support.report_sample import MAPPING, RESULTS, ROWS, program


def test_trace_follows_the_format(tmp_path):
    """Checked against the Trace Event Format: phases, their fields, pairs, and times."""
    (path,) = find_programs(["tpu_v4_sample/resnet50_b1_inference_v4_8mib"])
    p = load_program(path)
    mapping = load_production(path, p)
    assert mapping is not None
    simulation = simulate(p, mapping)
    write_trace(p, mapping, simulation, "production", tmp_path / "t" / "x.trace.json")
    data = json.loads((tmp_path / "t" / "x.trace.json").read_text())
    assert data["displayTimeUnit"] in ("ms", "ns")
    events = data["traceEvents"]
    fields = {
        "X": {"name", "cat", "ts", "dur", "pid", "tid"},
        "b": {"name", "cat", "ts", "id", "pid", "tid"},
        "e": {"name", "cat", "ts", "id", "pid", "tid"},
        "C": {"name", "ts", "pid", "args"},
        "M": {"name", "pid", "args"},
    }
    end = 1e6 * simulation.latency_s
    for event in events:
        assert fields[event["ph"]] <= set(event)
        if event["ph"] != "M":
            assert 0 <= event["ts"] <= end * (1 + 1e-9)
    pairs: dict[tuple, list] = {}
    for event in events:
        if event["ph"] in "be":
            pairs.setdefault((event["cat"], event["id"], event["name"]), []).append(event)
    assert len(pairs) == len(mapping.prefetches) + len(mapping.evictions) > 0
    for begin, finish in pairs.values():
        assert (begin["ph"], finish["ph"]) == ("b", "e") and begin["ts"] <= finish["ts"]
    # Slices of one track follow each other, and with the stalls they are the whole time.
    slices = [e for e in events if e["ph"] == "X"]
    instructions = sorted((e for e in slices if e["tid"] == 2), key=lambda e: e["ts"])
    assert [e["name"] for e in instructions] == [i.name for i in p.instructions]
    for one, next_one in itertools.pairwise(instructions):
        assert one["ts"] + one["dur"] <= next_one["ts"] + 1e-6
    assert sum(e["dur"] for e in slices) == pytest.approx(end)  # no loops in this program
    assert any(e["tid"] == 3 for e in slices)  # production stalls here
    memory = [e["args"][""] for e in events if e["ph"] == "C" and "memory" in e["name"]]
    assert max(memory) <= p.machine.fast_capacity_bytes
    assert memory[:-1] == simulation.fast_bytes.tolist() and memory[-1] == 0


class Page(HTMLParser):
    """Collects links and tables, and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tables = 0

    def handle_starttag(self, tag, attrs):
        self.tables += tag == "table"
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in ("meta", "br", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        while self.open and self.open[-1] != tag and self.open[-1] in ("p", "td", "th"):
            self.open.pop()
        assert self.open.pop() == tag


def test_page(tmp_path):
    p = program()
    mappings = {"hand": MAPPING, "nothing": all_slow(p)}
    drawn = draw_layouts(
        p, [DrawnMapping(name, mapping, simulate(p, mapping)) for name, mapping in mappings.items()]
    )
    pictures = {"one": ProgramPictures(drawn, draw_buffers(p, {"hand": MAPPING}))}
    write_report(RESULTS, tmp_path / "report.html", pictures, draw_suite(ROWS))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert not page.open
    assert page.tables == 4  # the summary and three programs
    assert text.count("<svg") == 2 + 1 + 3
    assert all(address.startswith("#") for address in page.addresses)  # nothing from elsewhere
    assert not re.search(r"url\((?!#)|@import|<link|src=|fetch\(|import\(", text)
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text
    assert "&lt;suite&gt;" in text and "a &amp; b" in text and "<suite>" not in text
    assert "37.50 %" in text and "class=bad>no<" in text and "class=bad>1 of 2<" in text


def test_page_of_one_program_has_no_summary(tmp_path):
    rows = ROWS[:3]
    results = {**RESULTS, "rows": rows, "summary": summarize(rows)}
    write_report(results, tmp_path / "report.html")
    assert "All programs" not in (tmp_path / "report.html").read_text()


def test_page_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_report(RESULTS, tmp_path / "file" / "report.html")
