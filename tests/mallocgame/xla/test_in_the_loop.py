"""The compiler in the loop, with a stand-in for the compiler whose best order is known."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gamekit.errors import InputError
from mallocgame.command.main import main
from mallocgame.program import Program, save_program
from mallocgame.program.mapping import all_slow, load_mapping, save_mapping
from mallocgame.xla.make.importer import import_dump
from mallocgame.xla.read.chips import chip_by_name
from mallocgame.xla.steer.bufferinfo import TRIPS, benefit_s, buffer_benefits
from mallocgame.xla.steer.export import ORDER, Wishes, options_of, wishes_of
from mallocgame.xla.steer.in_the_loop import WishMoves, begin, load_search, search
from mallocgame.xla.steer.roundtrip import STABLEHLO, CompilerBench
from tests.support.xla_sample import files, write_dump, write_work

CHIP = chip_by_name("v4")
QUIET = lambda state, is_better: None  # noqa: E731


@pytest.fixture
def work(tmp_path) -> Path:
    return write_work(tmp_path / "work")


@pytest.fixture
def program(work) -> Program:
    made = import_dump(work, CHIP.machine, "sample").items[0].program
    digest = hashlib.sha256((work / STABLEHLO).read_bytes()).hexdigest()
    return dataclasses.replace(made, provenance={**made.provenance, "stablehlo_sha256": digest})


class Standin:
    """A compiler that likes one value to come first and takes so many words about slow memory."""

    def __init__(self, program: Program, first: str, most: int = 3):
        self.program, self.first, self.most, self.calls = program, first, most, 0

    def __call__(self, stablehlo, chip, options, flags, out, timeout_s) -> None:
        self.calls += 1
        order = str(options.get(ORDER, ""))
        found = order.find(f'"{self.first}"')
        rank = order[:found].count("overrides {") - 1 if found >= 0 else 9
        if options.get("xla_tpu_msa_tensor_overrides", "").count("keep_in") > self.most:
            raise InputError("lowered.mlir: compile failed: RuntimeError: MSA gives up")
        texts = files()
        cycles = f'"estimated_cycles":"{790 + 10 * rank}"'
        texts["msa_on.hlo.gz"] = texts["msa_on.hlo.gz"].replace('"estimated_cycles":"800"', cycles)
        write_dump(out, texts)


def test_benefit_is_the_accounts_column_times_the_root_of_the_size(work, program):
    benefits = buffer_benefits(program, work, work)
    by_name = {program.values[v].name: s for v, s in benefits.items()}
    root = 131072**0.5
    assert by_name["a"] == pytest.approx(2e-8 * root)
    assert by_name["w"] == pytest.approx(1e-8 * root)
    assert benefit_s(program, all_slow(program), benefits) == 0.0


def test_benefit_counts_the_accesses_that_fast_memory_serves(work, program):
    production = import_dump(work, CHIP.machine, "sample").items[0].mapping
    name = {value.name: v for v, value in enumerate(program.values)}
    only = lambda v: {v: 1.0}  # noqa: E731
    # t lives and dies in fast memory.
    assert benefit_s(program, production, only(name["t"])) == pytest.approx(1.0)
    # w is read by b at the outer level, there fast, and by t in the loop, there slow.
    share = 1 / (1 + TRIPS)
    assert benefit_s(program, production, only(name["w"])) == pytest.approx(share)
    # Negative seconds are a loss.
    assert benefit_s(program, production, {name["t"]: -2.0}) == pytest.approx(-2.0)


def test_a_garbled_benefit_is_one_clear_line(work, program):
    path = work / "bufferinfo.csv"
    path.write_text(path.read_text().replace("1e-09,524288", "much,524288"))
    with pytest.raises(InputError, match="alt_mem_benefit: must be a number, got 'much' of"):
        buffer_benefits(program, work, work)


def test_cycles_count_a_loop_as_often_as_it_runs(work, program):
    bench = CompilerBench(program, work, CHIP)
    assert program.loops[0].trip_count == 4
    assert bench.cycles(work) == 800 + 900 + 1200 + 4 * (2500 + 450 + 600)


@pytest.mark.parametrize("seed", range(3))
def test_the_search_finds_the_compilers_liking_and_keeps_within_the_seconds(
    work, program, tmp_path, seed
):
    standin = Standin(program, "b")
    bench = CompilerBench(program, work, CHIP, compiler=standin)
    benefits = buffer_benefits(program, work, work)
    path = tmp_path / "search.json"
    state = begin(bench, None, benefits, seed, path)
    lines = []
    state = search(bench, state, benefits, 3.0, path, lambda s, better: lines.append(s.cycles_best))
    assert state.cycles_production - state.cycles_best == 10  # b first: 790 in place of 800
    assert state.options(bench)[ORDER] == options_of(program, state.wishes, CHIP)[ORDER]
    assert lines == sorted(lines, reverse=True) and len(lines) == standin.calls
    assert state.history[-1][2] == state.cycles_best
    assert 3.0 <= state.seconds < 6.0
    again = search(bench, load_search(path), benefits, state.seconds, path, QUIET)
    assert again == state == load_search(path)
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"history": [[1.0, float("inf"), 1]]}))
    with pytest.raises(InputError, match=r"search.json: wishes or history: must be as"):
        load_search(path)


def test_a_killed_search_goes_on_as_if_it_had_not_been(work, program, tmp_path):
    benefits = buffer_benefits(program, work, work)

    def run(kill_after: int | None, path: Path):
        count = 0

        def report(state, is_better):
            nonlocal count
            count += 1
            if count == kill_after:
                raise KeyboardInterrupt

        bench = CompilerBench(program, work, CHIP, compiler=Standin(program, "c"))
        state = begin(bench, None, benefits, 7, path)
        search(bench, state, benefits, 1e9, path, report, compiles=25)

    run(None, tmp_path / "whole.json")
    with pytest.raises(KeyboardInterrupt):
        run(9, tmp_path / "halves.json")
    run(None, tmp_path / "halves.json")
    whole, halves = (load_search(tmp_path / f"{name}.json") for name in ("whole", "halves"))
    assert halves.wishes == whole.wishes and halves.compiles == whole.compiles == 25
    assert halves.cycles == whole.cycles and halves.refused == whole.refused


def test_a_search_is_never_worse_than_production(work, program, tmp_path):
    def worse(stablehlo, chip, options, flags, out, timeout_s):
        texts = files()
        texts["msa_on.hlo.gz"] = texts["msa_on.hlo.gz"].replace('"800"', '"900"')
        write_dump(out, texts)

    bench = CompilerBench(program, work, CHIP, compiler=worse)
    benefits = buffer_benefits(program, work, work)
    production = import_dump(work, CHIP.machine, "sample").items[0].mapping
    path = tmp_path / "search.json"
    state = begin(bench, production, benefits, 0, path)
    state = search(bench, state, benefits, 0.2, path, QUIET)
    assert state.cycles == state.cycles_begin == state.cycles_production + 100
    assert state.cycles_best == state.cycles_production and state.gain == 0.0
    assert state.options(bench) == options_of(program, Wishes(), CHIP)


def test_refused_compiles_are_counted_and_other_failures_end_the_search(work, program, tmp_path):
    bench = CompilerBench(program, work, CHIP, compiler=Standin(program, "b"))
    benefits = buffer_benefits(program, work, work)
    path = tmp_path / "search.json"
    state = begin(bench, all_slow(program), benefits, 0, path, "all")
    assert len(state.wishes.values_out) > 3
    state = search(bench, state, benefits, 0.3, path, QUIET)
    assert state.refused >= 1 and state.cycles_begin is None

    def hangs(*arguments):
        raise InputError("lowered.mlir: compile took longer than 5 s")

    with pytest.raises(InputError, match="took longer"):
        search(dataclasses.replace(bench, compiler=hangs), state, benefits, 1e9, path, QUIET)


def test_the_state_of_another_search_is_refused(work, program, tmp_path):
    bench = CompilerBench(program, work, CHIP, compiler=Standin(program, "b"))
    benefits = buffer_benefits(program, work, work)
    path = tmp_path / "search.json"
    state = begin(bench, None, benefits, 0, path)
    search(bench, state, benefits, 0.05, path, QUIET)
    with pytest.raises(InputError, match="seed: must be 1 to continue this search, got 0"):
        begin(bench, None, benefits, 1, path)
    with pytest.raises(InputError, match=r"begin: must be 'mapping' .* got 'production'"):
        begin(bench, all_slow(program), benefits, 0, path)
    data = json.loads(path.read_text())
    del data["wishes"]["order"]
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"search\.json: wishes or history: must be"):
        begin(bench, None, benefits, 0, path)


def test_moves_keep_every_value_in_one_place(work, program):
    benefits = buffer_benefits(program, work, work)
    production = import_dump(work, CHIP.machine, "sample").items[0].mapping
    moves = WishMoves(program, benefits)
    wishes = wishes_of(program, production)
    everything = set(wishes.order) | wishes.values_out
    seen = set()
    for seed in range(300):
        before = wishes
        wishes = moves.perturbed(wishes, np.random.default_rng(seed))
        assert len(set(wishes.order)) == len(wishes.order)
        assert not set(wishes.order) & wishes.values_out
        assert set(wishes.order) | wishes.values_out == everything
        assert all(0 <= start < slot for slot, _, start in wishes.prefetches)
        seen |= {f.name for f in dataclasses.fields(Wishes)
                 if getattr(before, f.name) != getattr(wishes, f.name)}  # fmt: skip
    assert seen == {"order", "values_out", "reads_out", "prefetches"}


@pytest.fixture
def command(work, program, tmp_path, monkeypatch):
    """Runs ``roundtrip`` with the stand-in; gives the exit code."""
    production = import_dump(work, CHIP.machine, "sample").items[0].mapping
    mapping = dataclasses.replace(production, fingerprint=program.fingerprint)
    save_program(program, tmp_path / "p.program.json")
    save_mapping(mapping, tmp_path / "p.production.mapping.json")
    standin = Standin(program, "b", most=99)
    monkeypatch.setattr("mallocgame.xla.steer.steer.require_libtpu", lambda: None)
    monkeypatch.setattr(
        "mallocgame.xla.steer.steer.CompilerBench", partial(CompilerBench, compiler=standin)
    )
    files = [str(tmp_path / name) for name in ("p.program.json", "p.production.mapping.json")]
    return lambda *more: main(["roundtrip", *files, "--work", str(work), *more])


def test_roundtrip_on_the_command_line(command, program, tmp_path, capsys):
    out = tmp_path / "out"
    assert command("-o", str(out)) == 0
    text = capsys.readouterr().out
    report = json.loads((out / "roundtrip.json").read_text())
    assert report["done"]["cycles"] == report["production"]["cycles"] + 10 * rank(program, out)
    assert f"{report['done']['cycles']:,}" in text and f"{report['gain']:+.2%}" in text
    assert f"{report['done']['benefit_s'] * 1e6:,.1f}" in text
    assert load_mapping(out / "done.mapping.json.gz", program).residencies


def rank(program: Program, out: Path) -> int:
    """What the stand-in takes b's turn for, from the options that were written; first costs -1."""
    order = json.loads((out / "options.json").read_text()).get(ORDER, "")
    return order[: order.find('"b"')].count("overrides {") - 2 if '"b"' in order else 8


