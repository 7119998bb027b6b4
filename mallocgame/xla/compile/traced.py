"""What a traced function says before anything is compiled: what cannot be mapped is refused."""

from __future__ import annotations

import math
import site
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.extend.core

from gamekit.errors import InputError

# Primitives that call the host: no program for a TPU alone has them.
CALLBACKS = ("debug_callback", "debug_print", "io_callback", "pure_callback", "infeed", "outfeed")


def check_traced(jaxpr: Any) -> None:
    """Refuses functions with nothing to map, or with parts that no TPU program has.

    Args:
      jaxpr: a ``jax.extend.core.ClosedJaxpr``, as ``jax.jit(f).trace(...).jaxpr``.

    Raises:
      InputError: one line with the primitive and the line of the user's source.
    """
    equations = list(_equations(jaxpr.jaxpr))
    for equation in equations:
        if equation.primitive.name in CALLBACKS:
            raise InputError(
                f"{source_line(equation)}: {_called(equation)} calls the host in the middle of the "
                "program; must be left out to be compiled for a TPU that is not there"
            )
    variables = [*jaxpr.jaxpr.invars, *jaxpr.jaxpr.constvars]
    variables += [v for e in equations for v in e.outvars]
    if not any(_is_array(variable.aval) for variable in variables):
        raise InputError("nothing to map: every value is a scalar or empty, and needs no memory")


def source_line(equation: Any) -> str:
    """FILE:LINE of the innermost line of user code that made an equation."""
    libraries = tuple({*site.getsitepackages(), sysconfig.get_paths()["stdlib"]})
    traceback = equation.source_info.traceback
    for frame in traceback.frames if traceback else ():
        if not frame.file_name.startswith((*libraries, "<")):
            return f"{Path(frame.file_name).name}:{frame.line_num}"
    return "source unknown"


def _called(equation: Any) -> str:
    """The primitive, with the name by which users know it where that differs."""
    known = {"debug_callback": "jax.debug.print or jax.debug.callback",
             "debug_print": "jax.debug.print"}  # fmt: skip
    name = equation.primitive.name
    return f"{name} ({known[name]})" if name in known else name


def _equations(jaxpr: Any) -> Iterator[Any]:
    """All equations, those of inner functions, loops and branches included."""
    for equation in jaxpr.eqns:
        yield equation
        for parameter in equation.params.values():
            for inner in parameter if isinstance(parameter, (tuple, list)) else (parameter,):
                inner = getattr(inner, "jaxpr", inner)
                if isinstance(inner, jax.extend.core.Jaxpr):
                    yield from _equations(inner)


def _is_array(aval: Any) -> bool:
    shape = getattr(aval, "shape", ())
    return bool(shape) and math.prod(shape) > 0
