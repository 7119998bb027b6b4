"""Files: read to a limit, written whole or not at all, and folders that one process claims."""

from __future__ import annotations

import contextlib
import fcntl
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gamekit.errors import InputError

# The largest committed program is 0.4 MiB of text; one of 50,000 accesses is about 10 MiB.
MAX_BYTES = 128 << 20
CHUNK = 1 << 20


def read_bytes(path: str | Path, limit: int = MAX_BYTES) -> bytes:
    """A file's content, unpacked if its name ends in `.gz`; takes memory for `limit` at most.

    Raises:
      InputError: there is no such file, it cannot be read or unpacked, or it holds more.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = _to_limit(file, limit)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # a name with a null is a ValueError
        raise unreadable(path, error) from None
    if len(raw) > limit:
        raise InputError(f"{path}: must hold at most {_size(limit)}, got more")
    return _unpacked(raw, path, limit) if path.name.endswith(".gz") else raw


def read_text(path: str | Path, limit: int = MAX_BYTES) -> str:
    """The same as UTF-8 text; a byte order mark is left out.

    Raises:
      InputError: as `read_bytes`, or it is no such text.
    """
    raw = read_bytes(path, limit)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: must be UTF-8 text, got: {error}") from None


def _to_limit(file: BinaryIO, limit: int) -> bytes:
    """What a file holds; one byte more than the limit where it holds more."""
    pieces, left = [], limit + 1
    while left and (piece := file.read(min(left, CHUNK))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _unpacked(raw: bytes, path: Path, limit: int) -> bytes:
    decoder = zlib.decompressobj(wbits=31)
    try:
        text = decoder.decompress(raw, limit + 1)
    except zlib.error as error:
        raise InputError(f"{path}: must be a complete gzip file, got: {error}") from None
    if len(text) > limit:
        raise InputError(f"{path}: must unpack to at most {_size(limit)}, got more")
    if not decoder.eof:
        raise InputError(f"{path}: must be a complete gzip file, got one that ends early")
    if decoder.unused_data:
        raise InputError(
            f"{path}: must be a complete gzip file, got one whose end {len(decoder.unused_data)} "
            "bytes follow"
        )
    return text


def write_bytes(path: str | Path, raw: bytes) -> None:
    """Writes a file, which appears as a whole or not at all, and its folder if there is none.

    Raises:
      InputError: the file cannot be written; what was there before stays.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(raw)
            temporary.replace(path)
        except BaseException:  # an interruption too leaves nothing
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(path, error) from None


def write_text(path: str | Path, text: str) -> None:
    """The same with UTF-8 text."""
    write_bytes(path, text.encode())


def unwritable(path: object, error: OSError) -> InputError:
    """What to say of a place that cannot be written."""
    return InputError(f"{path}: cannot be written: {error.strerror or error}")


def unreadable(path: object, error: Exception) -> InputError:
    """What to say of a place that cannot be read."""
    return InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")


@contextlib.contextmanager
def locked(path: Path, busy: str | None = None) -> Iterator[None]:
    """Holds a lock that one process at a time can have.

    Its file is taken away with the lock; one that a killed process left behind holds nobody up.

    Args:
      path: the lock's file, in a folder that exists.
      busy: what to say where another process has the lock; None waits for it.

    Raises:
      InputError: another process has it, or the file cannot be written.
    """
    how = fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0)
    while True:
        try:
            file = path.open("w")
        except OSError as error:
            raise unwritable(path, error) from None
        with file:
            try:
                fcntl.flock(file, how)
            except BlockingIOError:
                raise InputError(busy) from None
            except OSError as error:
                raise unwritable(path, error) from None
            if not _is_still(path, file.fileno()):
                continue  # whoever had it before took the file away
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        return


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"
