"""A program and a mapping as files, and what happens to damaged ones."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path

import pytest

from gamekit.errors import InputError
from mallocgame.program import (
    Access,
    CarriedGroup,
    Instruction,
    Loop,
    Program,
    Value,
    load_program,
    save_program,
)
from mallocgame.program.machine import Machine
from mallocgame.program.mapping import COPIED, Mapping, Residency, Transfer, save_mapping

PROGRAM = Program(
    "file",
    Machine("m", 1000, 10, 10.0, 100.0, source="made up"),
    tuple(Instruction(f"i{t}", "op", compute_s=float(t not in (1, 5))) for t in range(8)),
    (
        Value("p", 100),
        Value("r", 100),
        Value("w", 40, is_input=True),
        Value("o", 40, is_output=True),
    ),
    (
        Access(0, 0, "write", (0,), 100, defines=True),
        Access(2, 0, "read", (0,), 100),
        Access(2, 2, "read", (1,), 40, 4.0, 0.5),
        Access(3, 1, "write", (0,), 100, defines=True),
        Access(6, 1, "read", (0, 2), 100),
        Access(6, 3, "write", (0,), 40, defines=True),
    ),
    (Loop(1, 5, 7),),
    (CarriedGroup(0, 0, 1),),
    {"by": "hand", "note": "Grüße"},
)
MAPPING = Mapping(
    "file",
    PROGRAM.fingerprint,
    (Residency(2, 20, 0, 7, COPIED),),
    (Transfer(2, 0, 1),),
    (Transfer(3, 7, 8),),
)


def record_of(program: Program = PROGRAM) -> dict:
    """A program as the JSON object of its file."""
    with tempfile.TemporaryDirectory() as folder:
        save_program(program, Path(folder, "p.json"))
        return json.loads(Path(folder, "p.json").read_text())


def mapping_record() -> dict:
    """`MAPPING` as the JSON object of its file."""
    with tempfile.TemporaryDirectory() as folder:
        save_mapping(MAPPING, Path(folder, "m.json"))
        return json.loads(Path(folder, "m.json").read_text())


def complaint(path: Path, content: bytes | dict, load=load_program) -> str:
    """The one-line message with which a file of this content is rejected."""
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(InputError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path)), message
    assert "\n" not in message and len(message) < 400
    return message


def put(record: dict, where: tuple, value) -> dict:
    """A copy of the record with another value at the path `where`."""
    record = copy.deepcopy(record)
    inner = record
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    return record
