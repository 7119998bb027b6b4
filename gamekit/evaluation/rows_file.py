"""The rows file of an evaluation: what is finished stays finished, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gamekit.domain import Domain
from gamekit.errors import InputError
from gamekit.evaluation.rows import Key, Row, row_from_record, row_record
from gamekit.files import read_bytes, unwritable
from gamekit.jsonfile import Record, parse_json

VERSION = 1
MAX_ROWS_BYTES = 1 << 30


class RowsFile:
    """`rows.jsonl` in a results folder: the configuration first, then one row a line.

    found: the rows that are there, by `Row.key`.
    """

    def __init__(self, domain: Domain, folder: Path, configuration: dict[str, Any]):
        """Opens the file of this configuration, or begins one.

        Raises:
          InputError: the folder cannot be written, or is of another configuration.
        """
        self.path, self._domain = folder / "rows.jsonl", domain
        self.found: dict[Key, Row] = {}
        header = {
            "format": self._format,
            "version": VERSION,
            "configuration": configuration,
        }
        # As JSON gives it back: tuples are lists there.
        header = json.loads(json.dumps(header))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = read_bytes(self.path, MAX_ROWS_BYTES) if self.path.exists() else b""
            kept = self._read(text, header)
            self._file = self.path.open("ab")
            if kept < len(text):
                self._file.truncate(kept)
            if kept == 0:
                self._write(header)
        except OSError as error:
            raise unwritable(f"--out {folder}", error) from None

    def add(self, row: Row) -> None:
        """Appends a row; when this returns it survives the end of the process."""
        self.found[row.key] = row
        self._write(row_record(self._domain, row))

    def forget(self, statuses: Sequence[str]) -> None:
        """Takes rows of these statuses for not found; in the file a later row of theirs counts."""
        self.found = {k: row for k, row in self.found.items() if row.status not in statuses}

    @property
    def _format(self) -> str:
        return f"{self._domain.name}.rows"

    def close(self) -> None:
        """Closes the file; what was added is in it."""
        with contextlib.suppress(OSError):  # a row that could not be written, which was said
            self._file.close()

    def _write(self, record: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(record).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            if not os.fstat(self._file.fileno()).st_nlink:
                raise InputError(f"{self.path}: was taken away while rows were written to it")
        except OSError as error:
            raise unwritable(self.path, error) from None

    def _read(self, text: bytes, header: dict[str, Any]) -> int:
        """Takes the rows over; returns how many bytes are whole lines of this evaluation."""
        kept = 0
        for number, line in enumerate(text.splitlines(keepends=True)):
            if not line.endswith(b"\n"):
                break  # the process ended while it wrote this one
            try:
                record = parse_json(line)
            except ValueError as error:
                raise self._error(f"line {number + 1} is damaged: {error}") from None
            if not isinstance(record, dict):
                raise self._error(f"line {number + 1} is damaged: must be an object")
            if number == 0:
                self._check(record, header)
            else:
                try:
                    row = row_from_record(self._domain, Record(record, f"line {number + 1}"))
                except InputError as error:
                    raise self._error(str(error)) from None
                self.found[row.key] = row
            kept += len(line)
        return kept

    def _check(self, found: dict[str, Any], header: dict[str, Any]) -> None:
        if found.get("format") != self._format or found.get("version") != VERSION:
            raise self._error("is of another release")
        before, now = found.get("configuration"), header["configuration"]
        if not isinstance(before, dict):
            raise self._error("line 1 is damaged: configuration must be an object")
        for key in {**before, **now}:
            if before.get(key) != now.get(key):
                raise self._error(f"was made with {_difference(key, before, now)}")

    def _error(self, what: str) -> InputError:
        return InputError(f"{self.path}: {what}; choose another --out or say --overwrite")


def _difference(key: str, before: dict[str, Any], now: dict[str, Any]) -> str:
    one, other = before.get(key), now.get(key)
    if isinstance(one, dict) and isinstance(other, dict):
        names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        return f"another {key}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
    return f"{key} {_short(one)}, not {_short(other)}"


def _short(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
