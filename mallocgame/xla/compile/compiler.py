"""Runs the TPU compiler, one process for each step, and keeps what the importer reads.

libtpu admits one process at a time; the others wait here.  Its dumps are large, so they go to a
temporary folder that is always deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gamekit.errors import InputError
from mallocgame.xla.compile.given import partitions
from mallocgame.xla.read.chips import Chip, Options

DEFAULT_TIMEOUT_S = 600.0
LOCK_POLL_S = 2.0
ACCOUNTS = ("bufferinfo", "allocinfo", "scheduleinfo")
# Only MSA's account is dumped.  The estimates are made before instructions are scheduled, which
# takes most of a compile's time; so the simplest scheduler is used, with the same estimates.
_DUMP_FLAGS = (
    "--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=false "
    "--xla_jf_dump_llo_pass_label_regex=memory-space --xla_jf_vliw_scheduler=false"
)
_NOISE = re.compile(r"^(W\d{4}|I\d{4}|WARNING|\s*$)")


@dataclass(frozen=True)
class Function:
    """What to trace: ``package.module:function``.

    shapes: such as ``f32[8,128],s32[]`` for a plain function; None for one that returns a
        `Workload`.
    keywords: arguments of a function that returns a `Workload`.
    """

    name: str
    shapes: str | None = None
    keywords: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Lowered:
    """A function as StableHLO text on disk, and its source."""

    stablehlo: Path
    source: str


def require_libtpu() -> None:
    """Raises InputError, which says what to install, if the compiler is missing."""
    if importlib.util.find_spec("libtpu") is None:
        raise InputError("libtpu: must be installed, say: pip install 'mallocgame[tpu]'")


def versions() -> dict[str, str]:
    """Versions of all packages that the bytes of a compile depend on."""
    return {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "libtpu")}


def lower(function: Function, folder: Path, timeout_s: float = DEFAULT_TIMEOUT_S) -> Lowered:
    """Writes the StableHLO of a function into ``folder``; needs no libtpu.

    Raises:
      InputError: one line that says what the name leads to, or how tracing failed.
    """
    stablehlo, about = folder / "lowered.mlir", folder / "lowered.json"
    request = {
        "step": "lower",
        "function": function.name,
        "shapes": function.shapes,
        "keywords": dict(function.keywords),
        "out": str(stablehlo),
        "about": str(about),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _run(request, {}, function.name, timeout_s)
    return Lowered(stablehlo, json.loads(about.read_text())["source"] or function.name)


def compile_to(
    stablehlo: Path,
    chip: Chip,
    options: Options,
    flags: Sequence[str],
    out: Path,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> None:
    """Compiles, and writes ``msa_on.hlo.gz`` with MSA's account, or ``msa_off.hlo.gz`` without.

    ``options`` decide which of the two it is.  Writes all files into ``out``, or none.

    Args:
      options: of the compile.
      flags: of the compiler's library, ``--name=value``.

    Raises:
      InputError: libtpu is missing, the compile fails or takes longer than ``timeout_s``, or the
        dump has no account.
    """
    require_libtpu()
    is_off = all(options.get(key) == value for key, value in chip.assignment_off.items())
    with tempfile.TemporaryDirectory(prefix="mallocgame-compile-") as name:
        folder = Path(name)
        dumps = folder / "dumps"
        dumps.mkdir()
        request = {
            "step": "compile",
            "stablehlo": str(stablehlo),
            "topology": chip.topology_of(partitions(stablehlo.read_text())),
            "options": options,
            "out": str(folder / "optimised.hlo"),
        }
        environment = {
            **_beside_own_library(),
            "TPU_SKIP_MDS_QUERY": "1",
            "LIBTPU_INIT_ARGS": " ".join([_DUMP_FLAGS.format(folder=dumps), *flags]),
            "TPU_LOG_DIR": "disabled",
        }
        with alone():
            _run_when_free(request, environment, stablehlo.name, timeout_s)
        files = {} if is_off else _accounts(dumps, stablehlo.name)
        text = without_metadata((folder / "optimised.hlo").read_text())
        name = "msa_off.hlo.gz" if is_off else "msa_on.hlo.gz"
        files[name] = gzip.compress(text.encode(), mtime=0)
    out.mkdir(parents=True, exist_ok=True)
    for file, raw in files.items():
        (out / f".{file}").write_bytes(raw)
    for file in files:
        (out / f".{file}").replace(out / file)


def without_metadata(text: str) -> str:
    """HLO text without source locations, which name files of the compiling machine."""
    kept = re.sub(r", metadata=\{[^{}]*\}", "", text)
    return re.sub(r"(?ms)^(FileNames|FunctionNames|FileLocations|StackFrames)\n.*?^\n", "", kept)


def _accounts(dumps: Path, what: str) -> dict[str, bytes]:
    """MSA's account of the module; of several runs the largest files."""
    files = {}
    for kind in ACCOUNTS:
        found = sorted(dumps.rglob(f"*memory-space-assignment-{kind}.txt"))
        if not found:
            raise InputError(
                f"{what}: the compiler assigned nothing to a memory (no {kind}): it has no arrays "
                "that could be in fast memory"
            )
        files[f"{kind}.csv"] = max(found, key=lambda path: path.stat().st_size).read_bytes()
    return files


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Waits until no other compile of this project runs on the machine."""
    path = Path(tempfile.gettempdir()) / "mallocgame-libtpu.lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _beside_own_library() -> dict[str, str]:
    """What lets a compile run although this very process has loaded the compiler's library.

    A process that has asked JAX for a TPU topology holds libtpu's lock until it ends, so waiting
    would be in vain.  No compile here touches a TPU, which is what the lock is for.
    """
    try:
        loaded = "libtpu.so" in Path("/proc/self/maps").read_text()
    except OSError:
        loaded = False
    return {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1"} if loaded else {}


def _run_when_free(
    request: Mapping[str, object], environment: Mapping[str, str], what: str, timeout_s: float
) -> None:
    """Runs a compile as soon as no other process holds the compiler's own lock."""
    patience = time.monotonic() + timeout_s
    while True:
        try:
            return _run(request, environment, what, timeout_s)
        except InputError as error:
            if "lockfile" not in str(error) or time.monotonic() > patience:
                raise
            time.sleep(LOCK_POLL_S)


def _run(
    request: Mapping[str, object], environment: Mapping[str, str], what: str, timeout_s: float
) -> None:
    """Runs one request in a separate process and waits for it.

    Raises:
      InputError: the process failed or took longer than ``timeout_s``; the line quotes its error.
    """
    command = [sys.executable, "-m", "mallocgame.xla.compile.compile_child"]
    with tempfile.TemporaryDirectory(prefix="mallocgame-request-") as name:
        path, log = Path(name) / "request.json", Path(name) / "stderr"
        path.write_text(json.dumps(request))
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [*command, str(path)],
                env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
            try:
                code = process.wait(timeout_s)
            except BaseException as error:
                process.kill()
                process.wait()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise InputError(
                        f"{what}: {request['step']} took longer than {timeout_s:.0f} s"
                    ) from None
                raise
        if code != 0:
            raise InputError(f"{what}: {request['step']} failed: {_reason(log, code)}")


def _reason(log: Path, code: int) -> str:
    """The line of stderr that tells why a process ended."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    telling = [line for line in lines if re.match(r"F\d{4} |\w*(Error|Exception): ", line)]
    other = [line for line in lines if not _NOISE.match(line)]
    line = (telling or other or [f"exit status {code}"])[-1]
    return line.removeprefix("InputError: ")[:300]
