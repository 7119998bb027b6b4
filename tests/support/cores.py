"""Where the tests of the game of cores find Stream's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

STREAM = Path(os.environ.get("MALLOCGAME_STREAM", ""))
needs_stream = pytest.mark.skipif(
    "MALLOCGAME_STREAM" not in os.environ,
    reason="MALLOCGAME_STREAM names no folder of Stream's machines and workloads",
)
