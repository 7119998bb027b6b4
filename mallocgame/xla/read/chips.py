"""The TPU generations that can be compiled for, and how each is told to use less memory."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from gamekit.errors import InputError
from mallocgame.program.machine import MIB, Machine, machine_by_name

Options = dict[str, str | int | bool]
KIB = 1024
# Slices beyond a chip's smallest, by the number of "x" in their names.
_LARGER = {1: ("2x4", "4x4", "4x8", "8x8", "8x16", "16x16"),
           2: ("2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8")}  # fmt: skip


@dataclass(frozen=True)
class Chip:
    """One generation.

    Attributes:
      topology: the smallest slice that the compiler knows; programs are compiled for one of its
        cores, or for as many as they are sharded over.
      machine_name: preset in `mallocgame.program.machine`.
      fast_space: number of the fast memory in layouts, ``S(n)``: CMEM on v4, VMEM on later chips.
      largest_bytes: the most fast memory that programs are made for, of what the assignment has.
      bytes_per_cycle: what the compiler's estimates move between slow memory and a core, read and
        written: of a copy of 64 MiB (v4: what copies of every size take beyond a constant).
      scoped_bytes: fast memory that the compiler keeps for its kernels beside the assignment's;
        none on tpu7x, where each kernel takes its own out of the assignment's while it runs.
      slices: value of "most slices of a prefetch" that keeps prefetches whole; 0 if the compiler
        splits arrays over the parts of a core and knows no slices.
      cores: devices of a chip.
      clock_hz: for a preset without one: the published bf16 operations per second over those of
        four matrix units of 256 x 256 multiply-adds per core.
    """

    name: str
    topology: str
    machine_name: str
    fast_space: int
    largest_bytes: int
    bytes_per_cycle: int
    scoped_bytes: int = 0
    clock_hz: float | None = None
    slices: int = 1
    cores: int = 1

    @property
    def closed(self) -> Options:
        """Options for what the rules know: no copies across runs, and every prefetch whole."""
        return {
            "xla_max_cross_program_prefetches": 0,
            "xla_tpu_sliced_prefetch_max_slices": self.slices,
        }

    @property
    def machine(self) -> Machine:
        """The machine of the chip's programs, with the most memory.

        Its bus moves bytes at the rate of the compiler's estimates, where that is lower than the
        published one: times of accesses and of copies are in one unit of account.
        """
        machine = machine_by_name(self.machine_name).with_capacity(self.largest_bytes)
        source = machine.source
        if machine.clock_hz is None:
            source += "; clock from the published peak, four matrix units assumed"
        clock_hz = machine.clock_hz or self.clock_hz or 1.0
        bandwidth = min(machine.slow_bandwidth, self.bytes_per_cycle * clock_hz)
        if bandwidth < machine.slow_bandwidth:
            source += f"; bandwidth of the compiler's estimates, {self.bytes_per_cycle} bytes/cycle"
        return dataclasses.replace(
            machine, clock_hz=clock_hz, slow_bandwidth=bandwidth, source=source
        )

    @property
    def has_cmem(self) -> bool:
        """Whether the fast memory is v4's CMEM, which kernels do not use themselves."""
        return self.fast_space == 3

    @property
    def has_one_capacity(self) -> bool:
        """Whether programs have the largest capacity only.

        Where kernels take their memory out of the assignment's, the compiler makes other kernels
        when there is less of it, of which the compile without assignment says nothing.
        """
        return not self.has_cmem and not self.scoped_bytes

    @property
    def assignment_off(self) -> Options:
        """Options that switch memory space assignment off."""
        if self.has_cmem:
            return {"xla_tpu_cmem_memory_space_assignment": False}
        return {"xla_msa_enable": "DISABLED"}

    def topology_of(self, devices: int) -> str:
        """The smallest slice with so many cores.

        Raises:
          InputError: the compiler knows none that large.
        """
        generation, _, smallest = self.topology.partition(":")
        sizes = (smallest, *_LARGER[smallest.count("x")])
        for size in sizes:
            if devices <= math.prod(int(n) for n in size.split("x")) * self.cores:
                return f"{generation}:{size}"
        raise InputError(
            f"mhlo.num_partitions: must be at most the devices of {generation}:{sizes[-1]}, "
            f"got {devices}"
        )

    def capacity_options(self, capacity_bytes: int) -> Options:
        """Options that give the assignment this much memory; see also `capacity_flags`."""
        if not self.has_cmem or capacity_bytes == self.largest_bytes:
            return {}
        return {"xla_tpu_max_cmem_used_by_memory_space_assignment": capacity_bytes // KIB}

    def capacity_flags(self, capacity_bytes: int) -> tuple[str, ...]:
        """Library flags that do the same on chips without CMEM, by the size of VMEM itself."""
        if self.has_cmem:
            return ()
        return (f"--xla_tpu_override_vmem_size_kib={(capacity_bytes + self.scoped_bytes) // KIB}",)


CHIPS: dict[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip("v4", "v4:2x2x1", "tpu_v4", 3, 64 * MIB, 428),
        Chip("v5e", "v5e:2x2", "tpu_v5e", 1, 64 * MIB, 438, 16 * MIB),
        Chip("v5p", "v5p:2x2x1", "tpu_v5p", 1, 32 * MIB, 1122, 16 * MIB, slices=0),
        Chip("v6e", "v6e:2x2", "tpu_v6e", 1, 64 * MIB, 755, 32 * MIB, 1.75e9),
        Chip("tpu7x", "tpu7x:2x2x1", "tpu7x", 1, 64 * MIB, 1261, 0, 2.2e9, cores=2),
    )
}


def chip_by_name(name: str) -> Chip:
    """The chip with this name."""
    if not isinstance(name, str) or name not in CHIPS:
        raise InputError(f"chip: must be one of {', '.join(CHIPS)}, got {name!r}")
    return CHIPS[name]
