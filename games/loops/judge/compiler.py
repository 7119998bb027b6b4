"""The machine's C compiler, and kernels that it made."""

from __future__ import annotations

import _ctypes
import ctypes
import functools
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gamekit.errors import InputError

# So that code is what the nest says: no loop is vectorised, exchanged or jammed unless annotated.
# Sums may be reordered. -ffast-math would change how the whole process rounds.
AS_TOLD = (
    *("-fno-tree-vectorize", "-fno-loop-interchange", "-fno-loop-unroll-and-jam"),
    *("-fno-tree-loop-distribution", "-fno-tree-loop-distribute-patterns", "-fopenmp-simd"),
)
FLAGS = (
    *("-O3", "-march=native", "-std=gnu11", "-shared", "-fPIC", "-w"),
    *("-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno"),
)
COMPILE_S = 120.0


@functools.cache
def compiler() -> str:
    """The path of gcc.

    Raises:
      InputError: there is none.
    """
    found = shutil.which("gcc")
    if found is None:
        raise InputError("gcc: not found; kernels can be measured only where gcc is installed")
    return found


@functools.cache
def machine() -> str:
    """What measured times depend on: processor and compiler."""
    version = subprocess.run(
        [compiler(), "-dumpfullversion"], capture_output=True, text=True, check=True
    ).stdout.strip()
    model = platform.processor() or platform.machine()
    lines = Path("/proc/cpuinfo")
    if lines.is_file():
        names = [x for x in lines.read_text().splitlines() if x.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return f"{model}, gcc {version}"


class Kernel:
    """A compiled function; `close` takes it out of the process again."""

    def __init__(self, source: str, as_told: bool = True):
        """Compiles C of `games.loops.judge.code`.

        Raises:
          InputError: there is no compiler, or it fails.
        """
        flags = (*FLAGS, *(AS_TOLD if as_told else ()))
        with tempfile.TemporaryDirectory(prefix="loops-") as folder:
            text, library = Path(folder) / "kernel.c", Path(folder) / "kernel.so"
            text.write_text(source)
            command = [compiler(), *flags, str(text), "-o", str(library)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_S)
            except subprocess.TimeoutExpired:
                raise InputError(f"gcc: took more than {COMPILE_S:g} s for a kernel") from None
            if done.returncode:
                raise InputError(f"gcc: fails on a kernel: {done.stderr}")
            self._library = ctypes.CDLL(str(library))
        pointers = [ctypes.c_void_p] * 4
        self._library.run.argtypes, self._library.run.restype = pointers, None
        self._library.best.argtypes = [*pointers, ctypes.c_int, ctypes.c_int]
        self._library.best.restype = ctypes.c_double

    def run(self, *arrays: np.ndarray) -> None:
        """Fills `out`, given a, b, out and acc: float32 arrays in C order, of the computation's
        shapes; acc is room for as much as out."""
        self._library.run(*(array.ctypes.data for array in arrays))

    def best(self, arrays: Sequence[np.ndarray], portions: int, calls: int) -> float:
        """Seconds of a call, of the fastest of some portions of calls."""
        return self._library.best(*(array.ctypes.data for array in arrays), portions, calls)

    def close(self) -> None:
        _ctypes.dlclose(self._library._handle)
