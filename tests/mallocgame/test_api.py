"""The Python API: what it returns is what the parts underneath say."""

import dataclasses
import gzip
import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import mallocgame
from mallocgame.judge import simulate, verify
from mallocgame.measure import Measured
from mallocgame.program import load_program
from mallocgame.program.mapping import load_mapping
from mallocgame.suites import MOST_MODULE_BYTES, find_programs, load_production
from mallocgame.xla.read.chips import chip_by_name
from mallocgame.xla.steer.confirm import Attempt, Confirmation
from mallocgame.xla.steer.export import compiler_options
from mallocgame.xla.workload import Workload
from tests.support.markers import needs_libtpu

NAME = "tpu_v4_sample/lstm_scan_v4_64mib"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def result() -> mallocgame.Result:
    return mallocgame.map(mallocgame.load(NAME), budget_s=1)


def test_importing_the_package_imports_next_to_nothing() -> None:
    code = (
        "import sys, mallocgame; assert 'map' in dir(mallocgame); "
        "print([m for m in ('jax', 'numpy', 'matplotlib') if m in sys.modules]); "
        "mallocgame.load('tpu_v4_sample/lstm_scan_v4_64mib'); print('jax' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.stdout.split("\n")[:2] == ["[]", "False"], ran.stderr


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        mallocgame.lode  # type: ignore[attr-defined]  # noqa: B018


def test_a_name_and_a_file_give_program_and_production() -> None:
    (path,) = find_programs([NAME])
    for source in (NAME, path, str(path)):
        problem = mallocgame.load(source)
        assert problem.program == load_program(path)
        assert problem.production == load_production(path, problem.program)
    assert "8 instructions" in str(problem) and "64 MiB" in str(problem)
    assert len(mallocgame.load_all("tpu_v4_sample")) == 16


def test_problem_says_how_far_off_its_latency_is() -> None:
    problem = mallocgame.load("tpu_v4_sample/transformer_scan_train_v4_16mib")
    assert problem.latency_error == pytest.approx(2912127 / 2947709 - 1, abs=1e-5)
    assert "off" not in str(problem)
    doubled = {"production": {"estimated_cycles": 2 * 2947709}}
    program = dataclasses.replace(problem.program, provenance=doubled)
    assert "-50.6% off" in str(mallocgame.Problem(program, problem.production))
    assert mallocgame.Problem(problem.program).latency_error is None


def test_saved_problem_is_loaded_again(tmp_path: Path) -> None:
    problem = mallocgame.load(NAME)
    problem.save(tmp_path / "one.program.json.gz")
    assert mallocgame.load(tmp_path) == problem
    with pytest.raises(mallocgame.InputError, match="must end in"):
        problem.save(tmp_path / "one.txt")


def test_a_saved_problem_keeps_its_module(tmp_path: Path) -> None:
    problem, text = mallocgame.load(NAME), "module @f { }\n" * 1000
    digest = {"stablehlo_sha256": hashlib.sha256(text.encode()).hexdigest()}
    program = dataclasses.replace(problem.program, provenance=digest)
    made = mallocgame.Problem(program, None, text)
    path = tmp_path / "one.program.json.gz"
    made.save(path)
    again = mallocgame.load(path)
    assert again.module == text and again == made
    beside = tmp_path / "one.module.mlir.gz"
    assert beside.stat().st_size < len(text) / 10
    beside.write_bytes(gzip.compress(b"module @g { }"))
    with pytest.raises(mallocgame.InputError, match="was compiled from, got another module"):
        mallocgame.load(path)
    beside.unlink()
    dataclasses.replace(made, module="m" * (MOST_MODULE_BYTES + 1)).save(path)
    assert mallocgame.load(path).module is None and not beside.exists()


def test_result_says_what_the_judge_says(result: mallocgame.Result) -> None:
    program, production = result.problem.program, result.problem.production
    assert production is not None
    ours, theirs = simulate(program, result.mapping), simulate(program, production)
    assert result.verified and verify(program, result.mapping) == []
    assert result.saved == ours.saved_fraction > 0.2
    assert result.speed_up == pytest.approx(theirs.latency_s / ours.latency_s - 1)
    assert "verified" in str(result) and "local_search" in str(result)
    assert mallocgame.map(program, budget_s=0).speed_up is None


def test_report_holds_the_results_figures(result: mallocgame.Result, tmp_path: Path) -> None:
    page = result.report(tmp_path / "report")
    text = page.read_text()
    assert "<svg" in text and "lstm_scan_v4_64mib" in text
    rows = json.loads((page.parent / "results.json").read_text())["rows"]
    by_mapper = {row["mapper"]: row for row in rows}
    assert by_mapper.keys() == {"production", "local_search", "bound"}
    assert by_mapper["local_search"]["saved_fraction"] == result.saved
    assert by_mapper["local_search"]["verified"] is True
    assert by_mapper["local_search"]["speedup_vs_production"] == pytest.approx(result.speed_up)
    mapping = page.parent / "mappings" / by_mapper["local_search"]["mapping"]
    assert load_mapping(mapping, result.problem.program) == result.mapping


def test_report_shows_promised_against_confirmed_and_measured(
    result: mallocgame.Result, tmp_path: Path
) -> None:
    tried = (Attempt("its order and copies", None), Attempt("its order alone", 900, 0.75, 1.0))
    said = Confirmation(1000, 900, {}, "its order alone", tried, 1.0)
    known = dataclasses.replace(result, confirmation=said)
    measured = Measured(1.05, 1.02, 1.08, 1.0, 0.95, 30, "tpu")
    page = known.report(tmp_path, measured)
    gains = json.loads((page.parent / "results.json").read_text())["gains"]
    assert [row["what"] for row in gains] == [
        "promised", "compiled", "compiled", "confirmed", "measured",
    ]  # fmt: skip
    assert result.promise is not None and gains[0]["gain"] == result.promise.gain
    assert [row["gain"] for row in gains[1:]] == [None, *[pytest.approx(1 / 9)] * 2, 1.05 - 1]
    text = page.read_text()
    for figure in ("refused", "75% followed", "+11.11 %", "+5.00 %", "2.00 to 8.00", "30 pairs"):
        assert figure in text


def test_options_are_those_of_the_exporter(result: mallocgame.Result) -> None:
    expected = compiler_options(result.problem.program, result.mapping, chip_by_name("v4"))
    assert result.compiler_options() == expected and len(expected) > 2


def test_a_function_is_traced_here() -> None:
    """Closures and functions of a notebook have no name that another process could import."""
    factor = 3.0
    shape = jax.ShapeDtypeStruct((4, 8), jnp.float32)
    text = Workload(lambda x: x * factor, (shape,), (0,)).stablehlo()
    assert "tensor<4x8xf32>" in text and "3.0" in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mallocgame.load("tpu_v4_sample"), "must be one program, got 16"),
        (lambda: mallocgame.load("nowhere"), "nowhere: neither"),
        (lambda: mallocgame.load(NAME, 1), "shapes must be left out"),
        (lambda: mallocgame.load(jnp.sin, 1.0, chip="v9"), "chip: must be one of .*, got 'v9'"),
        (
            lambda: mallocgame.map(mallocgame.load(NAME), "magic"),
            "mapper: must be one of .*, got 'magic'",
        ),
        (
            lambda: mallocgame.map(mallocgame.load(NAME), budget_s=math.nan),
            "budget_s: must be a time",
        ),
    ],
)
def test_bad_input_is_one_line(call, message: str) -> None:
    with pytest.raises(mallocgame.InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_what_the_function_raises_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mallocgame.xla.loading.require_libtpu", lambda: None)
    with pytest.raises(mallocgame.InputError, match="matmul: tracing failed: TypeError") as caught:
        mallocgame.load(jnp.matmul, jnp.ones((2, 3)), jnp.ones((2, 3)))
    assert "\n" not in str(caught.value)


def test_without_the_compiler_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(mallocgame.InputError, match=r"pip install 'mallocgame\[tpu\]'"):
        mallocgame.load(jnp.sin, 1.0)


def test_unwritable_folder(result: mallocgame.Result, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(mallocgame.InputError, match="cannot be written"):
        result.report(tmp_path / "file")


def test_walkthrough_without_the_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of the example but the compile, on a committed program in its place."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import walkthrough  # pyright: ignore[reportMissingImports]

    small = jax.eval_shape(walkthrough.network, *walkthrough.shapes())
    assert small.shape == (walkthrough.BATCH, walkthrough.LENGTH, walkthrough.WIDTH)
    monkeypatch.setattr("mallocgame.api.load", lambda *_, **__: mallocgame.load_all(NAME)[0])
    assert walkthrough.main(["--out", str(tmp_path), "--budget", "1"]) == 0
    printed = capsys.readouterr().out
    assert "+-" in printed and "verified" in printed
    options = json.loads((tmp_path / "compiler_options.json").read_text())
    assert options["xla_max_cross_program_prefetches"] == 0
    assert (tmp_path / "report.html").is_file()


@pytest.mark.slow
@needs_libtpu
def test_walkthrough(tmp_path: Path) -> None:
    command = [sys.executable, "examples/walkthrough.py", "--out", str(tmp_path), "--budget", "5"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    saved = {row["mapper"]: row["saved_fraction"] for row in rows}
    assert 0 < saved["production"] < saved["bound"]
    assert all(row["verified"] for row in rows)
    assert json.loads((tmp_path / "compiler_options.json").read_text())
