"""Versioned JSON files with located errors, shared by programs and mappings."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gamekit.errors import InputError

_MISSING: Any = object()
MAX_TEXT_BYTES = 1 << 30


def read_json(path: str | Path, file_format: str, version: int) -> dict[str, Any]:
    """Reads a `.json` or `.json.gz` object that declares `file_format` and `version`.

    Raises:
      InputError: the file is missing, truncated, not JSON, or of another format or version.
    """
    path = Path(path)
    data = read_object(path)
    if data.get("format") != file_format:
        found = _short(data.get("format"))
        raise InputError(f"{path}: format: must be {file_format!r}, got {found}")
    if type(data.get("version")) is not int or data["version"] != version:
        found = _short(data.get("version"))
        raise InputError(f"{path}: version: must be {version} for this release, got {found}")
    return data


def read_object(path: str | Path) -> dict[str, Any]:
    """Reads a `.json` or `.json.gz` object of whatever format.

    Raises:
      InputError: the file is missing, truncated, or no JSON object.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
        if path.name.endswith(".gz"):
            raw = _gunzip(raw)
        data = json.loads(raw.decode("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path}: must be a complete gzip file, got: {error}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, ValueError) as error:
        raise InputError(f"{path}: must be valid JSON, got: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: must be a JSON object, got {type(data).__name__}")
    return data


def _gunzip(raw: bytes) -> bytes:
    decoder = zlib.decompressobj(wbits=31)
    text = decoder.decompress(raw, MAX_TEXT_BYTES)
    if not decoder.eof:
        raise EOFError("the stream ends early or is larger than 1 GiB")
    if decoder.unused_data:
        raise EOFError(f"{len(decoder.unused_data)} bytes follow the end of the stream")
    return text


def write_json(path: str | Path, data: dict[str, Any]) -> None:
    """Writes `data` atomically; the same data gives the same bytes.

    Raises:
      InputError: the file cannot be written.
    """
    path = Path(path)
    raw = json.dumps(data, separators=(",", ":")).encode()
    if path.name.endswith(".gz"):
        raw = gzip.compress(raw, mtime=0)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(raw)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


def _short(value: Any) -> str:
    text = repr(value)
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
            raise self.error(key, f"must be {what}, got {_short(value)}")
        return value

    def string(self, key: str, default: Any = _MISSING) -> str:
        return self._typed(key, default, (str,), "a string")

    def integer(self, key: str, default: Any = _MISSING) -> int:
        return self._typed(key, default, (int,), "an integer")

    def boolean(self, key: str, default: Any = _MISSING) -> bool:
        return self._typed(key, default, (bool,), "true or false")

    def number(self, key: str, default: Any = _MISSING) -> Any:
        value = self._typed(key, default, (int, float), "a number")
        try:
            return value if value is None else float(value)
        except OverflowError:
            raise self.error(
                key, f"must fit a 64-bit float, got {_short(value)}, which is too large"
            ) from None

    def integers(self, key: str, default: Any = _MISSING) -> tuple[int, ...]:
        values = self._typed(key, default, (list,), "a list of integers")
        for value in values:
            if not isinstance(value, int) or isinstance(value, bool):
                raise self.error(key, f"must be a list of integers, got {_short(value)}")
        return tuple(values)

    def _entries(self, key: str, values: Sequence[Any]) -> Record:
        named = {f"{key}[{i}]": value for i, value in enumerate(values)}
        return Record(named, self._source, self._prefix)

    def lists_of_integers(self, key: str) -> tuple[tuple[int, ...], ...]:
        lists = self._typed(key, _MISSING, (list,), "a list of lists of integers")
        entries = self._entries(key, lists)
        return tuple(entries.integers(name) for name in entries._data)

    def optional_lists_of_integers(
        self, key: str, count: int
    ) -> tuple[tuple[int, ...] | None, ...]:
        """Lists of integers, each of which may be null; `count` nulls where there are none."""
        lists = self._typed(key, None, (list,), "a list of lists of integers")
        if lists is None:
            return (None,) * count
        entries = self._entries(key, lists)
        return tuple(
            None if value is None else entries.integers(name)
            for name, value in entries._data.items()
        )

    def numbers(self, key: str) -> tuple[float, ...]:
        values = self._typed(key, _MISSING, (list,), "a list of numbers")
        entries = self._entries(key, values)
        return tuple(entries.number(name) for name in entries._data)

    def strings(self, key: str) -> tuple[str, ...]:
        values = self._typed(key, _MISSING, (list,), "a list of strings")
        entries = self._entries(key, values)
        return tuple(entries.string(name) for name in entries._data)

    def mapping(self, key: str, default: Any = _MISSING) -> dict[str, Any]:
        return self._typed(key, default, (dict,), "an object")

    def record(self, key: str) -> Record:
        return Record(self.mapping(key), self._source, f"{self._prefix}{key}.")

    def records(self, key: str, default: Any = _MISSING) -> Iterator[Record]:
        values: Sequence[Any] = self._typed(key, default, (list,), "a list of objects")
        for i, value in enumerate(values):
            if not isinstance(value, dict):
                raise self.error(f"{key}[{i}]", f"must be an object, got {_short(value)}")
            yield Record(value, self._source, f"{self._prefix}{key}[{i}].")
