"""Statistics, tables, pictures, traces and the HTML page."""

from __future__ import annotations

import io
import itertools
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from gamekit.errors import InputError
from mallocgame.judge import simulate
from mallocgame.program import Access, Instruction, Loop, Program, Value, load_program
from mallocgame.program.machine import Machine
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer, all_slow
from mallocgame.report import (
    DrawnMapping,
    ProgramPictures,
    draw_layout,
    draw_layouts,
    markdown,
    print_results,
    result_tables,
    summarize,
    write_report,
)
from mallocgame.report.benefit import benefit, served_by, wanted_bytes
from mallocgame.report.buffers import buffer_shares, draw_buffers
from mallocgame.report.program_pictures import shown
from mallocgame.report.statistics import geometric, interval, mean, median, pool_seeds
from mallocgame.report.suite_pictures import draw_learning, draw_suite, load_metrics
from mallocgame.report.tables import between, by_program, percent
from mallocgame.report.timeline import open_windows
from mallocgame.report.trace import trace, write_trace
from mallocgame.suites import find_programs, load_production
from mallocgame.synthetic.random_programs import random_program

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
        "status": "ok",
        "reason": "",
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
    assert lines[0] == "## suite <suite>"
    header, rule, bound = lines[2:5]
    assert header.count("|") == rule.count("|") == bound.count("|") == 14
    assert bound.startswith("| bound | 50.00 % | +60.00 % |")
    assert sum(line.startswith("## ") for line in lines) == 4


@pytest.fixture(scope="module")
def layouts():
    p = program()
    nothing = all_slow(p)
    return p, [
        DrawnMapping("hand", MAPPING, simulate(p, MAPPING)),
        DrawnMapping("nothing", nothing, simulate(p, nothing)),
    ]


def test_layout_is_an_svg_with_every_residency(layouts):
    p, (hand, nothing) = layouts
    image = draw_layout(p, hand, [nothing])
    root = ElementTree.fromstring(image)
    text = " ".join(t for t in root.itertext() if t.strip())
    for expected in ("small <&> program: hand", "w$x$", "a<b>", "back", "MiB"):
        assert expected in text
    for kind in ("input or weight, copied in", "produced there", "copied back", "reserved"):
        assert kind in text
    assert f"{100 * hand.simulation.saved_fraction:.2f} %" in text
    stays = [g for g in root.iter() if g.get("class") == "stay"]
    assert len(stays) == len(MAPPING.residencies)
    titles = [stay[0].text or "" for stay in stays]
    assert [title.splitlines()[0] for title in titles] == ["w$x$", "a<b>", "back"]
    assert "0.48 MiB at 0.00 MiB, slots 1 to 5" in titles[0]
    # The page's ink and paper, nothing that is black on black in the dark.
    assert "currentColor" in image and "#000000" not in image and "#ffffff" not in image


def test_layout_names_loops():
    (path,) = find_programs(["tpu_v4_sample/lstm_scan_v4_64mib"])
    p = load_program(path)
    image = draw_layout(p, DrawnMapping("all slow", all_slow(p), simulate(p, all_slow(p))))
    assert "loop, 64 times" in image and "each loop body once" in image


def test_layout_files(layouts, tmp_path):
    p, both = layouts
    for colour in ("kind", "saving"):
        draw_layouts(p, both, tmp_path / colour, colour)
        text = (tmp_path / f"{colour}.svg").read_text()
        assert "small &lt;&amp;&gt; program: hand" in text and "nothing" in text
        assert (tmp_path / f"{colour}.png").read_bytes().startswith(b"\x89PNG")
    assert "saves at most" in text


def test_layout_is_reproducible(layouts):
    p, (hand, _) = layouts
    assert draw_layout(p, hand) == draw_layout(p, hand)


def test_layouts_of_odd_mappings_and_programs():
    for seed in range(3):
        p = random_program(np.random.default_rng(seed))
        assert draw_layout(p, DrawnMapping("all slow", all_slow(p), simulate(p, all_slow(p))))
    idle = Program("idle", MACHINE, (Instruction("i"),) * 3, (Value("v", 9, is_input=True),), ())
    beyond = Mapping(
        "idle",
        "",
        (Residency(7, 0, 0, 1, COPIED), Residency(0, 0, 2, 99, COPIED), Residency(0, 0, 5, 6, "")),
        (Transfer(0, 4, 9), Transfer(0, -2, 1), Transfer(0, 1, 80)),
    )
    assert "takes no time" in draw_layout(idle, DrawnMapping("odd", beyond, simulate(idle, beyond)))
    assert draw_buffers(idle, {"odd": beyond}) == ""
    assert json.dumps(trace(idle, beyond, simulate(idle, beyond), "odd"), allow_nan=False)
    assert open_windows(beyond.prefetches, 3).tolist() == [1, 1, 1]


