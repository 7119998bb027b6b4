"""The words of the language, with the places where they stand."""

from __future__ import annotations

import dataclasses
import re

from gamekit.errors import InputError

DEVICES = ("CPU", "GPU")
KEYWORDS = (
    *("let", "if", "else", "true", "false", "input", "print", "sync"),
    *("before", "cost", "weights", "deterministic", "schedule", *DEVICES),
)
MAX_BYTES, MAX_NAME, MAX_DIGITS = 1 << 20, 64, 18
_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+|\#[^\n]*)"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<symbol>---|&&|\|\||==|[-+*/!=(){}])"
)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where something stands: the name of the source, and line and column from 1 on."""

    source: str
    line: int
    column: int

    def error(self, message: str) -> InputError:
        """An error that says where; to be raised by the caller."""
        return InputError(f"{self.source}:{self.line}:{self.column}: {message}")


@dataclasses.dataclass(frozen=True)
class Token:
    """kind: "number", "name", "keyword", "symbol" or "end"; text: as it stands."""

    kind: str
    text: str
    place: Place

    def __str__(self) -> str:
        return "the end of the file" if self.kind == "end" else repr(self.text)


def tokens_of(text: str, source: str) -> list[Token]:
    """The tokens of a text, the last one of kind "end".

    Raises:
      InputError: a character that no token begins with; a name or a number that is too long.
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"{source}: must have at most {MAX_BYTES} characters, got {len(text)}")
    found: list[Token] = []
    at, line, line_start = 0, 1, 0
    while at < len(text):
        place = Place(source, line, at - line_start + 1)
        match = _TOKEN.match(text, at)
        if match is None:
            raise place.error(f"no word begins with {text[at]!r}")
        kind, word = str(match.lastgroup), match.group()
        if kind == "space":
            line += word.count("\n")
            if "\n" in word:
                line_start = at + word.rindex("\n") + 1
        else:
            found.append(_token(kind, word, place))
        at = match.end()
    found.append(Token("end", "", Place(source, line, at - line_start + 1)))
    return found


def _token(kind: str, word: str, place: Place) -> Token:
    if kind == "name" and len(word) > MAX_NAME:
        raise place.error(f"a name must have at most {MAX_NAME} characters, got {len(word)}")
    if kind == "number" and len(word) > MAX_DIGITS:
        raise place.error(f"a number must have at most {MAX_DIGITS} digits, got {len(word)}")
    return Token("keyword" if word in KEYWORDS else kind, word, place)
