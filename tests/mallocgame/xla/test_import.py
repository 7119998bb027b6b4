"""A hand-written dump becomes the program, the mapping and the figures that it was written for."""

import dataclasses
from pathlib import Path

import pytest

from gamekit.errors import InputError
from mallocgame.command.main import main
from mallocgame.judge import simulate, verify
from mallocgame.program import CarriedGroup, Loop, load_program
from mallocgame.program.machine import machine_by_name
from mallocgame.program.mapping import Residency, Transfer
from mallocgame.xla.make.importer import Import, import_dump
from tests.support.xla_sample import files, write_dump


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Import:
    folder = tmp_path_factory.mktemp("dumps") / "sample"
    write_dump(folder)
    write_dump(folder / "capacity_1024_kib", {k: v for k, v in files().items() if "off" not in k})
    return import_dump(folder, machine_by_name("tpu_v4"))


def test_one_item_per_capacity(imported: Import) -> None:
    names = [item.program.name for item in imported.items]
    assert names == ["sample_64mib", "sample_1mib"]
    first, second = (item.program for item in imported.items)
    assert second.machine.fast_capacity_bytes == 1 << 20
    assert first.accesses == second.accesses and first.instructions == second.instructions


def test_schedule_and_loop(imported: Import) -> None:
    program = imported.items[0].program
    names = [i.name for i in program.instructions]
    assert names == ["cache.0", "a", "b", "c", "loop:entry", "t", "stack", "next", "loop:exit"]
    assert program.loops == (Loop(4, 8, 4),)
    value = {v.name: i for i, v in enumerate(program.values)}
    assert program.carried == (CarriedGroup(0, value["c"], value["next"]),)
    assert {v.name for v in program.values if v.is_input} == {"w", "x"}
    assert {v.name for v in program.values if v.is_output} == {"cache.0", "next"}


def test_update_in_place_is_carried_over(imported: Import) -> None:
    program = imported.items[0].program
    value = next(i for i, v in enumerate(program.values) if v.name == "cache.0")
    found = [(a.instruction, a.kind, a.bytes, a.defines) for a in program.accesses_at[6]
             if a.value == value]  # fmt: skip
    assert found == [(6, "read", 0, False), (6, "write", 131072, False)]
    (define,) = program.accesses_at[0]
    assert (define.value, define.bytes, define.defines) == (value, 0, True)


def test_production_mapping(imported: Import) -> None:
    program, mapping = imported.items[0].program, imported.items[0].mapping
    value = {v.name: i for i, v in enumerate(program.values)}
    assert set(mapping.residencies) == {
        Residency(value["a"], 0, 1, 3, "defined"),  # its eviction is done in front of c
        Residency(value["w"], 131072, 1, 3, "copied"),
        Residency(value["b"], 262144, 2, 4, "defined"),
        Residency(value["t"], 0, 5, 8, "defined"),
    }
    assert mapping.prefetches == (Transfer(value["w"], 1, 2),)
    assert mapping.evictions == (Transfer(value["a"], 2, 3),)
    assert verify(program, mapping) == []


def test_estimates_are_reproduced(imported: Import) -> None:
    item = imported.items[0]
    clock = item.program.machine.clock_hz
    assert clock
    assert item.program.provenance["all_slow_cycles"] == 8700 and item.cycles == 6450
    simulation = simulate(item.program, item.mapping)
    once = sum(simulation.elapsed_s) * clock
    assert once == pytest.approx(6450, rel=1e-6)
    # outside the loop once, inside four times
    assert simulation.all_slow_latency_s * clock == pytest.approx(4500 + 4 * 4200, rel=1e-6)
    assert max(map(abs, imported.calibration.total_errors)) < 1e-6


def test_command_writes_the_same_bytes_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = write_dump(tmp_path / "sample")
    for out in ("one", "two"):
        assert main(["import", "--dump", str(dump), "-o", str(tmp_path / out)]) == 0
    assert "8,700 cycles" in capsys.readouterr().out
    files_one = sorted((tmp_path / "one").iterdir())
    assert [f.name for f in files_one] == [
        "sample_64mib.production.mapping.json.gz",
        "sample_64mib.program.json.gz",
    ]
    for file in files_one:
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    assert load_program(files_one[1]).name == "sample_64mib"


def test_command_reports_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "--dump", str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "msa_off.hlo.gz" in error


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("allocinfo.csv", "10,131072,0,5,7", "10,131072,0,7,5",
         "end_time: must be at least 7, got 5"),
        ("allocinfo.csv", "10,131072,0,5,7", "99,131072,0,5,7",
         "buffer_id: must be in bufferinfo.csv, got 99"),
        ("allocinfo.csv", "10,131072,0,5,7", "10,262144,0,5,7",
         "size: must be at most the buffer's 131072, got 262144"),
        ("allocinfo.csv", "10,131072,0,5,7", "10,131072,0,5", "must have 5 fields"),
        ("bufferinfo.csv", "131072,5,", "131073,5,", "buffer_id: 10"),
        ("bufferinfo.csv", '"<2 w>"', '"w"', "buffer_name"),
        ("bufferinfo.csv", '"6;19"', '"6;190"',
         "use_times: must be an integer in [0, 28), got '190'"),
        ("bufferinfo.csv", "15,\"<6 cache.0>\",1e-09,524288", "15,\"<6 cache.0>\",1e-09,5", "size"),
        ("bufferinfo.csv", '"<6 cache.0>"', '"<6 gone>"', "'gone'"),
        ("scheduleinfo.csv", "5,a", "6,a", "time: must be 5, got 6"),
        ("scheduleinfo.csv", "5,a", "5,aa", "'aa'"),
        ("scheduleinfo.csv", "27,result\n", "", "must have 28 instructions, as the module, got 27"),
        ("scheduleinfo.csv", "time,", "times,", "columns"),
    ],
)  # fmt: skip
def test_errors_name_file_field_and_value(
    tmp_path: Path, name: str, old: str, new: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = files()
    assert old in texts[name]
    texts[name] = texts[name].replace(old, new, 1)
    dump = write_dump(tmp_path / "sample", texts)
    assert main(["import", "--dump", str(dump), "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
    assert name in error or "sample" in error


def test_scratch_beside_the_values_is_reserved(tmp_path: Path) -> None:
    """Chips whose kernels take their scratch out of the assignment's memory (tpu7x)."""
    texts = files()
    for number, time in ((-3, 5), (-3, 6)):
        texts["bufferinfo.csv"] += f'{number},"scoped allocation for a",0,8192,{time},"","",1\n'
        texts["allocinfo.csv"] += f"{number},8192,0,{time},{time}\n"
    dump = write_dump(tmp_path / "sample", texts)
    later = dataclasses.replace(machine_by_name("tpu_v4"), name="tpu7x")
    program = import_dump(dump, later).items[0].program
    assert {i.name: i.reserved_bytes for i in program.instructions if i.reserved_bytes} == {
        "a": 8192
    }
    for old, message in (
        ("scoped allocation for a", "buffer_name: must be 'scoped allocation for NAME'"),
        ("-3,8192", r"buffer_id: must be in bufferinfo\.csv"),
    ):
        name = "bufferinfo.csv" if "scoped" in old else "allocinfo.csv"
        broken = {**texts, name: texts[name].replace(old, "what" if "scoped" in old else "-4,8192")}
        with pytest.raises(InputError, match=message):
            import_dump(write_dump(tmp_path / name / "sample", broken), later)
