"""TPU generations that the compiler can be asked for, and how each is told to use less memory."""

from __future__ import annotations

from dataclasses import dataclass

from mallocgame.jsonfile import InputError
from mallocgame.machine import Machine, machine_by_name

Options = dict[str, str | int | bool]


@dataclass(frozen=True)
class Chip:
    """One generation.

    Attributes:
      topology: the smallest slice that the compiler knows, of which one core is compiled for.
      machine_name: preset in `mallocgame.machine`.
      fast_space: number of the fast memory in layouts, ``S(n)``: CMEM on v4, VMEM later.
      assignment_off: options that switch memory space assignment off.
      capacity_option: option that gives the assignment less memory, in KiB.
    """

    name: str
    topology: str
    machine_name: str
    fast_space: int
    assignment_off: tuple[tuple[str, str | int | bool], ...]
    capacity_option: str

    @property
    def machine(self) -> Machine:
        """The machine that the chip's programs are played on."""
        return machine_by_name(self.machine_name)


_CMEM_OFF = (("xla_tpu_cmem_memory_space_assignment", False),)
_VMEM_OFF = (("xla_msa_enable", "DISABLED"),)
CHIPS: dict[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip("v4", "v4:2x2x1", "tpu_v4", 3, _CMEM_OFF,
             "xla_tpu_max_cmem_used_by_memory_space_assignment"),
    )
}  # fmt: skip

# One closed program: no copies across its runs, and every prefetch whole, as the rules have it.
CLOSED: Options = {
    "xla_max_cross_program_prefetches": 0,
    "xla_tpu_sliced_prefetch_max_slices": 1,
}


def chip_by_name(name: str) -> Chip:
    """The chip of that name.

    Raises:
      InputError: no such chip.
    """
    if name not in CHIPS:
        raise InputError(f"chip {name!r}: unknown; one of {', '.join(CHIPS)}")
    return CHIPS[name]
