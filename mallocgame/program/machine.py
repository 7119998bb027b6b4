"""Machines: a fast memory, a slow memory and the bus between them."""

from __future__ import annotations

import dataclasses
import math

from gamekit.errors import InputError
from gamekit.jsonfile import Record

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
        machine = f"machine {self.name!r}"
        if not 0 < self.alignment_bytes <= self.fast_capacity_bytes < 2**30:
            raise InputError(
                f"{machine}: must be 0 < alignment_bytes <= fast_capacity_bytes < 2**30, "
                f"got {self.alignment_bytes} and {self.fast_capacity_bytes}"
            )
        if self.fast_capacity_bytes % self.alignment_bytes:
            raise InputError(
                f"{machine}: fast_capacity_bytes: must be a multiple of alignment_bytes, "
                f"{self.alignment_bytes}, got {self.fast_capacity_bytes}"
            )
        for field in ("slow_bandwidth", "fast_bandwidth"):
            bandwidth = getattr(self, field)
            if not 1 <= bandwidth <= 1e18:
                raise InputError(
                    f"{machine}: {field}: must be in [1, 1e18] bytes per second, got {bandwidth}"
                )
        if self.clock_hz is not None and not (math.isfinite(self.clock_hz) and self.clock_hz > 0):
            raise InputError(
                f"{machine}: clock_hz: must be a positive frequency in Hz, got {self.clock_hz}"
            )

    def with_capacity(self, fast_capacity_bytes: int) -> Machine:
        """The same machine with less (or more) fast memory."""
        return dataclasses.replace(self, fast_capacity_bytes=fast_capacity_bytes)

    def align(self, size_bytes: int) -> int:
        """A size in bytes, rounded up to the alignment."""
        return -(-size_bytes // self.alignment_bytes) * self.alignment_bytes


def machine_from_record(record: Record) -> Machine:
    """The machine that a JSON object describes.

    Raises:
      InputError: names the file, the field and the offending value.
    """
    fields = {
        "name": record.string("name"),
        "fast_capacity_bytes": record.integer("fast_capacity_bytes"),
        "alignment_bytes": record.integer("alignment_bytes"),
        "slow_bandwidth": record.number("slow_bandwidth"),
        "fast_bandwidth": record.number("fast_bandwidth"),
        "clock_hz": record.number("clock_hz", None),
        "source": record.string("source", ""),
    }
    try:
        return Machine(**fields)
    except InputError as error:
        raise InputError(f"{record.source}: {error}") from None


# One core each, because the compiler compiles for one core: a chip's published HBM bandwidth is
# divided by its cores.  On v4 the capacity is what the shipped compiler gives to its memory space
# assignment.  Later chips use VMEM, part of which the compiler keeps for its kernels; see
# `with_capacity`.
_VMEM = (
    "VMEM and cores: jax, pallas/mosaic/tpu_info.py; fast bandwidth 22 times the slow one: "
    "jax-ml.github.io/scaling-book/tpus; alignment of one tile, 8 x 128 x 4 bytes, "
    "assumed"
)
PRESETS: dict[str, Machine] = {
    m.name: m
    for m in (
        Machine(
            "tpu_v4", 64 * MIB, 4096, 6.144e11, 1.0e13, 1.05e9,
            "one of two cores; Jouppi et al. 2023, arXiv 2304.01433: 1,228.8 GB/s HBM2, 1,050 MHz "
            "and 128 MiB CMEM a chip; offsets and the benefit column of the compiler's dumps: "
            "4,096 bytes, at most 590 GB/s a core; fast bandwidth assumed",
        ),
        Machine(
            "tpu_v4i", 128 * MIB, 4096, 6.14e11, 1.0e13, 1.05e9,
            "one core; Jouppi et al. 2021, ISCA, doi 10.1109/ISCA52012.2021.00010: 614 GB/s HBM, "
            "1,050 MHz, 128 MiB CMEM; alignment and fast bandwidth as tpu_v4",
        ),
        Machine(
            "tpu_v5e", 128 * MIB, 4096, 8.19e11, 1.8e13, 1.5e9,
            "one core; cloud.google.com/tpu/docs/v5e: 819 GB/s; clock: "
            "jax-ml.github.io/scaling-book/tpus, 1.5 GHz; " + _VMEM,
        ),
        Machine(
            "tpu_v5p", 64 * MIB, 4096, 1.3825e12, 3.04e13, 1.75e9,
            "one of two cores; cloud.google.com/tpu/docs/v5p: 2,765 GB/s and 459 TFLOP/s a chip, "
            "the clock is that over 8 units of 128 x 128 multiply-adds; " + _VMEM,
        ),
        Machine(
            "tpu_v6e", 128 * MIB, 4096, 1.638e12, 3.6e13, None,
            "one core; cloud.google.com/tpu/docs/v6e: 1,638 GB/s; " + _VMEM,
        ),
        Machine(
            "tpu7x", 64 * MIB, 4096, 3.7e12, 8.14e13, None,
            "one of two cores; 7,400 GB/s a chip, from the file named for VMEM; " + _VMEM,
        ),
    )
}  # fmt: skip


def machine_by_name(name: str) -> Machine:
    """The preset with this name.

    Raises:
      InputError: no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"machine: must be one of {', '.join(sorted(PRESETS))}, got {name!r}")
    return PRESETS[name]
