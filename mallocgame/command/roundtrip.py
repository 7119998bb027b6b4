"""Compiles with a mapping, and reads back what the compiler made of it; needs the extra tpu.

    mallocgame import --jax my_model:step --args 'f32[8,128]' -o step.program.json.gz --work work
    mallocgame roundtrip step.program.json.gz step.mapping.json.gz --work work
    mallocgame roundtrip step.program.json.gz step.mapping.json.gz --work work -o trip --search 600

docs/compiler.md describes what it prints and writes.
"""

from mallocgame.xla.steer.steer import add_roundtrip_arguments as add_arguments
from mallocgame.xla.steer.steer import roundtrip as run

__all__ = ["add_arguments", "run"]
