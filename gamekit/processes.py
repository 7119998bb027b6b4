"""Processes that share the work, and commands that end in one line however they end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, resource_tracker
from typing import Any

from gamekit.errors import InputError
from gamekit.text import say

# What asks a command to end: Ctrl-C, `kill` and batch systems, a terminal that is closed.
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asked the command to end; `code` is its exit code."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def run_command(run: Callable[[], int], name: str, stopped: str) -> int:
    """Runs a command line's work, and turns what ends it early into one line on stderr.

    Args:
      run: returns the exit code.
      name: with what lines about errors begin.
      stopped: the line that says that a signal ended it.

    Returns:
      The code of `run`; 2 for unusable input and places that cannot be used; 128 and the signal's
      number, thus 130 for Ctrl-C and 143 for SIGTERM.
    """
    try:
        with _stops_raised():
            return run()
    except InputError as error:
        say(f"{name}: {error}", error=True)
        return 2
    except BrokenPipeError:  # whoever read the output has gone; nobody is left to be told
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"{name}: {InputError(f'{where}{error.strerror or error}')}", error=True)
        return 2
    except KeyboardInterrupt as error:
        say(stopped, error=True)
        return getattr(error, "code", 128 + signal.SIGINT)


@contextlib.contextmanager
def _stops_raised() -> Iterator[None]:
    """The first signal of `STOPS` raises `Stopped`; further ones do not disturb the cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return

    def stop(number: int, frame: Any) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    # What was ignored before, as by nohup and in a shell's background jobs, stays ignored.
    before = {each: signal.getsignal(each) for each in STOPS}
    before = {each: how for each, how in before.items() if how not in (signal.SIG_IGN, None)}
    try:
        for each in before:
            signal.signal(each, stop)
        yield
    finally:
        for each, how in before.items():
            signal.signal(each, how)


def as_worker() -> None:
    """Makes this process one whose end is its parent's business; called first of all in it."""
    for each in STOPS:
        signal.signal(each, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    threading.Thread(target=_end_with_parent, daemon=True).start()


@contextlib.contextmanager
def starting_workers() -> Iterator[None]:
    """Processes that are started meanwhile get no signal before `as_worker` ignores it.

    A daemonic process, as Dask's workers are, may start them too: it must not start others because
    nobody would end those, but these end with their parent.
    """
    resource_tracker.ensure_running()  # it would let signals through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    config = getattr(multiprocessing.current_process(), "_config", {})
    is_daemon = config.pop("daemon", None)
    try:
        yield
    finally:
        if is_daemon is not None:
            config["daemon"] = is_daemon
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_processes(
    function: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    processes: int,
    done: Callable[[int, Any], None],
) -> None:
    """Calls a function with each of some arguments, in processes of their own.

    `done` gets the number of the arguments and the result, in any order.  However this ends, no
    process is left.

    Raises:
      InputError: a process was lost, as when there is too little memory.
      Exception: whatever the function raises.
    """
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(arguments)) or 1, context, as_worker)
    try:
        with starting_workers():
            waiting = {pool.submit(function, *each): i for i, each in enumerate(arguments)}
        for future in as_completed(waiting):
            done(waiting[future], future.result())
    except BrokenProcessPool:
        raise InputError("a process was lost; is there enough memory for so many?") from None
    except BaseException:
        left = set(multiprocessing.active_children()) - others
        for process in left:
            process.kill()
        # Its thread waits for the processes too; two at a time might both miss the end of one.
        pool.shutdown(cancel_futures=True)
        for process in left:
            process.join()
        raise
    finally:
        pool.shutdown()


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
