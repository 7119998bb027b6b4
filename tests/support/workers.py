"""Functions for processes of their own, which import them by name."""

from __future__ import annotations

import os
import time
from pathlib import Path


def doubled(number: int) -> int:
    """Twice the number."""
    return 2 * number


def refuse(number: int) -> int:
    """Raises; the others are slow."""
    if number == 0:
        raise ValueError("zero")
    time.sleep(60)
    return number


def die(number: int) -> int:
    """Ends its process without a word."""
    os._exit(3)


def wait(folder: str, number: int) -> None:
    """Says that it is there, and stays for a minute."""
    Path(folder, str(number)).touch()
    time.sleep(60)


def once(folder: str, number: int) -> int:
    """Twice the number; its first attempt at 0 leaves its process's number and stays."""
    note = Path(folder, "pid")
    if number == 0 and not note.exists():
        note.write_text(str(os.getpid()))
        time.sleep(60)
    return 2 * number
