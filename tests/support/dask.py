"""A Dask scheduler and its workers as processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Dask:
    """A scheduler's address, its process, and those of its workers."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


@contextlib.contextmanager
def a_cluster(folder: Path, workers: int = 2, nanny: bool = False) -> Iterator[Dask]:
    """Starts them, and ends them however the block ends."""
    where = folder / "scheduler.json"
    scheduler = _start(folder, "scheduler", "--port", "0", "--scheduler-file", str(where))
    dask = Dask("", scheduler, [])
    try:
        deadline = time.monotonic() + 300
        while not where.exists() or not where.read_text():
            assert scheduler.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        dask.address = json.loads(where.read_text())["address"]
        kind = "--nanny" if nanny else "--no-nanny"
        for number in range(workers):
            options = (dask.address, kind, "--nthreads", "1", "--name", f"worker{number}")
            dask.workers.append(_start(folder, "worker", *options))
        yield dask
    finally:
        for process in (*dask.workers, scheduler):
            process.kill()
            process.wait()


def _start(folder: Path, kind: str, *options: str) -> subprocess.Popen[bytes]:
    log = (folder / f"{kind}.log").open("ab")
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=log,
        stderr=log,
    )
