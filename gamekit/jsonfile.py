"""JSON as it is read everywhere: strict, bounded, and with located errors."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gamekit.errors import InputError
from gamekit.files import read_bytes, write_bytes
from gamekit.text import shown

_MISSING: Any = object()
# Of lists, objects and their entries: in Python's objects 1 GiB at most.
MAX_ITEMS = 1 << 23
MAX_INTEGER = 2**63 - 1
MAX_LINES_BYTES = 1 << 30
# How a lone surrogate has to be written; whole pairs are written so too.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(raw: bytes) -> Any:
    """The value of a JSON text.

    Stricter than `json.loads`: no key twice, no lone surrogates; that numbers are finite is for
    `Record` to say, which knows their fields.  Memory is taken after the number of items is known
    to be within `MAX_ITEMS`.

    Raises:
      ValueError: it is no such text; the message says why.
    """
    count = sum(raw.count(mark) for mark in (b",", b"[", b"{"))
    if count > MAX_ITEMS:
        raise ValueError(f"more than {MAX_ITEMS:,} items")
    try:
        value = json.loads(
            raw.decode("utf-8-sig"),
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise ValueError("lists and objects that are nested too deep") from None
    if _SURROGATE.search(raw):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a lone surrogate, where all must be valid text") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {shown(twice, 60)!r} twice in one object")
    return made


def read_object(path: str | Path) -> dict[str, Any]:
    """Reads a `.json` or `.json.gz` object.

    Raises:
      InputError: the file is missing, too large, truncated, or no JSON object.
    """
    raw = read_bytes(path)
    try:
        data = parse_json(raw)
    except ValueError as error:  # of decoding too
        raise InputError(f"{path}: must be valid JSON, got: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: must be a JSON object, got {type(data).__name__}")
    return data


def read_json(path: str | Path, file_format: str, version: int) -> dict[str, Any]:
    """Reads an object that declares `file_format` and `version`.

    Raises:
      InputError: as `read_object`, or it is of another format or version.
    """
    data = read_object(path)
    if data.get("format") != file_format:
        found = short(data.get("format"))
        raise InputError(f"{path}: format: must be {file_format!r}, got {found}")
    if type(data.get("version")) is not int or data["version"] != version:
        found = short(data.get("version"))
        raise InputError(f"{path}: version: must be {version} for this release, got {found}")
    return data


def read_lines(path: str | Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """The lines of a file of one JSON object a line, each with its object; None where it has none.

    Raises:
      InputError: the file is missing or cannot be read.
    """
    for line in read_bytes(path, MAX_LINES_BYTES).split(b"\n"):
        if line.strip():
            try:
                value = parse_json(line)
            except ValueError:
                value = None
            yield line, value if isinstance(value, dict) else None


def write_json(path: str | Path, data: dict[str, Any]) -> None:
    """Writes `data` atomically; the same data gives the same bytes.

    Raises:
      InputError: the file cannot be written.
    """
    raw = json.dumps(data, separators=(",", ":")).encode()
    write_bytes(path, gzip.compress(raw, mtime=0) if Path(path).name.endswith(".gz") else raw)


def short(value: Any) -> str:
    """A value in an error message."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of too many digits
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


class Record:
    """Typed access to a JSON object; every error names the file, the field and the value."""

    def __init__(self, data: dict[str, Any], source: str, prefix: str = ""):
        self._data = data
        self._source = source
        self._prefix = prefix

    @property
    def source(self) -> str:
        """The file that the object comes from."""
        return self._source

    def fields(self) -> tuple[str, ...]:
        """The names of what is there."""
        return tuple(self._data)

    def _get(self, key: str, default: Any) -> Any:
        if key in self._data:
            return self._data[key]
        if default is _MISSING:
            raise self.error(key, "is missing")
        return default

    def error(self, key: str, message: str) -> InputError:
        """An error that names the file and the field, to be raised by the caller."""
        return InputError(f"{self._source}: {self._prefix}{key}: {message}")

    def _typed(self, key: str, default: Any, kinds: tuple[type, ...], what: str) -> Any:
        value = self._get(key, default)
        if value is None and default is None:
            return None  # null means the same as a missing optional number
        if key in self._data and (
            not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
        ):
            raise self.error(key, f"must be {what}, got {short(value)}")
        return value

    def any(self, key: str) -> Any:
        """Whatever is there."""
        return self._get(key, _MISSING)

    def string(self, key: str, default: Any = _MISSING) -> str:
        return self._typed(key, default, (str,), "a string")

    def integer(self, key: str, default: Any = _MISSING) -> int:
        found = self._typed(key, default, (int,), "an integer")
        if isinstance(found, int) and abs(found) > MAX_INTEGER:
            raise self.error(key, f"must be an integer of 64 bits, got {short(found)}")
        return found

    def boolean(self, key: str, default: Any = _MISSING) -> bool:
        return self._typed(key, default, (bool,), "true or false")

    def number(self, key: str, default: Any = _MISSING) -> Any:
        value = self._typed(key, default, (int, float), "a number")
        try:
            number = None if value is None else float(value)
        except OverflowError:
            number = math.inf
        if number is not None and not math.isfinite(number):
            large = "" if math.isnan(number) else ", which is too large"
            raise self.error(key, f"must fit a 64-bit float, got {short(value)}{large}")
        return number

    def integers(self, key: str, default: Any = _MISSING) -> tuple[int, ...]:
        values = self._typed(key, default, (list,), "a list of integers")
        for value in values:
            if not isinstance(value, int) or isinstance(value, bool):
                raise self.error(key, f"must be a list of integers, got {short(value)}")
        return tuple(values)

    def mapping(self, key: str, default: Any = _MISSING) -> dict[str, Any]:
        return self._typed(key, default, (dict,), "an object")

    def record(self, key: str) -> Record:
        return Record(self.mapping(key), self._source, f"{self._prefix}{key}.")

    def records(self, key: str, default: Any = _MISSING) -> Iterator[Record]:
        values: Sequence[Any] = self._typed(key, default, (list,), "a list of objects")
        for i, value in enumerate(values):
            if not isinstance(value, dict):
                raise self.error(f"{key}[{i}]", f"must be an object, got {short(value)}")
            yield Record(value, self._source, f"{self._prefix}{key}[{i}].")
