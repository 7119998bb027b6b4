"""Work as tasks of a Dask scheduler, on however many machines its workers are.

Dask runs a task again elsewhere when its worker dies, and gives up only when the same task has lost
several workers (`distributed.scheduler.allowed-failures`).  Results are the same as on one machine
if the workers have the same code, which every task checks.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import itertools
import logging
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from gamekit.errors import InputError
from gamekit.text import say

OPTION = "--scheduler"
CONNECT_S = 15
HOUSE = ("gamekit", "agent", "mallocgame", "games")


class Cluster:
    """A connection to a scheduler; use as a context manager."""

    def __init__(self, address: str):
        """Connects.

        Raises:
          InputError: the package is missing, or nobody answers.
        """
        try:
            self._dask = importlib.import_module("distributed")
        except ImportError:
            raise InputError(
                f"{OPTION}: distributed is missing; pip install 'mallocgame[cluster]'"
            ) from None
        self.address = address
        # Lost connections are told here, in one line.
        logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
        try:
            self._client = self._dask.Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{OPTION} {address}: cannot be reached: {reason}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._client.close()

    def share(self, value: Any) -> Any:
        """Data that several tasks take: sent once, and again if the worker that has it dies."""
        return self._client.submit(_itself, value, key=f"data-{uuid.uuid4().hex}")

    def run(
        self,
        function: Callable[..., Any],
        arguments: Sequence[tuple[Any, ...]],
        done: Callable[[int, Any], None],
        lost: Callable[[int, str], None],
    ) -> None:
        """Calls a function of a module with each of some arguments, as tasks.

        Args:
          arguments: of each task; they may be what `share` returned.
          done: gets the number of the arguments and the result, in any order.
          lost: gets the number and the reason where all workers died that had the task.

        Raises:
          InputError: the scheduler was lost, or a worker has other code.
          Exception: whatever the function raises.
        """
        if not arguments:
            return
        if not self._client.scheduler_info()["workers"]:
            say(f"{self.address} has no workers yet; waiting for some", error=True)
        code, name = code_digest(), function.__name__
        keys = [f"{name}-{number}-{uuid.uuid4().hex}" for number in range(len(arguments))]
        tasks = {
            self._client.submit(_checked, code, function, *each, key=key, pure=False): number
            for number, (key, each) in enumerate(zip(keys, arguments, strict=True))
        }
        for task in self._dask.as_completed(tasks, loop=self._client.loop):
            number = tasks.pop(task)
            if task.status in ("cancelled", "lost"):
                raise InputError(f"{OPTION} {self.address}: was lost; the same command goes on")
            try:
                result = task.result()
            except self._dask.KilledWorker as error:
                lost(number, f"the workers that had it died, the last one was {error.last_worker}")
            else:
                done(number, result)

    def everywhere(self, function: Callable[[], Any]) -> None:
        """Calls a function on all workers, as far as they answer."""
        with contextlib.suppress(Exception):  # a scheduler that was lost, for one
            self._client.run(function, on_error="ignore")


@functools.cache
def code_digest() -> str:
    """Of the house's own sources, as they are installed here."""
    digest = hashlib.sha256()
    rooms = [Path(str(importlib.import_module(name).__file__)).parent for name in HOUSE]
    for path in sorted(itertools.chain(*(room.rglob("*.py") for room in rooms))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _checked(code: str, function: Callable[..., Any], *arguments: Any) -> Any:
    if code != code_digest():
        raise InputError(f"{OPTION}: a worker has another version of the code; install the same")
    return function(*arguments)


def _itself(value: Any) -> Any:
    return value
