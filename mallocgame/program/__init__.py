"""Tensor programs, the machines they run on, and mappings of their values to memories."""

from mallocgame.program.program import (
    Access,
    CarriedGroup,
    Instruction,
    Loop,
    Program,
    Value,
    load_program,
    save_program,
)
from mallocgame.program.validation import validate

__all__ = [
    "Access",
    "CarriedGroup",
    "Instruction",
    "Loop",
    "Program",
    "Value",
    "load_program",
    "save_program",
    "validate",
]