SAMPLES = ("lstm_scan_v4_64mib", "resnet50_b1_inference_v4_4mib", "transformer_scan_train_v4_16mib")


@pytest.mark.parametrize("name", SAMPLES)
def test_served_accesses_make_the_judges_times(name):
    """What the pictures take for served from fast memory gives each instruction's time."""
    (path,) = find_programs([f"tpu_v4_sample/{name}"])
    p = load_program(path)
    mapping = load_production(path, p)
    assert mapping is not None
    served = np.zeros(len(p.accesses), dtype=bool)
    for accesses in served_by(p, mapping):
        served[accesses] = True
    reads, writes = np.zeros(len(p.instructions)), np.zeros(len(p.instructions))
    for access, fast in zip(p.accesses, served, strict=True):
        seconds = access.fast_s if fast else access.slow_s
        (reads if access.kind == "read" else writes)[access.instruction] += seconds or 0.0
    elapsed = [
        max(i.compute_s, i.fixed_read_s + r, i.fixed_write_s + w)
        for i, r, w in zip(p.instructions, reads, writes, strict=True)
    ]
    assert elapsed == pytest.approx(simulate(p, mapping).elapsed_s.tolist(), rel=1e-9)
    assert 0 < served.mean() < 1


def test_benefit_is_what_the_judge_sees_saved():
    """A value alone in fast memory, without stalls, saves no more than its worth."""
    p = program()
    worth = benefit(p)
    slow = simulate(p, all_slow(p))
    alone = Mapping("small", "", (Residency(0, 0, 0, 5, COPIED),), (Transfer(0, 0, 2),))
    saved = slow.elapsed_s - simulate(p, alone).elapsed_s
    gained = float(np.array(p.weights) @ saved) / slow.all_slow_latency_s
    assert 0 < gained <= worth.of_value[0] + 1e-12
    assert worth.of_access[0] >= 0 and worth.of_value.sum() == pytest.approx(worth.of_access.sum())


def test_wanted_bytes_by_hand():
    # `a` and `back` are defined at 0 and read at 3 and 5; `w`, an input, is used in the loop alone,
    # in every iteration.
    wanted = [500_000, 500_000, 1_000_000, 1_000_000, 1_000_000, 200_000]
    assert wanted_bytes(program()).tolist() == wanted


def test_buffers_by_hand():
    p = program()
    values, shares = buffer_shares(p, {"nothing": all_slow(p), "hand": MAPPING})
    worth = benefit(p).of_value
    assert values == sorted(values, key=lambda v: -worth[v])
    assert shares[:, 0].tolist() == [0.0] * len(values)
    # All of w is read from fast memory.
    assert shares[values.index(0), 1] == pytest.approx(1)
    picture = draw_buffers(p, {"nothing": all_slow(p), "hand": MAPPING})
    assert "w$x$" in picture and ">100<" in picture


def test_pictures_of_a_suite(tmp_path):
    pictures = draw_suite(ROWS, tmp_path / "suite")
    assert len(pictures) == 3
    for name in ("speedup", "gap", "decisions"):
        assert (tmp_path / f"suite-{name}.png").stat().st_size > 1000
        ElementTree.parse(tmp_path / f"suite-{name}.svg")
    assert draw_suite(ROWS[:3]) == {}


def test_what_is_shown():
    rows = ROWS[:3]
    assert shown(rows) == ["production", "agent"]
    better = row("one", "local_search", 1.1, 1.6)
    assert shown([*rows, better]) == ["production", "agent", "local_search"]
    assert shown([*rows, row("one", "greedy", 1.3, 1.6)]) == ["production", "agent"]
    assert shown([row("one", "greedy", 1.3, None), rows[2]]) == ["greedy"]
    assert shown([]) == []


def test_learning_curve(tmp_path):
    lines = [
        {"wall_s": 60.0 * i, "best_saved": 0.1 + 0.01 * i}
        | {f"return_{k}": 0.1 * i * f for k, f in (("min", 0.5), ("mean", 0.8), ("max", 1.0))}
        for i in range(1, 5)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "minutes of training" in draw_learning(load_metrics(tmp_path), tmp_path / "learning")
    assert (tmp_path / "learning.svg").exists()
    assert load_metrics(tmp_path / "nowhere") == [] and draw_learning([]) == ""
    (tmp_path / "metrics.jsonl").write_text('{"wall_s": 1}\n{"wal')
    with pytest.raises(InputError, match="line 2"):
        load_metrics(tmp_path)


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


def test_page(layouts, tmp_path):
    p, (hand, nothing) = layouts
    drawn = (draw_layout(p, hand), draw_layout(p, nothing))
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
    with pytest.raises(InputError, match="cannot be written"):
        write_report(RESULTS, tmp_path / "nowhere" / "report.html")
