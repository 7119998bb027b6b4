"""Programs by name: worked examples, handmade ones with their optima, generated ones, files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from gamekit.errors import InputError
from gamekit.files import read_text
from games.fences.program.compile import compile_text
from games.fences.program.program import Program
from games.fences.program.tokens import MAX_BYTES
from games.fences.suites.generate import LEAST, MOST, generate

FOLDER = Path(__file__).parent
SUITES = ("worked", "handmade")
ENDING = ".txt"
_GENERATED = re.compile(r"generated/(\d{1,3})(?:-(\d{1,3}))?/(\d{1,7})(?:-(\d{1,7}))?")
MOST_GENERATED = 10_000


def find(names: Sequence[str]) -> list[tuple[str, Program]]:
    """Programs with what each was found by.

    A name is a suite ("worked", "handmade"), one of its programs ("handmade/NAME"), generated
    programs ("generated/OPERATIONS/SEED", each a number or FROM-TO), a file, or a folder of files
    that end in .txt.

    Raises:
      InputError: a name leads nowhere, a program is not of the language, or two have one name.
    """
    found: dict[str, tuple[str, Program]] = {}
    for name in names:
        for source, program in _of(name):
            if program.name in found:
                raise InputError(f"{source}: the program {program.name!r} is there twice")
            found[program.name] = (source, program)
    return list(found.values())


def knows(name: str) -> bool:
    """Whether a name can lead to programs, as far as can be seen without reading them."""
    if name in SUITES or _GENERATED.fullmatch(name):
        return True
    suite, _, program = name.partition("/")
    return suite in SUITES and (FOLDER / suite / f"{program}{ENDING}").is_file()


def optimum(name: str) -> float:
    """The least cost of a handmade or worked program, as the exhaustive search proved it."""
    return json.loads((FOLDER / "optima.json").read_text())[name]


def _of(name: str) -> Iterator[tuple[str, Program]]:
    if match := _GENERATED.fullmatch(name):
        yield from _generated(name, *match.groups())
        return
    suite, _, one = name.partition("/")
    path = FOLDER / name if suite in SUITES else Path(name)
    if one and suite in SUITES:
        path = FOLDER / suite / f"{one}{ENDING}"
    if path.is_dir():
        files = sorted(path.glob(f"*{ENDING}"))
        if not files:
            raise InputError(f"{path}: holds no program; they end in {ENDING}")
    elif path.is_file():
        files = [path]
    else:
        known = f"{', '.join(SUITES)}, generated/OPERATIONS/SEED, a file or a folder"
        raise InputError(f"program must be one of {known}, got {name!r}")
    for file in files:
        source = str(file)
        yield (
            source,
            compile_text(read_text(file, MAX_BYTES), file.name.removesuffix(ENDING), source),
        )


def _generated(
    name: str, least: str, most: str | None, first: str, last: str | None
) -> Iterator[tuple[str, Program]]:
    low, begin = int(least), int(first)
    high, end = int(most or least), int(last or first)
    if not LEAST <= low <= high <= MOST:
        raise InputError(f"{name}: must have {LEAST} to {MOST} operations, the fewer first")
    if not 0 <= end - begin < MOST_GENERATED:
        raise InputError(f"{name}: must have seeds from a smaller to a larger one")
    for seed in range(begin, end + 1):
        operations = low + seed % (high - low + 1)
        text = generate(operations, seed)
        made = f"generated_{operations}_{seed}"
        yield f"generated/{operations}/{seed}", compile_text(text, made)
