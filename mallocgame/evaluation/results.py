"""Results of an evaluation, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gamekit.evaluation.rows import row_from_record, row_record
from gamekit.jsonfile import Record, read_object
from mallocgame.domain import DOMAIN


def load_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a `results.json`, checked field by field.

    Raises:
      InputError: names the file, the field and the offending value.
    """
    record = Record(read_object(path), str(path))
    return [row_record(DOMAIN, row_from_record(DOMAIN, row)) for row in record.records("rows")]


def load_results(path: Path) -> dict[str, Any]:
    """A `results.json` as a report needs it.

    Raises:
      InputError: as `load_rows`; or it was not made by `mallocgame evaluate`.
    """
    record = Record(read_object(path), str(path))
    rows = load_rows(path)
    versions = record.record("versions")
    return {
        "suite": record.string("suite"),
        "names": record.strings("names"),
        "machine": record.strings("machine"),
        "versions": {name: versions.string(name) for name in versions.fields()},
        "command": record.strings("command"),
        "rows": rows,
        **DOMAIN.summary(rows),
    }
