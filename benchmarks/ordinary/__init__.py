"""Ordinary programs, as users of JAX and its libraries write them, for `benchmarks.promises`.

Nothing here is taken from those libraries, and none of them is needed.
"""

from __future__ import annotations

import importlib

from benchmarks.ordinary.listed import PROGRAMS, Ordinary

MODULES = ("training", "sequences", "images", "sparse", "physics", "kernels")


def programs() -> dict[str, Ordinary]:
    """All programs by name."""
    for module in MODULES:
        importlib.import_module(f"benchmarks.ordinary.{module}")
    return dict(PROGRAMS)
