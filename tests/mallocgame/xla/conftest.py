"""The small dump of a v4 that many tests here read."""

from __future__ import annotations

from pathlib import Path

import pytest

from mallocgame.xla.make.importer import Imported, import_dump
from mallocgame.xla.read.chips import chip_by_name
from tests.support.xla_sample import write_dump


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The dump's files."""
    return write_dump(tmp_path / "sample")


@pytest.fixture
def item(folder: Path) -> Imported:
    """Its program and production's mapping."""
    return import_dump(folder, chip_by_name("v4").machine, "sample").items[0]
