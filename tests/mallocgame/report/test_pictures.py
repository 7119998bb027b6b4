"""Pictures of mappings, buffers and suites, and the figures in them."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.image import imread

from mallocgame.judge import simulate
from mallocgame.program import Instruction, Program, Value, load_program
from mallocgame.program.mapping import COPIED, Mapping, Residency, Transfer, all_slow
from mallocgame.report import (
    DrawnMapping,
    draw_layouts,
)
from mallocgame.report.benefit import benefit, served_by, wanted_bytes
from mallocgame.report.buffers import buffer_shares, draw_buffers
from mallocgame.report.layout_picture import PRODUCED, RETURNED
from mallocgame.report.program_pictures import shown
from mallocgame.report.suite_pictures import draw_learning, draw_suite, load_metrics
from mallocgame.report.timeline import open_windows
from mallocgame.report.trace import trace
from mallocgame.suites import find_programs, load_production
from mallocgame.synthetic.random_programs import random_program
from tests.support.report_sample import MACHINE, MAPPING, ROWS, program, row


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
    image, _ = draw_layouts(p, [hand, nothing])
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
    (image,) = draw_layouts(p, [DrawnMapping("all slow", all_slow(p), simulate(p, all_slow(p)))])
    assert "loop, 64 times" in image and "each loop body once" in image


def test_layout_files(layouts, tmp_path):
    p, both = layouts
    draw_layouts(p, both, tmp_path / "one")
    shades = {}
    for name in ("layout", "saving"):
        path = tmp_path / f"one.{name}.svg"
        root = ElementTree.parse(path).getroot()
        drawn = [part for part in root if part.tag.endswith("svg")]
        middle = float(root.get("width", "").removesuffix("pt")) / 2
        assert [float(part.get("x", "")) for part in drawn] == [0.0, middle]
        text = path.read_text()
        assert "small &lt;&amp;&gt; program: hand" in text and "nothing" in text
        assert ("saves at most" in text) == (name == "saving")
        assert ("input or weight, copied in" in text) == (name == "layout")
        assert not _references(text) - set(re.findall(r' id="([^"]+)"', text))
        image = imread(tmp_path / f"one.{name}.png")[..., :3]
        assert image.shape[:2] == (930, 2220)
        shades[name] = {to_hex(colour) for colour in np.unique(image.reshape(-1, 3), axis=0)}
    kinds = {PRODUCED, RETURNED}  # the other one is that of prefetches too
    assert kinds <= shades["layout"] and not kinds & shades["saving"]


def _references(text: str) -> set[str]:
    """The ids that SVG refers to."""
    return set(re.findall(r'(?:href="|url\()#([^")]+)', text))


def test_residencies_are_where_matplotlib_draws_them(layouts, tmp_path):
    """The paths that we put into the SVG cover the pixels of the PNG, in both colours."""
    p, (hand, _) = layouts
    draw_layouts(p, [hand], tmp_path / "one")
    for name in ("layout", "saving"):
        image = imread(tmp_path / f"one.{name}.png")[..., :3]
        paths = re.findall(
            r'<path d="M (\S+) (\S+) H (\S+) V (\S+) H \S+ z" clip-path="\S+" '
            r'style="fill: (#\w+)',
            (tmp_path / f"one.{name}.svg").read_text(),
        )
        assert len(paths) == len(MAPPING.residencies)
        for *sides, colour in paths:
            left, bottom, right, top = (float(side) * 150 / 72 for side in sides)
            inside = image[round(top) + 2 : round(bottom) - 2, round(left) + 2 : round(right) - 2]
            assert np.mean(np.abs(inside - to_rgb(colour)).max(axis=-1) < 0.01) > 0.8
            # A pixel beyond every side is of another colour.
            middle = image[round((top + bottom) / 2), :], image[:, round((left + right) / 2)]
            for line, first, last in ((middle[0], left, right), (middle[1], top, bottom)):
                for at in (round(first) - 2, round(last) + 2):
                    assert np.abs(line[at] - to_rgb(colour)).max() > 0.01


def test_names_are_dark_where_residencies_are_light(tmp_path):
    (path,) = find_programs(["tpu_v4/resnet50_b1_inference"])
    p = load_program(path)
    mapping = load_production(path, p)
    assert mapping is not None
    draw_layouts(p, [DrawnMapping("one", mapping, simulate(p, mapping))], tmp_path / "one")
    found = {}
    for name in ("layout", "saving"):
        text = (tmp_path / f"one.{name}.svg").read_text()
        faces = re.findall(r'H \S+ z" clip-path="\S+" style="fill: (#\w+)', text)
        assert len(faces) == len(mapping.residencies)
        of_value = {
            p.values[r.value].name: f for r, f in zip(mapping.residencies, faces, strict=True)
        }
        labels = re.findall(r'fill: (#333333|#fffffe)"[^>]*>([^<…]*)</text>', text)
        for ink, label in labels:
            light = np.dot(to_rgb(of_value[label]), (0.3, 0.6, 0.1)) > 0.5
            assert ink == ("#333333" if light else "#fffffe"), label
        found[name] = {ink for ink, _ in labels}
    assert found["layout"] | found["saving"] == {"#333333", "#fffffe"}
    assert found["layout"] != found["saving"]


def test_layout_is_reproducible(layouts):
    p, (hand, _) = layouts
    assert draw_layouts(p, [hand]) == draw_layouts(p, [hand])


def test_layouts_of_odd_mappings_and_programs():
    for seed in range(3):
        p = random_program(np.random.default_rng(seed))
        (image,) = draw_layouts(p, [DrawnMapping("slow", all_slow(p), simulate(p, all_slow(p)))])
        assert 'class="stay"' not in image
    idle = Program("idle", MACHINE, (Instruction("i"),) * 3, (Value("v", 9, is_input=True),), ())
    beyond = Mapping(
        "idle",
        "",
        (Residency(7, 0, 0, 1, COPIED), Residency(0, 0, 2, 99, COPIED), Residency(0, 0, 5, 6, "")),
        (Transfer(0, 4, 9), Transfer(0, -2, 1), Transfer(0, 1, 80)),
    )
    (image,) = draw_layouts(idle, [DrawnMapping("odd", beyond, simulate(idle, beyond))])
    assert "takes no time" in image and image.count('class="stay"') == 1
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
    assert wanted_bytes(program(), benefit(program())).tolist() == wanted


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


def test_a_torn_line_of_metrics_costs_that_line(tmp_path, capsys):
    good = [{"wall_s": float(i), "best_saved": 0.1 * i} for i in range(1, 4)]
    torn = ['{"wall_s": 1, "be', "\0\0", '{"wall_s": "x"}', '{"wall_s": NaN}', "[]"]
    torn += ['{"best_saved": 1}', '{"wall_s": 1e999}', '{"wall_s": 1, "return_mean": 1}']
    torn += ['{"wall_s": 1}x', "[" * 9_999]
    one, two, three = map(json.dumps, good)
    lines = [one, *torn, two, '{"wall_s": 5\xff}', three]
    (tmp_path / "metrics.jsonl").write_bytes("\n".join(lines).encode("latin-1"))
    returns = dict.fromkeys(("return_mean", "return_min", "return_max"))
    assert load_metrics(tmp_path) == [line | returns for line in good]
    said = capsys.readouterr().err.splitlines()
    numbers = [2 + i for i in range(len(torn))] + [len(torn) + 3]
    assert [int(line.split("line ")[1].split()[0]) for line in said] == numbers
