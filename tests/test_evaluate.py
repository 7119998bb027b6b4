"""evaluate.py: its contract, what it survives, and one clear line for every bad input."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import IO

import numpy as np
import pytest

import evaluate
from gamekit.errors import InputError
from mallocgame.evaluation import evaluation as evaluation_module
from mallocgame.evaluation import plan
from mallocgame.evaluation.bench import Bench, Outcome
from mallocgame.evaluation.compare import compare
from mallocgame.evaluation.evaluation import Evaluation
from mallocgame.evaluation.evaluation import evaluate as run_evaluation
from mallocgame.game.options import GAME_VERSION
from mallocgame.judge import simulate, verify
from mallocgame.program import load_program, save_program
from mallocgame.program.mapping import all_slow, load_mapping, save_mapping
from mallocgame.suites import SUITES, load_programs
from mallocgame.synthetic.random_programs import random_program

ROOT = Path(__file__).parents[1]
NAME = "lstm_scan_v4_64mib"
SAMPLE = f"tpu_v4_sample/{NAME}"
PATH = SUITES / "tpu_v4_sample" / f"{NAME}.program.json.gz"
OTHER = "resnet50_b1_inference_v4_4mib"


def command(folder: Path, *more: str) -> list[str]:
    """An evaluation without games, which need no compilation and so no time."""
    return ["--suite", SAMPLE, "--out", str(folder), "--no-pictures", *more]


def rows_of(folder: Path) -> list[dict]:
    return json.loads((folder / "results.json").read_text())["rows"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Two programs, two budgets and seeds, two processes, with pictures."""
    folder = tmp_path_factory.mktemp("evaluation") / "out"
    code = evaluate.main(
        ["--suite", SAMPLE, f"tpu_v4_sample/{OTHER}", "--out", str(folder), "--processes", "2",
         "--mappers", "production,msa,local_search,bound", "--budget", "0.2,0.4", "--seeds", "0,1"]
    )  # fmt: skip
    assert code == 0
    return folder


def follow_the_contract(rows: dict[str, dict]) -> None:
    """Checks rows of the LSTM, by mapper."""
    for row in rows.values():
        assert row["verified"] is True and row["status"] == "ok"
        assert row["saved_fraction"] == pytest.approx(
            1 - row["latency_s"] / row["all_slow_latency_s"]
        )
        assert row["speedup_vs_production"] == pytest.approx(
            rows["production"]["latency_s"] / row["latency_s"] - 1
        )
        assert row["latency_s"] >= rows["bound"]["latency_s"] * (1 - 1e-9)
    # The compiler's own cycles with its assignment off and on: 78,794 and 55,742.
    assert rows["production"]["saved_fraction"] == pytest.approx(1 - 55742 / 78794, abs=1e-5)


