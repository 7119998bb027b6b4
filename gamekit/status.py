"""One line on stderr that moves on a terminal; elsewhere callers print lines that stay."""

from __future__ import annotations

import sys
from typing import Any, Self

from rich.console import Console
from rich.live import Live


class StatusLine:
    """Base of what shows progress; use as a context manager. `_live` is None off a terminal."""

    def __init__(self) -> None:
        self._live = Live(console=Console(stderr=True)) if sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live:
            self._live.__exit__(*error)
