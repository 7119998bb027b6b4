"""From a function to a program: names, shapes, lists, errors; with libtpu the real thing."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from gamekit.errors import InputError
from mallocgame.command.main import main
from mallocgame.game.environment import Game, build_game
from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.program import load_program
from mallocgame.program.mapping import load_mapping
from mallocgame.xla.compile import compiler
from mallocgame.xla.compile.compile_child import parse_shapes, read_back, resolve
from mallocgame.xla.compile.compiler import Function, Lowered, lower, without_metadata
from mallocgame.xla.compile.workfolder import Workfolder
from mallocgame.xla.make import driver
from mallocgame.xla.make.build import read_list
from mallocgame.xla.read.chips import CHIPS, chip_by_name
from mallocgame.xla.read.dump import AllocationRow, read_compile
from mallocgame.xla.workload import Workload
from tests.support.markers import needs_libtpu
from tests.support.xla_sample import files, write_dump

MODULE = """
import jax, jax.numpy as jnp
from mallocgame.xla.workload import Workload

def mlp(x, w1, w2):
    for _ in range(2):
        x = jax.nn.relu(x @ w1) @ w2
    return x

def made(width=64):
    shape = jax.ShapeDtypeStruct((width, width), jnp.bfloat16)
    return Workload(lambda x: x @ x, (shape,), donate=(0,), source="a test")

def wrong():
    return 3

def broken():
    raise RuntimeError("no such model\\nand more")
"""
SHAPES = "bf16[2048,1024],bf16[1024,4096],bf16[4096,1024]"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that has never been seen, importable here and in the compiler's processes."""
    (tmp_path / "unseen_model.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[3]}")
    return "unseen_model"


def test_shapes() -> None:
    shapes = parse_shapes("f32[8, 128],s32[],pred[3]")
    assert [(s.shape, s.dtype.name) for s in shapes] == [
        ((8, 128), "float32"),
        ((), "int32"),
        ((3,), "bool"),
    ]
    for text in ("f32[8", "8x128", "f33[8]", "f32[8] and more"):
        with pytest.raises(ValueError, match="--args"):
            parse_shapes(text)


def test_a_name_leads_to_a_workload(module: str) -> None:
    workload = resolve(f"{module}:made", None, {"width": 32})
    assert workload.arguments[0].shape == (32, 32) and workload.source == "a test"
    assert len(resolve(f"{module}:mlp", SHAPES, {}).arguments) == 3
    for name, message in (
        ("nothing", "package.module:function"),
        ("no_such_module:f", "no_such_module"),
        (f"{module}:none", "no function 'none'"),
        (f"{module}:wrong", "must return a Workload, got int"),
    ):
        with pytest.raises(ValueError, match=message):
            resolve(name, None, {})


def test_workload_names_what_it_donates() -> None:
    with pytest.raises(ValueError, match="donate"):
        Workload(lambda x: x, (1,), donate=(1,))


