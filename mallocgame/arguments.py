"""What the arguments of `mallocgame.api` must be, each with its own line where one is not."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gamekit.errors import InputError
from gamekit.jsonfile import short

MAX_CAPACITY_MIB = 2047  # sizes in bytes are int32


def check_seconds(name: str, value: Any, positive: bool = False) -> float:
    """A time."""
    try:
        seconds = float(value) if isinstance(value, numbers.Real) else math.nan
    except OverflowError:
        seconds = math.inf
    if isinstance(value, bool) or not 0 <= seconds < math.inf or (positive and not seconds):
        kind = "a positive time" if positive else "a time"
        raise InputError(f"{name}: must be {kind} in seconds, got {short(value)}")
    return seconds


def check_seed(value: Any) -> int:
    """A seed of NumPy and JAX alike."""
    if not _is_integer(value) or not 0 <= value < 2**31:
        raise InputError(f"seed: must be a whole number from 0 to 2**31 - 1, got {short(value)}")
    return int(value)


def check_capacity(value: Any) -> int:
    """MiB of fast memory."""
    if not _is_integer(value) or not 1 <= value <= MAX_CAPACITY_MIB:
        raise InputError(
            f"capacity_mib: must be a whole number from 1 to {MAX_CAPACITY_MIB}, got {short(value)}"
        )
    return int(value)


def check_trips(value: Any) -> int | None:
    """Executions of a loop, None to assume them."""
    if value is not None and (not _is_integer(value) or not 1 <= value < 2**31):
        raise InputError(
            f"trip_count: must be a whole number from 1 to 2**31 - 1, got {short(value)}"
        )
    return None if value is None else int(value)


def check_name(value: Any) -> str | None:
    """A program's name, None for the function's own."""
    if value is not None and not isinstance(value, str):
        raise InputError(f"name: must be text, got {short(value)}")
    return value


def check_path(name: str, value: Any) -> Path:
    """A place for files."""
    if not isinstance(value, (str, os.PathLike)):
        raise InputError(f"{name}: must be a path, got {short(value)}")
    return Path(value)


def check_function(value: Any) -> Callable[..., Any]:
    """What can be traced."""
    if not callable(value):
        raise InputError(
            f"load: must get a name, a file, a function or a Workload, got {short(value)}"
        )
    return value


def check_donate(value: Any, arguments: int) -> tuple[int, ...]:
    """Numbers of arguments, one or several, counted from the first or, if negative, the last one.

    Returns:
      Numbers from 0, each once.
    """
    try:
        given = [value] if _is_integer(value) else list(value)
    except TypeError:
        given = [value]
    for number in given:
        if not _is_integer(number) or not -arguments <= number < arguments:
            raise InputError(
                f"donate: must be numbers of the {arguments} arguments, from 0, got {short(number)}"
            )
    return tuple(dict.fromkeys(int(number) % arguments for number in given))


def source_of(function: Callable[..., Any]) -> str:
    """Where a function comes from, as MODULE:NAME."""
    label = getattr(function, "__qualname__", type(function).__name__)
    return f"{getattr(function, '__module__', None) or type(function).__module__}:{label}"


def _is_integer(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)
