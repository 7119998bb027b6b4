"""Damaged files: something usable or one line, whichever reader gets them."""

from __future__ import annotations

import pytest

from tests.support.fuzz_readers import READERS, run


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path):
    seen = run(3_000, 0, tmp_path)
    for reader in READERS:
        # What a reader refuses always, even undamaged, would not be looked at any further.
        assert seen[reader.file, True], reader.file
        # Damaged lines of metrics are left out: such a file is never refused.
        assert seen[reader.file, False] or reader.file == "metrics.jsonl", reader.file


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_many_damaged_files(tmp_path):
    run(200_000, 1, tmp_path)