def test_lowering_needs_no_libtpu(module: str, tmp_path: Path) -> None:
    lowered = lower(Function(f"{module}:made"), tmp_path / "work")
    text = lowered.stablehlo.read_text()
    assert "stablehlo.dot_general" in text and lowered.source == "a test"
    assert str(tmp_path) not in text  # nothing of this machine gets into a program


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jax", "unseen_model:broken"], "no such model"),
        (["--jax", "unseen_model:none"], "no function"),
        (["--jax", "unseen_model:mlp", "--args", "f32[8"], "--args"),
        (["--stablehlo", "none.mlir"], "none.mlir: no such file"),
        (["--stablehlo", "none.mlir", "--args", "f32[8]"], "--args"),
        (["--jax", "unseen_model:made", "--capacity", "65"], "capacity"),
    ],
)
def test_errors_are_one_line(
    module: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr("mallocgame.xla.compile.compiler.require_libtpu", lambda: None)
    assert main(["import", *arguments, "-o", str(tmp_path / "p.program.json.gz")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not (tmp_path / "p.program.json.gz").exists()


def test_without_libtpu_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None)
    assert main(["import", "--jax", "a:b", "-o", str(tmp_path / "p.program.json.gz")]) == 2
    assert "pip install 'mallocgame[tpu]'" in capsys.readouterr().err


def test_importing_the_package_needs_no_libtpu() -> None:
    code = "import sys, mallocgame.command.main; sys.exit('libtpu' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_metadata_goes() -> None:
    line = '%a = f32[8]{0} add(%b, %c), metadata={op_name="x" source_file="/home/me.py"}, k={}'
    assert without_metadata(line) == "%a = f32[8]{0} add(%b, %c), k={}"


def test_chips_know_their_options() -> None:
    v4, v5e = chip_by_name("v4"), chip_by_name("v5e")
    assert v4.capacity_options(8 << 20) == {
        "xla_tpu_max_cmem_used_by_memory_space_assignment": 8192
    }
    assert v4.capacity_flags(8 << 20) == () and v4.capacity_options(v4.largest_bytes) == {}
    assert v5e.capacity_flags(8 << 20) == ("--xla_tpu_override_vmem_size_kib=24576",)
    for chip in CHIPS.values():
        assert chip.machine.clock_hz and chip.machine.fast_capacity_bytes == chip.largest_bytes
        # The compiler for v5p ends at any other number of slices.
        assert chip.closed["xla_tpu_sliced_prefetch_max_slices"] == (0 if chip.name == "v5p" else 1)


LIST = """
- {name: a, function: "m:f", family: x, split: train, source: s, arguments: {batch: 1}}
- {name: b, function: "m:f", family: y, split: test, source: s, chip: v5e}
"""


def test_list(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(LIST)
    first, second = read_list(path)
    assert first.arguments == {"batch": 1} and first.chip == "v4" and second.chip == "v5e"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: b", "name: a", "name: must be unique, got 'a' twice"),
        ("family: y", "family: x", "family: must be in one split, got 'x' in two"),
        ("split: test", "split: tset", "'tset'"),
        ("chip: v5e", "chip: v9", "'v9'"),
        ("source: s, arguments", "sauce: s, arguments", "sauce"),
        ("name: a, ", "", "name: is missing"),
        ("{batch: 1}", "3", "arguments: must be a dict, got 3"),
        ("- {name: a", "{name: a", "cannot be read"),
    ],
)
def test_errors_of_a_list_name_the_entry(
    tmp_path: Path, old: str, new: str, message: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("mallocgame.xla.compile.compiler.require_libtpu", lambda: None)
    path = tmp_path / "list.yaml"
    assert old in LIST
    path.write_text(LIST.replace(old, new, 1))
    assert main(["suite", "build", str(path), "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_same_request_compiles_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(
        "mallocgame.xla.compile.workfolder.compile_to",
        lambda *a: (calls.append(a), a[4].mkdir(parents=True, exist_ok=True)),
    )
    monkeypatch.setattr("mallocgame.xla.compile.workfolder.versions", lambda: {"jax": "1"})
    stablehlo = tmp_path / "lowered.mlir"
    stablehlo.write_text("module {}")
    work = Workfolder(tmp_path, Lowered(stablehlo, "s"), chip_by_name("v4"), lambda line: None)
    for _ in range(2):
        work.compile_off()
        work.compile_full()
        work.compile_capacity(8 << 20)
        work.compile_probe("random_1", {"order": "x"}, 4 << 20)
    assert len(calls) == 4
    # A probe has less memory, by the same option as production's compile with less.
    probe, smaller = calls[3][2], calls[2][2]
    (size,) = set(smaller) - set(work.chip.closed)
    assert probe == {**smaller, "order": "x", size: smaller[size] // 2}
    stablehlo.write_text("module { }")
    work.compile_off()
    assert len(calls) == 5


@pytest.mark.slow
@needs_libtpu
def test_one_command_ends_in_a_verified_playable_program(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outs = [tmp_path / name / "mlp.program.json.gz" for name in ("one", "two")]
    for out in outs:
        arguments = ["import", "--jax", f"{module}:mlp", "--args", SHAPES, "-o", str(out)]
        assert main([*arguments, "--capacity", "32"]) == 0, capsys.readouterr().err
    assert outs[0].read_bytes() == outs[1].read_bytes()
    production = [out.with_name("mlp.production.mapping.json.gz") for out in outs]
    assert production[0].read_bytes() == production[1].read_bytes()
    program = load_program(outs[0])
    mapping = load_mapping(production[0], program)
    assert verify(program, mapping) == []
    assert 0 < simulate(program, mapping).saved_fraction < 0.5
    assert program.provenance["versions"]["libtpu"]
    game = build_game([program], GameConfig())
    assert Game.legal_actions(game, Game.init(game, jnp.zeros(1, int))).any()


@pytest.mark.slow
@needs_libtpu
def test_stablehlo_gives_the_same_program(module: str, tmp_path: Path) -> None:
    lowered = lower(Function(f"{module}:mlp", SHAPES), tmp_path / "work")
    out = tmp_path / "mlp.program.json.gz"
    arguments = ["import", "--stablehlo", str(lowered.stablehlo), "-o", str(out)]
    assert main([*arguments, "--capacity", "64"]) == 0
    direct = tmp_path / "direct" / "mlp.program.json.gz"
    arguments = ["import", "--jax", f"{module}:mlp", "--args", SHAPES, "-o", str(direct)]
    assert main([*arguments, "--capacity", "64"]) == 0
    assert load_program(out).fingerprint == load_program(direct).fingerprint


@pytest.mark.slow
@needs_libtpu
def test_failure_of_the_compiler_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.mlir"
    bad.write_text("module { func.func @main( }")
    assert main(["import", "--stablehlo", str(bad), "-o", str(tmp_path / "p.json.gz")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "compile failed" in error


def test_index_is_json(tmp_path: Path) -> None:
    from mallocgame.xla.make.build import read_index, write_index

    index = read_index(tmp_path)
    index["failed"] = {"b": "why", "a": "why"}
    write_index(index, tmp_path)
    assert list(json.loads((tmp_path / "suite.json").read_text())["failed"]) == ["a", "b"]
    assert read_index(tmp_path)["failed"] == {"a": "why", "b": "why"}


def test_no_probe_where_it_could_not_tell_anything(tmp_path, monkeypatch) -> None:
    """One array in fast memory can be there or not, and both are known without a probe."""
    names: list[str] = []
    sizes: list[int] = []

    class Work(Workfolder):
        def compile_off(self) -> None: ...

        def compile_full(self) -> None: ...

        def compile_probe(self, name, options, capacity_bytes) -> None:
            names.append(name)
            sizes.append(capacity_bytes)

    def made(text: str, chip: str = "v4") -> list[str]:
        names.clear()
        write_dump(tmp_path, {**files(), "msa_on.hlo.gz": text})
        work = Work(tmp_path, Lowered(tmp_path / "lowered.mlir", "s"), chip_by_name(chip))
        monkeypatch.setattr(driver, "_imported", lambda work, name: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            driver.make_program(work, "name", None)
        return list(names)

    text = files()["msa_on.hlo.gz"]
    assert made(text) == [f"random_{seed}" for seed, _ in driver.PROBES]
    assert made(text.replace("S(3)", "")) == []
    # On tpu7x less memory would mean other kernels.
    assert made(text.replace("S(3)", "S(1)"), "tpu7x") and sizes[-1] == 64 << 20 > sizes[0]


def test_a_chip_whose_kernels_share_the_memory_has_one_capacity(tmp_path: Path) -> None:
    assert [chip.name for chip in CHIPS.values() if chip.has_one_capacity] == ["tpu7x"]
    work = Workfolder(tmp_path, Lowered(tmp_path / "lowered.mlir", "s"), chip_by_name("tpu7x"))
    with pytest.raises(InputError, match=r"capacity: must be 64 MiB on tpu7x, got 32 MiB: .*"):
        driver.make_program(work, "name", 32 << 20)


def test_a_probe_is_said_with_public_levers_alone(tmp_path: Path) -> None:
    """A random order of all values, in half of the memory that the compile uses."""
    write_dump(tmp_path, files())
    compiled = read_compile(tmp_path, None)
    values = {b.instruction for b in compiled.buffers.values() if not b.is_scoped}
    order = driver.random_order(compiled, 7)
    turns = [int(turn) for turn in re.findall(r"assign_value: (-?\d+)", order)]
    assert sorted(turns) == list(range(-len(values), 0)) and order.count("{") == order.count("}")
    assert all(f'"{re.escape(name)}"' in order.replace("\\\\", "\\") for name in values)
    assert order != driver.random_order(compiled, 8)
    used = max(a.offset + a.size_bytes for a in compiled.allocations)
    assert driver.part_of_used(compiled, 2) == max(used // 2 >> 20, 1) << 20
    grown = dataclasses.replace(compiled, allocations=(AllocationRow(0, 9 << 20, 2 << 20, 0, 1),))
    assert [driver.part_of_used(grown, n) >> 20 for n in (2, 4, 99)] == [5, 2, 1]


def test_what_jaxlib_cannot_read_back_is_said():
    class Unread:
        def hlo_modules(self):
            raise jax.errors.JaxRuntimeError("INTERNAL: async-update has 4 operands\nsecond line")

    said = r"cannot read .* SparseCore.*: INTERNAL: async"
    with pytest.raises(ValueError, match=said) as error:
        read_back(Unread())
    assert jax.lib.__version__ in str(error.value) and "second line" not in str(error.value)
