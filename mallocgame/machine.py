"""Machines: a fast memory, a slow memory and the bus between them."""

from __future__ import annotations

import dataclasses
import math

from mallocgame.jsonfile import InputError, Record

MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Machine:
    """One core's memories.

    fast_capacity_bytes, alignment_bytes: bytes; the capacity is a multiple of the alignment.
    slow_bandwidth, fast_bandwidth: bytes per second.
    clock_hz: cycles per second, None where unknown.
    source: where the numbers come from.

    Raises:
      InputError: a number is out of range.
    """

    name: str
    fast_capacity_bytes: int
    alignment_bytes: int
    slow_bandwidth: float
    fast_bandwidth: float
    clock_hz: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.alignment_bytes <= self.fast_capacity_bytes < 2**30:
            raise InputError(
                f"machine {self.name!r}: needs 0 < alignment_bytes <= fast_capacity_bytes < 2**30, "
                f"found {self.alignment_bytes} and {self.fast_capacity_bytes}"
            )
        if self.fast_capacity_bytes % self.alignment_bytes:
            raise InputError(
                f"machine {self.name!r}: fast_capacity_bytes {self.fast_capacity_bytes} is no "
                f"multiple of alignment_bytes {self.alignment_bytes}"
            )
        for field in ("slow_bandwidth", "fast_bandwidth"):
            bandwidth = getattr(self, field)
            if not (math.isfinite(bandwidth) and bandwidth > 0):
                raise InputError(f"machine {self.name!r}: {field}: {bandwidth} is not positive")
        if self.clock_hz is not None and not self.clock_hz > 0:
            raise InputError(f"machine {self.name!r}: clock_hz: {self.clock_hz} is not positive")

    def with_capacity(self, fast_capacity_bytes: int) -> Machine:
        """The same machine with less (or more) fast memory."""
        return dataclasses.replace(self, fast_capacity_bytes=fast_capacity_bytes)


def machine_from_record(record: Record) -> Machine:
    """A machine out of its JSON object."""
    return Machine(
        name=record.string("name"),
        fast_capacity_bytes=record.integer("fast_capacity_bytes"),
        alignment_bytes=record.integer("alignment_bytes"),
        slow_bandwidth=record.number("slow_bandwidth"),
        fast_bandwidth=record.number("fast_bandwidth"),
        clock_hz=record.number("clock_hz", None),
        source=record.string("source", ""),
    )


# Capacities are what the shipped compiler gives its memory space assignment on one core (CMEM on
# v4, VMEM later).  HBM bandwidths and clocks are Google's published figures per chip, divided by
# the cores that share them where a core is what the compiler compiles for.
PRESETS: dict[str, Machine] = {
    m.name: m
    for m in (
        Machine(
            "tpu_v4", 64 * MIB, 4096, 6.144e11, 1.0e13, 1.05e9,
            "one of two cores; Jouppi et al. 2023, arXiv 2304.01433: 1,228.8 GB/s HBM2, 1,050 MHz "
            "and 128 MiB CMEM a chip; offsets and the benefit column of the compiler's dumps: "
            "4,096 bytes, at most 590 GB/s a core; fast bandwidth assumed",
        ),
    )
}  # fmt: skip


def machine_by_name(name: str) -> Machine:
    """The preset of that name.

    Raises:
      InputError: no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"machine {name!r}: unknown; one of {', '.join(sorted(PRESETS))}")
    return PRESETS[name]
