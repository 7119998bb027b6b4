"""What a model definition hands to the compiler: a function, shapes, and what it may overwrite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gamekit.errors import InputError


@dataclass(frozen=True)
class Workload:
    """A JAX function with the shapes of its arguments; no weights are ever made.

    Attributes:
      function: a traceable function of ``len(arguments)`` positional arguments.
      arguments: for each argument a pytree of ``jax.ShapeDtypeStruct``.
      donate: numbers of the arguments whose memory the result may reuse (caches, trained weights).
      source: where the model comes from, with its version; part of a program's provenance.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    donate: tuple[int, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        """Raises InputError if a donated argument does not exist."""
        wrong = [number for number in self.donate if not 0 <= number < len(self.arguments)]
        if wrong:
            raise InputError(
                f"donate: must number the {len(self.arguments)} arguments from 0, got {wrong}"
            )

    def stablehlo(self) -> str:
        """The function as StableHLO text for the TPU; needs JAX only, neither a TPU nor libtpu.

        A function that is jitted already keeps its own shardings and donated arguments.

        Raises:
          InputError: there is nothing to map, or the function calls the host.
        """
        import jax

        from mallocgame.xla.compile.traced import check_traced

        jitted: Any = self.function
        if self.donate or not hasattr(jitted, "trace"):
            jitted = jax.jit(self.function, donate_argnums=self.donate)
        traced = jitted.trace(*self.arguments)
        check_traced(traced.jaxpr)
        return traced.lower(lowering_platforms=("tpu",)).as_text()
