"""Processes leave nothing behind, and a command ends in one line, whatever ends it."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gamekit.errors import InputError
from gamekit.processes import STOPS, Stopped, in_processes, run_command
from tests.support import workers

ROOT = Path(__file__).parents[2]


def test_results_come_with_their_numbers():
    found: dict[int, int] = {}
    in_processes(workers.doubled, [(n,) for n in (3, 1, 4)], 2, found.__setitem__)
    assert found == {0: 6, 1: 2, 2: 8}
    in_processes(workers.doubled, [], 2, found.__setitem__)


def test_an_error_ends_all_processes_at_once():
    began = time.monotonic()
    with pytest.raises(ValueError, match="zero"):
        in_processes(workers.refuse, [(n,) for n in (1, 0)], 2, lambda *_: None)
    assert time.monotonic() - began < 50
    assert multiprocessing.active_children() == []


def test_a_lost_process_is_one_line():
    with pytest.raises(InputError, match="a process was lost"):
        in_processes(workers.die, [(1,)], 1, lambda *_: None)


def test_interrupted_work_leaves_no_process():
    def interrupted(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_processes(workers.doubled, [(n,) for n in range(3)], 2, interrupted)
    assert multiprocessing.active_children() == []


def raising(error: BaseException):
    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("x: must be y"), 2, "name: x: must be y"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "name: No space left on device"),
        (FileNotFoundError(2, "No such file", "a\x1b\nb"), 2, r"name: a\x1b b: No such file"),
        (KeyboardInterrupt(), 130, "it stopped"),
        (Stopped(signal.SIGTERM), 143, "it stopped"),
    ],
)
def test_what_ends_a_command_is_one_line(capsys, error, code, line):
    assert run_command(raising(error), "name", "it stopped") == code
    assert capsys.readouterr().err == f"{line}\n"
    assert run_command(lambda: 7, "name", "it stopped") == 7
    with pytest.raises(ZeroDivisionError):  # a bug stays a bug
        run_command(raising(ZeroDivisionError()), "name", "it stopped")


@pytest.fixture
def at_a_terminal():
    """Signals as a command finds them there; in the background shells have some of them ignored."""
    before = {each: signal.getsignal(each) for each in STOPS}
    for each in STOPS:
        usual = signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL
        signal.signal(each, usual)
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.usefixtures("at_a_terminal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_stop_a_command_once(capsys, number):
    before = [signal.getsignal(each) for each in STOPS]
    cleaned = []

    def run() -> int:
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        finally:
            os.kill(os.getpid(), signal.SIGINT)  # again, out of impatience
            time.sleep(0.01)
            cleaned.append(True)
        return 0

    assert run_command(run, "name", "it stopped") == 128 + number
    assert cleaned and capsys.readouterr().err == "it stopped\n"
    assert [signal.getsignal(each) for each in STOPS] == before


def test_a_reader_that_goes_away_is_no_error():
    code = (
        "import sys; from gamekit.processes import run_command; from gamekit.text import say\n"
        "def run():\n    for _ in range(100_000): say('line')\n    return 0\n"
        "sys.exit(run_command(run, 'name', 'stopped'))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout and process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 141


COMMAND = """
import sys
from gamekit.processes import in_processes, run_command
from tests.support import workers
def run():
    in_processes(workers.wait, [(sys.argv[1], n) for n in range(2)], 2, lambda *_: None)
    return 0
if __name__ == "__main__":
    sys.exit(run_command(run, "name", "it stopped"))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent_and_say_nothing(tmp_path, number):
    """The whole group gets the signal, as from a terminal; of SIGKILL the parent alone."""
    (tmp_path / "command.py").write_text(COMMAND)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "command.py", str(tmp_path)], cwd=ROOT, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "0").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    if number == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, number)
    assert process.stderr is not None
    said = process.stderr.read()  # until nobody of them holds the pipe any more
    process.wait()
    if number == signal.SIGKILL:
        assert "Traceback" not in said
    else:
        assert said == "it stopped\n" and process.returncode == 128 + number
