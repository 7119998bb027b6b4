"""The corners of the rules that participants read in different ways, as named options.

The defaults are the organisers' rulings and what their verdicts show (docs/graphs.md, "Corners").
"""

from __future__ import annotations

import dataclasses

from gamekit.errors import InputError

CHOICES = {
    "base_cost": ("reduction", "native"),
    "upstream": ("once", "repeated"),
    "above_native": ("forbid", "passes"),
    "read_outside": ("ephemeral", "stored"),
    "retained_output": ("full", "tile", "free"),
    "prologue": ("unsplit", "aligned", "free"),
    "chain": ("aligned", "free"),
    "above_reduction": ("forbid", "clamp"),
    "connected": ("shared", "inside", "free"),
    "epilogue": ("last", "first", "spread"),
    "retain_inputs": ("forbid", "allow"),
    "reuse": ("adjacent", "within_tile"),
}


@dataclasses.dataclass(frozen=True)
class Reading:
    """How the rules are read.

    base_cost: of a MatMul covers one native tile with its whole "reduction", or one "native" depth.
    upstream: a slice computed for a MatMul of the same subgraph is charged "once", or "repeated"
        in every step that needs it and did not have it in the step before.
    above_native: tiles larger than native are forbidden, or take as many native "passes".
    read_outside: a tensor read inside and outside is "ephemeral", or "stored" as an output too.
    retained_output: what an output that is retained takes: its "full" size, a "tile", or nothing.
    prologue: Pointwise before a MatMul needs the tile to span the reduction and the reduction to be
        "unsplit", only the former ("aligned"), or neither ("free").
    chain: MatMul before a MatMul needs the tile to span the reduction ("aligned"), or not ("free").
    above_reduction: a depth above a MatMul's reduction is forbidden, or clamped.
    connected: operations are joined by "shared" inputs too, only by tensors made "inside", or need
        not be.
    epilogue: what follows the last MatMul loads its other inputs and computes with the "last" step
        of a tile; loads with the "first"; loads with the first and computes "spread" over all.
    retain_inputs: whether tensors that a subgraph only loads may be retained.
    reuse: slices stay between "adjacent" steps, or only "within_tile".

    Raises:
      InputError: a value is none of an option's choices.
    """

    base_cost: str = "reduction"
    upstream: str = "once"
    above_native: str = "forbid"
    read_outside: str = "ephemeral"
    retained_output: str = "full"
    prologue: str = "unsplit"
    chain: str = "aligned"
    above_reduction: str = "forbid"
    connected: str = "shared"
    epilogue: str = "last"
    retain_inputs: str = "forbid"
    reuse: str = "adjacent"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise InputError(f"{name}: must be one of {', '.join(choices)}, got {value!r}")
