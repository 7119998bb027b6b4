"""What all tests share: how JAX compiles in them.

Most of the time of the fast tests is XLA's, and they run for moments what they compile. So it is
optimized little there. The slow tests compile as users do.
"""

from __future__ import annotations

import importlib.metadata
import os

import pytest

FAST_TESTS = "not slow"
# XLA's older emitters compile a training step in half of the time of the newer ones. Another
# version may know this flag no more, and XLA ends a process that gives it one it does not know.
OLDER_EMITTERS = "--xla_cpu_use_fusion_emitters=false"
KNOWN_TO = "0.10."


def pytest_configure(config: pytest.Config) -> None:
    """Sets what JAX reads when it is imported; workers and children inherit it."""
    if config.option.markexpr == FAST_TESTS:
        os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        if importlib.metadata.version("jaxlib").startswith(KNOWN_TO):
            os.environ.setdefault("XLA_FLAGS", OLDER_EMITTERS)
