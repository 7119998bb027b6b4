"""The TPU generations that can be compiled for, and how each is told to use less memory."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from gamekit.errors import InputError
from mallocgame.program.machine import MIB, Machine, machine_by_name

Options = dict[str, str | int | bool]
KIB = 1024


@dataclass(frozen=True)
class Chip:
    """One generation.

    Attributes:
      topology: the smallest slice that the compiler knows; programs are compiled for one of its
        cores.
      machine_name: preset in `mallocgame.program.machine`.
      fast_space: number of the fast memory in layouts, ``S(n)``: CMEM on v4, VMEM on later chips.
      largest_bytes: the most fast memory that programs are made for, of what the assignment has.
      scoped_bytes: fast memory that the compiler keeps for its kernels beside the assignment's;
        none on tpu7x, where each kernel takes its own out of the assignment's while it runs.
      slices: value of "most slices of a prefetch" that keeps prefetches whole; 0 if the compiler
        splits arrays over the parts of a core and knows no slices.
      clock_hz: for a preset without one: the published bf16 operations per second over those of
        four matrix units of 256 x 256 multiply-adds per core.
    """

    name: str
    topology: str
    machine_name: str
    fast_space: int
    largest_bytes: int
    scoped_bytes: int = 0
    clock_hz: float | None = None
    slices: int = 1

    @property
    def closed(self) -> Options:
        """Options for what the rules know: no copies across runs, and every prefetch whole."""
        return {
            "xla_max_cross_program_prefetches": 0,
            "xla_tpu_sliced_prefetch_max_slices": self.slices,
        }

    @property
    def machine(self) -> Machine:
        """The machine of the chip's programs, with the most memory."""
        machine = machine_by_name(self.machine_name).with_capacity(self.largest_bytes)
        if machine.clock_hz is not None:
            return machine
        source = f"{machine.source}; clock from the published peak, four matrix units assumed"
        return dataclasses.replace(machine, clock_hz=self.clock_hz, source=source)

    @property
    def has_cmem(self) -> bool:
        """Whether the fast memory is v4's CMEM, which kernels do not use themselves."""
        return self.fast_space == 3

    @property
    def assignment_off(self) -> Options:
        """Options that switch memory space assignment off."""
        if self.has_cmem:
            return {"xla_tpu_cmem_memory_space_assignment": False}
        return {"xla_msa_enable": "DISABLED"}

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
        Chip("v4", "v4:2x2x1", "tpu_v4", 3, 64 * MIB),
        Chip("v5e", "v5e:2x2", "tpu_v5e", 1, 64 * MIB, 16 * MIB),
        Chip("v5p", "v5p:2x2x1", "tpu_v5p", 1, 32 * MIB, 16 * MIB, slices=0),
        Chip("v6e", "v6e:2x2", "tpu_v6e", 1, 64 * MIB, 32 * MIB, 1.75e9),
        Chip("tpu7x", "tpu7x:2x2x1", "tpu7x", 1, 64 * MIB, 0, 2.2e9),
    )
}


def chip_by_name(name: str) -> Chip:
    """The chip with this name."""
    if not isinstance(name, str) or name not in CHIPS:
        raise InputError(f"chip: must be one of {', '.join(CHIPS)}, got {name!r}")
    return CHIPS[name]