def test_the_search_on_the_command_line_writes_the_best_options(command, program, tmp_path, capsys):
    out = tmp_path / "out"
    assert command("--search", "2", "--from", "production", "-o", str(out)) == 0
    assert rank(program, out) == -1
    report = json.loads((out / "roundtrip.json").read_text())
    assert report["done"]["cycles"] == report["production"]["cycles"] - 10
    assert "compiles: production 17,100, best 17,090 (+0.06%)" in capsys.readouterr().out
    compiles = load_search(out / "search.json").compiles
    assert command("--search", "2", "--from", "production", "-o", str(out)) == 0
    assert load_search(out / "search.json").compiles == compiles
    assert f"continues after {compiles} compiles" in capsys.readouterr().out


def test_bad_input_of_roundtrip_is_one_line(command, tmp_path, capsys):
    assert command("--search", "1") == 2
    assert capsys.readouterr().err == "error: --search: needs -o FOLDER to keep its state\n"
    assert command("--search", "-1", "-o", str(tmp_path / "o")) == 2
    assert capsys.readouterr().err == (
        "error: --search: must be a positive number of seconds, got -1.0\n"
    )
    (tmp_path / "p.production.mapping.json").rename(tmp_path / "m.json")
    assert command() == 2
    (tmp_path / "m.json").rename(tmp_path / "p.production.mapping.json")
    capsys.readouterr()
    (tmp_path / "work" / STABLEHLO).write_text("other")
    assert command() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "must be what sample was compiled from" in error
