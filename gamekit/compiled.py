"""Room for compiled code in long-lived processes.

XLA maps some memory for every function that it compiles for a CPU, a few thousand regions for the
games of one padded size, and Linux allows a process 65,530 by default.  Beyond these, compiling
fails with "LLVM compilation error: Cannot allocate memory".
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

REGIONS, LIMIT = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
# The share of the regions from which on what was compiled is forgotten.
FULL = 0.5

_forgotten = 0


def forget_if_full() -> bool:
    """Has JAX forget what it has compiled if half of the process's regions of memory are taken.

    Called between instances, it costs a few milliseconds, and compiling anew where it is due.
    Returns whether it forgot; never where the system does not say how many regions there are.
    """
    global _forgotten
    jax = sys.modules.get("jax")
    try:
        limit, taken = int(LIMIT.read_text()), REGIONS.read_bytes().count(b"\n")
    except (OSError, ValueError):
        return False
    if jax is None or taken < FULL * limit:
        return False
    jax.clear_caches()
    gc.collect()
    _forgotten += 1
    return True


def times_forgotten() -> int:
    """How often this process has forgotten what it had compiled."""
    return _forgotten
