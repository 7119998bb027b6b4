"""Reads StableHLO from files: text, MLIR bytecode and what ``jax.export`` writes.

Anything that cannot become a program is refused here, before the first compile.
"""

from __future__ import annotations

import re
from pathlib import Path

from gamekit.errors import InputError

BYTECODE = b"ML\xefR"  # the first bytes of MLIR bytecode
PORTABLE = b"StableHLO_v"  # its producer, if it is a portable artifact (``vhlo``)
MOST_BYTES = 1 << 30


def read_module(path: Path) -> str:
    """The StableHLO text in a file.

    Raises:
      InputError: there is no such file, or it cannot be compiled; the line says what is wrong.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path}: must be at most {MOST_BYTES >> 30} GiB")
    raw = path.read_bytes()
    text = _text(path, raw)
    check_module_text(text, text if raw[:4] == BYTECODE else raw.decode(errors="ignore"), str(path))
    return text


def _text(path: Path, raw: bytes) -> str:
    from jax.extend.mlir import deserialize_portable_artifact
    from jax.interpreters import mlir
    from jaxlib.mlir import ir

    if raw[:4] != BYTECODE and b"\0" in raw[:64]:
        return _exported(path, raw)
    with mlir.make_ir_context() as context:
        try:
            if raw[:4] == BYTECODE and PORTABLE in raw[:64]:
                return str(deserialize_portable_artifact(raw, context=context))
            if raw[:4] != BYTECODE:
                raw.decode()
            return str(ir.Module.parse(raw))
        except UnicodeDecodeError:
            raise InputError(f"{path}: must be StableHLO text or MLIR bytecode") from None
        except (ir.MLIRError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).replace("error: ", "").split())[:240]
            raise InputError(f"{path}: must be StableHLO, got: {reason}") from None


def _exported(path: Path, raw: bytes) -> str:
    """The module of ``jax.export``'s own file format."""
    import jax.export

    try:
        return str(jax.export.deserialize(bytearray(raw)).mlir_module())
    except ImportError:
        raise InputError(
            f"{path}: looks like a jax.export file; flatbuffers must be installed to read it, say: "
            "pip install flatbuffers"
        ) from None
    except Exception as error:  # whatever reading foreign bytes leads to
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path}: must be StableHLO or a jax.export file, got: {reason}") from None


def check_module_text(text: str, given: str, source: str) -> None:
    """Refuses modules that cannot become a program.

    Args:
      text: the module as it is printed.
      given: what the file holds, whose lines are named; the printed text if it is not text.

    Raises:
      InputError: names the line and what must not be there.
    """
    functions = re.findall(r"func\.func (?:public |private )?@([\w.\-$]+)", text)
    if "main" not in functions:
        raise InputError(
            f"{source}: must have a function @main, got "
            f"{', '.join('@' + name for name in functions[:4]) or 'no function'}"
        )
    for number, line in enumerate(given.splitlines(), 1):
        dynamic = re.search(r"tensor<[^>]*\?[^>]*>", line)
        if dynamic:
            raise InputError(
                f"{source}: line {number}: sizes must be constants, got {dynamic.group()}"
            )
        called = re.search(r"stablehlo\.custom_call @(\w*callback\w*)", line)
        if called:
            raise InputError(
                f"{source}: line {number}: {called.group(1)} calls the host; must be left out"
            )
    if not re.search(r"tensor<[1-9]", text):
        raise InputError(f"{source}: nothing to map: every value is a scalar or empty")
    replicas = re.search(r"mhlo\.num_replicas = (\d+)", text)
    if replicas and int(replicas.group(1)) > 1:
        raise InputError(
            f"{source}: mhlo.num_replicas: must be 1, got {replicas.group(1)}; shard over one "
            "mesh instead"
        )


def partitions(text: str) -> int:
    """The number of devices over which a module is sharded."""
    found = re.search(r"mhlo\.num_partitions = (\d+)", text)
    return int(found.group(1)) if found else 1
