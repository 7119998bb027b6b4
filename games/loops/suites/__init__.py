"""Computations by name: matmuls as LoopTune has them, other contractions, convolutions."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gamekit.errors import InputError
from gamekit.files import read_text
from games.loops.program.computation import Computation, parse

# m, n and k of the matmuls; a fifth of them is held out.
SIZES = range(64, 257, 16)
TEST_SHARE = 0.2
ENDING = ".txt"
MAX_FILE = 10_000

# By kind: the statement, and the indices that a name gives sizes of.
KINDS: Mapping[str, tuple[str, str]] = {
    "mm": ("C[m,n] += A[m,k] * B[k,n]", "m n k"),
    "mmt": ("C[m,n] += A[m,k] * B[n,k]", "m n k"),
    "mtm": ("C[m,n] += A[k,m] * B[k,n]", "m n k"),
    "bmm": ("C[b,m,n] += A[b,m,k] * B[b,k,n]", "b m n k"),
    "mv": ("y[m] += A[m,k] * x[k]", "m k"),
    "conv1d": ("O[f,x] += I[c,x + r] * W[f,c,r]", "f x c r"),
    "conv2d": ("O[f,y,x] += I[c,y + r,x + q] * W[f,c,r,q]", "f y x c r q"),
    "conv2ds": ("O[f,y,x] += I[c,2*y + r,2*x + q] * W[f,c,r,q]", "f y x c r q"),
}
# One of every kind and more; none is a matmul of the suite below.
MIXED = (
    *("mm48_40_56", "mm128_8_512", "mmt96_64_128", "mtm128_96_64", "bmm4_64_48_32"),
    *("mv256_512", "conv1d32_128_16_5", "conv2d16_16_32_8_3_3", "conv2ds16_8_16_16_3_3"),
)
MATMULS = "mm64_256_16"
_MATMULS = re.compile(rf"{MATMULS}/(train|test)(?:/(\d{{1,4}})(?:-(\d{{1,4}}))?)?")


def find(names: Sequence[str]) -> list[tuple[str, Computation]]:
    """Computations with what each was found by.

    A name is of the form KINDsizes ("mm64_80_96": m, n, k), "mixed", "mm64_256_16/train" or
    "/test", with "/N" or "/FROM-TO" behind it for some of them, a text file, or a folder of files
    that end in .txt.

    Raises:
      InputError: a name leads nowhere, a computation cannot be used, or two have one name.
    """
    found: dict[str, tuple[str, Computation]] = {}
    for name in names:
        for source, computation in _of(name):
            if computation.name in found:
                raise InputError(f"{source}: the computation {computation.name!r} is there twice")
            found[computation.name] = (source, computation)
    return list(found.values())


def knows(name: str) -> bool:
    """Whether a name can lead to computations, as far as can be seen without reading them."""
    return name == "mixed" or bool(_MATMULS.fullmatch(name)) or _kind(name) is not None


def named(name: str) -> Computation:
    """The computation of a name such as mm64_80_96.

    Raises:
      InputError: there is no such name, or its sizes are not allowed.
    """
    kind = _kind(name)
    if kind is None:
        raise InputError(f"computation must be such as mm64_80_96, got {name!r}")
    statement, indices = KINDS[kind]
    sizes = name.removeprefix(kind).split("_")
    pairs = zip(indices.split(), sizes, strict=True)
    return parse(f"{statement}; {' '.join(f'{v}={int(size)}' for v, size in pairs)}", name)


@functools.cache
def matmuls(part: str) -> tuple[str, ...]:
    """Names of the matmuls of 64 to 256 that are for training ("train") or held out ("test")."""
    every = [f"mm{m}_{n}_{k}" for m in SIZES for n in SIZES for k in SIZES]
    random.Random(0).shuffle(every)
    count = round(TEST_SHARE * len(every))
    return tuple(every[:count] if part == "test" else every[count:])


def _kind(name: str) -> str | None:
    for kind, (_, indices) in KINDS.items():
        count = len(indices.split())
        if re.fullmatch(rf"{kind}\d{{1,4}}(_\d{{1,4}}){{{count - 1}}}", name):
            return kind
    return None


def _of(name: str) -> Iterator[tuple[str, Computation]]:
    if name == "mixed":
        yield from ((each, named(each)) for each in MIXED)
    elif match := _MATMULS.fullmatch(name):
        every = matmuls(match[1])
        first, last = 0, len(every) - 1
        if match[2]:
            first, last = int(match[2]), int(match[3] or match[2])
        if not first <= last < len(every):
            raise InputError(
                f"{name}: must be of numbers from a smaller to a larger one, below {len(every)}"
            )
        yield from ((each, named(each)) for each in every[first : last + 1])
    elif _kind(name) is not None:
        yield name, named(name)
    else:
        yield from _of_files(name)


def _of_files(name: str) -> Iterator[tuple[str, Computation]]:
    path = Path(name)
    if path.is_dir():
        files = sorted(path.glob(f"*{ENDING}"))
        if not files:
            raise InputError(f"{path}: holds no computation; they end in {ENDING}")
    elif path.is_file():
        files = [path]
    else:
        known = (
            f"{', '.join(KINDS)} with sizes (mm64_80_96), mixed, {MATMULS}/test, a file, a folder"
        )
        raise InputError(f"computation must be one of {known}, got {name!r}")
    for file in files:
        yield str(file), read(file)


def read(path: Path) -> Computation:
    """The computation of a text file; it is called after the file.

    Raises:
      InputError: the file cannot be read, or holds none.
    """
    text = " ".join(read_text(path, MAX_FILE).split())
    made = parse(text, str(path))
    return Computation(path.name.removesuffix(ENDING), made.out, made.inputs, made.sizes)
