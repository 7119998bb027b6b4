"""Writes a mapping as options for `jax.jit(...).lower(...).compile(compiler_options=...)`.

    mallocgame export tpu_v4_sample/lstm_scan_v4_64mib NAME.mapping.json.gz -o options.json
    mallocgame export NAME.program.json.gz NAME.mapping.json.gz > options.json

docs/compiler.md says what the compiler makes of them.
"""

from mallocgame.xla.steer.steer import add_export_arguments as add_arguments
from mallocgame.xla.steer.steer import export as run

__all__ = ["add_arguments", "run"]
