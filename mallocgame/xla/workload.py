"""What a model definition hands to the compiler: a function, shapes, what it may overwrite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Workload:
    """A JAX function with the shapes of its arguments; no weights are ever made.

    Attributes:
      function: a traceable function of ``len(arguments)`` positional arguments.
      arguments: a pytree of ``jax.ShapeDtypeStruct`` per argument.
      donate: numbers of the arguments whose memory the result may take (caches, trained weights).
      source: where the model comes from, with its version, for a program's provenance.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    donate: tuple[int, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for a donated argument that does not exist."""
        wrong = [number for number in self.donate if not 0 <= number < len(self.arguments)]
        if wrong:
            raise ValueError(f"donate: {wrong} of {len(self.arguments)} arguments")

    def stablehlo(self) -> str:
        """The function as StableHLO text for the TPU; needs JAX alone, no TPU and no libtpu."""
        import jax

        jitted = jax.jit(self.function, donate_argnums=self.donate)
        return jitted.trace(*self.arguments).lower(lowering_platforms=("tpu",)).as_text()
