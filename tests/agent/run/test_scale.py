"""The number of devices and processes changes nothing but the speed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agent.config import config_from_record
from agent.learning.sampling import draw_cells, hand_out, make_urn
from agent.learning.state import AXIS
from agent.run.journal import CLOCK_FIELDS
from gamekit.errors import InputError
from tests.support.markers import needs_libtpu

ROOT = Path(__file__).parents[3]
SECTIONS = {
    "rollout": {"guided_fraction": 0.5},
    "reanalyse": {"every": 8},
    "learner": {"dropout": 0.25},
}


# Metrics that are small beside what they are made of: a divergence is the difference of two
# entropies of about one nat, a gap that of two values of about one unit, and the error of legality
# counts 9,216 answers of an iteration, four of which may be as near to the threshold as rounding.
ROUNDING = {"loss_policy": 1e-4, "search_gap": 1e-4, "legality_error": 4 / 9216}


def sampled(weights: np.ndarray, count: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells drawn, [count] times and games, with the games spread over that many shards."""
    mesh_free = weights.reshape(weights.shape[0], parts, -1).swapaxes(0, 1)

    def draw(mine: jax.Array) -> tuple[jax.Array, jax.Array]:
        drawn = draw_cells(make_urn(mine, AXIS), count, jax.random.key(0), AXIS)
        number = drawn.game + jax.lax.axis_index(AXIS) * mine.shape[1]
        return hand_out((drawn.time, number), drawn.here, AXIS)

    # vmap with a named axis stands for the devices.
    time, game = jax.jit(jax.vmap(draw, axis_name=AXIS))(jnp.asarray(mesh_free, jnp.float32))
    return np.asarray(time).reshape(-1), np.asarray(game).reshape(-1)


def test_samples_follow_the_weights():
    weights = np.array([[0.0, 1.0], [0.0, 0.0], [3.0, 0.0], [0.0, 0.0]])
    time, game = sampled(weights, 20_000, 1)
    counts = np.zeros((4, 2))
    np.add.at(counts, (time, game), 1)
    np.testing.assert_allclose(counts / counts.sum(), weights / 4, atol=0.015)
    assert (counts[weights == 0] == 0).all()


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_samples_do_not_depend_on_the_shards(rows):
    rng = np.random.default_rng(rows)
    weights = rng.random((rows, 8)) * (rng.random((rows, 8)) < 0.6)
    weights[0, 0] = 1.0
    whole = sampled(weights, 512, 1)
    for parts in (2, 4, 8):
        for a, b in zip(sampled(weights, 512, parts), whole, strict=True):
            np.testing.assert_array_equal(a, b)
    assert (weights[whole] > 0).all()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(run: Path, iterations: int, train: dict[str, Any]) -> subprocess.Popen:
    sections = json.dumps(SECTIONS | {"train": train})
    command = [
        sys.executable,
        "-m",
        "tests.support.train_probe",
        str(run),
        str(iterations),
        sections,
    ]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def finish(*processes: subprocess.Popen) -> None:
    for process in processes:
        try:
            _, error = process.communicate(timeout=300)
        finally:
            process.kill()
        assert process.returncode == 0, error


def start_two(run: Path, iterations: int, devices: int) -> list[subprocess.Popen]:
    where = {"processes": 2, "coordinator": f"127.0.0.1:{free_port()}", "devices": devices}
    return [start(run, iterations, where | {"process": n}) for n in range(2)]


def lines(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in CLOCK_FIELDS} for row in rows]


def same(run: Path, other: Path) -> None:
    rows, others = lines(run), lines(other)
    assert len(rows) == len(others) > 0
    for row, expected in zip(rows, others, strict=True):
        assert row.keys() == expected.keys()
        for name, value in expected.items():
            if value is not None:
                value = pytest.approx(value, rel=1e-4, abs=ROUNDING.get(name, 1e-6))
            assert row[name] == value, (row["step"], name)


@pytest.mark.slow
def test_devices_and_processes_change_no_figure(tmp_path):
    one, two, pair = tmp_path / "one", tmp_path / "two", tmp_path / "pair"
    finish(start(one, 8, {"devices": 1}))
    finish(start(two, 8, {"devices": 2}))
    finish(*start_two(pair, 5, 2))
    same(two, one)
    # Two processes wrote a checkpoint; on one device the run goes on from it.
    finish(start(pair, 8, {"devices": 1}))
    same(pair, one)
    assert any(row["return_mean"] for row in lines(one))
    assert any(row["loss"] for row in lines(one))


@pytest.mark.slow
def test_a_process_with_another_config_stops_all(tmp_path):
    where = {"processes": 2, "coordinator": f"127.0.0.1:{free_port()}", "devices": 2}
    processes = [start(tmp_path / "run", 2 + n, where | {"process": n}) for n in range(2)]
    for process in processes:
        _, error = process.communicate(timeout=300)
        assert process.returncode != 0
        assert "different configurations" in error


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"processes": 2}, "train.coordinator: must be host:port for 2 processes, got ''"),
        (
            {"processes": 2, "coordinator": "host"},
            "train.coordinator: must be host:port for 2 processes, got 'host'",
        ),
        ({"process": 1}, "train.process: must be below processes, got 1"),
        (
            {"processes": 2, "coordinator": "host:1", "process": 2},
            "train.process: must be below processes, got 2",
        ),
        ({"processes": -1}, "train.processes: must be at least 0, got -1"),
    ],
)
def test_bad_places_are_refused(train, message):
    with pytest.raises(InputError, match=message):
        config_from_record({"name": "x", "train": train}, "test")


@pytest.mark.slow
@needs_libtpu
@pytest.mark.parametrize("chip", ["v4", "v5e"])
def test_an_iteration_compiles_for_tpus_without_one(chip):
    """On the smallest slice of the chip, with games and learner sharded over its devices."""
    small = ["programs=[tpu_v4_sample/lstm_scan_v4_64mib]", "rollout.games=16", "rollout.moves=16"]
    done = subprocess.run(
        [sys.executable, "benchmarks/aot.py", "--chips", chip, *small, "replay.moves=16"],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["chip"] == chip and record["devices"] > 1
    assert record["play"]["code_bytes"] > 0 and record["learn"]["code_bytes"] > 0
