"""Text that others wrote, such as names of programs: as data in file names, lines and tables.

A name may hold path separators, terminal codes, markup, or more characters than a screen has.
`file_name` makes a file's name of it, `shown` a piece of one line, `cell` a piece of a table, and
`say` prints a line.
"""

from __future__ import annotations

import hashlib
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

# File systems take names of 255 bytes; kinds, seeds and endings are added to a stem.
MAX_STEM_BYTES = 120
MAX_NAME = 200
MAX_LINE = 500


def file_name(name: str) -> str:
    """A name as the beginning of file names, at most `MAX_STEM_BYTES` long.

    A name of letters, digits and `_ . @ + ~ -` that does not begin with a dot stays as it is.  In
    another the rest is replaced, and a hash is appended, so that different names stay different.
    """
    stem = re.sub(r"[^\w.@+~-]", "_", name)
    stem = re.sub(r"^([.~-]|$)", "_", stem)
    if stem == name and len(name.encode()) <= MAX_STEM_BYTES:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    # Cut to whole characters.
    kept = stem.encode()[: MAX_STEM_BYTES - 9].decode("utf-8", "ignore")
    return f"{kept}-{digest}"


def shown(text: object, limit: int | None = MAX_NAME) -> str:
    r"""Text as a part of one line: what cannot be printed is written as in `\x1b`, and what is
    longer than `limit` loses its middle.

    Args:
      limit: number of characters, at least 20; None for any number.
    """
    line = str(text)
    if limit is not None and len(line) > limit:  # before escapes make it longer
        line = _without_middle(line, limit)
    if not line.isprintable():
        line = "".join(c if c.isprintable() else _escaped(c) for c in line)
    if limit is not None and len(line) > limit:
        line = _without_middle(line, limit)
    return line


def one_line(text: object, limit: int = MAX_LINE) -> str:
    """A message, of however many lines, as one line of at most `limit` characters."""
    words = str(text)
    if any(c in words for c in "\n\r\t\v\f"):
        words = " ".join(words.split())
    return shown(words, limit)


def cell(text: object) -> Text:
    """Text for a table or a line of `rich`, which takes plain strings for markup."""
    from rich.text import Text

    return Text(shown(text))


def say(text: object = "", *, error: bool = False, limit: int | None = None) -> None:
    """Prints one line to stdout or, with `error`, to stderr.

    What the stream's encoding lacks is written as an escape.
    """
    stream = sys.stderr if error else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    line = shown(text, limit)
    line = line.encode(encoding, "backslashreplace").decode(encoding)
    print(line, file=stream, flush=True)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _without_middle(line: str, limit: int) -> str:
    head = 2 * (limit - 5) // 3
    return f"{line[:head]} ... {line[len(line) - (limit - 5 - head) :]}"
