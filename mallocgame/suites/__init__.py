"""Finds programs, and the production compiler's mappings beside them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

from gamekit.errors import InputError
from gamekit.files import read_text, unreadable, write_bytes
from gamekit.jsonfile import Record, read_json
from mallocgame.program import Program, load_program
from mallocgame.program.mapping import Mapping, load_mapping

SUITES = Path(__file__).parent
SUFFIXES = (".program.json.gz", ".program.json")
INDEX, INDEX_FORMAT, INDEX_VERSION = "suite.json", "mallocgame.suite", 1
PRODUCTION = (".production.mapping.json.gz", ".production.mapping.json")
MODULE = ".module.mlir.gz"
MOST_MODULE_BYTES = 64 << 20


def find_programs(names: Sequence[str]) -> list[Path]:
    """Finds program files by name: files, folders of `*.program.json[.gz]`, and committed suites.

    "tpu_v4_sample" is a committed suite and "tpu_v4_sample/NAME" one of its programs;
    "tpu_v4:train" is a split of a suite that has an index.

    Raises:
      InputError: nothing is found under a name.
    """
    if not names:
        raise InputError("programs: none given")
    found = []
    for name in names:
        try:
            found += _files(name)
        except (OSError, ValueError) as error:  # a name that is too long, or has a null
            if isinstance(error, InputError):
                raise
            raise unreadable(name, error) from None
    return found


def find_program(name: str) -> Path:
    """The file of a single program.

    Raises:
      InputError: the name leads to nothing, or to several programs.
    """
    paths = find_programs([name])
    if len(paths) > 1:
        raise InputError(f"{name}: must be one program, got {len(paths)}; name one of them")
    return paths[0]


def load_programs(names: Sequence[str]) -> list[Program]:
    """Loads the programs that `find_programs` finds.

    Raises:
      InputError: a file is invalid, or two programs have the same name.
    """
    programs: dict[str, Program] = {}
    for path in find_programs(names):
        program = load_program(path)
        if program.name in programs:
            raise InputError(f"{path}: name: must be unique, got {program.name!r} twice")
        programs[program.name] = program
    return list(programs.values())


def load_production(path: Path, program: Program) -> Mapping | None:
    """The production compiler's mapping beside a program file; None if there is none.

    Raises:
      InputError: the file is invalid or belongs to another program.
    """
    base = next(path.name[: -len(s)] for s in (*SUFFIXES, path.suffix) if path.name.endswith(s))
    for suffix in PRODUCTION:
        beside = path.with_name(base + suffix)
        if beside.is_file():
            return load_mapping(beside, program)
    return None


def load_module(path: Path, program: Program) -> str | None:
    """The StableHLO beside a program file that it was compiled from; None if there is none.

    Raises:
      InputError: the file is invalid, or of another program.
    """
    beside = path.with_name(_stem(path) + MODULE) if path.name.endswith(SUFFIXES) else None
    if beside is None or not beside.is_file():
        return None
    text = read_text(beside, MOST_MODULE_BYTES)
    if hashlib.sha256(text.encode()).hexdigest() != program.provenance.get("stablehlo_sha256"):
        raise InputError(
            f"{beside}: must be what {program.name} was compiled from, got another module; "
            "take it away to do without"
        )
    return text


def save_module(text: str, path: Path) -> bool:
    """Writes a module beside a program file; False, and nothing, if it is too large.

    Modules of more than `MOST_MODULE_BYTES` consist of constants.
    """
    raw = text.encode()
    if len(raw) > MOST_MODULE_BYTES:
        return False
    write_bytes(path.with_name(_stem(path) + MODULE), gzip.compress(raw, mtime=0))
    return True


def _split(name: str, split: str) -> list[Path]:
    """The programs that a suite's index assigns to a split."""
    files = _files(name)
    index = files[0].with_name(INDEX)
    if not index.is_file():
        raise InputError(f"{name}:{split}: the suite has no {INDEX}, and so no splits")
    entries = Record(read_json(index, INDEX_FORMAT, INDEX_VERSION), str(index)).record("programs")
    splits = {
        program: entries.record(program).record("entry").string("split")
        for program in entries.fields()
    }
    if split not in splits.values():
        known = ", ".join(sorted(set(splits.values())))
        raise InputError(f"{name}:{split}: no such split; the suite has {known}")
    return [path for path in files if splits.get(_stem(path)) == split]


def _stem(path: Path) -> str:
    return next(path.name[: -len(s)] for s in SUFFIXES if path.name.endswith(s))


def _files(name: str) -> list[Path]:
    suite, colon, split = name.rpartition(":")
    if colon and not Path(name).exists():
        return _split(suite, split)
    for base in (Path(name), SUITES / name):
        if base.is_dir():
            files = sorted(p for p in base.iterdir() if p.name.endswith(SUFFIXES))
            if not files:
                raise InputError(f"{name}: the folder holds no *{SUFFIXES[0]}")
            return files
        for path in (base, *(base.with_name(base.name + suffix) for suffix in SUFFIXES)):
            if path.is_file():
                return [path]
    raise InputError(f"{name}: neither a file, a folder nor a committed program or suite")
