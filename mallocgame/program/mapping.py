"""A mapping: where and when values live in fast memory, and the copies that bring them there.

Everything in the project exchanges mappings: games, heuristics, solvers and the importer of a
compiler's own decisions produce them, and `mallocgame.judge` reads them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from gamekit.errors import InputError
from gamekit.jsonfile import Record, read_json, write_json
from mallocgame.program.program import Program

FORMAT = "mallocgame.mapping"
VERSION = 1
DEFINED, COPIED = "defined", "copied"


@dataclasses.dataclass(frozen=True)
class Residency:
    """A value's stay in fast memory: bytes [offset, offset + size) over the slots [start, end).

    value: index of the value in the program.
    arrival: "defined" if the value is produced in fast memory, "copied" if a prefetch brings it.
    """

    value: int
    offset: int
    start: int
    end: int
    arrival: str


@dataclasses.dataclass(frozen=True)
class Transfer:
    """A copy between the memories, which may use the idle supply of the slots [start, end).

    A prefetch is complete when instruction `end` begins; its residency begins at `start`.  After an
    eviction, slow memory holds the value from slot `end` on.
    """

    value: int
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class Mapping:
    """A complete answer for the program with this name and fingerprint."""

    program: str
    fingerprint: str
    residencies: tuple[Residency, ...] = ()
    prefetches: tuple[Transfer, ...] = ()
    evictions: tuple[Transfer, ...] = ()


Item = TypeVar("Item", Residency, Transfer)


def in_order(items: Iterable[Item]) -> tuple[Item, ...]:
    """Residencies or transfers, sorted by their fields."""
    return tuple(sorted(items, key=lambda item: tuple(vars(item).values())))


def all_slow(program: Program) -> Mapping:
    """The mapping that uses no fast memory."""
    return Mapping(program.name, program.fingerprint)


def save_mapping(mapping: Mapping, path: str | Path) -> None:
    """Writes a mapping as JSON, gzipped if the name ends in `.gz`."""
    record: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    write_json(path, record | dataclasses.asdict(mapping))


def load_mapping(path: str | Path, program: Program | None = None) -> Mapping:
    """Reads a mapping and, if `program` is given, checks that it was made for that program.

    Raises:
      InputError: names the file, the field and the offending value.
    """
    record = Record(read_json(path, FORMAT, VERSION), str(path))
    mapping = Mapping(
        program=record.string("program"),
        fingerprint=record.string("fingerprint"),
        residencies=tuple(
            Residency(
                r.integer("value"),
                r.integer("offset"),
                r.integer("start"),
                r.integer("end"),
                r.string("arrival"),
            )
            for r in record.records("residencies")
        ),
        prefetches=tuple(_transfer(r) for r in record.records("prefetches")),
        evictions=tuple(_transfer(r) for r in record.records("evictions")),
    )
    if program is not None and mapping.fingerprint != program.fingerprint:
        raise InputError(
            f"{path}: fingerprint: must be that of {program.name!r}, {program.fingerprint}, "
            f"got a mapping made for {mapping.program!r}, {mapping.fingerprint}"
        )
    return mapping


def _transfer(record: Record) -> Transfer:
    return Transfer(record.integer("value"), record.integer("start"), record.integer("end"))
