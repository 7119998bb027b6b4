"""Observations: one flat vector a state, made of named parts.

spec = ObservationSpec((Part("question", (49,)), Part("window", (17, 26), "tokens")))
spec.size                        # 491
vector[..., spec.slices["window"]]
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math

KINDS = ("features", "series", "tokens")


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of an observation; in the flat vector it lies in row-major order.

    kind: what networks may take it for.
      "features": numbers without an order among them; any shape.
      "series": [T, C], C channels along an ordered axis such as time. All series of an observation
        share T; a series with T = 1 holds for the whole axis.
      "tokens": [N, C], N things alike, the first of which is what the agent is asked about.

    Raises:
      ValueError: the shape does not fit the kind.
    """

    name: str
    shape: tuple[int, ...]
    kind: str = "features"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"part {self.name!r}: kind must be one of {KINDS}, got {self.kind!r}")
        if not self.shape or min(self.shape) < 1:
            raise ValueError(f"part {self.name!r}: sizes must be positive, got {self.shape}")
        if self.kind != "features" and len(self.shape) != 2:
            raise ValueError(f"part {self.name!r}: shape must have two axes, got {self.shape}")

    @property
    def size(self) -> int:
        """How many numbers of the flat vector it takes."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class ObservationSpec:
    """The parts of a flat observation [F], in order.

    Raises:
      ValueError: two parts have one name, or series of different lengths.
    """

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if len(set(names)) < len(names):
            raise ValueError(f"names of parts must be different, got {', '.join(names)}")
        lengths = {part.shape[0] for part in self.of_kind("series")} - {1}
        if len(lengths) > 1:
            raise ValueError(f"series must have one length, got {sorted(lengths)}")

    @property
    def size(self) -> int:
        """F, the numbers of the whole vector."""
        return sum(part.size for part in self.parts)

    @functools.cached_property
    def slices(self) -> dict[str, slice]:
        """Where each part lies in the flat vector, by name."""
        ends = list(itertools.accumulate(part.size for part in self.parts))
        return {
            part.name: slice(end - part.size, end)
            for part, end in zip(self.parts, ends, strict=True)
        }

    def of_kind(self, kind: str) -> tuple[Part, ...]:
        """The parts of one kind, in order."""
        return tuple(part for part in self.parts if part.kind == kind)


def plain(size: int) -> ObservationSpec:
    """An observation of `size` features in one part."""
    return ObservationSpec((Part("features", (size,)),))
