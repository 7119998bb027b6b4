"""Rows as tasks of a cluster: instances go there, rows and solutions' files come back."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gamekit.cluster import Cluster
from gamekit.domain import Instance
from gamekit.evaluation.contest import Contestants
from gamekit.evaluation.plan import Job
from gamekit.evaluation.pool import Seat
from gamekit.evaluation.rows import DIED, Row, blank
from gamekit.files import write_bytes

# Of a worker: for each of its threads the contest's digest and a seat.
_SEATS: dict[int, tuple[str, Seat]] = {}
_BUSY: set[int] = set()
_LOCK = threading.Lock()


def run_jobs_on(
    cluster: Cluster,
    jobs: Sequence[Job],
    instances: Mapping[str, Instance],
    contest: Contestants,
    *,
    limit_s: Callable[[Job], float],
    done: Callable[[Row], None],
) -> None:
    """As `pool.run_jobs`, on a cluster.

    Args:
      instances: by name.

    Raises:
      InputError: the contest cannot be used, or the cluster is lost.
    """
    packed = pickle.dumps(contest)
    shared = {name: cluster.share(instances[name]) for name in {job.instance for job in jobs}}
    arguments = [(job, shared[job.instance], packed, limit_s(job)) for job in jobs]

    def take(number: int, made: tuple[Row, bytes | None]) -> None:
        row, solution = made
        if solution is not None:
            write_bytes(jobs[number].solution, solution)
        done(row)

    def lose(number: int, reason: str) -> None:
        job = jobs[number]
        done(blank(contest.domain, job, instances[job.instance].fingerprint, DIED, reason))

    try:
        cluster.run(make_row, arguments, take, lose)
    finally:
        cluster.everywhere(free_seats)


def make_row(
    job: Job, instance: Instance, contest: bytes, limit_s: float
) -> tuple[Row, bytes | None]:
    """The task: a row, and the content of its solution's file."""
    seat = _seat(contest)
    try:
        with tempfile.TemporaryDirectory(prefix="gamekit-row-") as folder:
            solution = Path(folder) / job.solution.name
            row = seat.run(dataclasses.replace(job, solution=solution), instance, limit_s)
            return row, solution.read_bytes() if solution.exists() else None
    finally:
        with _LOCK:
            _BUSY.discard(threading.get_ident())


def free_seats() -> None:
    """Ends the processes of this worker that have nothing to do."""
    with _LOCK:
        for thread in set(_SEATS) - _BUSY:
            _SEATS.pop(thread)[1].end()


def _seat(contest: bytes) -> Seat:
    """This thread's seat; its process stays as long as the contest is the same."""
    digest, thread = hashlib.sha256(contest).hexdigest(), threading.get_ident()
    with _LOCK:
        _BUSY.add(thread)
        there = _SEATS.get(thread)
        if there is not None and there[0] == digest:
            return there[1]
        if there is not None:
            there[1].end()
        _SEATS[thread] = digest, Seat(pickle.loads(contest))
        return _SEATS[thread][1]
