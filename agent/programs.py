"""Finds the programs a configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mallocgame
from mallocgame.jsonfile import InputError
from mallocgame.program import Program, load_program

SUFFIXES = (".program.json.gz", ".program.json")


def load_programs(names: Sequence[str]) -> list[Program]:
    """Loads files, folders of `*.program.json[.gz]`, and both inside the committed suites.

    "tpu_v4_sample" is a committed suite, "tpu_v4_sample/NAME" one of its programs.

    Raises:
      InputError: nothing is found under a name, or two programs have one name.
    """
    if not names:
        raise InputError("programs: none given")
    programs = [load_program(path) for name in names for path in _files(name)]
    seen: set[str] = set()
    for program in programs:
        if program.name in seen:
            raise InputError(f"programs: {program.name!r} is there twice")
        seen.add(program.name)
    return programs


def _files(name: str) -> list[Path]:
    suites = Path(mallocgame.__file__).parent / "suites"
    for base in (Path(name), suites / name):
        if base.is_dir():
            files = sorted(p for p in base.iterdir() if p.name.endswith(SUFFIXES))
            if not files:
                raise InputError(f"programs: {name}: the folder holds no *{SUFFIXES[0]}")
            return files
        for path in (base, *(base.with_name(base.name + suffix) for suffix in SUFFIXES)):
            if path.is_file():
                return [path]
    raise InputError(f"programs: {name}: neither a file, a folder nor a committed program")
