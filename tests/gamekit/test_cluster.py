"""Work on a Dask scheduler and two workers as processes: the same rows, whoever dies."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gamekit import cluster as clusters
from gamekit.cluster import Cluster
from gamekit.errors import InputError
from gamekit.evaluation import plan
from gamekit.evaluation.evaluation import evaluate
from gamekit.registry import load_domain
from tests.support import workers
from tests.support.dask import a_cluster
from tests.support.evaluations import OTHER, SAMPLE, an_evaluation, rows_of

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="distributed is not installed"
)
SLOW = "tests.support.faulty_games:SLOW"


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    with a_cluster(tmp_path_factory.mktemp("dask")) as found:
        yield found


def fail(number: int, reason: str) -> None:
    raise AssertionError(f"{number} was lost: {reason}")


def soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def contents(folder: Path) -> dict[str, bytes]:
    """Files of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def without_times(rows: list[dict]) -> list[dict]:
    return [row | {"seconds": None} for row in rows]


@needs_dask
def test_every_task_is_run_once(dask):
    found: dict[int, int] = {}
    with Cluster(dask.address) as cluster:
        cluster.run(workers.doubled, [(n,) for n in range(20)], found.__setitem__, fail)
        three = cluster.share(3)
        cluster.run(workers.doubled, [(three,)], lambda n, made: found.update({99: made}), fail)
        cluster.run(workers.doubled, [], fail, fail)
    assert found == {n: 2 * n for n in range(20)} | {99: 6}


@needs_dask
def test_what_a_task_raises_is_raised(dask):
    with Cluster(dask.address) as cluster, pytest.raises(ValueError, match="zero"):
        cluster.run(workers.refuse, [(0,)], fail, fail)


@needs_dask
def test_rows_are_those_of_one_machine(dask, tmp_path):
    """Solvers that fail, die, hang and cheat included; each leaves the workers as they were."""
    solvers = ("all_fast", "greedy", "belady", "msa", "production", "bound")
    for name, scheduler in (("here", None), ("there", dask.address)):
        out = tmp_path / name
        assert evaluate(an_evaluation(out, solvers, scheduler=scheduler, grace_s=8.0)) == 1
    here, there = rows_of(tmp_path / "here"), rows_of(tmp_path / "there")
    assert without_times(here) == without_times(there)
    assert [row["status"] for row in there] == ["failed", "died", "timed out", "ok", "ok", "ok"]
    assert contents(tmp_path / "here" / "mappings") == contents(tmp_path / "there" / "mappings")


def slow_evaluation(out: Path, **more):
    domain = load_domain(SLOW)
    instances = plan.load_subjects(domain, [SAMPLE, f"tpu_v4_sample/{OTHER}"])
    entries = plan.expand(domain, ("production", "msa", "bound"), (1.0,), (0, 1, 2))
    return an_evaluation(
        out, (), game=SLOW, instances=instances, entries=entries, grace_s=200.0, **more
    )


@needs_dask
def test_a_killed_worker_costs_nothing_but_time(tmp_path):
    """In the middle of a row one of two workers is killed; the rows are those of one machine."""
    assert evaluate(slow_evaluation(tmp_path / "here")) == 0
    out = tmp_path / "there"
    codes = []
    with a_cluster(tmp_path) as dask:
        run = slow_evaluation(out, scheduler=dask.address)
        thread = threading.Thread(target=lambda: codes.append(evaluate(run)))
        thread.start()
        rows = out / "rows.jsonl"
        soon(lambda: rows.exists() and len(rows.read_text().splitlines()) > 2)
        dask.workers[0].send_signal(signal.SIGKILL)
        thread.join(400)
    assert codes == [0]
    here, there = rows_of(tmp_path / "here"), rows_of(out)
    assert without_times(here) == without_times(there) and len(there) == 10
    assert contents(tmp_path / "here" / "mappings") == contents(out / "mappings")


@needs_dask
def test_a_task_whose_worker_is_killed_is_run_again(tmp_path):
    found: dict[int, int] = {}
    with a_cluster(tmp_path) as dask, Cluster(dask.address) as cluster:

        def kill() -> None:
            soon((tmp_path / "pid").exists)
            soon(lambda: bool((tmp_path / "pid").read_text()))
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

        threading.Thread(target=kill).start()
        arguments = [(str(tmp_path), number) for number in range(4)]
        cluster.run(workers.once, arguments, found.__setitem__, fail)
    assert found == {n: 2 * n for n in range(4)}


@needs_dask
def test_a_task_that_kills_its_workers_is_given_up(tmp_path):
    lost: dict[int, str] = {}
    with a_cluster(tmp_path, workers=5) as dask, Cluster(dask.address) as cluster:
        cluster.run(workers.die, [(0,)], lambda *made: None, lost.__setitem__)
    assert list(lost) == [0] and "the workers that had it died" in lost[0]


@pytest.mark.slow
@needs_dask
def test_a_lost_scheduler_is_one_line_and_rows_stay(tmp_path):
    out = tmp_path / "out"
    errors = []

    def run() -> None:
        with pytest.raises(InputError) as error:
            evaluate(evaluation)
        errors.append(str(error.value))

    with a_cluster(tmp_path) as dask:
        evaluation = slow_evaluation(out, scheduler=dask.address)
        thread = threading.Thread(target=run)
        thread.start()
        rows = out / "rows.jsonl"
        soon(lambda: rows.exists() and len(rows.read_text().splitlines()) > 2)
        dask.scheduler.kill()
        thread.join(400)
    assert errors == [f"--scheduler {dask.address}: was lost; the same command goes on"]
    before = rows.read_text()
    assert evaluate(slow_evaluation(out)) == 0  # without it, from there on
    assert rows.read_text().startswith(before)
    assert len(rows_of(out)) == 10


@needs_dask
def test_workers_with_other_code_are_refused(dask, monkeypatch):
    monkeypatch.setattr(clusters, "code_digest", lambda: "other")
    with Cluster(dask.address) as cluster, pytest.raises(InputError, match="another version"):
        cluster.run(workers.doubled, [(1,)], fail, fail)


@needs_dask
def test_compiles_go_there_and_failures_come_back(dask, tmp_path, capsys):
    """Without the compiler every program fails, each with its own line."""
    from mallocgame.command.main import main

    if importlib.util.find_spec("libtpu") is not None:
        pytest.skip("libtpu is installed")
    words = ["import", "--jax", "m:a", "m:b", "-o", str(tmp_path), "--scheduler", dask.address]
    assert main(words) == 1
    lines = sorted(capsys.readouterr().err.splitlines())
    assert [line.partition(": libtpu: must be installed")[0] for line in lines] == [
        "error: a", "error: b",
    ]  # fmt: skip
    entry = "- {name: a, function: 'm:f', family: x, split: train, source: s}\n"
    (tmp_path / "list.yaml").write_text(entry)
    out = tmp_path / "suite"
    words = ["suite", "build", str(tmp_path / "list.yaml"), "-o", str(out)]
    assert main([*words, "--scheduler", dask.address]) == 1
    assert "libtpu" in json.loads((out / "suite.json").read_text())["failed"]["a"]


@needs_dask
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", "tcp://"])
def test_nobody_there_is_one_line(address, monkeypatch):
    monkeypatch.setattr(clusters, "CONNECT_S", 1)
    with pytest.raises(InputError) as error:
        Cluster(address)
    assert str(error.value).startswith(f"--scheduler {address}: cannot be reached: ")


def test_a_missing_package_is_one_line(monkeypatch):
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(clusters.importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'mallocgame\[cluster\]'"):
        Cluster("tcp://127.0.0.1:1")
