"""Machines and workloads in the form of Stream's, our own and, where they are at hand, Stream's."""

from __future__ import annotations

import pytest

from gamekit.errors import InputError
from games.cores.judge import judge
from games.cores.stream.convert import cycles, import_problem
from tests.support.cores import STREAM, STREAM_FILES, needs_stream


@pytest.fixture
def files(tmp_path):
    for name, text in STREAM_FILES.items():
        folder = tmp_path if name in ("machine.yaml", "work.yaml") else tmp_path / "cores"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return tmp_path


def test_cycles_are_the_passes_of_the_best_unrolling():
    # K on the axis of 8, OY on that of 4: C * OX * F are left.
    assert cycles({"K": 8, "C": 3, "OY": 4, "OX": 4, "F": 9}, (4, 8)) == 3 * 4 * 9
    assert cycles({"G": 10}, (4,)) == 3
    assert cycles({}, (4, 4)) == 1


def test_tiles_and_figures(files):
    problem = import_problem(files / "machine.yaml", files / "work.yaml", 2)
    sizes = {value.name.split(" ")[1]: value.bits for value in problem.values}
    assert sizes == {
        "input": 3 * 6 * 6 * 8, "Conv0.0:weights": 4 * 27 * 8, "Conv0.0": 4 * 16 * 8,
        "Conv0.1:weights": 4 * 27 * 8, "Conv0.1": 4 * 16 * 8, "Add1.0": 4 * 16 * 8,
        "Add1.1": 4 * 16 * 8,
    }  # fmt: skip
    add = next(v for v in problem.values if v.name.endswith("Add1.1"))
    assert [problem.values[v].name.split(" ")[1] for v in add.inputs] == ["Conv0.1"]
    # The port of external memory is narrower than the bus: 32 bits a cycle; 1 to read a bit, 2 to
    # write one.
    bus = next(c for c in problem.channels if (c.source, c.target) == (2, 0))
    assert (bus.time_per_bit, bus.energy_per_bit) == (1 / 32, 3.0)
    assert judge(problem, problem.naive.schedule).valid


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("machine.yaml", "a.yaml", "z.yaml", "machine.yaml: cores: must be files, got 'z.yaml'"),
        ("machine.yaml", "a.yaml", "z" * 300, "machine.yaml: cores: must be files, got 'zzz"),
        ("machine.yaml", "id: 2", "id: 9", "offchip_core_id: must be below 3, got 9"),
        ("machine.yaml", "[0, 1]", "[0, 7]", r"core_connectivity\[0\]\.cores: must be different"),
        ("machine.yaml", "bandwidth: 16", "bandwidth: 0", "bandwidth: must be positive, got 0"),
        ("machine.yaml", "cores:", "{", "machine.yaml: must be valid YAML"),
        ("work.yaml", "8, 3, 4", "-8, 3, 4", r"layers\[0\]\.loop_sizes: must be in 1\.\.2"),
        ("work.yaml", "I: 0, W: 0}\n- id: 1", "I: 5, W: 0}\n- id: 1", "must be an earlier layer"),
        ("cores/a.yaml", "size: 100000", "size: x", "memories.sram.size: must be an integer"),
        ("cores/a.yaml", "sizes: [4, 8]", "sizes: [2, 2, 2, 2, 2]", "must be 1..4 axes, got 5"),
        ("cores/a.yaml", "sizes: [4, 8]", "sizes: 4", "sizes: must be a list of integers, got 4"),
    ],
)
def test_bad_files_are_refused_in_one_line(files, file, old, new, message):
    text = (files / file).read_text()
    assert old in text
    (files / file).write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        import_problem(files / "machine.yaml", files / "work.yaml")
    assert "\n" not in str(caught.value)


@needs_stream
@pytest.mark.parametrize(
    "machine",
    ["tpu_like_quad_core", "eyeriss_like_quad_core", "meta_prototype_dual_core_simd_offchip"],
)
def test_resnet18_of_stream(machine):
    folder = STREAM / "examples"
    problem = import_problem(
        folder / "hardware" / f"{machine}.yaml", folder / "workload" / "resnet18.yaml", 2
    )
    assert len(problem.operations) > 60
    assert judge(problem, problem.naive.schedule).valid


@needs_stream
def test_onnx_of_stream():
    pytest.importorskip("onnx")
    folder = STREAM / "examples"
    problem = import_problem(
        folder / "hardware" / "tpu_like_quad_core.yaml", folder / "workload" / "resnet18.onnx", 2
    )
    weights = sum(v.bits for v in problem.values if v.name.endswith(":weights"))
    # ResNet-18 has 11.7 million parameters, a byte each.
    assert 11.0e6 < weights / 8 < 11.8e6
