"""Processes that work jobs off; one that crashes or takes too long costs its job only."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing import connection
from typing import Any

from gamekit.domain import Instance
from gamekit.errors import InputError
from gamekit.evaluation.contest import Contestants, PlayerUnusable
from gamekit.evaluation.plan import Job
from gamekit.evaluation.rows import DIED, FAILED, TIMED_OUT, Row, blank, measure
from gamekit.processes import as_worker, starting_workers

READY, UNUSABLE, ROW = "ready", "unusable", "row"


def run_jobs(
    jobs: Sequence[Job],
    fingerprints: dict[str, str],
    contest: Contestants,
    *,
    processes: int,
    limit_s: Callable[[Job], float],
    done: Callable[[Row], None],
) -> None:
    """Runs every job in one of some processes and hands each row to `done`, in any order.

    Jobs of one instance stay in one process as long as others have instances of their own, so that
    what its solvers share is made once.

    Args:
      fingerprints: of the instances, by name.
      limit_s: after how many seconds a job's process is ended.

    Raises:
      InputError: the contest cannot be used, or an instance changed.
    """
    queue = _Queue(jobs)
    workers: list[_Worker] = []
    try:
        while queue or any(worker.job for worker in workers):
            idle = sum(worker.job is None for worker in workers)
            for _ in range(min(processes - len(workers), len(queue) - idle)):
                workers.append(_Worker(contest))
            for worker in workers:
                if worker.ready and worker.job is None and queue:
                    job = queue.take(worker.instance, {w.instance for w in workers})
                    worker.start(job, limit_s(job))
            for worker in _wait(workers):
                job, row = worker.job, worker.receive()
                if row is None and job is not None and worker.lost:
                    row = blank(contest.domain, job, fingerprints[job.instance], *worker.lost)
                if row is not None:
                    done(row)
            workers = [worker for worker in workers if not worker.lost]
    finally:
        for worker in workers:
            worker.end()


class Seat:
    """A place for one job at a time, in a process that stays for the next one."""

    def __init__(self, contest: Contestants):
        self._contest = contest
        self._worker: _Worker | None = None
        self._fingerprint: str | None = None

    def run(self, job: Job, instance: Instance, limit_s: float) -> Row:
        """The job's row, whatever happens to its process.

        Args:
          instance: the job's; it need not be found here by `job.source`.
          limit_s: after how many seconds the process is ended.

        Raises:
          InputError: the contest cannot be used.
        """
        if self._worker is None:
            self._worker, self._fingerprint = _Worker(self._contest), None
        worker, is_started = self._worker, False
        try:
            while True:
                if worker.ready and not is_started:
                    is_new = instance.fingerprint != self._fingerprint
                    worker.start(job, limit_s, instance if is_new else None)
                    self._fingerprint, is_started = instance.fingerprint, True
                _wait([worker])
                row = worker.receive()
                if worker.lost:
                    self._worker = None
                    return blank(self._contest.domain, job, instance.fingerprint, *worker.lost)
                if row is not None:
                    return row
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Ends the process, if there is one."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None


class _Queue:
    """Jobs by instance, in order."""

    def __init__(self, jobs: Iterable[Job]):
        self._waiting: dict[str, collections.deque[Job]] = {}
        for job in jobs:
            self._waiting.setdefault(job.instance, collections.deque()).append(job)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def take(self, instance: str | None, taken: set[str | None]) -> Job:
        """The next job: of this instance, of one that nobody has, or any."""
        waiting = [name for name, row in self._waiting.items() if row]
        free = [name for name in waiting if name not in taken]
        name = instance if instance in waiting else (free or waiting)[0]
        return self._waiting[name].popleft()


class _Worker:
    """A process, and the job that it has.

    lost: status and reason of its job after the process was lost, None while it works.
    """

    def __init__(self, contest: Contestants):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, contest), daemon=True)
        with starting_workers():
            self._process.start()
        theirs.close()
        self.ready = False
        self.job: Job | None = None
        self.instance: str | None = None
        self.lost: tuple[str, str] | None = None
        self._limit_s = self._deadline = float("inf")

    @property
    def signals(self) -> list[Any]:
        return [self._pipe, self._process.sentinel]

    @property
    def left_s(self) -> float:
        """Seconds until its job's time is up."""
        return self._deadline - time.monotonic()

    def start(self, job: Job, limit_s: float, instance: Instance | None = None) -> None:
        self.job, self.instance, self._limit_s = job, job.instance, limit_s
        self._deadline = time.monotonic() + limit_s
        with contextlib.suppress(OSError):  # if it has just died: `receive` reports that
            self._pipe.send((job, instance))

    def receive(self) -> Row | None:
        """What arrived, if anything; notices a process that is lost or late."""
        try:
            message = self._pipe.recv() if self._pipe.poll() else None
        except (EOFError, OSError):
            message = None
        if message is None:
            if not self._process.is_alive():
                self._lose(DIED, f"its process ended with {_ending(self._process.exitcode)}")
            elif self.left_s <= 0:
                self._lose(TIMED_OUT, f"took more than {self._limit_s:g} s")
            return None
        kind, content = message
        if kind == UNUSABLE:
            raise InputError(content)
        self.ready = True
        if kind == READY:
            return None
        self.job, self._deadline = None, float("inf")
        return content

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _lose(self, status: str, reason: str) -> None:
        self.end()
        if not self.ready:
            raise InputError(f"a process for solvers could not start: {reason}")
        self.lost = status, reason


def _wait(workers: Sequence[_Worker]) -> list[_Worker]:
    """The workers that have something to say, or whose time is up."""
    left = min((worker.left_s for worker in workers), default=0.0)
    signals = [signal for worker in workers for signal in worker.signals]
    heard = connection.wait(signals, None if left == float("inf") else max(left, 0.0))
    return [w for w in workers if w.left_s <= 0 or any(s in heard for s in w.signals)]


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"exit code {code}"


def _work(pipe: connection.Connection, contest: Contestants) -> None:
    """The process: reads jobs, sends rows, ends with its parent."""
    as_worker()
    # Processes on one accelerator share its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        contest.prepare()
        pipe.send((READY, None))
        instance = None
        while True:
            job, given = pipe.recv()
            if given is not None:
                instance = given
            elif instance is None or instance.name != job.instance:
                instance = contest.domain.instances([job.source])[0]
            pipe.send((ROW, _row(job, contest, instance)))
    except InputError as error:
        pipe.send((UNUSABLE, str(error)))
    except EOFError:
        pass


def _row(job: Job, contest: Contestants, instance: Instance) -> Row:
    started = time.perf_counter()
    try:
        solved = contest.run(instance, job.entry)
    except PlayerUnusable:
        raise
    except Exception as error:  # whatever a solver does wrong costs its row
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        row = blank(contest.domain, job, instance.fingerprint, FAILED, f"{kind}{error}")
        return dataclasses.replace(row, seconds=time.perf_counter() - started)
    return measure(contest.domain, job, instance, solved)