def test_results_follow_the_contract(out):
    results = json.loads((out / "results.json").read_text())
    assert {"suite", "machine", "versions", "rows", "summary"} <= set(results)
    rows = {row["mapper"]: row for row in results["rows"] if row["program"] == NAME}
    assert list(rows) == ["production", "msa", "local_search@0.2s", "local_search@0.4s", "bound"]
    follow_the_contract(rows)
    assert results["summary"]["msa"]["programs"] == 2
    found = [(row["mapper"], row["seed"]) for row in results["rows"] if row["program"] == OTHER]
    assert found == [
        ("production", None), ("msa", None), ("local_search@0.2s", 0), ("local_search@0.2s", 1),
        ("local_search@0.4s", 0), ("local_search@0.4s", 1), ("bound", None),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_default_mappers(tmp_path):
    assert evaluate.main(command(tmp_path / "out")) == 0
    rows = {row["mapper"]: row for row in rows_of(tmp_path / "out")}
    assert set(rows) == {"production", "imitated", "all_fast", "greedy", "random", "bound"}
    follow_the_contract(rows)
    assert rows["greedy"]["saved_fraction"] >= rows["all_fast"]["saved_fraction"]
    assert rows["greedy"]["decisions"] > 0


def test_every_mapping_verifies_from_disk(out):
    programs = {p.name: p for p in load_programs([SAMPLE, f"tpu_v4_sample/{OTHER}"])}
    written = {path.name for path in (out / "mappings").iterdir()}
    for row in rows_of(out):
        if row["mapper"] == "bound":
            continue
        written.remove(row["mapping"])
        program = programs[row["program"]]
        mapping = load_mapping(out / "mappings" / row["mapping"], program)
        assert verify(program, mapping) == []
        assert simulate(program, mapping).latency_s == row["latency_s"]
    assert not written


class Cells(HTMLParser):
    """The text of every table, as lists of rows of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._inside = False

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._inside = True

    def handle_endtag(self, tag):
        self._inside = self._inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self._inside:
            self.tables[-1][-1][-1] += data


def test_the_reports_figures_equal_the_results(out):
    page = Cells()
    page.feed((out / "report.html").read_text())
    summary, *programs = page.tables
    results = json.loads((out / "results.json").read_text())
    wanted = {name: s["mean_saved_fraction"] for name, s in results["summary"].items()}
    shown = {row[0]: row for row in summary[1:]}
    assert set(shown) == set(wanted)
    for name, saved in wanted.items():
        assert shown[name][1] == f"{100 * saved:.2f} %"
    assert len(programs) == 2
    for program, table in zip((NAME, OTHER), programs, strict=True):
        head, *lines = table
        mine = [row for row in results["rows"] if row["program"] == program]
        assert {line[0] for line in lines} == {row["mapper"] for row in mine}
        for line in lines:
            cells = dict(zip(head, line, strict=True))
            group = [row for row in mine if row["mapper"] == line[0]]
            saved, latency, speedup = (
                np.mean([row[field] for row in group])
                for field in ("saved_fraction", "latency_s", "speedup_vs_production")
            )
            assert cells["saved"] == f"{100 * saved:.2f} %"
            assert cells["latency, µs"] == f"{1e6 * latency:,.1f}"
            assert cells["vs production"] == f"{100 * speedup:+.2f} %"
    text = (out / "tables.md").read_text()
    for row in summary[1:]:
        assert f"| {row[0]} | {row[1]} |" in text


def test_pictures_and_traces_are_written(out):
    names = {path.name for path in (out / "pictures").iterdir()}
    for stem in (NAME, OTHER):
        for kind in ("layout", "saving", "buffers"):
            assert {f"{stem}.{kind}.svg", f"{stem}.{kind}.png"} <= names
        assert (out / "traces" / f"{stem}.production.trace.json").exists()
    assert "suite-speedup.png" in names
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 2 * 3 + 2
    assert ' src="' not in page and "@import" not in page  # nothing is loaded from elsewhere


def test_results_are_not_overwritten(out, capsys):
    before = (out / "results.json").read_bytes()
    assert evaluate.main(["--suite", "tpu_v4_sample", "--out", str(out)]) == 2
    assert (out / "results.json").read_bytes() == before
    _one_line(capsys, "holds results already")


def test_overwriting_leaves_nothing_of_before(tmp_path, capsys):
    folder = tmp_path / "out"
    assert evaluate.main(command(folder, "--mappers", "production,msa")) == 0
    assert evaluate.main(command(folder, "--mappers", "production", "--overwrite")) == 0
    assert [row["mapper"] for row in rows_of(folder)] == ["production"]
    names = [path.name for path in (folder / "mappings").iterdir()]
    assert names == [f"{NAME}.production.mapping.json.gz"]


def test_programs_without_production_are_evaluated(tmp_path):
    program = random_program(np.random.default_rng(5))
    save_program(program, tmp_path / "suite" / "random.program.json")
    code = evaluate.main(["--suite", str(tmp_path / "suite"), "--mappers", "production,msa",
                          "--out", str(tmp_path / "out")])  # fmt: skip
    rows = rows_of(tmp_path / "out")
    assert code == 0
    assert [row["speedup_vs_production"] for row in rows] == [None]


class Faulty(Bench):
    """Mappers that do everything wrong; `production` does it right."""

    def run(self, program, production, entry):
        if entry.mapper == "all_fast":
            raise ZeroDivisionError("a bug\nof two lines")
        if entry.mapper == "greedy":
            os.kill(os.getpid(), signal.SIGKILL)
        if entry.mapper == "belady":
            time.sleep(600)
        if entry.mapper == "msa":  # a value twice at one place
            twice = production.residencies[:1] * 2
            return Outcome(dataclasses.replace(production, residencies=twice), 0.0)
        return super().run(program, production, entry)


class Killed(Bench):
    """Its process dies of everything but `production`."""

    def run(self, program, production, entry):
        if entry.mapper != "production":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(program, production, entry)


def an_evaluation(folder: Path, mappers: tuple[str, ...], **more) -> Evaluation:
    options = {
        "suite": NAME,
        "subjects": plan.load_subjects([SAMPLE]),
        "entries": plan.expand(mappers, (1.0,), (0,)),
        "bench": Faulty(),
        "player": {},
        "run": None,
        "command": [],
        "out": folder,
        "grace_s": 5.0,
        "processes": 1,
        "retry": False,
        "overwrite": False,
        "pictures": False,
    }
    return Evaluation(**(options | more))


def test_a_mapper_that_fails_costs_its_row(tmp_path, capsys):
    mappers = ("all_fast", "greedy", "belady", "msa", "production", "bound")
    assert run_evaluation(an_evaluation(tmp_path / "out", mappers)) == 1
    rows = {row["mapper"]: row for row in rows_of(tmp_path / "out")}
    assert list(rows) == list(mappers)
    failures = {
        "all_fast": ("failed", "ZeroDivisionError: a bug of two lines"),
        "greedy": ("died", "its process ended with SIGKILL"),
        "belady": ("timed out", "took more than 5 s"),
    }
    for mapper, (status, reason) in failures.items():
        row = rows[mapper]
        assert (row["status"], row["reason"]) == (status, reason)
        assert row["saved_fraction"] is None and row["verified"] is None
    assert rows["msa"]["status"] == "ok" and rows["msa"]["verified"] is False
    assert rows["production"]["verified"] and rows["bound"]["verified"]
    errors = capsys.readouterr().err
    assert f"{NAME}: greedy: died: its process ended with SIGKILL" in errors
    assert f"{NAME}: msa: the judge rejects it: '" in errors


def test_only_rows_that_failed_are_retried(tmp_path, capsys):
    folder, mappers = tmp_path / "out", ("msa", "production")
    assert run_evaluation(an_evaluation(folder, mappers, bench=Killed())) == 1
    rows = (folder / "rows.jsonl").read_text()
    assert [row["status"] for row in rows_of(folder)] == ["died", "ok"]
    assert evaluate.main(command(folder, "--mappers", "msa,production")) == 2
    _one_line(capsys, "holds results already; choose another or say --overwrite (--retry: only")
    for _ in range(2):  # the second time there is nothing left to do
        assert run_evaluation(an_evaluation(folder, mappers, bench=Bench(), retry=True)) == 0
        assert [row["status"] for row in rows_of(folder)] == ["ok", "ok"]
    again = (folder / "rows.jsonl").read_text()
    assert again.startswith(rows) and len(again.splitlines()) == len(rows.splitlines()) + 1


def started(arguments: list[str]) -> tuple[subprocess.Popen[str], IO[str]]:
    """An evaluation in a process of its own, and what it says on stderr."""
    process = subprocess.Popen(
        [sys.executable, "evaluate.py", *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        # A shell's background jobs, and all that they start, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr is not None
    return process, process.stderr


def test_an_interrupted_evaluation_goes_on(tmp_path):
    folder = tmp_path / "out"
    arguments = command(folder, "--mappers", "production,local_search,bound")
    arguments += ["--budget", "2", "--seeds", "0,1,2"]
    arguments[1] = f"tpu_v4_sample/{OTHER}"
    process, errors = started(arguments)
    assert "1/5" in errors.readline()
    process.kill()  # in the middle of the first search
    process.wait()
    errors.read()  # its own processes end with it: nobody holds the pipe any more
    assert not (folder / "results.json").exists()
    before = (folder / "rows.jsonl").read_text()
    assert len(before.splitlines()) == 2
    # A mark that nobody else makes stays: what was found is not computed again.  And the end came
    # when half a line was written.
    marked = before.replace('"seconds": 0.0', '"seconds": 123.0', 1)
    assert marked != before
    (folder / "rows.jsonl").write_text(marked + before.splitlines()[-1][:50])
    assert evaluate.main(arguments) == 0
    assert (folder / "rows.jsonl").read_text().startswith(marked)
    rows = rows_of(folder)
    assert [row["seconds"] for row in rows if row["mapper"] == "production"] == [123.0]
    assert [(row["mapper"], row["seed"]) for row in rows] == [
        ("production", None), ("local_search", 0), ("local_search", 1), ("local_search", 2),
        ("bound", None),
    ]  # fmt: skip
    assert all(row["verified"] for row in rows)


def test_ctrl_c_is_one_line(tmp_path):
    arguments = command(tmp_path / "out", "--mappers", "production,local_search", "--budget", "60")
    arguments[1] = f"tpu_v4_sample/{OTHER}"
    process, errors = started(arguments)
    assert "1/2" in errors.readline()
    process.send_signal(signal.SIGINT)
    assert errors.read() == "evaluate.py: stopped; the same command goes on from here\n"
    assert process.wait() == 130


def test_another_configuration_is_refused(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "out"
    assert (
        evaluate.main(command(folder, "--mappers", "production,local_search", "--budget", "0")) == 0
    )
    (folder / "results.json").unlink()  # as if it had been interrupted
    for more, message in (
        (
            ["--mappers", "production"],
            "was made with mappers production,local_search, not production",
        ),
        (["--mappers", "production,local_search", "--seeds", "3"], "was made with seeds 0, not 3"),
    ):
        capsys.readouterr()
        assert evaluate.main(command(folder, "--budget", "0", *more)) == 2
        _one_line(capsys, message)
    with monkeypatch.context() as patch:
        patch.setattr(evaluation_module, "GAME_VERSION", GAME_VERSION + 1)
        again = command(folder, "--mappers", "production,local_search", "--budget", "0")
        assert evaluate.main(again) == 2
    _one_line(capsys, f"was made with game {GAME_VERSION}, not {GAME_VERSION + 1}")
    other = command(folder, "--mappers", "production,local_search", "--budget", "0")
    other[1] = f"tpu_v4_sample/{OTHER}"
    assert evaluate.main(other) == 2
    _one_line(capsys, f"was made with another programs: {NAME}, {OTHER}")
    (folder / "rows.jsonl").write_text("no rows\n")
    assert (
        evaluate.main(command(folder, "--mappers", "production,local_search", "--budget", "0")) == 2
    )
    _one_line(capsys, "line 1 is damaged")


def test_the_better_of_two_by_seed(tmp_path):
    """`agent` and `hybrid` are made from others' rows, seed by seed, and written as such."""
    entries = plan.expand(plan.choose_mappers("hybrid,bound", True), (1.0,), (0, 1))
    evaluation = an_evaluation(tmp_path / "out", (), bench=Learned(), entries=entries)
    assert run_evaluation(evaluation) == 0
    rows = {(row["mapper"], row["seed"]): row for row in rows_of(tmp_path / "out")}
    production = rows["production", None]["latency_s"]
    assert rows["agent", 0]["saved_fraction"] == 0 and rows["agent", 1]["latency_s"] == production
    assert rows["hybrid", 0]["latency_s"] == production
    assert ("trained_best", None) not in rows  # it does not apply
    program = load_program(PATH)
    hybrid = load_mapping(tmp_path / "out" / "mappings" / rows["hybrid", 0]["mapping"], program)
    assert simulate(program, hybrid).latency_s == production


class Learned(Bench):
    """`played` is as good as production with seed 1, of no use with seed 0."""

    def run(self, program, production, entry):
        if entry.mapper == "trained_best":
            return None
        if entry.mapper == "played":
            return Outcome(production if entry.seed else all_slow(program), 1.0, 7)
        return super().run(program, production, entry)


def test_plans():
    assert plan.choose_mappers(None, False) == (
        "production", "imitated", "all_fast", "greedy", "random", "bound",
    )  # fmt: skip
    assert set(plan.choose_mappers("all", True)) == set(plan.MAPPERS)
    assert not set(plan.choose_mappers("all", False)) & set(plan.LEARNED)
    assert plan.choose_mappers("greedy, greedy", False) == ("greedy",)
    assert "played_on" not in plan.choose_mappers(None, True)
    needed = plan.choose_mappers("hybrid", True)
    assert set(needed) == {"hybrid", "agent", "production", "played", "trained_best"}
    one = plan.expand(("milp", "msa"), (5.0,), (0, 3))
    assert [(e.label, e.budget_s, e.seed) for e in one] == [
        ("milp", 5.0, 0), ("milp", 5.0, 3), ("msa", None, None),
    ]  # fmt: skip
    labels = {e.label for e in plan.expand(("milp", "greedy"), (0.5, 60.0), (0,))}
    assert labels == {"milp@0.5s", "milp@60s", "greedy"}


def test_comparison_by_hand():
    def results(**latencies: float) -> dict:
        return {
            "rows": [
                {
                    "program": name, "mapper": "greedy", "fingerprint": name[0], "status": "ok",
                    "latency_s": latency, "saved_fraction": 1 - latency / 10, "verified": True,
                    "seed": None, "seconds": 0.0, "decisions": 0, "drop_backups": 0,
                }
                for name, latency in latencies.items()
            ]
        }  # fmt: skip

    first = results(a=5.0, b=8.0, c=4.0, d=1.0)
    second = results(a=4.0, b=8.0, c=5.0, e=1.0)
    second["rows"][1]["fingerprint"] = "another"
    found = compare(first, second)
    assert [row["program"] for row in found["rows"]] == ["a", "c"]
    assert found["changed_programs"] == ["b"]
    assert found["only_first"]["programs"] == ["d"] and found["only_second"]["programs"] == ["e"]
    greedy = found["summary"]["greedy"]
    assert greedy["difference"] == pytest.approx((0.1 - 0.1) / 2)
    assert greedy["speedup"] == pytest.approx((5 / 4 - 1 + 4 / 5 - 1) / 2)
    assert greedy["difference_ci95"] == pytest.approx([-0.1, 0.1])
    assert (greedy["better"], greedy["equal"], greedy["worse"]) == (1, 0, 1)
    with pytest.raises(InputError, match="no mapper ran on the same program"):
        compare(results(a=1.0), results(b=1.0))


def test_comparison_of_files(out, tmp_path, capsys):
    path = str(out / "results.json")
    assert evaluate.main(["--compare", path, path, "--out", str(tmp_path / "both")]) == 0
    assert "+0.00 %" in capsys.readouterr().out
    data = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert {row["difference"] for row in data["rows"]} == {0.0}
    assert "| msa | 2 |" in (tmp_path / "both" / "comparison.md").read_text()
    assert evaluate.main(["--compare", path, str(tmp_path / "none.json")]) == 2
    _one_line(capsys, "none.json: no such file")
    (tmp_path / "other.json").write_text('{"rows": [{}]}')
    assert evaluate.main(["--compare", path, str(tmp_path / "other.json")]) == 2
    _one_line(capsys, "other.json: no results of evaluate.py")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "nowhere"], "nowhere: neither a file"),
        (["--suite", "tpu_v4_sample", "--mappers", "magic"], "--mappers 'magic': unknown"),
        (["--suite", "tpu_v4_sample", "--mappers", "agent"], "needs --checkpoint"),
        (["--suite", "tpu_v4_sample", "--checkpoint", "nowhere"], "nowhere: no training run"),
        (["--suite", "tpu_v4_sample", "--games", "0"], "--games 0: at least 1"),
        (["--suite", "tpu_v4_sample", "--processes", "0"], "--processes 0: at least 1"),
        (["--suite", "tpu_v4_sample", "--budget", "10,x"], "--budget x: is no time"),
        (["--suite", "tpu_v4_sample", "--seeds", "0,-1"], "--seeds -1: is no whole number"),
        (["--suite", "tpu_v4_sample", "--grace", "nan"], "--grace nan: is no time"),
        (["--suite", SAMPLE, SAMPLE], f"'{NAME}' is there twice"),
        ([], "--suite: is missing"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    assert evaluate.main([*arguments, "--out", str(out)]) == 2
    _one_line(capsys, message)
    assert not out.exists()


def test_a_broken_program_file_is_one_line(tmp_path, capsys):
    path = tmp_path / "broken.program.json.gz"
    path.write_bytes(PATH.read_bytes()[:500])
    assert evaluate.main(["--suite", str(path), "--out", str(tmp_path / "out")]) == 2
    _one_line(capsys, "broken.program.json.gz")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for folder, message in ((tmp_path / "file", "is a file"),
                            (tmp_path / "file" / "out", "cannot be written")):  # fmt: skip
        assert evaluate.main(command(folder)) == 2
        _one_line(capsys, message)


def test_a_mapping_of_another_program_is_one_line(tmp_path, capsys):
    shutil.copy(PATH, tmp_path)
    other = SUITES / "tpu_v4_sample" / f"{OTHER}.production.mapping.json.gz"
    shutil.copy(other, tmp_path / f"{NAME}.production.mapping.json.gz")
    arguments = ["--suite", str(tmp_path), "--out", str(tmp_path / "out")]
    assert evaluate.main(arguments) == 2
    _one_line(capsys, f"made for '{OTHER}'")


def a_run(folder: Path, features: int | None = None, version: int = GAME_VERSION) -> Path:
    """A training run's folder with a fresh small agent, for observations of so many features."""
    from agent_setup import small_config

    from agent.config import save_config
    from agent.run import checkpoint
    from mallocgame.game.environment import build_game

    config = small_config()
    if features is None:
        features = build_game([load_program(PATH)], config.game).observation_size
    folder.mkdir()
    save_config(config, folder / "config.yaml")
    agent = checkpoint.fresh_agent(config, features)
    metadata = {checkpoint.VERSION_KEY: version}
    with checkpoint.Checkpointer((folder / "checkpoints").absolute()) as checkpointer:
        checkpointer.save_checkpointables(
            1, {"agent": checkpoint._flatten(agent)}, custom_metadata=metadata
        )
    return folder


def test_a_checkpoint_of_another_game_is_one_line(tmp_path, capsys):
    run = a_run(tmp_path / "run", features=17)
    arguments = command(tmp_path / "out", "--checkpoint", str(run), "--mappers", "played")
    assert evaluate.main(arguments) == 2
    _one_line(capsys, "it was made by another config")
    (run / "config.yaml").write_text("name: x\nprograms: [y]\ngame: {gravity: 9.81}\n")
    assert evaluate.main([*arguments, "--overwrite"]) == 2
    _one_line(capsys, "game.gravity: unknown key")
    run = a_run(tmp_path / "older", version=GAME_VERSION - 1)
    arguments[arguments.index("--checkpoint") + 1] = str(run)
    assert evaluate.main([*arguments, "--overwrite"]) == 2
    _one_line(capsys, f"was trained on version {GAME_VERSION - 1} of the game")


def test_a_best_game_of_another_program_is_one_line(tmp_path, capsys):
    run = a_run(tmp_path / "run")
    other = load_program(SUITES / "tpu_v4_sample" / f"{OTHER}.program.json.gz")
    save_mapping(all_slow(other), run / "best" / f"{NAME}.mapping.json")
    arguments = command(tmp_path / "out", "--checkpoint", str(run), "--mappers", "trained_best")
    assert evaluate.main(arguments) == 2
    _one_line(capsys, f"made for '{OTHER}'")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_every_mapper_ends_in_a_report(tmp_path):
    run = a_run(tmp_path / "run")
    save_mapping(all_slow(load_program(PATH)), run / "best" / f"{NAME}.mapping.json")
    arguments = ["--suite", SAMPLE, "--checkpoint", str(run), "--mappers", "all"]
    arguments += ["--budget", "2", "--games", "2", "--out", str(tmp_path / "out")]
    assert evaluate.main(arguments) == 0
    rows = {row["mapper"]: row for row in rows_of(tmp_path / "out")}
    assert set(rows) == set(plan.MAPPERS)
    assert all(row["verified"] for row in rows.values())
    assert rows["trained_best"]["saved_fraction"] == 0
    assert rows["agent"]["latency_s"] == rows["played"]["latency_s"]
    assert rows["hybrid"]["latency_s"] == min(
        rows[name]["latency_s"] for name in ("agent", "production")
    )


def _one_line(capsys, message):
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("evaluate")]
    assert len(lines) == 1
    assert message in lines[0]
